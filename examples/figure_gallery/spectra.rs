//! Spectra of one star with models, of two stars over each other, and of a label's sequence.

use maury::error::Result;
use maury::plot::Figure;
use maury::plot::sequence::{SequenceData, SequenceSpectrum, sequence};
use maury::plot::spectrum::{Differences, NamedSpectrum, SpectrumData, spectrum};
use maury::plot::star::{StarAndModel, star_and_model};
use rand::Rng;

use crate::mock_spectra::MockSpectra;
use crate::normal;

/// Stars, look-alikes and sequences.
pub fn figures(mock: &MockSpectra, random: &mut impl Rng) -> Result<Vec<(&'static str, Figure)>> {
    let mut figures = stars(mock, random)?;
    figures.extend(overplotted(mock, random)?);
    figures.extend(sequences(mock)?);
    Ok(figures)
}

fn noisy(flux: &[f64], error: f64, random: &mut impl Rng) -> Vec<f64> {
    flux.iter().map(|flux| flux + error * normal(random)).collect()
}

fn stars(mock: &MockSpectra, random: &mut impl Rng) -> Result<Vec<(&'static str, Figure)>> {
    let n = mock.wavelength.len();
    let (best, catalogue) = (mock.flux([1.0; 3]), mock.flux([1.15, 0.8, 1.0]));
    let (flux, error) = (noisy(&best, 0.01, random), vec![0.008; n]);
    let masked: Vec<bool> =
        (0..n).map(|pixel| !mock.is_in_chips(pixel) || pixel % 331 < 14 || (4000..4200).contains(&pixel)).collect();
    let title_lines = [
        "2M19485057+5005279: wrong label",
        "residual of log g +0.92 dex (7.1 scatters)   SNR 137   chi\u{b2} 1.21 per pixel at the fit, 9.8 at the catalogue's labels",
    ]
    .map(String::from);
    let star = StarAndModel {
        title_lines: &title_lines,
        wavelength: &mock.wavelength,
        chips: &mock.chips,
        flux: &flux,
        error: &error,
        masked: &masked,
        windows: &[],
        lines: &[],
        models: &[
            NamedSpectrum { name: "best fit", flux: &best },
            NamedSpectrum { name: "at the catalogue's labels", flux: &catalogue },
        ],
    };
    let all = vec![true; n];
    let zoom = StarAndModel { windows: &[(16_000.0, 16_100.0)], lines: &mock.lines, models: &star.models[..1], ..star };
    Ok(vec![
        ("star", star_and_model(&star)?),
        ("star-one", star_and_model(&StarAndModel { models: &star.models[..1], ..star })?),
        ("star-zoom", star_and_model(&zoom)?),
        ("star-masked", star_and_model(&StarAndModel { masked: &all, ..star })?),
    ])
}

