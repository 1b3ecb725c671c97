//! Best fits as one file for each star in the layout of an mwmStar (SDSS-V, DR19), which specutils opens by itself.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::astra::{FIELDS, created};
use super::best_fits::{BestFits, CREATOR, FittedFlux, SpectraRows, creator, tell_no_flux};
use super::posterior_folder::plain;
use super::spectra_folder::{STAR_FILE, SpectraFolder};
use crate::data::fits::{self, Column, FitsWriter};
use crate::data::mwm_tables::{self, APOGEE};
use crate::data::spectrum_file::Observatory;
use crate::data::value::Value;
use crate::error::{Error, Result};
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::labels::unit;

/// Columns with a number for each pixel. None may be called `model_flux`: specutils knows files of models by it.
const VECTORS: [&str; 9] =
    ["wavelength", "flux", "ivar", "pixel_flags", "continuum", "normalized_flux", "model", "residual", "scatter"];

/// A folder with a file for each star.
///
/// As in an mwmStar, `flux` is what was observed, in units of the star's file, and `flux / continuum` is normalized; the continuum is
/// the model's. Beside it stand `normalized_flux`, the best fit `model`, the `residual` between them, the model's own `scatter`, and the
/// labels. chi^2 is the sum of `residual^2 / (1 / (ivar continuum^2) + scatter^2)` over pixels that have a residual.
/// `pixel_flags` is 1 where the pixel was masked, and 0 elsewhere.
///
/// The folder has its name when all stars are in it.
pub struct StarSpectra {
    path: PathBuf,
    model: String,
    label_names: Vec<String>,
    /// Names of what is handed on.
    handed_on: Vec<String>,
    folder: Option<SpectraFolder>,
    /// How often each name of a star came.
    names: HashMap<String, usize>,
    has_told: bool,
    /// Wavelengths of the pixels.
    wavelength: Vec<f32>,
}

/// A star's row of the images.
struct StarRow<'a, 'b> {
    fitted: &'a FittedFlux,
    rows: &'a SpectraRows<'b>,
    row: usize,
}

impl StarSpectra {
    /// An empty folder; nothing is written yet. `handed_on` are the names of [`super::best_fits::StarNote::values`].
    ///
    /// # Errors
    /// [`Error::Config`] for spectra that are not on the apStar grid.
    pub fn new(
        path: &Path,
        model: &str,
        grid: &WavelengthGrid,
        label_names: &[String],
        handed_on: Vec<String>,
    ) -> Result<Self> {
        if !grid.is_apogee() {
            let detail =
                "an mwmStar has the pixels of apStar files, and this model's are others; take --spectra-shape arrays";
            return Err(Error::Config(format!("--spectra-shape mwm: {detail}")));
        }
        Ok(Self {
            path: path.to_path_buf(),
            model: model.to_string(),
            label_names: label_names.to_vec(),
            handed_on,
            folder: None,
            names: HashMap::new(),
            has_told: false,
            wavelength: WavelengthGrid::apogee().wavelength.into_iter().map(|wavelength| wavelength as f32).collect(),
        })
    }

    /// The name of a star's file: its identifier, numbered where that comes again.
    fn file_name(&mut self, id: &str) -> String {
        let plain = plain(id);
        // File systems may not tell upper case from lower.
        let n = self.names.entry(plain.to_lowercase()).or_default();
        *n += 1;
        if *n == 1 { format!("{STAR_FILE}{plain}.fits") } else { format!("{STAR_FILE}{plain}.{n}.fits") }
    }

    fn write(&self, file: &mut FitsWriter, star: &StarRow) -> Result<()> {
        let StarRow { rows, row, .. } = *star;
        let values = rows.notes.get(row).map_or(&[][..], |note| note.values);
        let known = |name: &str| {
            let field = FIELDS.iter().find(|field| field.name == name);
            field.map_or(Value::Missing, |field| field.of(&self.handed_on, values))
        };
        let creator = creator();
        file.append_key("V_ASTRA", creator.as_str(), "not by Astra; its readers want this key")?;
        file.append_key("SDSS_ID", known("sdss_id").as_i64().unwrap_or(-1), "-1: not known")?;
        file.append_key("OBJ", rows.ids[row].as_str(), "name of the star as its spectrum has it")?;
        for (key, name) in [("RA", "ra"), ("DEC", "dec")] {
            let degrees = known(name).as_f64();
            if degrees.is_finite() {
                file.append_key(key, degrees, "degrees")?;
            }
        }
        file.append_key("FILE", rows.files[row].as_str(), "where the spectrum came from")?;
        file.append_key(CREATOR.0, creator.as_str(), "program and version")?;
        file.append_key("MODEL", self.model.as_str(), "the model that was fitted")?;
        file.append_key("CREATED", created().as_str(), "UTC, yy-mm-dd hh:mm:ss")?;
        for text in [
            "In the layout of an mwmStar. flux / continuum = normalized_flux, where the",
            "continuum is the model's; residual = normalized_flux - model, the best fit.",
            "pixel_flags: 1 where the pixel was masked. raw_e_<label> is the formal error.",
            "chi^2 (rchi2: per degree of freedom) has the model's own scatter in it:",
            "sum of residual^2 / (1 / (ivar continuum^2) + scatter^2) of pixels that",
            "have a residual. A model with nuisance spectra adds the squares of",
            "their amplitudes.",
        ] {
            file.comment(text)?;
        }
        let is_lco = known("telescope").as_text().starts_with("lco");
        mwm_tables::write(file, &[], |spectrograph, observatory| {
            self.columns(star, spectrograph == APOGEE && is_lco == (observatory == Observatory::Lco))
        })?;
        file.checksums()
    }

