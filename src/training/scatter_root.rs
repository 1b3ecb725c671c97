//! Intrinsic scatter of many pixels at once, given their residuals: Newton steps, safeguarded.

use burn::tensor::Tensor;

use crate::device::{Compute, to_f64};

/// Newton steps per call at most.
const NEWTON_STEPS: usize = 6;
/// Relative step below which Newton's next would change nothing that matters: they converge quadratically.
const LAST_NEWTON_STEP: f64 = 3e-4;

/// Root of dL/ds2 = 1/2 sum (w^2 r^2 - w) at fixed residuals, inside each bracket; 0 where L falls from 0 on.
///
/// Newton's steps are those of `sum w / sum w^2 r^2 - 1`, which has the same roots and is a straight line in s2 where all stars have the
/// same variance: there one step ends at the root, from wherever it begins.
///
/// `limits` are the lower and upper ends of the brackets, `smallest_variance` the smallest sigma^2 of each pixel.
///
/// # Shapes
/// - variance, squared: `[n_stars, n_pixels]`, sigma^2 and r^2
/// - all others and the output: `[n_pixels]`
pub(super) fn scatter_root(
    variance: &Tensor<2>,
    squared: &Tensor<2>,
    start: &[f64],
    limits: (Vec<f64>, Vec<f64>),
    smallest_variance: &[f64],
    compute: &Compute,
) -> Vec<f64> {
    let mut s2 = start.to_vec();
    let (mut low, mut high) = limits;
    // A pixel's root does not depend on those beside it: what is found stays.
    let mut open: Vec<usize> = (0..s2.len()).collect();
    for _ in 0..NEWTON_STEPS {
        let weight = (variance.clone() + compute.tensor(&s2, [1, s2.len()])).recip();
        let square = weight.clone().square();
        let scaled_chi2 = square.clone() * squared.clone();
        let sum = |tensor: Tensor<2>| to_f64(tensor.sum_dim(0));
        let (sum_w2r2, sum_w3r2) = (sum(scaled_chi2.clone()), sum(scaled_chi2 * weight.clone()));
        let (sum_w, sum_w2) = (sum(weight), sum(square));
        open.retain(|&pixel| {
            let (w, w2r2) = (sum_w[pixel], sum_w2r2[pixel]);
            if w2r2 > w {
                low[pixel] = s2[pixel];
            } else {
                high[pixel] = s2[pixel];
            }
            // The step of sum w / sum w^2 r^2 - 1, and its slope times (sum w^2 r^2)^2.
            let slope = 2.0 * w * sum_w3r2[pixel] - sum_w2[pixel] * w2r2;
            let newton = s2[pixel] - w2r2 * (w - w2r2) / slope;
            let next = safeguarded(newton, slope, low[pixel], high[pixel], smallest_variance[pixel]);
            let change = (next - s2[pixel]).abs() / (smallest_variance[pixel] + next);
            s2[pixel] = next;
            change >= LAST_NEWTON_STEP
        });
        if open.is_empty() {
            break;
        }
    }
    s2
}

/// Newton's proposal where it is a step towards a maximum inside (low, high), else the middle in log variance.
fn safeguarded(newton: f64, slope: f64, low: f64, high: f64, smallest_variance: f64) -> f64 {
    if high <= low {
        high
    } else if slope > 0.0 && newton > low && newton < high {
        newton
    } else if slope > 0.0 && low == 0.0 && newton <= 0.0 {
        0.0
    } else {
        ((low + smallest_variance) * (high + smallest_variance)).sqrt() - smallest_variance
    }
}