fn overplotted(mock: &MockSpectra, random: &mut impl Rng) -> Result<Vec<(&'static str, Figure)>> {
    let n = mock.wavelength.len();
    // A giant fades to the blue edge of the band less than this, but chips differ.
    let level = |pixel: usize| 310.0 - 0.012 * (mock.wavelength[pixel] - 15_100.0) + 6.0 * (pixel as f64 / 900.0).sin();
    let flux = mock.flux([1.0; 3]);
    let raw = mock.in_chips(|pixel| level(pixel) * flux[pixel]);
    let raw_error: Vec<f64> = (0..n).map(|pixel| if pixel % 500 < 9 { 30.0 } else { 2.2 }).collect();
    let raw: Vec<f64> = raw.iter().zip(&raw_error).map(|(raw, error)| raw + 0.8 * error * normal(random)).collect();
    let masked: Vec<bool> = (0..n).map(|pixel| !mock.is_in_chips(pixel) || pixel % 500 < 9).collect();
    let titles = ["2M16333217+3942519", "apStar, combined spectrum, SNR 141"].map(String::from);
    let unit = "flux [10\u{207b}\u{b9}\u{2077} erg/s/cm\u{b2}/\u{c5}]";
    let of_star = [NamedSpectrum { name: "flux", flux: &raw }];
    let data = SpectrumData {
        title_lines: &titles,
        wavelength: &mock.wavelength,
        chips: &mock.chips,
        windows: &[],
        y_title: unit,
        spectra: &of_star,
        error: Some(&raw_error),
        masked: &masked,
        differences: None,
        lines: &[],
        remark: "",
    };
    let noise = vec![0.0071; n];
    let (a, b) = (noisy(&flux, 0.005, random), noisy(&mock.flux([1.03, 0.97, 1.1]), 0.005, random));
    let differences = [a.iter().zip(&b).map(|(a, b)| a - b).collect()];
    let pair = [
        NamedSpectrum { name: "2M16333217+3942519 (4582 K, 1.99, \u{2212}0.61)", flux: &a },
        NamedSpectrum { name: "2M19485057+5005279 (4590 K, 2.01, \u{2212}0.60)", flux: &b },
    ];
    let alike = SpectrumData {
        title_lines: &[String::from("look-alikes")],
        windows: &[(16_000.0, 16_100.0)],
        y_title: "normalized flux",
        spectra: &pair,
        error: None,
        differences: Some(Differences {
            title: "\u{394}",
            values: &differences,
            expected: Some(("\u{b1} noise of the difference", &noise)),
            least_range: 0.0,
        }),
        lines: &mock.lines,
        remark: "\u{394}: first \u{2212} second",
        ..data
    };
    Ok(vec![
        ("spectrum-raw", spectrum(&data)?),
        (
            "spectrum-raw-zoom",
            spectrum(&SpectrumData { windows: &[(16_000.0, 16_100.0)], lines: &mock.lines, ..data })?,
        ),
        ("spectrum-alike", spectrum(&alike)?),
    ])
}

fn sequences(mock: &MockSpectra) -> Result<Vec<(&'static str, Figure)>> {
    let along = |n: usize, range: (f64, f64), flux: &dyn Fn(f64) -> Vec<f64>| -> Vec<(f64, Vec<f64>)> {
        let value = |i: usize| range.0 + (range.1 - range.0) * i as f64 / (n - 1) as f64;
        (0..n).map(|i| (value(i), flux(value(i)))).collect()
    };
    let metals = |fe_h: f64| mock.flux([1.3 * 10_f64.powf(0.45 * fe_h), 2.0 * 10_f64.powf(0.6 * fe_h), 1.0]);
    let gravity = |logg: f64| mock.flux([1.0 - 0.06 * (logg - 2.0), 2.2 - 0.5 * logg, 1.0 - 0.2 * (logg - 2.0)]);
    let draw = |title: &str, label, unit, remark, fluxes: &[(f64, Vec<f64>)]| {
        let spectra: Vec<SequenceSpectrum> = fluxes
            .iter()
            .map(|(value, flux)| SequenceSpectrum { value: *value, note: "", flux, is_extrapolated: *value > 0.4 })
            .collect();
        let window = (16_000.0, 16_200.0);
        sequence(
            title,
            &SequenceData {
                wavelength: &mock.wavelength,
                window,
                spectra: &spectra,
                label,
                unit,
                lines: &mock.lines,
                remark,
            },
        )
    };
    let common = "Teff 4500 K, log g 2.0, [Mg/Fe] = [Si/Fe] = 0";
    Ok(vec![
        ("sequence-fe_h", draw("spectra along [Fe/H]", "[Fe/H]", "dex", common, &along(7, (-1.0, 0.5), &metals))?),
        (
            "sequence-logg",
            draw("spectra along log g", "log g", "dex", "Teff 4500 K, [Fe/H] 0", &along(7, (3.5, 0.5), &gravity))?,
        ),
        ("sequence-many", draw("", "[Fe/H]", "dex", common, &along(25, (-1.0, 0.5), &metals))?),
        ("sequence-one", draw("", "[Fe/H]", "dex", common, &along(2, (0.0, 0.0), &metals)[..1])?),
    ])
}
