//! Networks: what every architecture must do, and what their training survives.

use std::path::{Path, PathBuf};

use maury::device::{Compute, Precision};
use maury::inference::fit::FitSettings;
use maury::inference::network_estimator::NetworkEstimator;
use maury::models::network::architecture::Architecture;
use maury::models::{LabelEstimates, LabelEstimator};
use maury::progress::Silent;
use maury::spectra::batch::SpectraBatch;
use maury::spectra::continuum::{ContinuumMethod, ContinuumSettings};
use maury::spectra::grid::WavelengthGrid;
use maury::spectra::labels::LabelScaler;
use maury::spectra::pixmask::PixmaskSettings;
use maury::spectra::quality::star_flags;
use maury::training::checkpoint::{Preparation, TrainedCannon};
use maury::training::label_regression::{Training, train};
use maury::training::labelled_spectra::LabelledSpectra;
use maury::training::network_checkpoint::TrainedNetwork;
use maury::training::network_config::NetworkConfig;
use maury::training::observer::Unwatched;
use ndarray::{Array2, s};

use crate::support::{Truth, maury, metrics, refused, save, start, stopped, succeeded, told, truth, wait_until};

const N_PIXELS: usize = 120;
const N_TRAIN: usize = 240;

/// Every architecture, small, with every loss and kind of error among them.
fn configs() -> Vec<(&'static str, NetworkConfig)> {
    let config = |text: &str| -> NetworkConfig { toml::from_str(text).unwrap_or_else(|err| panic!("{text}: {err}")) };
    let descent = "descent = { epochs = 60, batch_rows = 32, learning_rate = 3e-3 }\n";
    [
        ("linear", "architecture = 'linear'\nloss.mse = {}"),
        ("mlp", "architecture.mlp = { hidden = [48], skip = true }"),
        ("components", "architecture.mlp = { hidden = [32] }\ninput.components = { count = 12 }\nmembers = 2"),
        ("starnet", "architecture.starnet = { filters = [3, 4], kernel = 5, pool = 3, hidden = [32] }"),
        (
            "residual",
            "architecture.residual-cnn = { channels = [4, 6], kernel = 3, stride = 1, pool = 2, hidden = [24] }",
        ),
        (
            "bayesian",
            "architecture.bayesian = { filters = [2, 4], kernel = 5, pool = 3, hidden = [32], dropout = 0.05 }\n\
             loss.gaussian = {}\ndropout_samples = 20",
        ),
        (
            "transformer",
            "architecture.transformer = { patch = 12, width = 16, blocks = 1, heads = 2, hidden = 16, dropout = 0.02 }",
        ),
        (
            "layers",
            "architecture.layers = [{ conv = { filters = 4, kernel = 5, stride = 2 } }, 'gelu', { mean-pool = { size = 2 \
             } }, 'norm', { dense = { width = 48 } }, 'tanh']\naugment = { noise = 0.3, mask_pixels = 0.01, continuum = \
             0.002, shift_pixels = 0.02, mask_lines = 1, line_pixels = 3 }",
        ),
    ]
    .map(|(name, text)| (name, config(&format!("{descent}{text}"))))
    .to_vec()
}

fn scaler() -> LabelScaler {
    LabelScaler { names: vec!["a".into(), "b".into()], pivot: vec![0.0; 2], scale: vec![1.0; 2] }
}

fn trained(config: &NetworkConfig, truth: &Truth, compute: &Compute, missing: bool) -> TrainedNetwork {
    let grid = WavelengthGrid::from_pixel_numbers(N_PIXELS);
    let mut labels = truth.labels.slice(s![..N_TRAIN, ..]).to_owned();
    if missing {
        // Every third star lacks one of its labels.
        (0..N_TRAIN).step_by(3).for_each(|n| labels[[n, n % 2]] = f64::NAN);
    }
    let stars = LabelledSpectra {
        grid: &grid,
        spectra: (truth.flux.slice(s![..N_TRAIN, ..]), truth.ivar.slice(s![..N_TRAIN, ..])).into(),
        fill: None,
        label_errors: Array2::from_elem(labels.raw_dim(), 0.05),
        labels,
    };
    let validation: Vec<usize> = (0..N_TRAIN).filter(|row| row % 6 == 0).collect();
    let member = |seed: usize| {
        let training = Training {
            config,
            scaler: &scaler(),
            pretrained: None,
            validation: &validation,
            seed: seed as u64,
            compute,
            state: None,
            observer: &mut Unwatched,
            progress: &Silent,
        };
        train(&stars, training).unwrap()
    };
    let members: Vec<_> = (0..config.members).map(member).collect();
    let residual = &members[0].residuals;
    TrainedNetwork {
        members: members.iter().map(|member| member.network.clone()).collect(),
        config: config.clone(),
        scaler: scaler(),
        preparation: Preparation {
            grid: grid.clone(),
            pixmask: PixmaskSettings::default(),
            continuum: ContinuumSettings { method: ContinuumMethod::None, ..ContinuumSettings::default() },
            continuum_pixels: Vec::new(),
            gaps: Vec::new(),
        },
        training_labels: truth.labels.slice(s![..N_TRAIN, ..]).to_owned(),
        error_covariance: residual.t().dot(residual) / residual.nrows() as f64,
        fill: None,
    }
}

