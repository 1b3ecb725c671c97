//! Draws figures of made-up data, to look at them after a change: `cargo run --release --example figure_gallery -- FOLDER`.

use std::path::PathBuf;

use maury::data::linelist::{BandHead, atomic_lines, co_band_heads};
use maury::error::Result;
use maury::plot::Figure;
use maury::plot::corner::{CornerData, DrawSet, corner};
use maury::plot::coverage::{CoverageCurve, CoverageData, CoveragePanel, coverage};
use maury::plot::latent::{LatentData, LatentReference, LatentRow, MarkedLine, latent_spectra};
use maury::plot::pit::{PitData, PitHistogram, PitPanel, counts, pit_histograms};
use maury::plot::ranks::rank_plots;
use maury::plot::snr::{SnrBin, SnrPanel, errors_against_snr};
use maury::plot::star::{NamedSpectrum, StarAndModel, star_and_model};
use maury::plot::traces::{TraceData, traces};
use maury::stats::correlation::pearson;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const NAMES: [&str; 5] = ["Teff", "log g", "[Fe/H]", "[Mg/Fe]", "[Si/Fe]"];
const UNITS: [&str; 5] = ["K", "dex", "dex", "dex", "dex"];
const ERRORS: [f64; 5] = [11.0, 0.03, 0.011, 0.013, 0.012];

