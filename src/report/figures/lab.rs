//! The figures of the lab, in its order.

use crate::data::isochrone::Isochrone;
use crate::error::Result;
use crate::findings::gathering::Gathering;
use crate::findings::lab::{GradientSpectrum, Lab, Pictures, PixelLikelihood, SequenceSpectra};
use crate::plot::Figure;
use crate::plot::corner::{CornerData, DrawSet, Population, corner};
use crate::plot::kiel::{self, KielData, KielFeature, KielPanel, KielStar, kiel};
use crate::plot::line_names::MarkedLine;
use crate::plot::lines::{Curve, LineFigure, LinePanel, Measured, line_panels};
use crate::plot::sequence::{SequenceData, SequenceSpectrum, sequence};
use crate::plot::spectrum::{Differences, NamedSpectrum, SpectrumData, spectrum};
use crate::plot::spectrum_rows::{SpectrumRow, SpectrumRows, spectrum_rows};
use crate::plot::star::{StarAndModel, star_and_model};
use crate::report::figures::comparison::NamedFigure;
use crate::report::figures::latent::marked_lines;
use crate::report::figures::spectrum as normalization;
use crate::report::{label_title, title_with_unit};
use crate::spectra::labels::unit;

/// All of them; those whose data the run does not have are left out.
///
/// # Errors
/// [`crate::error::Error::Figure`].
pub fn draw(lab: &Lab) -> Result<Vec<NamedFigure>> {
    let pictures = &lab.pictures;
    let lines = marked_lines()?;
    let mut figures = vec![
        ("labels", labels(pictures)?),
        ("raw-spectrum", raw_spectrum(lab)?),
        ("normalization", normalization::draw(&pictures.star)?),
        ("observed_vs_model", observed_and_model(lab, &lines)?),
        ("gradient_spectra", gradient_spectra(lab, &lines)?),
        ("scatter_spectrum", scatter_spectrum(pictures, &lines)?),
        ("sequence-fe_h", sequence_of(pictures, &pictures.metallicity, &lines)?),
    ];
    // Isochrones of another age than the files have leave no giant branch.
    if !pictures.giant_branch.flux.is_empty() {
        figures.push(("sequence-logg", sequence_of(pictures, &pictures.giant_branch, &lines)?));
    }
    figures.extend(likelihood(lab)?.map(|figure| ("likelihood", figure)));
    figures.extend(look_alikes(pictures, &lines)?.map(|figure| ("look_alikes", figure)));
    figures.extend(stars_and_isochrones(lab)?.map(|figure| ("kiel", figure)));
    figures.extend(mystery(lab)?.map(|figure| ("mystery", figure)));
    let mut figures: Vec<NamedFigure> = figures.into_iter().map(|(name, figure)| (name.to_string(), figure)).collect();
    for gradient in &pictures.gradients {
        figures.push((format!("gradient-{}", gradient.label), one_gradient(lab, gradient, &lines)?));
    }
    Ok(figures)
}

/// Labels of the selected stars, pair by pair.
fn labels(pictures: &Pictures) -> Result<Figure> {
    let names: Vec<String> = pictures.label_names.iter().map(|label| label_title(label)).collect();
    let units: Vec<&str> = pictures.label_names.iter().map(|label| unit(label)).collect();
    let data = CornerData {
        names: &names,
        units: &units,
        population: Population::Stars,
        draws: DrawSet { name: "catalogue", draws: &pictures.labels },
        second: None,
        truth: None,
        catalogue: None,
        remark: "",
    };
    corner(&format!("labels of {} selected stars", pictures.labels.len()), &data)
}

/// A star as its file has it, over all chips.
fn raw_spectrum(lab: &Lab) -> Result<Figure> {
    let star = &lab.pictures.star;
    let title_lines = [star.id.clone(), format!("SNR {:.0}", lab.star.snr)];
    let data = SpectrumData {
        title_lines: &title_lines,
        wavelength: &star.grid.wavelength,
        chips: &star.grid.chips,
        windows: &[],
        y_title: &format!("flux [{}]", star.raw_unit),
        spectra: &[NamedSpectrum { name: "flux of the coadd", flux: &star.raw_flux }],
        error: None,
        masked: &[],
        differences: None,
        lines: &[],
        remark: "masked pixels are left out",
    };
    spectrum(&data)
}

/// Two stars alike in their labels, and how their fluxes differ.
fn look_alikes(pictures: &Pictures, lines: &[MarkedLine]) -> Result<Option<Figure>> {
    let Some([a, b]) = &pictures.look_alikes else { return Ok(None) };
    let masked: Vec<bool> = a.masked.iter().zip(&b.masked).map(|(a, b)| *a || *b).collect();
    let difference = a.flux.iter().zip(&b.flux).map(|(a, b)| b - a).collect();
    let expected: Vec<f64> = a.error.iter().zip(&b.error).map(|(a, b)| a.hypot(*b)).collect();
    let title_lines = [format!("{} and {}", a.id, b.id)];
    let data = SpectrumData {
        title_lines: &title_lines,
        wavelength: &pictures.grid.wavelength,
        chips: &pictures.grid.chips,
        windows: &[pictures.window],
        y_title: "normalized flux",
        spectra: &[NamedSpectrum { name: &a.id, flux: &a.flux }, NamedSpectrum { name: &b.id, flux: &b.flux }],
        error: None,
        masked: &masked,
        differences: Some(Differences {
            title: "difference",
            values: &[difference],
            expected: Some(("one standard deviation of the noise", &expected)),
            least_range: 0.05,
        }),
        lines,
        remark: "",
    };
    Ok(Some(spectrum(&data)?))
}

