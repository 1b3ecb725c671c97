//! The weights and matrices of a model's folder: written alike for like models, and believed only where they can be.

use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::store::{ModuleSnapshot, SafetensorsStore, SafetensorsStoreError};
use burn::tensor::Tensor;

use crate::data::files;
use crate::device::{Compute, to_f64};
use crate::error::{Error, Result, number_text};

/// What a model is, in its folder.
pub(crate) const MODEL_FILE: &str = "model.json";
/// Its weights, in the same folder.
pub(super) const WEIGHTS_FILE: &str = "weights.safetensors";
/// Bytes of a weight in the narrowest precision that is written.
const NARROWEST: u128 = 2;
/// Variances of scaled labels, a million standard deviations wide, that no error of a label has.
const MOST_VARIANCE: f64 = 1e12;
/// And those of rounding alone.
const LEAST_VARIANCE: f64 = 1e-30;
/// How near to one the correlation of two labels' errors may come: what is the same error twice has no inverse.
const ONE_ERROR: f64 = 1e-9;

fn failed(folder: &Path, detail: String) -> Error {
    Error::Checkpoint { path: folder.to_path_buf(), detail }
}

/// Writes a module's weights into a folder: the whole file or none, and the same bytes for the same weights. `adapt` may change
/// how the store writes.
///
/// # Errors
/// [`Error::Io`] or [`Error::Checkpoint`].
pub fn write(
    folder: &Path,
    module: &impl ModuleSnapshot,
    adapt: impl FnOnce(SafetensorsStore) -> SafetensorsStore,
) -> Result<()> {
    write_file(folder, WEIGHTS_FILE, module, adapt)
}

/// The same under another name.
///
/// # Errors
/// As [`write`].
pub(super) fn write_file(
    folder: &Path,
    name: &str,
    module: &impl ModuleSnapshot,
    adapt: impl FnOnce(SafetensorsStore) -> SafetensorsStore,
) -> Result<()> {
    files::write_atomically(&folder.join(name), |temporary| {
        // The header's own notes are written in the order of a hash: one has no order.
        let store = SafetensorsStore::from_file(temporary).overwrite(true).clear_metadata();
        let mut store = adapt(store.metadata("producer", "burn"));
        module.save_into(&mut store).map_err(|err| failed(folder, format!("cannot write {name}: {err}")))
    })
}

/// A module with the weights of a folder, in the precision and place of a device. `template` has its shapes.
///
/// # Errors
/// [`Error::Checkpoint`] if they are not there, of other shapes, or no finite numbers.
pub fn load<M: Module + ModuleSnapshot>(folder: &Path, template: M, compute: &Compute) -> Result<M> {
    let n_weights = shapes(&template).iter().map(|shape| shape.iter().map(|n| *n as u128).product::<u128>()).sum();
    let mut store = open(folder, n_weights)?;
    let module = filled(folder, template, &mut store)?.map(&mut Bring { compute });
    let mut finite = Finite(true);
    module.visit(&mut finite);
    match finite.0 {
        true => Ok(module),
        false => Err(failed(folder, format!("{WEIGHTS_FILE} holds numbers that are no model; it is damaged"))),
    }
}

/// A module with the weights of a store, as they are there.
///
/// # Errors
/// [`Error::Checkpoint`] if there are fewer, or of other shapes.
pub(super) fn filled<M: Module + ModuleSnapshot>(
    folder: &Path,
    template: M,
    store: &mut SafetensorsStore,
) -> Result<M> {
    let (expected, mut module) = (shapes(&template), template);
    // Others than these are what the store says of weights that are missing or of other shapes: a line for each.
    let applied = module.load_from(store).map_err(|err| match err {
        SafetensorsStoreError::Safetensors(_) | SafetensorsStoreError::Io(_) => failed(
            folder,
            format!("cannot read {WEIGHTS_FILE}: {err}; is it whole? copy it again, or train the model anew"),
        ),
        _ => failed(folder, unfit()),
    })?;
    if !applied.errors.is_empty() || !applied.missing.is_empty() || shapes(&module) != expected {
        return Err(failed(folder, unfit()));
    }
    Ok(module)
}