fn normal(random: &mut impl Rng) -> f64 {
    let (u, v): (f64, f64) = (random.random_range(1e-12..1.0), random.random_range(0.0..1.0));
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// Draws of a posterior whose labels go together as those of red giants do, with the autocorrelation `memory`.
fn posterior(n: usize, memory: f64, shift: f64, random: &mut impl Rng) -> Vec<Vec<f64>> {
    let mut state = [0.0; 5];
    let mut draw = || {
        for value in &mut state {
            *value = memory * *value + (1.0 - memory * memory).sqrt() * normal(random);
        }
        let [a, b, c, d, e] = state;
        vec![
            4582.0 + ERRORS[0] * (a + shift),
            1.99 + ERRORS[1] * (0.85 * a + 0.5 * b),
            -0.61 + ERRORS[2] * (0.6 * a + 0.3 * b + 0.7 * c),
            0.31 + ERRORS[3] * (d - 0.4 * a),
            0.21 + ERRORS[4] * (0.6 * e + 0.3 * (e * e - 1.0) + 0.4 * d),
        ]
    };
    (0..n).map(|_| draw()).collect()
}

fn posteriors(random: &mut impl Rng) -> Result<Vec<(&'static str, Figure)>> {
    let names = NAMES.map(String::from);
    let (draws, other) = (posterior(4000, 0.0, 0.0, random), posterior(4000, 0.0, 1.2, random));
    let full = CornerData {
        names: &names,
        units: &UNITS,
        draws: DrawSet { name: "correlated Cannon", draws: &draws },
        second: Some(DrawSet { name: "payne-hband", draws: &other }),
        truth: Some(&[4598.0, 2.02, -0.601, 0.30, 0.205]),
        catalogue: Some(&[4681.0, 1.91, -0.63, 0.28, f64::NAN]),
        remark: "",
    };
    let first = |n: usize| draws.iter().map(|draw| draw[..n].to_vec()).collect::<Vec<_>>();
    let (one, three) = (first(1), first(3));
    let few = |draws, n: usize| CornerData {
        names: &names[..n],
        units: &UNITS[..n],
        draws: DrawSet { name: "Cannon", draws },
        second: None,
        truth: None,
        catalogue: None,
        remark: "",
    };
    let chains: Vec<Vec<Vec<f64>>> = (0..4).map(|_| posterior(1000, 0.1, 0.0, random)).collect();
    let mut stuck: Vec<Vec<Vec<f64>>> = (0..4).map(|_| posterior(1000, 0.9, 0.0, random)).collect();
    stuck[2].iter_mut().for_each(|draw| draw[1] += 0.05);
    let of = |chains, r_hat| TraceData {
        names: &names,
        units: &UNITS,
        chains,
        r_hat,
        ess_bulk: &[3811.0, 3675.0, 3905.0, 3741.0, 3590.0],
        ess_tail: &[3204.0, 3411.0, 3388.0, 2950.0, f64::NAN],
        divergent: &[],
    };
    let mixed = of(&chains, &[1.0006, 1.0011, 1.0002, 1.0008, 1.0013]);
    let stuck_divergent = [vec![], vec![17, 333, 334, 335, 800], vec![], vec![500]];
    let unmixed = TraceData { divergent: &stuck_divergent, ..of(&stuck, &[1.02, 1.31, 1.04, 1.01, 1.02]) };
    let (no_draws, equal) = (Vec::new(), vec![vec![1.0; 3]; 100]);
    Ok(vec![
        ("corner", corner("2M16333217+3942519", &full)?),
        ("corner-1", corner("one label", &few(&one, 1))?),
        ("corner-3", corner("three labels", &few(&three, 3))?),
        ("corner-empty", corner("no draws", &CornerData { truth: Some(&[1.0, 2.0, 3.0]), ..few(&no_draws, 3) })?),
        ("corner-equal", corner("equal draws", &few(&equal, 3))?),
        ("traces", traces("2M16333217+3942519: NUTS, 4 chains of 1000 draws", &mixed)?),
        ("traces-unmixed", traces("unmixed", &unmixed)?),
        ("ranks", rank_plots("2M16333217+3942519: NUTS, 4 chains of 1000 draws", &mixed)?),
        ("ranks-unmixed", rank_plots("unmixed", &unmixed)?),
    ])
}

fn calibration(random: &mut impl Rng) -> Result<Vec<(&'static str, Figure)>> {
    let nominal: Vec<f64> = (0..=50).map(|i| f64::from(i) / 50.0).collect();
    let kinds = ["cannon", "cnn"].map(String::from);
    let n_stars = 940;
    // PIT of stars whose pulls have this width.
    let values = |width: f64, random: &mut dyn FnMut() -> f64| -> Vec<f64> {
        let cumulative = |x: f64| 1.0 / (1.0 + (-1.702 * x).exp());
        (0..n_stars).map(|_| cumulative(width * random())).collect()
    };
    let mut draw = || normal(random);
    let (mut coverages, mut histograms) = (Vec::new(), Vec::new());
    for name in NAMES {
        let (mut curves, mut pits) = (Vec::new(), Vec::new());
        for (kind, is_calibrated, width) in [(0, false, 5.0), (0, true, 1.03), (1, false, 1.6), (1, true, 0.97)] {
            let values = values(width, &mut draw);
            let inside = |p: f64| values.iter().filter(|value| (2.0 * **value - 1.0).abs() <= p).count();
            let fractions = nominal.iter().map(|p| inside(*p) as f64 / n_stars as f64).collect();
            curves.push(CoverageCurve { kind, is_calibrated, fractions });
            pits.push(PitHistogram { kind, is_calibrated, counts: counts(&values, 20) });
        }
        coverages.push(CoveragePanel { title: name.into(), n_stars, curves });
        histograms.push(PitPanel { title: name.into(), histograms: pits });
    }
    let snr = |label: usize| {
        let bin = |snr: f64| {
            let error = ERRORS[label] * (1.0 + 300.0 / snr);
            SnrBin {
                snr,
                scatter: 3.0 * error,
                scatter_interval: (2.8 * error, 3.3 * error),
                formal: 0.6 * error,
                calibrated: 2.9 * error,
            }
        };
        SnrPanel {
            label: format!("{} [{}]", NAMES[label], UNITS[label]),
            bins: [62.0, 85.0, 110.0, 150.0, 210.0, 340.0].map(bin).to_vec(),
        }
    };
    let panels: Vec<SnrPanel> = (0..5).map(snr).collect();
    let remark = "lab-mock, against the truth";
    Ok(vec![
        (
            "coverage",
            coverage(
                "coverage of central intervals",
                &CoverageData { nominal: &nominal, kinds: &kinds, panels: &coverages, remark },
            )?,
        ),
        (
            "coverage-1",
            coverage("", &CoverageData { nominal: &nominal, kinds: &kinds, panels: &coverages[..1], remark })?,
        ),
        (
            "pit",
            pit_histograms("probability integral transform", &PitData { kinds: &kinds, panels: &histograms, remark })?,
        ),
        ("snr", errors_against_snr("cannon: errors along SNR", &panels, "bars: 68% bootstrap interval")?),
    ])
}

/// The apStar grid and what of its chips is measured.
fn grid() -> (Vec<f64>, [std::ops::Range<usize>; 3]) {
    ((0..8575).map(|pixel| 10_f64.powf(4.179 + 6e-6 * f64::from(pixel))).collect(), [246..3274, 3585..6080, 6344..8335])
}

/// The depth of some lines with the profile of the instrument.
fn depth<'a>(wavelength: &[f64], lines: impl Iterator<Item = (f64, f64)> + Clone + 'a) -> Vec<f64> {
    let of = |&at: &f64| lines.clone().map(|(line, depth)| depth * (-0.5 * ((at - line) / 0.32).powi(2)).exp()).sum();
    wavelength.iter().map(of).collect()
}

