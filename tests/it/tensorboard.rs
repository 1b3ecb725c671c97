//! What a descent tells, read by TensorBoard itself where Python has it.

use std::path::Path;
use std::process::Command;

use maury::training::observer::{EpochReport, Observer, Validation, ValidationLabel};
use maury::training::tensorboard::{TensorBoard, TensorBoardSettings};

use crate::support::{Normal, say};

/// Labels of validation stars that come nearer to the catalogue with every epoch.
fn validation(epoch: usize) -> Validation {
    let mut normal = Normal::new(epoch as u64);
    let width = 0.1 + 1.0 / epoch as f64;
    let kinds =
        [("teff", 4500.0, 400.0), ("logg", 2.0, 0.6), ("fe_h", -0.3, 0.3), ("mg_fe", 0.1, 0.1), ("si_fe", 0.1, 0.1)];
    let labels = kinds.map(|(name, pivot, scale)| {
        let reference: Vec<f64> = (0..200).map(|_| pivot + scale * normal.draw()).collect();
        let estimate = reference.iter().map(|value| value + width * scale * normal.draw()).collect();
        ValidationLabel { name: name.into(), estimate, reference }
    });
    Validation { loss: width * width, labels: labels.into() }
}

/// Tells of some epochs of a made-up descent of 40; those that were not reached before it was killed would follow.
fn tell(folder: &Path, epochs: std::ops::RangeInclusive<usize>) {
    let mut board = TensorBoard::open(folder, &TensorBoardSettings { details_every: 10 }).unwrap();
    board.text("settings", "| setting | value |\n|---|---|\n| epochs | 40 |\n| learning_rate | 1e-3 |");
    for epoch in epochs {
        let mut normal = Normal::new(1000 + epoch as u64);
        let mut draws = |n: usize, scale: f64| (0..n).map(|_| scale * normal.draw()).collect::<Vec<f64>>();
        let (first, second) = (draws(5000, 0.02 * epoch as f64), draws(500, 0.5));
        board
            .epoch(&EpochReport {
                epoch,
                training_loss: (-(epoch as f64) / 8.0).exp() + 0.01,
                validation: Some(&validation(epoch)),
                learning_rate: 1e-3 * (1.0 - epoch as f64 / 41.0),
                gradient_norm: if epoch == 7 { f64::INFINITY } else { 1.0 / epoch as f64 },
                seconds: 2.5,
                is_last: epoch == 40,
                weights: &|| {
                    let zero = ("layers.0.bias".to_string(), vec![0.0; 64]);
                    vec![("layers.0.weight".into(), first.clone()), zero, ("layers.1.weight".into(), second.clone())]
                },
            })
            .unwrap();
    }
}

#[test]
fn tensorboard_reads_all_of_a_descent_that_was_killed_and_taken_up_again() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    tell(folder, 1..=27);
    // Killed half-way through writing epoch 27, and taken up from a checkpoint after epoch 20.
    let last = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).max().unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&last).unwrap();
    file.set_len(file.metadata().unwrap().len() - 100).unwrap();
    tell(folder, 21..=40);
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 2);

    let has_tensorboard = Command::new("python3").args(["-c", "import tensorboard"]).output();
    if !has_tensorboard.is_ok_and(|output| output.status.success()) {
        return say("SKIPPED: TensorBoard's own reader: python3 has no package tensorboard");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check_tensorboard.py");
    let mut tags =
        vec!["loss/validation".to_string(), "weights/layers.0.weight".into(), "weights/layers.0.bias".into()];
    tags.extend(["one_to_one".to_string(), "settings".into()]);
    for (label, unit) in [("teff", "K"), ("logg", "dex"), ("fe_h", "dex"), ("mg_fe", "dex"), ("si_fe", "dex")] {
        tags.extend(["bias", "scatter", "robust_scatter"].map(|what| format!("{what}/{label} [{unit}]")));
    }
    let output = Command::new("python3").arg(script).arg(folder).args(tags).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for line in ["scalar loss/train: 40 at steps 1 to 40, 0.8925 to", "scalar gradient_norm: 39 at steps 1 to 40"] {
        assert!(said.contains(line), "`{line}` not in {said}");
    }
    assert!(said.contains("image one_to_one: 6 at steps 1 to 40") && said.contains("text settings"), "{said}");
}
