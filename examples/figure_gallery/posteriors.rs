//! Posteriors of one star: corner plots, and the chains they come from.

use maury::error::Result;
use maury::plot::Figure;
use maury::plot::corner::{CornerData, DrawSet, Population, corner};
use maury::plot::ranks::rank_plots;
use maury::plot::traces::{TraceData, traces};
use rand::Rng;

use crate::{ERRORS, NAMES, UNITS, normal};

/// Draws of a posterior whose labels go together as those of red giants do, with the autocorrelation `memory`.
fn posterior(n: usize, memory: f64, shift: f64, random: &mut impl Rng) -> Vec<Vec<f64>> {
    let mut state = [0.0; 5];
    let mut draw = || {
        for value in &mut state {
            *value = memory * *value + (1.0 - memory * memory).sqrt() * normal(random);
        }
        let [a, b, c, d, e] = state;
        vec![
            4582.0 + ERRORS[0] * (a + shift),
            1.99 + ERRORS[1] * (0.85 * a + 0.5 * b),
            -0.61 + ERRORS[2] * (0.6 * a + 0.3 * b + 0.7 * c),
            0.31 + ERRORS[3] * (d - 0.4 * a),
            0.21 + ERRORS[4] * (0.6 * e + 0.3 * (e * e - 1.0) + 0.4 * d),
        ]
    };
    (0..n).map(|_| draw()).collect()
}

/// The corner plot, traces and ranks.
pub fn figures(random: &mut impl Rng) -> Result<Vec<(&'static str, Figure)>> {
    let names = NAMES.map(String::from);
    let (draws, other) = (posterior(4000, 0.0, 0.0, random), posterior(4000, 0.0, 1.2, random));
    let full = CornerData {
        names: &names,
        units: &UNITS,
        population: Population::Draws,
        draws: DrawSet { name: "correlated Cannon", draws: &draws },
        second: Some(DrawSet { name: "payne-hband", draws: &other }),
        truth: Some(&[4598.0, 2.02, -0.601, 0.30, 0.205]),
        catalogue: Some(&[4681.0, 1.91, -0.63, 0.28, f64::NAN]),
        remark: "",
    };
    let first = |n: usize| draws.iter().map(|draw| draw[..n].to_vec()).collect::<Vec<_>>();
    let (one, three) = (first(1), first(3));
    let few = |draws, n: usize| CornerData {
        names: &names[..n],
        units: &UNITS[..n],
        population: Population::Draws,
        draws: DrawSet { name: "Cannon", draws },
        second: None,
        truth: None,
        catalogue: None,
        remark: "",
    };
    let chains: Vec<Vec<Vec<f64>>> = (0..4).map(|_| posterior(1000, 0.1, 0.0, random)).collect();
    let mut stuck: Vec<Vec<Vec<f64>>> = (0..4).map(|_| posterior(1000, 0.9, 0.0, random)).collect();
    stuck[2].iter_mut().for_each(|draw| draw[1] += 0.05);
    let of = |chains, r_hat| TraceData {
        names: &names,
        units: &UNITS,
        chains,
        r_hat,
        ess_bulk: &[3811.0, 3675.0, 3905.0, 3741.0, 3590.0],
        ess_tail: &[3204.0, 3411.0, 3388.0, 2950.0, f64::NAN],
        divergent: &[],
    };
    let mixed = of(&chains, &[1.0006, 1.0011, 1.0002, 1.0008, 1.0013]);
    let stuck_divergent = [vec![], vec![17, 333, 334, 335, 800], vec![], vec![500]];
    let unmixed = TraceData { divergent: &stuck_divergent, ..of(&stuck, &[1.02, 1.31, 1.04, 1.01, 1.02]) };
    let (no_draws, equal) = (Vec::new(), vec![vec![1.0; 3]; 100]);
    Ok(vec![
        ("corner", corner("2M16333217+3942519", &full)?),
        ("corner-1", corner("one label", &few(&one, 1))?),
        ("corner-3", corner("three labels", &few(&three, 3))?),
        ("corner-empty", corner("no draws", &CornerData { truth: Some(&[1.0, 2.0, 3.0]), ..few(&no_draws, 3) })?),
        ("corner-equal", corner("equal draws", &few(&equal, 3))?),
        ("traces", traces("2M16333217+3942519: NUTS, 4 chains of 1000 draws", &mixed)?),
        ("traces-unmixed", traces("unmixed", &unmixed)?),
        ("ranks", rank_plots("2M16333217+3942519: NUTS, 4 chains of 1000 draws", &mixed)?),
        ("ranks-unmixed", rank_plots("unmixed", &unmixed)?),
    ])
}
