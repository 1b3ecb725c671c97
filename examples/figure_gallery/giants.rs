//! A catalogue of giants: the Kiel diagram with isochrones, and a corner plot of the labels.

use maury::error::Result;
use maury::plot::Figure;
use maury::plot::corner::{CornerData, DrawSet, Population, corner};
use maury::plot::kiel::{Isochrone, KielData, KielFeature, KielPanel, KielStar, kiel};
use rand::{Rng, RngExt};

use crate::{NAMES, UNITS, normal};

/// Temperature of the giant branch, roughly as isochrones have it.
fn branch(logg: f64, fe_h: f64, age_gyr: f64) -> f64 {
    let aside = logg - 2.4;
    let turn_off = 1700.0 / (1.0 + (-(logg - 3.85) / 0.09).exp());
    4620.0 + 330.0 * aside - 38.0 * aside * aside - 330.0 * fe_h - 130.0 * (age_gyr / 10.0).log10() + turn_off
}

/// Labels of giants: a thin and a thick disc, a branch and a clump.
fn catalogue(n: usize, random: &mut impl Rng) -> Vec<Vec<f64>> {
    let mut star = || {
        let is_thick = random.random_range(0.0..1.0) < 0.25;
        let fe_h = if is_thick { -0.45 + 0.22 * normal(random) } else { -0.05 + 0.2 * normal(random) };
        let is_clump = random.random_range(0.0..1.0) < 0.35;
        let logg = match is_clump {
            true => 2.42 + 0.06 * normal(random),
            false => 3.4 - 2.7 * random.random_range(0.0_f64..1.0).powf(1.35),
        };
        let hotter = if is_clump { 150.0 } else { 0.0 };
        let teff = branch(logg, fe_h, if is_thick { 10.0 } else { 4.0 }) + hotter + 45.0 * normal(random);
        let mg_fe = if is_thick { 0.27 } else { 0.04 } - 0.1 * fe_h + 0.035 * normal(random);
        vec![teff, logg, fe_h, mg_fe, 0.8 * mg_fe + 0.03 * normal(random)]
    };
    (0..n).map(|_| star()).collect()
}

/// Kiel diagrams and the labels of a training set.
pub fn figures(random: &mut impl Rng) -> Result<Vec<(&'static str, Figure)>> {
    let labels = catalogue(1886, random);
    let stars: Vec<KielStar> =
        labels.iter().map(|star| KielStar { teff: star[0], logg: star[1], color: star[2] }).collect();
    let mut estimates: Vec<KielStar> = stars
        .iter()
        .map(|star| KielStar {
            teff: star.teff + 60.0 * normal(random),
            logg: star.logg + 0.11 * normal(random),
            color: star.color + 0.04 * normal(random),
        })
        .collect();
    estimates[7].logg = f64::NAN;
    estimates[9].teff = 9000.0;
    let curve = |fe_h: f64, age_gyr: f64| -> Vec<(f64, f64)> {
        (0..=90).map(|i| 4.15 - 0.042 * f64::from(i)).map(|logg| (branch(logg, fe_h, age_gyr), logg)).collect()
    };
    let kinds = [(-1.0, 10.0), (-0.5, 10.0), (0.0, 10.0), (0.4, 10.0), (0.0, 4.0), (0.4, 4.0)];
    let curves =
        kinds.map(|(fe_h, age)| (curve(fe_h, age), format!("[Fe/H] {fe_h:+.1}, {age} Gyr").replace('-', "\u{2212}")));
    let isochrones: Vec<Isochrone> = kinds
        .iter()
        .zip(&curves)
        .map(|((color, age), (points, name))| Isochrone { name, points, color: *color, is_broken: *age < 5.0 })
        .collect();
    let features = [
        KielFeature { name: "red clump", at: (4790.0, 2.42), half_widths: Some((190.0, 0.16)) },
        KielFeature { name: "RGB bump", at: (4560.0, 2.72), half_widths: Some((90.0, 0.09)) },
    ];
    let pair = [KielPanel { name: "catalogue", stars: &stars }, KielPanel { name: "estimate", stars: &estimates }];
    let data = KielData {
        panels: &pair,
        isochrones: &isochrones,
        features: &features,
        color_title: "[Fe/H] [dex]",
        remark: "",
    };
    let names = NAMES.map(String::from);
    let training = CornerData {
        names: &names,
        units: &UNITS,
        population: Population::Stars,
        draws: DrawSet { name: "training set", draws: &labels },
        second: None,
        truth: None,
        catalogue: None,
        remark: "",
    };
    Ok(vec![
        ("kiel", kiel("red giants", &KielData { panels: &pair[..1], ..data })?),
        ("kiel-pair", kiel("red giants", &data)?),
        (
            "kiel-few",
            kiel("", &KielData { panels: &[KielPanel { name: "few", stars: &stars[..12] }], isochrones: &[], ..data })?,
        ),
        (
            "kiel-empty",
            kiel("no stars", &KielData { panels: &[KielPanel { name: "none", stars: &[] }], isochrones: &[], ..data })?,
        ),
        ("corner-labels", corner("labels of the training set", &training)?),
    ])
}