fn estimates(model: &TrainedNetwork, flux: &Array2<f32>, ivar: &Array2<f32>, compute: &Compute) -> LabelEstimates {
    let estimator = NetworkEstimator::new(model, &FitSettings::default(), compute);
    estimator.estimate_labels(&SpectraBatch::new(flux.view(), ivar.view(), compute)).unwrap()
}

/// Robust size of estimate - truth, per label.
fn scatter(estimates: &LabelEstimates, labels: &Array2<f64>) -> Vec<f64> {
    let column = |k: usize| (0..labels.nrows()).map(|n| estimates.labels[[n, k]] - labels[[n, k]]).collect::<Vec<_>>();
    (0..labels.ncols()).map(|k| maury::stats::robust::robust_scatter(&column(k))).collect()
}

#[test]
fn every_architecture_learns_and_keeps_its_contract() {
    let compute = Compute::flex(Precision::F32);
    let truth = truth(N_TRAIN + 120, 2, N_PIXELS, 11);
    let test = s![N_TRAIN.., ..];
    let (flux, ivar) = (truth.flux.slice(test).to_owned(), truth.ivar.slice(test).to_owned());
    let labels = truth.labels.slice(test).to_owned();
    for (name, config) in configs() {
        let model = trained(&config, &truth, &compute, false);
        let whole = estimates(&model, &flux, &ivar, &compute);
        // Labels of unit spread: a guess has scatter 1. Random spectra are nothing for convolutions, which do worst.
        let scatter = scatter(&whole, &labels);
        assert!(scatter.iter().all(|scatter| *scatter < 0.5), "{name}: {scatter:?}");
        let pulls: Vec<f64> =
            (0..labels.nrows()).map(|n| (whole.labels[[n, 0]] - labels[[n, 0]]) / whole.error(n, 0)).collect();
        let width = maury::stats::robust::robust_scatter(&pulls);
        assert!((0.4..2.5).contains(&width), "{name}: pulls {width}");

        // A batch of one, and the same star among others.
        for star in [0, 17] {
            let one = s![star..star + 1, ..];
            let alone = estimates(&model, &flux.slice(one).to_owned(), &ivar.slice(one).to_owned(), &compute);
            for k in 0..2 {
                let (a, b) = (alone.labels[[0, k]], whole.labels[[star, k]]);
                assert!((a - b).abs() < 1e-4, "{name}: {a} alone, {b} among others");
            }
        }

        // What stands in masked pixels changes nothing; a star without any has no labels; the others keep theirs.
        let (mut nonsense, mut masked) = (flux.clone(), ivar.clone());
        nonsense.zip_mut_with(&ivar, |flux, ivar| {
            if *ivar == 0.0 {
                *flux = 99.0
            }
        });
        masked.row_mut(3).fill(0.0);
        let changed = estimates(&model, &nonsense, &masked, &compute);
        assert!(changed.labels.row(3).iter().all(|label| label.is_nan()), "{name}");
        assert_eq!(changed.flags[3] & star_flags::NO_DATA, star_flags::NO_DATA);
        for star in [0, 1, 2, 4, 5] {
            assert_eq!(changed.labels.row(star), whole.labels.row(star), "{name}: a fill value leaked");
        }

        // Kept and read again.
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path()).unwrap();
        let back = TrainedNetwork::load(folder.path(), &compute).unwrap();
        assert_eq!(estimates(&back, &flux, &ivar, &compute).labels, whole.labels, "{name}");
        assert_eq!(back.n_parameters(), model.n_parameters());
    }
}

