//! Where an element's own lines are, by physics: pixels in which model spectra answer to its abundance.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2, Axis};

use super::cannon_config::CannonConfig;
use super::checkpoint::Preparation;
use super::payne_checkpoint::TrainedPayne;
use super::window_settings::WindowSettings;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::spectra::labels::{emulator_input, is_over_iron};
use crate::spectra::pixmask::Place;

/// Model stars at which spectra are differentiated: enough to stand for all of a survey's giants.
const N_STARS: usize = 48;
/// The labels by which model stars are likened to those of the survey.
const LIKENED_BY: [&str; 3] = ["teff", "logg", "fe_h"];
/// Half of the step in an abundance over which spectra are differenced [dex].
const HALF_STEP: f64 = 0.1;

/// Where the lines of some labels are.
#[derive(Debug, Clone, Default)]
pub struct LineWindows {
    /// By label, whether each pixel is one of its lines, `[n_pixels]`.
    pub of_labels: BTreeMap<String, Vec<bool>>,
    /// Pixels inside the chips, of which all shares are.
    pub n_pixels: usize,
}

impl LineWindows {
    /// By the emulator that comes with maury, for stars like these, [n_stars, n_labels].
    ///
    /// # Errors
    /// [`Error::Checkpoint`]; [`Error::Config`] if the emulator has another grid, or does not know a label that the settings name.
    pub fn new(
        settings: &WindowSettings,
        label_names: &[String],
        labels: ArrayView2<f64>,
        preparation: &Preparation,
        compute: &Compute,
    ) -> Result<Self> {
        let emulator = TrainedPayne::shipped(compute)?;
        if emulator.preparation.grid.wavelength != preparation.grid.wavelength {
            return Err(Error::Config(
                "windows: the emulator's spectra are on another grid than the survey's; name windows in censor instead"
                    .into(),
            ));
        }
        let inputs = &emulator.scaler.names;
        let position = |label: &str| inputs.iter().position(|known| *known == emulator_input(label));
        let is_wanted = |label: &String| match settings.labels.is_empty() {
            true => is_over_iron(label),
            false => settings.labels.iter().any(|wanted| wanted.eq_ignore_ascii_case(label)),
        };
        let is_on_chip: Vec<bool> = preparation.places().iter().map(|place| *place == Place::OnChip).collect();
        let stars = stars_like(&emulator, label_names, labels);
        let mut windows =
            Self { of_labels: BTreeMap::new(), n_pixels: is_on_chip.iter().filter(|on_chip| **on_chip).count() };
        for label in label_names.iter().filter(|label| is_wanted(label)) {
            match position(label) {
                Some(input) => {
                    let answer = answer(&emulator, stars.view(), input, compute);
                    windows.of_labels.insert(label.clone(), fewest(&answer, &is_on_chip, settings));
                }
                None if settings.labels.is_empty() => {
                    tracing::info!("windows: the emulator does not know {label}, which acts everywhere");
                }
                None => {
                    let names = inputs.join(", ");
                    return Err(Error::Config(format!("windows: the emulator has no input `{label}`; it has {names}")));
                }
            }
        }
        Ok(windows)
    }

    /// Share of the pixels inside the chips that are a label's lines; none for a label that has none.
    pub fn share(&self, label: &str) -> Option<f64> {
        let inside = self.of_labels.get(label)?.iter().filter(|inside| **inside).count();
        Some(inside as f64 / self.n_pixels.max(1) as f64)
    }

    /// Settings that name these windows, beside those that they name already.
    #[must_use]
    pub fn named_in(&self, config: &CannonConfig, wavelength: &[f64]) -> CannonConfig {
        let mut named = CannonConfig { windows: None, ..config.clone() };
        for (label, inside) in &self.of_labels {
            if !config.censor.keys().any(|known| known.eq_ignore_ascii_case(label)) {
                named.censor.insert(label.clone(), runs(inside, wavelength));
            }
        }
        named
    }
}

