//! Best fits as simple arrays: a folder of .npy files, filled batch by batch.

use std::path::{Path, PathBuf};

use super::best_fits::{BestFits, FittedFlux, SpectraRows, tell_no_flux};
use super::spectra_folder::{ARRAYS, SCATTER, SpectraFolder, WAVELENGTH};
use crate::data::npy_rows::{NpyRows, write_list};
use crate::error::Result;
use crate::spectra::grid::WavelengthGrid;

/// A folder with `flux.npy`, `ivar.npy`, `model.npy`, `residual.npy` and `continuum.npy`, [n_stars, n_pixels] of 32-bit floats,
/// `wavelength.npy`, `[n_pixels]`, in vacuum Angstrom, `scatter.npy`, `[n_pixels]`, and a table `stars` in the order of the rows. Flux is
/// divided by the continuum.
///
/// chi^2 of a star is the sum of `residual^2 / (1 / ivar + scatter^2)` over pixels that have a residual.
///
/// The folder has its name when all stars are in it; memory holds one batch.
pub struct SpectraArrays {
    path: PathBuf,
    model: String,
    grid: WavelengthGrid,
    open: Option<(SpectraFolder, Vec<NpyRows>)>,
    has_told: bool,
}

impl SpectraArrays {
    /// An empty folder; nothing is written yet.
    pub fn new(path: &Path, model: &str, grid: &WavelengthGrid) -> Self {
        Self { path: path.to_path_buf(), model: model.to_string(), grid: grid.clone(), open: None, has_told: false }
    }

    fn begin(&self) -> Result<(SpectraFolder, Vec<NpyRows>)> {
        let folder = SpectraFolder::begin(&self.path)?;
        let begin = |name: &str| NpyRows::begin(&folder.place(&format!("{name}.npy")), self.grid.n_pixels());
        let arrays = ARRAYS.into_iter().map(begin).collect::<Result<_>>()?;
        write_list(&folder.place(&format!("{WAVELENGTH}.npy")), &self.grid.wavelength)?;
        Ok((folder, arrays))
    }
}

impl BestFits for SpectraArrays {
    fn add(&mut self, rows: &SpectraRows) -> Result<()> {
        let Some(FittedFlux { flux, model, residual, scatter }) = rows.fitted() else {
            if !std::mem::replace(&mut self.has_told, true) {
                tell_no_flux(&self.model);
            }
            return Ok(());
        };
        if self.open.is_none() {
            let (folder, arrays) = self.begin()?;
            let scatter: Vec<f64> = scatter.into_iter().map(f64::from).collect();
            write_list(&folder.place(&format!("{SCATTER}.npy")), &scatter)?;
            self.open = Some((folder, arrays));
        }
        let Some((folder, arrays)) = &mut self.open else { return Ok(()) };
        let images = [flux.view(), rows.ivar, model.view(), residual.view(), rows.continuum];
        for (array, image) in arrays.iter_mut().zip(images) {
            array.add(image)?;
        }
        rows.ids.iter().zip(rows.files).for_each(|(id, file)| folder.note(id, file, None));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Option<PathBuf>> {
        let Some((folder, arrays)) = self.open else { return Ok(None) };
        arrays.into_iter().try_for_each(NpyRows::finish)?;
        folder.complete().map(Some)
    }
}