#[test]
fn missing_labels_are_skipped_not_guessed() {
    let compute = Compute::flex(Precision::F32);
    let truth = truth(N_TRAIN + 120, 2, N_PIXELS, 12);
    let (_, config) = configs().swap_remove(1);
    let model = trained(&config, &truth, &compute, true);
    let test = s![N_TRAIN.., ..];
    let found = estimates(&model, &truth.flux.slice(test).to_owned(), &truth.ivar.slice(test).to_owned(), &compute);
    let scatter = scatter(&found, &truth.labels.slice(test).to_owned());
    assert!(scatter.iter().all(|scatter| *scatter < 0.35), "{scatter:?}");
}

#[test]
fn folders_of_other_models_and_labels_are_refused() {
    let compute = Compute::flex(Precision::F32);
    let truth = truth(N_TRAIN + 10, 2, N_PIXELS, 13);
    let (_, mut config) = configs().swap_remove(0);
    config.descent.epochs = 1;
    let folder = tempfile::tempdir().unwrap();
    trained(&config, &truth, &compute, false).save(folder.path()).unwrap();
    assert!(TrainedCannon::load(folder.path(), &compute).unwrap_err().to_string().contains("`network`"));
    let path = folder.path().join("model.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let refusal = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        TrainedNetwork::load(folder.path(), &compute).unwrap_err().to_string()
    };
    // Another label set: the description and the weights no longer agree.
    let three = "\"names\":[\"a\",\"b\",\"c\"],\"pivot\":[0.0,0.0,0.0],\"scale\":[1.0,1.0,1.0]";
    let said = refusal("\"names\":[\"a\",\"b\"],\"pivot\":[0.0,0.0],\"scale\":[1.0,1.0]", three);
    assert!(said.contains("contradicts itself"), "{said}");
    let said = refusal("\"architecture\":\"linear\"", "\"architecture\":{\"mlp\":{}}");
    assert!(said.contains("weights.safetensors"), "{said}");
    let said = refusal("\"kind\":\"network\"", "\"kind\":\"payne\"");
    assert!(said.contains("`payne`"), "{said}");
}

#[test]
fn architectures_say_what_does_not_fit() {
    let layers = |text: &str| -> Architecture {
        let config: NetworkConfig = toml::from_str(&format!("architecture.layers = [{text}]")).unwrap();
        config.architecture
    };
    use maury::models::network::layers::output_of;
    use maury::models::network::shape::Shape;
    let refusal = |text: &str| {
        output_of(&layers(text).layers(), Shape::Sequence { channels: 2, length: 50 }).unwrap_err().to_string()
    };
    assert!(refusal("{ conv = { filters = 2, kernel = 60 } }").contains("does not fit into 50 pixels"));
    assert!(refusal("{ dense = { width = 4 } }, { max-pool = { size = 2 } }").contains("pixels in order"));
    assert!(refusal("{ dense = { width = 0 } }").contains("at least 1"));
    assert!(refusal("{ attention = { patch = 60 } }").contains("a patch of 60 does not fit into 50 pixels"));
    assert!(refusal("{ attention = { width = 30, heads = 4 } }").contains("30 is none of 4"));
    assert!(refusal("{ attention = { dropout = 1.0 } }").contains("below 1"));
    assert!(refusal("{ dense = { width = 4 } }, { attention = {} }").contains("attention needs pixels in order"));
    assert!(refusal("{ dropout = { rate = 1.0 } }").contains("below 1"));
    assert!(refusal("{ residual = { layers = [{ max-pool = { size = 2 } }] } }").contains("pool after it"));
}

/// Arrays of 200 stars in a folder, with an experiment of one network.
pub fn project(folder: &Path, network: &str) {
    let mut truth = truth(200, 2, N_PIXELS, 71);
    (20..28).for_each(|star| truth.ivar.row_mut(star).fill(0.0));
    save(folder, "flux.npy", &truth.flux);
    save(folder, "ivar.npy", &truth.ivar);
    let label =
        |n: usize, k: usize| if (n + k).is_multiple_of(11) { String::new() } else { truth.labels[[n, k]].to_string() };
    let rows: String = (0..200).map(|n| format!("s{n},{},0.1,{}\n", label(n, 0), label(n, 1))).collect();
    std::fs::write(folder.join("labels.csv"), format!("id,teff,teff_err,logg\n{rows}")).unwrap();
    let experiment = format!(
        "labels = ['teff', 'logg']\nselection.keep_missing_labels = true\ncontinuum.method = 'none'\ndevice.threads = 1\n\
         [data.arrays]\nflux = 'flux.npy'\nivar = 'ivar.npy'\nlabels = 'labels.csv'\n[models.net.network]\n{network}\n"
    );
    std::fs::write(folder.join("net.toml"), experiment).unwrap();
}

