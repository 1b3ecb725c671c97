//! Rows of spectra: latent spectra, gradients of flux with labels, scatter.

use maury::error::Result;
use maury::plot::Figure;
use maury::plot::spectrum_rows::{Reference, SpectrumRow, SpectrumRows, spectrum_rows};
use maury::stats::correlation::pearson;
use rand::Rng;

use crate::mock_spectra::{MockSpectra, of_atoms};
use crate::normal;

/// Latent spectra and gradients.
pub fn figures(mock: &MockSpectra, random: &mut impl Rng) -> Result<Vec<(&'static str, Figure)>> {
    let mut figures = latent(mock, random)?;
    figures.extend(gradients(mock, random)?);
    Ok(figures)
}

fn latent(mock: &MockSpectra, random: &mut impl Rng) -> Result<Vec<(&'static str, Figure)>> {
    let mut mixed = |weights: [f64; 3]| -> Vec<f64> {
        let noise: Vec<f64> = (0..mock.wavelength.len()).map(|_| 0.0004 * normal(random)).collect();
        mock.in_chips(|pixel| {
            let parts = [mock.co[pixel], mock.cn[pixel], mock.metals[pixel]];
            noise[pixel] - parts.iter().zip(weights).map(|(part, weight)| part * weight).sum::<f64>()
        })
    };
    let rows: Vec<SpectrumRow> = [[0.25, 0.02, 0.0], [0.03, -0.2, 0.01], [0.02, 0.03, 0.03], [-0.01, 0.03, -0.02]]
        .into_iter()
        .enumerate()
        .map(|(index, weights)| SpectrumRow {
            title: format!("component {}", index + 1),
            values: mixed(weights),
            ..SpectrumRow::default()
        })
        .collect();
    let with = |row: &SpectrumRow, name: &str, values: &[f64]| {
        let values: Vec<f64> = values.iter().map(|value| -value).collect();
        let known =
            |values: &[f64]| mock.chips.iter().flat_map(|chip| values[chip.clone()].to_vec()).collect::<Vec<f64>>();
        let correlation = pearson(&known(&row.values), &known(&values));
        let reference = Reference { name: name.into(), values, is_scaled: true, correlation };
        SpectrumRow { reference: Some(reference), ..row.clone() }
    };
    let with_references =
        vec![with(&rows[0], "[C/Fe]", &mock.co), with(&rows[1], "[N/Fe]", &mock.cn), rows[2].clone(), rows[3].clone()];
    let many: Vec<SpectrumRow> = (1..=20)
        .map(|number| SpectrumRow { title: format!("component {number}"), ..rows[number % 4].clone() })
        .collect();
    let data = SpectrumRows {
        wavelength: &mock.wavelength,
        chips: &mock.chips,
        windows: &[],
        rows: &with_references,
        meaning: "change of normalized flux per unit of the component",
        reference_meaning: "response to a known cause, scaled to it; r: correlation",
        lines: &mock.lines,
        highlighted_meaning: "",
        remark: "",
    };
    let zoom = SpectrumRows { windows: &[(15_970.0, 16_010.0), (16_180.0, 16_220.0)], ..data };
    Ok(vec![
        ("latent", spectrum_rows("latent nuisance spectra", &data)?),
        ("latent-many", spectrum_rows("latent nuisance spectra", &SpectrumRows { rows: &many, ..data })?),
        ("latent-zoom", spectrum_rows("around band heads", &zoom)?),
    ])
}

fn gradients(mock: &MockSpectra, random: &mut impl Rng) -> Result<Vec<(&'static str, Figure)>> {
    let magnesium = of_atoms(&mock.wavelength, |species| species == "Mg I")?;
    let silicon = of_atoms(&mock.wavelength, |species| species == "Si I")?;
    let mut row = |title: &str, unit: &str, parts: [(f64, &[f64]); 2], species: &[&str]| {
        let noise: Vec<f64> = (0..mock.wavelength.len()).map(|_| 0.0004 * normal(random)).collect();
        let value = |pixel: usize| noise[pixel] + parts.iter().map(|(weight, of)| weight * of[pixel]).sum::<f64>();
        SpectrumRow {
            title: title.into(),
            unit: unit.into(),
            values: mock.in_chips(value),
            highlighted: species.iter().map(|name| name.to_string()).collect(),
            ..SpectrumRow::default()
        }
    };
    let mut rows = vec![
        row("Teff", "per 100 K", [(0.04, &mock.metals), (0.2, &mock.co)], &[]),
        row("log g", "per dex", [(-0.03, &mock.metals), (0.25, &mock.co)], &[]),
        row("[Fe/H]", "per dex", [(-0.3, &mock.metals), (-0.4, &mock.co)], &[]),
        row("[Mg/Fe]", "per dex", [(-0.35, &magnesium), (-0.02, &mock.cn)], &["Mg I"]),
        row("[Si/Fe]", "per dex", [(-0.3, &silicon), (0.01, &mock.cn)], &["Si I"]),
    ];
    rows.push(SpectrumRow {
        title: "s".into(),
        values: mock.in_chips(|pixel| 0.006 + 0.03 * mock.metals[pixel] + 0.06 * mock.co[pixel]),
        is_positive: true,
        ..SpectrumRow::default()
    });
    let mut compared = rows[3].clone();
    compared.reference = Some(Reference {
        name: "synthesis".into(),
        values: magnesium.iter().map(|depth| -0.4 * depth).collect(),
        is_scaled: false,
        correlation: 0.97,
    });
    let data = SpectrumRows {
        wavelength: &mock.wavelength,
        chips: &mock.chips,
        windows: &[],
        rows: &rows,
        meaning: "d normalized flux / d label at the mean label, and scatter s",
        reference_meaning: "of synthetic spectra; r: correlation",
        lines: &mock.lines,
        highlighted_meaning: "lines of the row's element",
        remark: "",
    };
    let compared = SpectrumRows { rows: &[compared], windows: &[(15_740.0, 15_780.0), (15_870.0, 15_970.0)], ..data };
    Ok(vec![
        ("gradients", spectrum_rows("gradient spectra of a Cannon", &data)?),
        ("gradients-zoom", spectrum_rows("", &SpectrumRows { windows: &[(15_730.0, 15_780.0)], ..data })?),
        ("gradients-compared", spectrum_rows("", &compared)?),
        (
            "scatter",
            spectrum_rows(
                "",
                &SpectrumRows { rows: &rows[5..], lines: &[], meaning: "scatter of normalized flux", ..data },
            )?,
        ),
    ])
}
