//! How far the visits of a star lie from their mean, in a measure that has the variance of one visit's noise.

use super::visits::VisitLabels;

/// A visit that has less of a degree of freedom than this outweighs the others of its star: where it lies from their mean tells of
/// their noise, not of its own.
pub const LEAST_FREEDOM: f64 = 0.25;

/// One visit's label beside those of the same star.
///
/// ```text
/// mean = sum_v h_v x_v,   h_v = (1 / e_v^2) / sum_u (1 / e_u^2),   deviation = (x_v - mean) / sqrt(1 - h_v)
/// ```
///
/// with the formal errors e. Where true errors are these times whatever factor, the variance of x_v - mean is that of x_v times
/// 1 - h_v, so that a deviation has the variance of its own visit's noise; of two equal visits it is |x_1 - x_2| / sqrt(2). The
/// degrees of freedom 1 - h_v of all visits of a star add up to n - 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Deviation {
    /// The visit's row.
    pub visit: usize,
    /// Which of the stars it is of.
    pub star: usize,
    /// As above, in the label's unit.
    pub deviation: f64,
    /// Degrees of freedom.
    pub freedom: f64,
}

/// One star's visits, as far as they have a label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct StarMean {
    /// Visits with a label.
    pub n_visits: usize,
    /// Their weighted mean.
    pub mean: f64,
    /// Standard deviation of one visit: the square root of the mean square of the deviations, weighted by their degrees of freedom.
    pub scatter: f64,
    /// Sum of the squares of (label - mean) / formal error; n - 1 is expected.
    pub chi2: f64,
}

/// Visits with a label, and the share of each in their mean.
fn weighed(visits: &VisitLabels, star: &[usize], k: usize) -> Vec<(usize, f64)> {
    let with_label: Vec<usize> = star.iter().copied().filter(|visit| visits.labels[[*visit, k]].is_finite()).collect();
    let error = |visit: usize| visits.errors[[visit, k]];
    let has_errors = with_label.iter().all(|visit| error(*visit).is_finite() && error(*visit) > 0.0);
    // Relative to the least, so that no square runs over; alike where they are not known.
    let least = with_label.iter().map(|visit| error(*visit)).fold(f64::INFINITY, f64::min);
    let weight = |visit: usize| if has_errors { (least / error(visit)).powi(2) } else { 1.0 };
    let sum: f64 = with_label.iter().map(|visit| weight(*visit)).sum();
    with_label.into_iter().map(|visit| (visit, weight(visit) / sum)).collect()
}

fn mean(visits: &VisitLabels, weighed: &[(usize, f64)], k: usize) -> f64 {
    weighed.iter().map(|(visit, share)| share * visits.labels[[*visit, k]]).sum()
}

/// Deviations in the k-th label of all visits that tell of their own noise, star by star; and how many visits outweigh the others of
/// their star.
pub(super) fn deviations(visits: &VisitLabels, stars: &[Vec<usize>], k: usize) -> (Vec<Deviation>, usize) {
    let (mut found, mut n_outweighing) = (Vec::new(), 0);
    for (star, rows) in stars.iter().enumerate() {
        let weighed = weighed(visits, rows, k);
        let mean = mean(visits, &weighed, k);
        let has_others = weighed.len() > 1;
        for (visit, share) in weighed {
            let freedom = 1.0 - share;
            if freedom >= LEAST_FREEDOM {
                let deviation = (visits.labels[[visit, k]] - mean) / freedom.sqrt();
                found.push(Deviation { visit, star, deviation, freedom });
            } else if has_others {
                n_outweighing += 1;
            }
        }
    }
    (found, n_outweighing)
}

/// Mean and scatter in the k-th label of one star's visits; NaN without the visits that they need.
pub(super) fn star_mean(visits: &VisitLabels, star: &[usize], k: usize) -> StarMean {
    let weighed = weighed(visits, star, k);
    let mean = mean(visits, &weighed, k);
    let squares = |of: &dyn Fn(usize) -> f64| weighed.iter().map(|(visit, _)| of(*visit)).sum::<f64>();
    let off = |visit: usize| (visits.labels[[visit, k]] - mean).powi(2);
    let n_visits = weighed.len();
    let freedom = n_visits as f64 - 1.0;
    let is_measured = freedom > 0.0;
    StarMean {
        n_visits,
        mean: if n_visits > 0 { mean } else { f64::NAN },
        scatter: if is_measured { (squares(&off) / freedom).sqrt() } else { f64::NAN },
        chi2: if is_measured { squares(&|visit| off(visit) / visits.errors[[visit, k]].powi(2)) } else { f64::NAN },
    }
}

#[cfg(test)]
mod tests {
    use super::super::visits::tests::visits;
    use super::*;

    #[test]
    fn two_equal_visits_deviate_by_their_difference_over_the_root_of_two() {
        let of = visits(&[("a", "", 1.0, 10.0), ("a", "", 2.0, 13.0)]);
        let (found, n_outweighing) = deviations(&of, &[vec![0, 1]], 0);
        assert_eq!((found.len(), n_outweighing), (2, 0));
        for one in &found {
            assert!((one.deviation.abs() - 3.0 / 2.0_f64.sqrt()).abs() < 1e-12 && one.freedom == 0.5, "{one:?}");
        }
        let star = star_mean(&of, &[0, 1], 0);
        // The sample variance of two values is half the square of their difference.
        assert!((star.scatter - 4.5_f64.sqrt()).abs() < 1e-12 && (star.chi2 - 4.5).abs() < 1e-12, "{star:?}");
        assert_eq!((star.mean, star.n_visits), (11.5, 2));
        assert!(star_mean(&of, &[0], 0).scatter.is_nan() && star_mean(&of, &[], 0).mean.is_nan());
    }

    #[test]
    fn a_visit_that_outweighs_the_others_does_not_tell_of_its_own_noise() {
        let mut of = visits(&[("a", "", 1.0, 10.0), ("a", "", 2.0, 13.0), ("a", "", 3.0, f64::NAN)]);
        of.errors[[1, 0]] = 3.0;
        let (found, n_outweighing) = deviations(&of, &[vec![0, 1, 2]], 0);
        assert_eq!(n_outweighing, 1);
        // The only visit with a label outweighs nobody.
        assert_eq!(deviations(&of, &[vec![0, 2]], 0), (Vec::new(), 0));
        // Shares are 0.9 and 0.1: the mean lies at 10.3.
        assert_eq!(found.iter().map(|one| one.visit).collect::<Vec<_>>(), [1]);
        assert!((found[0].deviation - 2.7 / 0.9_f64.sqrt()).abs() < 1e-12 && (found[0].freedom - 0.9).abs() < 1e-12);
        // Where one error is not known, all weigh the same.
        of.errors[[1, 0]] = f64::NAN;
        assert!(deviations(&of, &[vec![0, 1, 2]], 0).0.iter().all(|one| one.freedom == 0.5));
    }
}