/// Long enough to be broken off, with everything that draws random numbers.
pub const LONG: &str = "architecture.mlp = { hidden = [64, 32], dropout = 0.1 }\nmembers = 2\nlabel_errors = true\n\
    augment = { noise = 1.0, mask_pixels = 0.02, mask_lines = 1, line_pixels = 5, continuum = 0.01, shift_pixels = 0.1 }\n\
    descent = { epochs = 120, batch_rows = 16, average_last = 0.5, schedule.cosine.warm_up = 3 }";

/// The folder of the run in progress.
pub fn unfinished(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder.join("experiments/net")).ok()?.flatten();
    entries
        .map(|entry| entry.path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with(".unfinished"))
}

/// Waits until a member of the run in progress has passed some epochs.
pub fn wait_for_epoch(folder: &Path, member: &str, epoch: usize) {
    let passed = || -> Option<bool> {
        let states = unfinished(folder)?.join("training/net").join(member);
        let names = std::fs::read_dir(states).ok()?.flatten().map(|entry| entry.file_name().into_string().unwrap());
        Some(names.filter_map(|name| name.strip_prefix("epoch-")?.parse::<usize>().ok()).any(|at| at >= epoch))
    };
    wait_until(&format!("epoch {epoch} of {member}"), || passed().unwrap_or(false));
}

fn of_run(folder: &Path, file: &str) -> Vec<u8> {
    std::fs::read(folder.join("experiments/net/latest").join(file)).unwrap()
}

#[test]
fn a_killed_run_goes_on_to_the_very_same_result() {
    let (whole, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&whole, &broken] {
        project(folder.path(), LONG);
    }
    succeeded(whole.path(), &["run", "net.toml"]);
    // Killed twice: in the first member, and, gone on, in the second.
    for (member, epoch, arguments) in
        [("member1", 20, vec!["run", "net.toml"]), ("member2", 70, vec!["run", "net.toml", "--resume"])]
    {
        let mut child = start(broken.path(), &arguments);
        wait_for_epoch(broken.path(), member, epoch);
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
    }
    refused(broken.path(), &["run", "net.toml", "--resume", "--set", "seed=2"], 2, &["seed was 1, is 2"]);
    succeeded(broken.path(), &["run", "net.toml", "--resume"]);
    for file in ["predictions.csv", "models/net/model.json", "models/net/weights.safetensors"] {
        assert!(of_run(whole.path(), file) == of_run(broken.path(), file), "{file} differs");
    }
    let training = |folder: &Path| metrics(folder, "net")["models"]["net"]["training"].clone();
    assert_eq!(training(whole.path()), training(broken.path()));
    assert_eq!(training(whole.path())[0]["members"][1]["curve"].as_array().unwrap().len(), 120);
    // Nothing is left of the states, and there is nothing to go on with.
    assert!(!broken.path().join("experiments/net/latest/training").exists() && unfinished(broken.path()).is_none());
    refused(broken.path(), &["run", "net.toml", "--resume"], 2, &["no run of net was broken off"]);
}

