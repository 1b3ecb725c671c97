//! The latent nuisance spectra of a correlated Cannon beside what is known to change spectra: carbon, nitrogen, oxygen, broadening.

use crate::data::linelist::{atomic_lines, brackett_lines, co_band_heads};
use crate::error::{Error, Result};
use crate::mock::emulator::Emulator;
use crate::plot::Figure;
use crate::plot::line_names::MarkedLine;
use crate::plot::spectrum_rows::{Reference, SpectrumRow, SpectrumRows, spectrum_rows};
use crate::report::percent;
use crate::spectra::grid::WavelengthGrid;
use crate::stats::correlation::pearson;
use crate::stats::span::projection;

/// How flux answers to a known cause.
#[derive(Debug, Clone)]
pub struct Response {
    /// The cause, e.g. "[C/Fe]".
    pub name: String,
    /// Change of normalized flux, `[n_pixels]`.
    pub values: Vec<f64>,
}

/// What the emulator knows to change spectra beside the labels, and can be seen in the H band.
const CAUSES: [(&str, &str); 10] = [
    ("c_fe", "[C/Fe]"),
    ("n_fe", "[N/Fe]"),
    ("o_fe", "[O/Fe]"),
    ("al_fe", "[Al/Fe]"),
    ("ca_fe", "[Ca/Fe]"),
    ("mn_fe", "[Mn/Fe]"),
    ("ni_fe", "[Ni/Fe]"),
    ("vmic_kms", "v micro"),
    ("vmac_fwhm_kms", "v macro"),
    ("log_c12_c13", "12C/13C"),
];

/// Responses of the emulator that comes with maury, on the apStar grid, to what five labels do not tell.
///
/// # Errors
/// Those of [`Emulator::shipped`].
pub fn known_responses() -> Result<Vec<Response>> {
    let emulator = Emulator::shipped()?;
    let response =
        |(input, name): &(&str, &str)| Some(Response { name: name.to_string(), values: emulator.response(input)? });
    Ok(CAUSES.iter().filter_map(response).collect())
}

/// Correlations smaller than this name no cause.
const SMALLEST_CORRELATION: f64 = 0.3;

/// Draws each component, `[n_latent][n_pixels]`, above the response that it correlates with best.
///
/// Pixels on which all components are nil take no part. `windows` are ranges of vacuum wavelength in Angstrom drawn instead of the chips.
///
/// # Errors
/// [`Error::Figure`], also if components and responses do not lie on the grid.
pub fn components(
    title: &str,
    grid: &WavelengthGrid,
    components: &[Vec<f64>],
    responses: &[Response],
    windows: &[(f64, f64)],
) -> Result<Figure> {
    let seen = seen_pixels(grid, components, responses)?;
    let row = |(index, component): (usize, &Vec<f64>)| {
        let of_component = at(component, &seen);
        let correlation = |response: &Response| pearson(&of_component, &at(&response.values, &seen));
        let best = responses
            .iter()
            .map(|response| (response, correlation(response)))
            .filter(|(_, correlation)| correlation.abs() >= SMALLEST_CORRELATION)
            .max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
        let reference = best.map(|(response, correlation)| reference(response, correlation));
        let title = format!("component {}", index + 1);
        SpectrumRow { title, values: component.clone(), reference, ..SpectrumRow::default() }
    };
    let rows: Vec<SpectrumRow> = components.iter().enumerate().map(row).collect();
    draw(title, grid, &rows, windows, "response of the emulator that correlates best")
}

/// Draws for each response the combination of all components that is nearest to it, and says how much of it this is.
///
/// Single components are any mixture of causes; what they span together is not.
///
/// # Errors
/// As [`components`].
pub fn responses(
    title: &str,
    grid: &WavelengthGrid,
    components: &[Vec<f64>],
    responses: &[Response],
    windows: &[(f64, f64)],
) -> Result<Figure> {
    let seen = seen_pixels(grid, components, responses)?;
    let basis: Vec<Vec<f64>> = components.iter().map(|component| at(component, &seen)).collect();
    let row = |response: &Response| {
        let target = at(&response.values, &seen);
        let (part, share) = projection(&target, &basis);
        let mut values = vec![f64::NAN; grid.n_pixels()];
        for (&pixel, value) in seen.iter().zip(&part) {
            values[pixel] = *value;
        }
        let reference = Some(reference(response, pearson(&part, &target)));
        SpectrumRow { title: format!("components: {}", percent(share)), values, reference, ..SpectrumRow::default() }
    };
    let rows: Vec<SpectrumRow> = responses.iter().map(row).collect();
    let remark = "nearest combination of all components, and its share of the response's sum of squares";
    draw(title, grid, &rows, windows, remark)
}

