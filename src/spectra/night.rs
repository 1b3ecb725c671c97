//! The night sky above the telescope: airglow, the air's absorption, and where they are strong enough to be flagged.

use super::grid::APOGEE_N_PIXELS;
use crate::error::{Error, Result};

/// Measured in a real DR17 file; see `assets/README.md`.
const MEASURED: &str = include_str!("../../assets/night_sky.csv");
/// Airglow above this is taken for a line [1e-17 erg/s/cm^2/A].
const LINE: f64 = 300.0;

/// Airglow and transmission on observed pixels: those of the apStar grid before a star's velocity is taken out.
#[derive(Debug, Clone)]
pub struct Night {
    sky: Vec<f64>,
    transmission: Vec<f64>,
}

impl Night {
    /// The night that comes with the program.
    ///
    /// # Errors
    /// [`Error::Config`] if the table in the program is damaged.
    pub fn shipped() -> Result<Self> {
        // Beyond the measured pixels, at the chips' ends, a dark sky and clear air.
        let mut night = Self { sky: vec![30.0; APOGEE_N_PIXELS], transmission: vec![1.0; APOGEE_N_PIXELS] };
        for line in MEASURED.lines().skip(1) {
            let mut numbers = line.split(',').map(str::parse::<f64>);
            let (Some(Ok(pixel)), Some(Ok(sky)), Some(Ok(transmission))) =
                (numbers.next(), numbers.next(), numbers.next())
            else {
                return Err(Error::Config(format!("assets/night_sky.csv: `{line}` is not three numbers")));
            };
            let pixel = (pixel as usize).min(APOGEE_N_PIXELS - 1);
            (night.sky[pixel], night.transmission[pixel]) = (sky, transmission);
        }
        Ok(night)
    }

    /// Airglow at an observed pixel [1e-17 erg/s/cm^2/A].
    pub fn sky(&self, pixel: f64) -> f64 {
        between(&self.sky, pixel)
    }

    /// Fraction of the light that comes through the air at an observed pixel.
    pub fn transmission(&self, pixel: f64) -> f64 {
        between(&self.transmission, pixel)
    }

    /// How much airglow there is beyond the dark sky: 0 between the lines, near 1 in the strongest.
    pub fn line_share(sky: f64) -> f64 {
        (sky - LINE).max(0.0) / (sky + 5.0 * LINE)
    }
}

/// Linear between neighbouring pixels.
fn between(values: &[f64], pixel: f64) -> f64 {
    let pixel = pixel.clamp(0.0, (values.len() - 1) as f64);
    let below = (pixel as usize).min(values.len() - 2);
    values[below] + (values[below + 1] - values[below]) * (pixel - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spectra::grid::WavelengthGrid;

    #[test]
    fn strong_airglow_lines_are_where_they_are_known_to_be() {
        let (night, grid) = (Night::shipped().unwrap(), WavelengthGrid::apogee());
        // OH lines of the H band, vacuum Angstrom (Rousselot et al. 2000).
        for wavelength in [15240.95, 15332.40, 16030.83, 16128.61, 16692.38] {
            let pixel = grid.pixel_of(wavelength).unwrap();
            let peak = (pixel - 4..pixel + 5).max_by(|a, b| night.sky[*a].total_cmp(&night.sky[*b])).unwrap();
            assert!(night.sky[peak] > 10_000.0 && peak.abs_diff(pixel) <= 2, "{wavelength}: {peak} {pixel}");
        }
        assert!(night.transmission.iter().all(|t| (0.5..=1.0).contains(t)));
        assert_eq!((Night::line_share(50.0), night.sky(-3.0)), (0.0, night.sky[0]));
    }
}
