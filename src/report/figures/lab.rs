//! The figures of the lab, in its order.

use crate::error::Result;
use crate::experiment::lab::{Lab, Pictures};
use crate::plot::Figure;
use crate::plot::corner::{CornerData, DrawSet, corner};
use crate::report::figures::comparison::NamedFigure;
use crate::report::figures::spectrum;
use crate::report::label_title;
use crate::spectra::labels::unit;

/// All of them; those whose data the run does not have are left out.
///
/// # Errors
/// [`crate::error::Error::Figure`].
pub fn draw(lab: &Lab) -> Result<Vec<NamedFigure>> {
    let pictures = &lab.pictures;
    let mut figures: Vec<NamedFigure> = Vec::new();
    let mut add = |name: &str, figure: Figure| figures.push((name.to_string(), figure));
    add("labels", labels(pictures)?);
    add("normalization", spectrum::draw(&pictures.star)?);
    if let Some(figure) = mystery(lab)? {
        add("mystery", figure);
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
        draws: DrawSet { name: "stars", draws: &pictures.labels },
        second: None,
        truth: None,
        catalogue: None,
        remark: "",
    };
    corner(&format!("labels of {} selected stars", pictures.labels.len()), &data)
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
        draws: DrawSet { name, draws: first },
        second: draws.get(1).map(|(name, draws)| DrawSet { name, draws }),
        truth: None,
        catalogue: catalogue.iter().any(|label| label.is_finite()).then_some(&catalogue),
        remark: "",
    };
    let id = lab.mystery.as_ref().map_or("", |found| found.id.as_str());
    Ok(Some(corner(id, &data)?))
}