fn reference(response: &Response, correlation: f64) -> Reference {
    Reference { name: response.name.clone(), values: response.values.clone(), is_scaled: true, correlation }
}

fn at(values: &[f64], pixels: &[usize]) -> Vec<f64> {
    pixels.iter().map(|&pixel| values[pixel]).collect()
}

/// Pixels that a component says something about.
fn seen_pixels(grid: &WavelengthGrid, components: &[Vec<f64>], responses: &[Response]) -> Result<Vec<usize>> {
    let n_pixels = grid.n_pixels();
    let mut lengths = components.iter().chain(responses.iter().map(|response| &response.values)).map(Vec::len);
    if let Some(other) = lengths.find(|length| *length != n_pixels) {
        let detail = format!("a spectrum of {other} pixels on a grid of {n_pixels}");
        return Err(Error::Figure { figure: "latent spectra".into(), detail });
    }
    let is_finite = |pixel: usize| {
        components.iter().all(|component| component[pixel].is_finite())
            && responses.iter().all(|response| response.values[pixel].is_finite())
    };
    let is_seen = |pixel: &usize| is_finite(*pixel) && components.iter().any(|component| component[*pixel] != 0.0);
    Ok((0..n_pixels).filter(is_seen).collect())
}

fn draw(
    title: &str,
    grid: &WavelengthGrid,
    rows: &[SpectrumRow],
    windows: &[(f64, f64)],
    remark: &str,
) -> Result<Figure> {
    let lines = marked_lines()?;
    let data = SpectrumRows {
        wavelength: &grid.wavelength,
        chips: &grid.chips,
        windows,
        rows,
        meaning: "change of normalized flux per unit of the component",
        reference_meaning: "response to a known cause, scaled to it; r: correlation",
        lines: &lines,
        highlighted_meaning: "",
        remark,
    };
    spectrum_rows(title, &data)
}

/// All lines that figures mark: atoms and the heads of carbon monoxide's bands.
///
/// # Errors
/// [`Error::Config`] if the list was built in damaged.
pub fn marked_lines() -> Result<Vec<MarkedLine>> {
    let atoms = atomic_lines()?.into_iter().map(|line| MarkedLine {
        species: line.species,
        wavelength: line.wavelength,
        strength: line.strength,
        is_band: false,
    });
    let hydrogen = brackett_lines().into_iter().map(|line| MarkedLine {
        species: format!("H Br {}", line.upper),
        wavelength: line.wavelength,
        strength: f64::INFINITY,
        is_band: false,
    });
    let heads = co_band_heads().into_iter().map(|head| MarkedLine {
        species: format!("CO {}\u{2212}{}", head.transition.0, head.transition.1),
        wavelength: head.wavelength,
        strength: f64::INFINITY,
        is_band: true,
    });
    Ok(atoms.chain(hydrogen).chain(heads).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::emulator::Emulator;

    #[test]
    fn components_made_of_responses_are_recognised() {
        let (grid, emulator) = (WavelengthGrid::apogee(), Emulator::shipped().unwrap());
        let of_unit_size = |name: &str| {
            let values = emulator.response(name).unwrap();
            let size = values.iter().map(|value| value * value).sum::<f64>().sqrt();
            Response { name: name.into(), values: values.iter().map(|value| value / size).collect() }
        };
        let known = ["c_fe", "n_fe", "o_fe"].map(of_unit_size);
        let mixed = |c: f64, n: f64| -> Vec<f64> {
            let parts = known[0].values.iter().zip(&known[1].values);
            parts.enumerate().map(|(pixel, (a, b))| if pixel < 300 { 0.0 } else { c * a + n * b }).collect()
        };
        let rows = [mixed(1.0, -0.1), mixed(0.1, 1.0)];
        let svg = components("B", &grid, &rows, &known, &[]).unwrap().svg;
        for words in ["component 1", ">\nc_fe\n<", ">\nn_fe\n<", "CO 6\u{2212}3"] {
            assert!(svg.contains(words), "{words}");
        }
        assert!(!svg.contains("o_fe"));
        let svg = super::responses("B", &grid, &rows, &known, &[(15_970.0, 16_010.0)]).unwrap().svg;
        // Carbon and nitrogen are spanned, oxygen is not.
        assert_eq!(svg.matches("components: 100%").count(), 2);
        assert!(components("B", &grid, &[vec![0.1; 7]], &known, &[]).is_err());
    }
}