/// Inputs of model stars like those of a survey, [n_stars, n_inputs]: those of the emulator's own that are nearest.
fn stars_like(emulator: &TrainedPayne, label_names: &[String], labels: ArrayView2<f64>) -> Array2<f64> {
    let known = emulator.training_inputs.view();
    let spread = |n: usize| (0..N_STARS.min(n)).map(move |k| k * n / N_STARS.min(n));
    let common: Vec<(usize, usize)> = LIKENED_BY
        .iter()
        .filter_map(|name| {
            let label = label_names.iter().position(|label| label.eq_ignore_ascii_case(name))?;
            Some((label, emulator.scaler.names.iter().position(|input| input == name)?))
        })
        .collect();
    let complete: Vec<usize> = (0..labels.nrows())
        .filter(|star| common.iter().all(|(label, _)| labels[[*star, *label]].is_finite()))
        .collect();
    if common.is_empty() || complete.is_empty() {
        return known.select(Axis(0), &spread(known.nrows()).collect::<Vec<usize>>());
    }
    let nearest = |star: usize| {
        let distance = |model: &usize| -> f64 {
            let of_label = |(label, input): &(usize, usize)| {
                ((known[[*model, *input]] - labels[[star, *label]]) / emulator.scaler.scale[*input]).powi(2)
            };
            common.iter().map(of_label).sum()
        };
        (0..known.nrows()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0)
    };
    let chosen: Vec<usize> = spread(complete.len()).map(|k| nearest(complete[k])).collect();
    known.select(Axis(0), &chosen)
}

/// Mean square over some stars of the change of flux for 2 [`HALF_STEP`] of an input, `[n_pixels]`.
fn answer(emulator: &TrainedPayne, stars: ArrayView2<f64>, input: usize, compute: &Compute) -> Vec<f64> {
    let moved = |by: f64| {
        let mut moved = stars.to_owned();
        moved.column_mut(input).mapv_inplace(|value| value + by);
        emulator.spectra(moved.view(), compute)
    };
    let difference = moved(HALF_STEP) - moved(-HALF_STEP);
    let n_stars = stars.nrows() as f64;
    difference
        .columns()
        .into_iter()
        .map(|pixel| pixel.iter().map(|d| f64::from(*d).powi(2)).sum::<f64>() / n_stars)
        .collect()
}

/// The fewest usable pixels that hold a share of the sum, and their neighbours.
fn fewest(answer: &[f64], is_usable: &[bool], settings: &WindowSettings) -> Vec<bool> {
    let mut order: Vec<usize> = (0..answer.len()).filter(|pixel| is_usable[*pixel]).collect();
    order.sort_by(|a, b| answer[*b].total_cmp(&answer[*a]));
    let enough = settings.share * order.iter().map(|pixel| answer[*pixel]).sum::<f64>();
    let mut inside = vec![false; answer.len()];
    let mut sum = 0.0;
    for pixel in order {
        if sum >= enough {
            break;
        }
        sum += answer[pixel];
        let (first, last) = (pixel.saturating_sub(settings.margin_pixels), pixel + settings.margin_pixels);
        (first..=last.min(answer.len() - 1)).filter(|near| is_usable[*near]).for_each(|near| inside[near] = true);
    }
    inside
}