fn unfit() -> String {
    format!(
        "{WEIGHTS_FILE} does not fit {MODEL_FILE}: it holds the weights of another architecture; copy both from one folder, or train the \
         model anew"
    )
}

/// Shapes of a module's weights, one after the other.
fn shapes<M: Module>(module: &M) -> Vec<Vec<usize>> {
    struct Shapes(Vec<Vec<usize>>);
    impl ModuleVisitor for Shapes {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.dims().to_vec());
        }
    }
    let mut shapes = Shapes(Vec::new());
    module.visit(&mut shapes);
    shapes.0
}

struct Finite(bool);

impl ModuleVisitor for Finite {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0 &= to_f64(param.val().sum()).iter().all(|sum| sum.is_finite());
    }
}

/// Every weight in the precision and place of a device; the file may hold another.
struct Bring<'a> {
    compute: &'a Compute,
}

impl ModuleMapper for Bring<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|weights| self.compute.bring(weights))
    }
}

/// Opens the weights of a folder, which must be a file large enough for so many numbers: before memory is asked for them.
///
/// # Errors
/// [`Error::Checkpoint`].
pub(super) fn open(folder: &Path, n_weights: u128) -> Result<SafetensorsStore> {
    let path = folder.join(WEIGHTS_FILE);
    let refuse = |detail: String| Err(failed(folder, detail));
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => {
            fits(folder, n_weights, metadata.len())?;
            Ok(SafetensorsStore::from_file(path))
        }
        Ok(_) => refuse(format!("{WEIGHTS_FILE} is no file")),
        Err(err) => refuse(format!("cannot read {WEIGHTS_FILE}: {err}")),
    }
}

/// Whether so many weights can lie in so many bytes.
///
/// # Errors
/// [`Error::Checkpoint`].
pub(super) fn fits(folder: &Path, n_weights: u128, bytes: u64) -> Result<()> {
    if n_weights.saturating_mul(NARROWEST) <= u128::from(bytes) {
        return Ok(());
    }
    let detail = format!(
        "{WEIGHTS_FILE} does not fit {MODEL_FILE}: {bytes} bytes cannot hold its {n_weights} numbers; was it edited?"
    );
    Err(failed(folder, detail))
}