fn spectra(random: &mut impl Rng) -> Result<Vec<(&'static str, Figure)>> {
    let (wavelength, chips) = grid();
    let in_chips = |values: &mut Vec<f64>| {
        for (pixel, value) in values.iter_mut().enumerate() {
            if !chips.iter().any(|chip| chip.contains(&pixel)) {
                *value = 0.0;
            }
        }
    };
    let atoms = atomic_lines()?;
    let metals =
        depth(&wavelength, atoms.iter().map(|line| (line.wavelength, 0.35 * 10_f64.powf(0.5 * line.strength))));
    let heads = co_band_heads();
    // The lines of a band crowd at its head.
    let band = |head: &BandHead| {
        (0..30).map(|j| (0.02 * f64::from(j * j), 0.04)).map({
            let start = head.wavelength;
            move |(aside, depth)| (start + aside, depth)
        })
    };
    let co: Vec<(f64, f64)> = heads.iter().flat_map(band).collect();
    let co = depth(&wavelength, co.iter().copied());
    let cn: Vec<(f64, f64)> =
        (0..300).map(|_| (random.random_range(15_100.0..17_000.0), random.random_range(0.0..0.03))).collect();
    let cn = depth(&wavelength, cn.iter().copied());
    let mut mixed = |weights: [f64; 3]| -> Vec<f64> {
        let mut values: Vec<f64> = (0..wavelength.len())
            .map(|pixel| {
                let parts = [co[pixel], cn[pixel], metals[pixel]];
                0.0004 * normal(random) - parts.iter().zip(weights).map(|(part, weight)| part * weight).sum::<f64>()
            })
            .collect();
        in_chips(&mut values);
        values
    };
    let rows: Vec<LatentRow> = [[0.25, 0.02, 0.0], [0.03, -0.2, 0.01], [0.02, 0.03, 0.03], [-0.01, 0.03, -0.02]]
        .into_iter()
        .enumerate()
        .map(|(index, weights)| LatentRow {
            title: format!("component {}", index + 1),
            values: mixed(weights),
            reference: None,
        })
        .collect();
    let with = |row: &LatentRow, name: &str, values: &[f64], sign: f64| {
        let values: Vec<f64> = values.iter().map(|value| sign * value).collect();
        let known = |values: &[f64]| chips.iter().flat_map(|chip| values[chip.clone()].to_vec()).collect::<Vec<f64>>();
        let correlation = pearson(&known(&row.values), &known(&values));
        LatentRow { reference: Some(LatentReference { name: name.into(), values, correlation }), ..row.clone() }
    };
    let with_references = vec![
        with(&rows[0], "[C/Fe]", &co, -1.0),
        with(&rows[1], "[N/Fe]", &cn, -1.0),
        rows[2].clone(),
        rows[3].clone(),
    ];
    let many: Vec<LatentRow> =
        (1..=20).map(|number| LatentRow { title: format!("component {number}"), ..rows[number % 4].clone() }).collect();
    let mut lines: Vec<MarkedLine> = atoms
        .iter()
        .map(|line| MarkedLine {
            species: line.species.clone(),
            wavelength: line.wavelength,
            strength: line.strength,
            is_band: false,
        })
        .collect();
    lines.extend(heads.iter().map(|head| MarkedLine {
        species: format!("CO {}\u{2212}{}", head.transition.0, head.transition.1),
        wavelength: head.wavelength,
        strength: 0.0,
        is_band: true,
    }));
    let latent =
        |rows, windows| LatentData { wavelength: &wavelength, chips: &chips, rows, lines: &lines, windows, remark: "" };

    let best: Vec<f64> = (0..8575).map(|pixel| 1.0 - metals[pixel] - co[pixel] - cn[pixel]).collect();
    let catalogue: Vec<f64> = (0..8575).map(|pixel| 1.0 - 1.15 * metals[pixel] - 0.8 * co[pixel] - cn[pixel]).collect();
    let error: Vec<f64> = (0..8575).map(|_| 0.008).collect();
    let flux: Vec<f64> = best.iter().map(|flux| flux + 0.01 * normal(random)).collect();
    let masked: Vec<bool> = (0..8575)
        .map(|pixel| {
            !chips.iter().any(|chip| chip.contains(&pixel)) || pixel % 331 < 14 || (4000..4200).contains(&pixel)
        })
        .collect();
    let title_lines = [
        "2M19485057+5005279: wrong label",
        "residual of log g +0.92 dex (7.1 scatters)   SNR 137   chi\u{b2} 1.21 per pixel at the fit, 9.8 at the catalogue's labels",
    ]
    .map(String::from);
    let star = StarAndModel {
        title_lines: &title_lines,
        wavelength: &wavelength,
        chips: &chips,
        flux: &flux,
        error: &error,
        masked: &masked,
        models: &[
            NamedSpectrum { name: "best fit", flux: &best },
            NamedSpectrum { name: "at the catalogue's labels", flux: &catalogue },
        ],
    };
    let all = vec![true; 8575];
    Ok(vec![
        ("latent", latent_spectra("latent nuisance spectra", &latent(&with_references, &[]))?),
        ("latent-many", latent_spectra("latent nuisance spectra", &latent(&many, &[]))?),
        (
            "latent-zoom",
            latent_spectra(
                "around band heads",
                &latent(&with_references, &[(15_970.0, 16_010.0), (16_180.0, 16_220.0)]),
            )?,
        ),
        ("star", star_and_model(&star)?),
        ("star-one", star_and_model(&StarAndModel { models: &star.models[..1], ..star })?),
        ("star-masked", star_and_model(&StarAndModel { masked: &all, ..star })?),
    ])
}

fn main() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "gallery".into()));
    std::fs::create_dir_all(&folder)?;
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut figures = posteriors(&mut random)?;
    figures.extend(calibration(&mut random)?);
    figures.extend(spectra(&mut random)?);
    for (name, figure) in figures {
        std::fs::write(folder.join(format!("{name}.svg")), &figure.svg)?;
        std::fs::write(folder.join(format!("{name}.png")), &figure.png)?;
        println!("{name}: SVG of {} kB, PNG of {} kB", figure.svg.len() / 1000, figure.png.len() / 1000);
    }
    Ok(())
}