#[test]
fn a_killed_run_whose_labels_have_changed_is_trained_on_the_new_ones() {
    let (whole, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let network = "architecture.mlp = { hidden = [16] }\nmembers = 1\ndescent = { epochs = 300, batch_rows = 8 }";
    for folder in [&whole, &broken] {
        project(folder.path(), network);
    }
    let mut child = start(broken.path(), &["run", "net.toml"]);
    wait_for_epoch(broken.path(), "member1", 2);
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    for folder in [&whole, &broken] {
        let labels = folder.path().join("labels.csv");
        let text = std::fs::read_to_string(&labels).unwrap();
        let change = |line: &str| match line.split(',').collect::<Vec<_>>()[..] {
            [id, _, error, logg] if id.len() == 2 && id != "id" => format!("{id},1.25,{error},{logg}\n"),
            _ => format!("{line}\n"),
        };
        std::fs::write(&labels, text.lines().map(change).collect::<String>()).unwrap();
    }
    told(broken.path(), &["run", "net.toml", "--resume"], &["trained from the start"]);
    succeeded(whole.path(), &["run", "net.toml"]);
    for file in ["predictions.csv", "models/net/weights.safetensors"] {
        assert!(of_run(whole.path(), file) == of_run(broken.path(), file), "{file} differs");
    }
}

#[test]
fn ctrl_c_keeps_the_epoch_and_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), LONG);
    let child = start(folder.path(), &["run", "net.toml"]);
    wait_for_epoch(folder.path(), "member1", 3);
    stopped(child, &["--resume", "where nothing is lost"]);
    let member = unfinished(folder.path()).unwrap().join("training/net/member1");
    // Half a state is no state: it is told from a whole one, and what to do.
    let epochs = std::fs::read_dir(&member).unwrap().flatten();
    let module = epochs.map(|epoch| epoch.path().join("module.bpk")).max().unwrap();
    std::fs::rename(&module, folder.path().join("aside")).unwrap();
    let said = ["the kept state is not readable (module.bpk", "remove the folder to train from the start"];
    refused(folder.path(), &["run", "net.toml", "--resume"], 1, &said);
    std::fs::rename(folder.path().join("aside"), &module).unwrap();
    succeeded(folder.path(), &["run", "net.toml", "--resume"]);
    let table = succeeded(folder.path(), &["report", "--text", "net"]);
    assert!(table.contains("NO_DATA") && table.contains("LABEL_MISSING"), "{table}");
}

#[test]
fn mistakes_in_a_network_are_answered_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let refuse = |network: &str, code: i32, said: &[&str]| {
        project(folder.path(), network);
        refused(folder.path(), &["run", "net.toml"], code, said);
    };
    let diverges = "architecture.mlp = {}\nloss.mse = {}\n\
        descent = { learning_rate = 1.0, optimizer.sgd.momentum = 0.9, schedule.constant = {}, epochs = 50 }";
    refuse(diverges, 1, &["training, epoch", "lower learning_rate than 1"]);
    refuse("architecture.layers = [{ dens = { width = 3 } }]", 2, &["net.toml", "dens", "did you mean `dense`"]);
    refuse("architecture.layers = ['rellu']", 2, &["did you mean `relu`"]);
    refuse("architecture.mlp = { hiden = [3] }", 2, &["did you mean `hidden`"]);
    refuse("architecture.layers = [{ dense = { width = 3, depth = 1 } }]", 2, &["depth"]);
    refuse("loss.huber.delta = -1.0", 2, &["models.net.network.loss.huber.delta must be above 0"]);
    refuse("descent.epochs = 0", 2, &["models.net.network.descent.epochs must be 1 to 1e9"]);
    refuse("descent.learning_rate = 1e-300", 2, &["models.net.network.descent.learning_rate must be 1e-8 to 1"]);
    refuse("validation = 0.0\ndescent.patience = 3", 2, &["descent.patience waits"]);
    refuse(
        "architecture.starnet.kernel = 500",
        2,
        &["models.net.network.architecture cannot be built: ", "does not fit into 120 pixels"],
    );
    refuse("input.components.count = 150", 1, &["input.components.count", "stars left, at least 151 needed"]);
    assert!(unfinished(folder.path()).is_none(), "a failed run leaves nothing");
}

#[test]
fn masked_pixels_can_be_filled_by_a_cannon_and_the_model_used_later() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), "architecture.mlp = { hidden = [32] }\ninput.masked = 'cannon'\ndescent.epochs = 40");
    succeeded(folder.path(), &["run", "net.toml"]);
    let model = folder.path().join("experiments/net/latest/models/net");
    let compute = Compute::flex(Precision::F32);
    let trained = TrainedNetwork::load(&model, &compute).unwrap();
    assert!(trained.fill.is_some());
    // A copy of the folder without its Cannon is no model.
    std::fs::remove_dir_all(model.join("fill")).unwrap();
    assert!(TrainedNetwork::load(&model, &compute).is_err());
    let output = maury(folder.path(), &["label", "--model", "experiments/net/latest/models/net", "x.fits"]);
    assert_eq!(output.status.code(), Some(1));
}