    /// The columns of a table, with the star's row or without any.
    fn columns(&self, star: &StarRow, has_row: bool) -> Vec<Column> {
        let StarRow { fitted, rows, row } = *star;
        let note = rows.notes.get(row);
        let values = note.map_or(&[][..], |note| note.values);
        let n_rows = usize::from(has_row);
        let mut columns = Vec::new();
        for field in &FIELDS {
            columns.push(field.column(&vec![field.of(&self.handed_on, values); n_rows]));
        }
        columns.push(Column::text("obj", vec![rows.ids[row].clone(); n_rows]));
        columns.push(Column::f32("snr", "", vec![note.map_or(f32::NAN, |note| note.snr as f32); n_rows]));
        let width = if has_row { APOGEE.n_pixels } else { 0 };
        for name in VECTORS {
            let vector = match has_row {
                true if name == "wavelength" => self.wavelength.clone(),
                true => pixels(name, fitted, rows, row),
                false => Vec::new(),
            };
            columns.push(Column::f32_vectors(name, width, vector));
        }
        for (k, label) in self.label_names.iter().enumerate() {
            let unit = if unit(label) == "K" { "K" } else { "" };
            let (value, error) = (rows.estimates.labels[[row, k]] as f32, rows.estimates.error(row, k) as f32);
            columns.push(Column::f32(label.clone(), unit, vec![value; n_rows]));
            columns.push(Column::f32(format!("raw_e_{label}"), unit, vec![error; n_rows]));
        }
        columns.push(Column::f32("rchi2", "", vec![rows.estimates.chi2_reduced(row) as f32; n_rows]));
        let flags = rows.estimates.flags[row] | note.map_or(0, |note| note.flags);
        columns.push(Column::i64("result_flags", vec![flags; n_rows]));
        columns
    }
}

/// A number for each pixel, of any of [`VECTORS`] but the wavelength.
fn pixels(name: &str, fitted: &FittedFlux, rows: &SpectraRows, row: usize) -> Vec<f32> {
    let (ivar, continuum) = (rows.ivar.row(row), rows.continuum.row(row));
    let of_pixel = |j: usize| match name {
        "scatter" => fitted.scatter[j],
        "flux" => fitted.flux[[row, j]] * continuum[j],
        // No information has no unit.
        "ivar" if ivar[j] > 0.0 && continuum[j] > 0.0 => ivar[j] / (continuum[j] * continuum[j]),
        "ivar" => 0.0,
        "pixel_flags" => f32::from(u8::from(ivar[j] <= 0.0)),
        "continuum" => continuum[j],
        "normalized_flux" => fitted.flux[[row, j]],
        "model" => fitted.model[[row, j]],
        _ => fitted.residual[[row, j]],
    };
    (0..ivar.len()).map(of_pixel).collect()
}

impl BestFits for StarSpectra {
    fn add(&mut self, rows: &SpectraRows) -> Result<()> {
        let Some(fitted) = rows.fitted() else {
            if !std::mem::replace(&mut self.has_told, true) {
                tell_no_flux(&self.model);
            }
            return Ok(());
        };
        let mut folder = match self.folder.take() {
            Some(folder) => folder,
            None => SpectraFolder::begin(&self.path)?,
        };
        for row in 0..rows.ids.len() {
            let name = self.file_name(&rows.ids[row]);
            let star = StarRow { fitted: &fitted, rows, row };
            fits::write_in_place(&folder.place(&name), |file| self.write(file, &star))?;
            folder.note(&rows.ids[row], &rows.files[row], Some(name));
        }
        self.folder = Some(folder);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Option<PathBuf>> {
        self.folder.map(SpectraFolder::complete).transpose()
    }
}