/// Runs of pixels as windows [from, to] of wavelengths.
fn runs(inside: &[bool], wavelength: &[f64]) -> Vec<[f64; 2]> {
    let mut windows: Vec<[f64; 2]> = Vec::new();
    for pixel in (0..inside.len()).filter(|pixel| inside[*pixel]) {
        match windows.last_mut().filter(|_| pixel > 0 && inside[pixel - 1]) {
            Some([_, to]) => *to = wavelength[pixel],
            None => windows.push([wavelength[pixel]; 2]),
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::linelist::atomic_lines;
    use crate::device::Precision;
    use crate::spectra::continuum::ContinuumSettings;
    use crate::spectra::features::{KnownLine, pixels_near};
    use crate::spectra::grid::WavelengthGrid;
    use crate::spectra::pixmask::PixmaskSettings;

    fn preparation() -> Preparation {
        Preparation {
            grid: WavelengthGrid::apogee(),
            pixmask: PixmaskSettings::default(),
            continuum: ContinuumSettings::default(),
            continuum_pixels: Vec::new(),
            gaps: Vec::new(),
        }
    }

    #[test]
    fn the_fewest_pixels_are_taken_and_their_neighbours_and_named_as_windows() {
        let answer = [0.0, 9.0, 0.0, 0.0, 5.0, 4.0, 100.0, 0.1];
        let usable = [true, true, true, true, true, true, false, true];
        let settings = |share, margin_pixels| WindowSettings { share, margin_pixels, labels: Vec::new() };
        let found = |share, margin| -> Vec<usize> {
            let inside = fewest(&answer, &usable, &settings(share, margin));
            (0..8).filter(|pixel| inside[*pixel]).collect()
        };
        assert_eq!((found(0.4, 0), found(0.7, 0), found(0.9, 0)), (vec![1], vec![1, 4], vec![1, 4, 5]));
        assert_eq!(found(0.9, 1), [0, 1, 2, 3, 4, 5]);
        let wavelength: Vec<f64> = (0..8).map(f64::from).collect();
        let inside = fewest(&answer, &usable, &settings(0.9, 0));
        assert_eq!(runs(&inside, &wavelength), [[1.0, 1.0], [4.0, 5.0]]);
        // What the windows name is where the label acts.
        let windows = LineWindows { of_labels: BTreeMap::from([("mg_fe".to_string(), inside.clone())]), n_pixels: 7 };
        assert_eq!(windows.named_in(&CannonConfig::default(), &wavelength).acts("mg_fe", &wavelength), inside);
        assert_eq!((windows.share("mg_fe"), windows.share("si_fe")), (Some(3.0 / 7.0), None));
        let named: CannonConfig = toml::from_str("censor.Mg_Fe = [[2.0, 3.0]]").unwrap();
        assert_eq!(windows.named_in(&named, &wavelength).censor, named.censor);
    }

    #[test]
    fn windows_of_an_element_hold_its_lines_and_few_other_pixels() {
        let compute = Compute::flex(Precision::F32);
        let names = ["teff", "logg", "fe_h", "mg_fe", "si_fe", "al_fe", "ce_fe", "vmicro"].map(String::from);
        let giant = |teff: f64, logg: f64, fe_h: f64| [teff, logg, fe_h, 0.1, 0.1, 0.0, f64::NAN, 1.5];
        let labels = ndarray::arr2(&[giant(4200.0, 1.5, -0.4), giant(4600.0, 2.3, -0.1), giant(4800.0, 2.6, 0.2)]);
        let of =
            |settings: &WindowSettings| LineWindows::new(settings, &names, labels.view(), &preparation(), &compute);
        let windows = of(&WindowSettings::default()).unwrap();
        assert_eq!(windows.of_labels.keys().collect::<Vec<_>>(), ["al_fe", "mg_fe", "si_fe"]);
        for (label, species) in [("mg_fe", "Mg I"), ("si_fe", "Si I"), ("al_fe", "Al I")] {
            let own: Vec<KnownLine> =
                atomic_lines().unwrap().iter().filter(|line| line.species == species).map(KnownLine::from).collect();
            let near = pixels_near(&own, &preparation().grid, 1.0);
            let inside = &windows.of_labels[label];
            let of_lines: Vec<bool> = (0..near.len()).filter(|pixel| near[*pixel]).map(|pixel| inside[pixel]).collect();
            let held = of_lines.iter().filter(|inside| **inside).count() as f64 / of_lines.len() as f64;
            let share = windows.share(label).unwrap();
            assert!(share < 0.5 && held > share + 0.3, "{label}: {held} of the lines in {share} of the pixels");
        }
        let unknown = WindowSettings { labels: vec!["ce_fe".into()], ..WindowSettings::default() };
        assert!(of(&unknown).unwrap_err().to_string().contains("no input `ce_fe`"));
        let one = WindowSettings { labels: vec!["VMICRO".into()], share: 0.5, margin_pixels: 0 };
        assert_eq!(of(&one).unwrap().of_labels.keys().collect::<Vec<_>>(), ["vmicro"]);
    }
}
