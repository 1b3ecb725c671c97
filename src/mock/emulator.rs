//! Spectra of red giants from their inputs. A stand-in: invented lines with the interface of the real emulator.

use ndarray::{Array2, ArrayView2};

use super::random::Random;
use crate::error::Result;
use crate::spectra::grid::APOGEE_N_PIXELS;

/// Inputs with the range of the models: name, smallest, largest.
const INPUTS: [(&str, f64, f64); 26] = [
    ("teff", 3700.0, 5340.0),
    ("logg", 0.36, 3.47),
    ("fe_h", -1.0, 0.5),
    ("mg_fe", -0.2, 0.43),
    ("si_fe", -0.12, 0.35),
    ("c_fe", -0.4, 0.1),
    ("n_fe", 0.0, 0.5),
    ("o_fe", -0.18, 0.44),
    ("na_fe", -0.24, 0.26),
    ("al_fe", -0.14, 0.38),
    ("p_fe", -0.37, 0.45),
    ("s_fe", -0.23, 0.44),
    ("k_fe", -0.3, 0.34),
    ("ca_fe", -0.11, 0.26),
    ("sc_fe", -0.17, 0.21),
    ("ti_fe", -0.18, 0.37),
    ("v_fe", -0.24, 0.25),
    ("cr_fe", -0.12, 0.16),
    ("mn_fe", -0.37, 0.16),
    ("co_fe", -0.27, 0.22),
    ("ni_fe", -0.08, 0.12),
    ("cu_fe", -0.39, 0.28),
    ("vmic_kms", 0.86, 2.48),
    ("vmac_fwhm_kms", 2.9, 12.0),
    ("vsini_kms", 0.0, 8.0),
    ("log_c12_c13", 0.69, 1.93),
];

/// Model spectra of any inputs within the library's range.
pub struct Emulator {
    names: Vec<String>,
    library: Array2<f64>,
    /// Centre [pixel], depth and the inputs' influence on the depth of every line.
    lines: Vec<(f64, f64, Vec<f64>)>,
}

impl Emulator {
    /// The emulator that comes with the program.
    ///
    /// # Errors
    /// None; the real one may find its weights damaged.
    pub fn shipped() -> Result<Self> {
        let mut random = Random::new(2017, 0);
        let library = Array2::from_shape_fn((400, INPUTS.len()), |(_, input)| {
            let (_, low, high) = INPUTS[input];
            low + (high - low) * random.uniform(0.0, 1.0)
        });
        let lines = (0..900)
            .map(|_| {
                let centre = random.uniform(0.0, APOGEE_N_PIXELS as f64);
                let depth = 0.4 * random.uniform(0.0, 1.0).powi(2);
                (centre, depth, (0..INPUTS.len()).map(|_| 0.25 * random.normal()).collect())
            })
            .collect();
        Ok(Self { names: INPUTS.iter().map(|(name, ..)| name.to_string()).collect(), library, lines })
    }

    /// What the inputs are called, in their order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Inputs of the models it was trained on, [n_models, n_inputs].
    pub fn library(&self) -> ArrayView2<'_, f64> {
        self.library.view()
    }

    /// Flux over the true continuum on the apStar grid, rest frame, Gaussian LSF of R = 22500.
    ///
    /// # Shapes
    /// - inputs: `[n_stars, n_inputs]`
    /// - output: `[n_stars, 8575]`
    pub fn spectra(&self, inputs: ArrayView2<f64>) -> Array2<f32> {
        let mut flux = Array2::ones((inputs.nrows(), APOGEE_N_PIXELS));
        for (mut spectrum, inputs) in flux.rows_mut().into_iter().zip(inputs.rows()) {
            for (centre, depth, influence) in &self.lines {
                let change: f64 = INPUTS
                    .iter()
                    .zip(inputs)
                    .zip(influence)
                    .map(|(((_, low, high), value), influence)| influence * (2.0 * (value - low) / (high - low) - 1.0))
                    .sum();
                let depth = (depth * change.exp()).min(0.7);
                for pixel in (centre - 6.0).max(0.0) as usize..((centre + 7.0) as usize).min(APOGEE_N_PIXELS) {
                    let distance = (pixel as f64 - centre) / 1.37;
                    spectrum[pixel] *= (1.0 - depth * (-0.5 * distance * distance).exp()) as f32;
                }
            }
        }
        flux
    }
}