/// A test star beside its model in the window of the lab.
fn observed_and_model(lab: &Lab, lines: &[MarkedLine]) -> Result<Figure> {
    let (observed, spectra) = &lab.pictures.fitted_star;
    let error: Vec<f64> = observed.error.iter().zip(&spectra.scatter).map(|(error, s)| error.hypot(*s)).collect();
    let title_lines = [observed.id.clone(), format!("{} in one window, fitted to all pixels", lab.model)];
    let mut models = vec![NamedSpectrum { name: "model at the fitted labels", flux: &spectra.model }];
    models.extend(
        spectra.at_catalogue.iter().map(|flux| NamedSpectrum { name: "model at the catalogue's labels", flux }),
    );
    star_and_model(&StarAndModel {
        title_lines: &title_lines,
        wavelength: &lab.pictures.grid.wavelength,
        chips: &lab.pictures.grid.chips,
        flux: &observed.flux,
        error: &error,
        masked: &observed.masked,
        windows: &[lab.pictures.window],
        lines,
        models: &models,
    })
}

/// Gradient spectra of all labels, lines of a label's own element emphasised.
fn gradient_spectra(lab: &Lab, lines: &[MarkedLine]) -> Result<Figure> {
    let rows: Vec<SpectrumRow> = lab.pictures.gradients.iter().map(|gradient| gradient_row(lab, gradient)).collect();
    gradient_rows("gradient spectra", lab, &rows, &[], lines)
}

/// The gradient spectrum of one label where most of its strongest features are.
fn one_gradient(lab: &Lab, gradient: &GradientSpectrum, lines: &[MarkedLine]) -> Result<Figure> {
    let mut windows = lab.gradients.labels[&gradient.label].windows.clone();
    windows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let title = format!("gradient of {}", label_title(&gradient.label));
    gradient_rows(&title, lab, &[gradient_row(lab, gradient)], &windows, lines)
}

fn gradient_row(lab: &Lab, gradient: &GradientSpectrum) -> SpectrumRow {
    let found = &lab.gradients.labels[&gradient.label];
    SpectrumRow {
        title: label_title(&gradient.label),
        unit: format!("per {} {}", found.step, unit(&gradient.label)),
        values: gradient.values.clone(),
        highlighted: found.own.iter().map(|own| own.species.clone()).collect(),
        ..SpectrumRow::default()
    }
}

fn gradient_rows(
    title: &str,
    lab: &Lab,
    rows: &[SpectrumRow],
    windows: &[(f64, f64)],
    lines: &[MarkedLine],
) -> Result<Figure> {
    let data = SpectrumRows {
        wavelength: &lab.pictures.grid.wavelength,
        chips: &lab.pictures.grid.chips,
        windows,
        rows,
        meaning: "change of normalized flux with each label, at the mean training star",
        reference_meaning: "",
        lines,
        highlighted_meaning: "lines of the label's own element",
        remark: "",
    };
    spectrum_rows(title, &data)
}

/// The likelihood against s at single pixels.
fn likelihood(lab: &Lab) -> Result<Option<Figure>> {
    let panel = |pixel: &PixelLikelihood| {
        let point = |(s, below): &(f64, f64)| Measured { x: *s, value: *below, interval: (f64::NAN, f64::NAN) };
        LinePanel {
            title: format!("ln L \u{2212} its maximum, {:.1} \u{c5}", pixel.wavelength),
            curves: vec![Curve { kind: 0, is_second: false, points: pixel.curve.iter().map(point).collect() }],
        }
    };
    let panels: Vec<LinePanel> = lab.likelihood.iter().map(panel).collect();
    let figure = LineFigure {
        title: "the likelihood of three pixels",
        x_title: "scatter s, normalized flux",
        categories: &[],
        kinds: &[String::new()],
        ticks_at_values: false,
        styles: ["", ""],
        remark: "at every s the coefficients are those of the largest likelihood",
    };
    (!panels.is_empty()).then(|| line_panels(&figure, &panels)).transpose()
}

/// The scatter of every pixel.
fn scatter_spectrum(pictures: &Pictures, lines: &[MarkedLine]) -> Result<Figure> {
    let rows = [SpectrumRow {
        title: "s\u{b2}".into(),
        values: pictures.scatter.iter().map(|s| s * s).collect(),
        is_positive: true,
        ..SpectrumRow::default()
    }];
    let data = SpectrumRows {
        wavelength: &pictures.grid.wavelength,
        chips: &pictures.grid.chips,
        windows: &[],
        rows: &rows,
        meaning: "s\u{b2}, variance of stars about the model beyond their noise, of normalized flux",
        reference_meaning: "",
        lines,
        highlighted_meaning: "",
        remark: "",
    };
    spectrum_rows("where the model falls short", &data)
}

