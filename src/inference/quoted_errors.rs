//! Errors that a catalogue quotes, without what makes one star's differ from another's of the same SNR.

use nalgebra::{DMatrix, DVector};

/// Squares of quoted errors as those of stars of like SNR are in the mean: a parabola of their logarithm along that of the SNR. None
/// where they, or SNRs, are all alike.
///
/// Where quoted errors scatter by chance, a factor found from star to star comes out too small: who is quoted a larger error errs no
/// more. Those of like stars do not scatter.
pub(super) fn of_like_snr(squares: &[f64], snr: &[f64]) -> Option<Vec<f64>> {
    const N_TERMS: usize = 3;
    let usable: Vec<usize> = (0..squares.len()).filter(|n| squares[*n] > 0.0 && snr[*n] > 0.0).collect();
    if usable.len() < squares.len() || usable.len() <= 2 * N_TERMS {
        return None;
    }
    let along: Vec<f64> = snr.iter().map(|snr| (snr / 100.0).ln()).collect();
    let design = DMatrix::from_fn(squares.len(), N_TERMS, |n, k| along[n].powi(k as i32));
    let target = DVector::from_iterator(squares.len(), squares.iter().map(|square| square.ln()));
    let spread = target.add_scalar(-target.mean()).norm_squared();
    let coefficients = design.clone().svd(true, true).solve(&target, 1e-9).ok()?;
    let smooth = design * coefficients;
    let left = (&target - &smooth).norm_squared();
    if spread <= 0.0 || left <= 1e-9 * spread {
        return None;
    }
    // Of the mean square, not of the mean logarithm.
    let mean_ratio =
        squares.iter().zip(&smooth).map(|(square, ln)| square / ln.exp()).sum::<f64>() / squares.len() as f64;
    Some(smooth.iter().map(|ln| mean_ratio * ln.exp()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_taken_out_and_the_trend_stays() {
        let snr: Vec<f64> = (0..400).map(|n| 50.0 * 1.01_f64.powi(n % 200)).collect();
        let trend = |snr: f64| 4.0 * (100.0 / snr).powi(2);
        let chance = |n: usize| if n == 0 { 1.3 } else { 0.7 };
        let squares: Vec<f64> = snr.iter().enumerate().map(|(n, snr)| trend(*snr) * chance(n / 200)).collect();
        let smooth = of_like_snr(&squares, &snr).unwrap();
        for (smooth, snr) in smooth.iter().zip(&snr) {
            assert!((smooth / trend(*snr) - 1.0).abs() < 1e-6, "{smooth} {snr}");
        }
        assert!(
            of_like_snr(&[1.0; 20], &[100.0; 20]).is_none() && of_like_snr(&squares, &vec![f64::NAN; 400]).is_none()
        );
    }
}