/// What makes a matrix no covariance of errors of scaled labels, and where; nothing if it is one. A label whose error nobody
/// measured has neither variance nor covariances (NaN).
pub(super) fn covariance_problem(rows: &[Vec<f64>]) -> Option<String> {
    let is_unknown = |k: usize| rows[k].iter().all(|value| value.is_nan());
    for (k, row) in rows.iter().enumerate() {
        let at = |l: usize| format!("error_covariance[{k}][{l}] is {}", number_text(row[l]));
        if is_unknown(k) {
            if let Some(l) = (0..rows.len()).find(|l| !rows[*l][k].is_nan()) {
                let value = number_text(rows[l][k]);
                return Some(format!("error_covariance[{l}][{k}] is {value}, and [{k}][{l}] unknown"));
            }
            continue;
        }
        if !(LEAST_VARIANCE..=MOST_VARIANCE).contains(&row[k]) {
            return Some(format!("{}; a variance must be {LEAST_VARIANCE:e} to {MOST_VARIANCE:e}", at(k)));
        }
        for l in (0..row.len()).filter(|l| !is_unknown(*l)) {
            if !(-MOST_VARIANCE..=MOST_VARIANCE).contains(&row[l]) {
                return Some(format!("{}; a covariance must be a number, and at most {MOST_VARIANCE:e}", at(l)));
            }
            if (row[l] - rows[l][k]).abs() > 1e-6 * row[l].abs() {
                let value = number_text(rows[l][k]);
                return Some(format!("{}, and [{l}][{k}] is {value}; a covariance is symmetric", at(l)));
            }
            let most = (row[k] * rows[l][l]).sqrt();
            if l < k && row[l].abs() > (1.0 - ONE_ERROR) * most {
                return Some(format!(
                    "{}; beside variances of {} and {} a covariance lies within {}, since errors of two labels are two",
                    at(l),
                    number_text(rows[l][l]),
                    number_text(row[k]),
                    number_text(most)
                ));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_covariances_are_covariances() {
        let problem = |rows: [[f64; 2]; 2]| covariance_problem(&rows.map(|row| row.to_vec())).unwrap_or_default();
        const N: f64 = f64::NAN;
        for good in [[[0.1, -0.02], [-0.02, 0.3]], [[N, N], [N, N]], [[0.1, N], [N, N]]] {
            assert_eq!(problem(good), "");
        }
        for (bad, said) in [
            ([[0.0, 0.0], [0.0, 0.3]], "[0][0] is 0"),
            ([[0.1, 0.0], [0.0, -1.0]], "[1][1] is -1"),
            ([[1e308, 0.0], [0.0, 0.3]], "[0][0] is 1e308;"),
            ([[1e-320, 0.0], [0.0, 0.3]], "[0][0] is 1e-320;"),
            ([[0.1, 0.2], [0.2, 0.4]], "[1][0] is 0.2; beside variances of 0.1 and 0.4"),
            ([[0.1, -0.3], [-0.3, 0.4]], "[1][0] is -0.3; beside"),
            ([[f64::INFINITY, 0.0], [0.0, 0.3]], "[0][0] is inf"),
            ([[N, 0.0], [0.0, 0.3]], "[0][0] is NaN"),
            ([[0.1, N], [0.0, 0.3]], "[0][1] is NaN"),
            ([[0.1, 0.2], [0.1, 0.3]], "symmetric"),
            ([[0.1, 0.2], [N, N]], "[0][1] is 0.2, and [1][0] unknown"),
        ] {
            assert!(problem(bad).contains(said), "{bad:?}: {}", problem(bad));
        }
    }

    #[test]
    fn weights_of_another_architecture_are_told_in_a_sentence() {
        use burn::nn::LinearConfig;
        let folder = tempfile::tempdir().unwrap();
        let compute = Compute::open(&crate::device::DeviceSettings::default()).unwrap();
        let linear = |n: usize, bias: bool| LinearConfig::new(n, 3).with_bias(bias).init(compute.device());
        write(folder.path(), &linear(4, false), |store| store).unwrap();
        assert!(load(folder.path(), linear(4, false), &compute).is_ok());
        for other in [linear(4, true), linear(2, false)] {
            let refusal = load(folder.path(), other, &compute).unwrap_err().to_string();
            assert!(refusal.contains("does not fit model.json: it holds the weights of another arch"), "{refusal}");
            assert!(refusal.lines().count() == 1 && refusal.contains("train the model anew"), "{refusal}");
        }
    }

    #[test]
    fn a_file_too_small_for_what_is_said_of_it_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(WEIGHTS_FILE), [0; 100]).unwrap();
        assert!(open(folder.path(), 50).is_ok());
        let refusal = open(folder.path(), u128::MAX).err().unwrap().to_string();
        assert!(refusal.contains("100 bytes cannot hold") && refusal.contains(WEIGHTS_FILE), "{refusal}");
        std::fs::remove_file(folder.path().join(WEIGHTS_FILE)).unwrap();
        assert!(open(folder.path(), 50).err().unwrap().to_string().contains("cannot read"));
        std::fs::create_dir(folder.path().join(WEIGHTS_FILE)).unwrap();
        assert!(open(folder.path(), 50).err().unwrap().to_string().contains("is no file"));
    }
}