/// Model spectra along a label.
fn sequence_of(pictures: &Pictures, of: &SequenceSpectra, lines: &[MarkedLine]) -> Result<Figure> {
    // Along metallicity all have one Teff, which the caption has.
    let is_branch = of.label != "fe_h";
    let note = |teff: &f64| if is_branch { format!("{teff:.0} K") } else { String::new() };
    let notes: Vec<String> = of.teff.iter().map(note).collect();
    let spectra: Vec<SequenceSpectrum> = (of.values.iter().zip(&notes).zip(&of.flux).zip(&of.is_outside))
        .map(|(((value, note), flux), is_outside)| SequenceSpectrum {
            value: *value,
            note,
            flux,
            is_extrapolated: *is_outside,
        })
        .collect();
    let data = SequenceData {
        wavelength: &pictures.grid.wavelength,
        window: pictures.sequence_window,
        spectra: &spectra,
        label: &label_title(&of.label),
        unit: unit(&of.label),
        lines,
        remark: "",
    };
    let title = if is_branch { "up the giant branch" } else { "along metallicity" };
    sequence(title, &data)
}

/// The test stars beside isochrones, as the catalogue has them and as estimated.
fn stars_and_isochrones(lab: &Lab) -> Result<Option<Figure>> {
    let Some(diagram) = &lab.pictures.kiel else { return Ok(None) };
    let stars = |[teff, logg, fe_h]: &[Vec<f64>; 3]| -> Vec<KielStar> {
        let star = |n: usize| KielStar { teff: teff[n], logg: logg[n], color: fe_h[n] };
        (0..teff.len()).map(star).collect()
    };
    let (estimates, catalogue) = (stars(&diagram.estimates), stars(&diagram.catalogue));
    // Giants alone: the main sequence lies beyond the stars.
    let faintest_giant = 4.2;
    let curve = |isochrone: &Isochrone| -> Vec<(f64, f64)> {
        let giants = isochrone.points.iter().filter(|point| point.logg < faintest_giant);
        giants.map(|point| (point.teff, point.logg)).collect()
    };
    let name = |one: &Isochrone| format!("[Fe/H] = {}, {} Gyr", one.fe_h, one.age_gyr.round());
    let names: Vec<String> = diagram.isochrones.iter().map(name).collect();
    let curves: Vec<Vec<(f64, f64)>> = diagram.isochrones.iter().map(curve).collect();
    let isochrones: Vec<kiel::Isochrone> = (diagram.isochrones.iter().zip(&names).zip(&curves))
        .map(|((one, name), points)| kiel::Isochrone { name, points, color: one.fe_h, is_broken: false })
        .collect();
    let place = |name: &'static str, found: &Option<Gathering>| {
        found.as_ref().map(|found| KielFeature {
            name,
            at: (found.teff, found.logg),
            half_widths: Some((found.teff_half_width, found.logg_half_width)),
        })
    };
    let features: Vec<KielFeature> =
        [place("red clump", &diagram.red_clump), place("bump", &diagram.bump)].into_iter().flatten().collect();
    let panels =
        [KielPanel { name: "catalogue", stars: &catalogue }, KielPanel { name: &lab.model, stars: &estimates }];
    let data = KielData {
        panels: &panels,
        isochrones: &isochrones,
        features: &features,
        color_title: &title_with_unit("fe_h"),
        remark: "isochrones: MIST",
    };
    Ok(Some(kiel("test stars", &data)?))
}

/// The posterior of the mystery under the first two Cannons.
fn mystery(lab: &Lab) -> Result<Option<Figure>> {
    let pictures = &lab.pictures;
    let n_labels = pictures.label_names.len();
    let draws: Vec<(&str, Vec<Vec<f64>>)> = pictures
        .mystery
        .iter()
        .filter_map(|(name, star)| {
            let rows = star.draws.as_ref()?.values.rows();
            Some((name.as_str(), rows.into_iter().map(|row| row.iter().take(n_labels).copied().collect()).collect()))
        })
        .collect();
    let Some((name, first)) = draws.first() else { return Ok(None) };
    let names: Vec<String> = pictures.label_names.iter().map(|label| label_title(label)).collect();
    let units: Vec<&str> = pictures.label_names.iter().map(|label| unit(label)).collect();
    let of =
        |label: &String| lab.mystery.as_ref().and_then(|found| found.catalogue.get(label)).copied().unwrap_or(f64::NAN);
    let catalogue: Vec<f64> = pictures.label_names.iter().map(of).collect();
    let data = CornerData {
        names: &names,
        units: &units,
        population: Population::Draws,
        draws: DrawSet { name, draws: first },
        second: draws.get(1).map(|(name, draws)| DrawSet { name, draws }),
        truth: None,
        catalogue: catalogue.iter().any(|label| label.is_finite()).then_some(&catalogue),
        remark: "",
    };
    let id = lab.mystery.as_ref().map_or("", |found| found.id.as_str());
    Ok(Some(corner(id, &data)?))
}
