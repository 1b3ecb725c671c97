//! What combinations of some vectors can reproduce of another.

/// The part of `target` that combinations of `basis` reproduce, and its share of the sum of squares of `target`; NaN for a
/// `target` of nothing but zeros.
///
/// Vectors that are combinations of earlier ones add nothing. All have one length.
pub fn projection(target: &[f64], basis: &[Vec<f64>]) -> (Vec<f64>, f64) {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let subtract = |from: &mut [f64], what: &[f64], factor: f64| {
        from.iter_mut().zip(what).for_each(|(value, part)| *value -= factor * part);
    };
    let mut orthonormal: Vec<Vec<f64>> = Vec::new();
    for vector in basis {
        let (mut rest, size) = (vector.clone(), product(vector, vector));
        // Twice: the first round leaves rounding errors of the size of what it took away.
        for _ in 0..2 {
            for unit in &orthonormal {
                let factor = product(&rest, unit);
                subtract(&mut rest, unit, factor);
            }
        }
        let left = product(&rest, &rest);
        if left > 1e-20 * size {
            rest.iter_mut().for_each(|value| *value /= left.sqrt());
            orthonormal.push(rest);
        }
    }
    let mut part = vec![0.0; target.len()];
    for unit in &orthonormal {
        subtract(&mut part, unit, -product(target, unit));
    }
    let share = product(&part, &part) / product(target, target);
    (part, share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_combination_is_reproduced_and_what_stands_upright_is_not() {
        let basis = vec![vec![1.0, 1.0, 0.0, 0.0], vec![1.0, -1.0, 1.0, 0.0], vec![3.0, 1.0, 1.0, 0.0]];
        // 2 x the first - the second, and 3 along the axis that no vector has.
        let (part, share) = projection(&[1.0, 3.0, -1.0, 3.0], &basis);
        for (value, expected) in part.iter().zip([1.0, 3.0, -1.0, 0.0]) {
            assert!((value - expected).abs() < 1e-12, "{part:?}");
        }
        assert!((share - 11.0 / 20.0).abs() < 1e-12);
    }

    #[test]
    fn the_residual_is_orthogonal_to_every_vector() {
        // Nearly parallel vectors.
        let vector = |k: usize| (0..50).map(|j| 1.0 + 1e-6 * ((j * (k + 2)) as f64 * 0.37).sin()).collect::<Vec<f64>>();
        let basis: Vec<Vec<f64>> = (0..5).map(vector).collect();
        let target: Vec<f64> = (0..50).map(|j| (f64::from(j) * 0.8).cos() + 0.3).collect();
        let (part, share) = projection(&target, &basis);
        for vector in &basis {
            let residual: f64 = vector.iter().zip(&target).zip(&part).map(|((b, t), p)| b * (t - p)).sum();
            // The coefficients are 1e6 large.
            assert!(residual.abs() < 1e-8, "{residual}");
        }
        assert!((0.0..1.0).contains(&share));
    }

    #[test]
    fn without_a_basis_nothing_is_reproduced() {
        assert_eq!(projection(&[1.0, 2.0], &[]), (vec![0.0, 0.0], 0.0));
        assert_eq!(projection(&[1.0, 2.0], &[vec![0.0, 0.0]]).1, 0.0);
        assert!(projection(&[0.0], &[vec![1.0]]).1.is_nan());
    }
}
