//! Stars beside isochrones: do labels that were never told of stellar evolution obey it?

use ndarray::Array2;
use serde::Serialize;

use super::settings::LabSettings;
use crate::data::isochrone::Isochrone;
use crate::error::{Error, Result};
use crate::findings::gathering::Gathering;
use crate::findings::predictions::Predictions;
use crate::stats::robust::{median, robust_scatter};

/// Metallicities whose isochrones are drawn (dex).
const DRAWN: [f64; 2] = [0.0, -1.0];
/// Stars this near to a drawn isochrone's [Fe/H] are compared with it (dex).
const NEAR_FE_H: f64 = 0.1;
/// Stars of the red clump burn helium at nearly one gravity, cooler stars beside them are on the giant branch: within this of
/// the clump's log g, stars are left out of the comparison with the giant branch (dex).
const CLUMP_HALF_WIDTH: f64 = 0.25;
/// Lower end of the giant branch that is compared (dex).
const FAINTEST_GIANT: f64 = 3.4;
/// Where the trend with [Fe/H] is measured: above the clump, where only the giant branch is (dex).
const TREND_LOGG: (f64, f64) = (1.2, 2.1);
/// Width of the bins in which the most common log g is sought (dex).
const LOGG_BIN: f64 = 0.1;

/// The numbers of the Kiel diagram.
#[derive(Debug, Clone, Serialize)]
pub struct Kiel {
    /// Age of the isochrones in 10^9 years.
    pub age_gyr: f64,
    /// Test stars with estimates.
    pub n_stars: usize,
    /// Estimates near the isochrones that are drawn.
    pub isochrones: Vec<IsochroneAgreement>,
    /// All estimates against isochrones of their own [Fe/H].
    pub estimates: Agreement,
    /// The catalogue's labels in the same way.
    pub catalogue: Agreement,
    /// How Teff goes with [Fe/H] at fixed log g.
    pub trend: Option<MetallicityTrend>,
    /// The red clump: helium burns in the core.
    pub red_clump: Option<Clump>,
    /// The bump of the giant branch: the hydrogen shell meets the matter that convection once mixed.
    pub bump: Option<Bump>,
}

/// Stars beside the giant branch of isochrones at their gravity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Agreement {
    /// Stars compared.
    pub n_stars: usize,
    /// Median of Teff - Teff of the isochrone (K).
    pub median_offset: f64,
    /// 1.4826 median absolute deviation of the same (K).
    pub robust_scatter: f64,
}

/// Stars near the [Fe/H] of a drawn isochrone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct IsochroneAgreement {
    /// [Fe/H] of the isochrone (dex).
    pub fe_h: f64,
    /// How far stars may be from it (dex).
    pub within: f64,
    /// What was found.
    #[serde(flatten)]
    pub agreement: Agreement,
}

/// How Teff goes with [Fe/H] at fixed log g, on the giant branch above the clump.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MetallicityTrend {
    /// log g from (dex).
    pub logg_min: f64,
    /// log g to (dex).
    pub logg_max: f64,
    /// Stars.
    pub n_stars: usize,
    /// d Teff / d [Fe/H] of the estimates (K / dex), by least squares with a slope in log g.
    pub estimates: f64,
    /// The same of the catalogue.
    pub catalogue: f64,
    /// Of isochrones, between [Fe/H] = -1 and 0 in the middle of that range.
    pub isochrones: f64,
}

/// The red clump.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Clump {
    /// Where the isochrone of [Fe/H] = 0 has it: Teff (K).
    pub teff: f64,
    /// See `teff`: log g (dex).
    pub logg: f64,
    /// log g at which most stars are, in bins, between 2 and 3 (dex).
    pub commonest_logg: f64,
    /// Width of those bins (dex).
    pub bin: f64,
    /// Stars in that bin.
    pub n_in_bin: usize,
    /// Stars within 0.25 dex of the isochrone's clump.
    pub n_near: usize,
}

/// The bump of the giant branch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bump {
    /// Where the isochrone of [Fe/H] = 0 has it: Teff (K).
    pub teff: f64,
    /// See `teff`: log g (dex).
    pub logg: f64,
}

/// What the diagram is drawn from.
#[derive(Debug, Clone)]
pub struct KielDiagram {
    /// Teff, log g, [Fe/H] as estimated.
    pub estimates: [Vec<f64>; 3],
    /// The same of the catalogue.
    pub catalogue: [Vec<f64>; 3],
    /// The isochrones that are drawn.
    pub isochrones: Vec<Isochrone>,
    /// The red clump of the isochrone of [Fe/H] = 0.
    pub red_clump: Option<Gathering>,
    /// Its bump.
    pub bump: Option<Gathering>,
}

/// The isochrone of this metallicity and the settings' age; none where no file has one.
pub(super) fn isochrone_at(settings: &LabSettings, fe_h: f64) -> Result<Option<Isochrone>> {
    Ok(Isochrone::interpolate_fe_h(&all(settings)?, fe_h, settings.age_gyr))
}

/// Whether there is an isochrone of the Sun's metallicity at the age asked for.
///
/// # Errors
/// Errors of reading; [`Error::Config`] with the ages that there are.
pub(super) fn check(settings: &LabSettings) -> Result<()> {
    if isochrone_at(settings, 0.0)?.is_some() {
        return Ok(());
    }
    let mut ages: Vec<f64> = all(settings)?.iter().map(|one| one.age_gyr).collect();
    ages.sort_by(f64::total_cmp);
    ages.dedup_by(|a, b| (*a / *b - 1.0).abs() < 0.01);
    let known: Vec<String> = ages.iter().map(|age| format!("{age:.2}")).collect();
    let age = settings.age_gyr;
    let remedy = format!("there are {} (in 10^9 years); name files of your own in lab.isochrones", known.join(", "));
    Err(Error::Config(format!("lab.age_gyr = {age}: no isochrones of this age reach [Fe/H] = 0; {remedy}")))
}

fn all(settings: &LabSettings) -> Result<Vec<Isochrone>> {
    if settings.isochrones.is_empty() {
        return Isochrone::shipped();
    }
    let mut all = Vec::new();
    for path in &settings.isochrones {
        all.extend(Isochrone::read(path)?);
    }
    Ok(all)
}

/// Compares estimates and catalogue with isochrones.
pub(super) fn compare(predictions: &Predictions, settings: &LabSettings) -> Result<(Kiel, KielDiagram)> {
    let all = all(settings)?;
    let at = |fe_h: f64| Isochrone::interpolate_fe_h(&all, fe_h, settings.age_gyr);
    let position = |name: &str| predictions.label_names.iter().position(|known| known == name).unwrap_or(0);
    let positions = [position("teff"), position("logg"), position("fe_h")];
    let columns = |labels: &Array2<f64>| positions.map(|k| labels.column(k).to_vec());
    let estimates = columns(&predictions.estimates.labels);
    let catalogue = columns(&predictions.catalogue);
    let solar = at(0.0);
    let red_clump = solar.as_ref().and_then(Gathering::red_clump);
    let bump = solar.as_ref().and_then(Gathering::rgb_bump);
    let clump_logg = red_clump.as_ref().map_or(f64::NAN, |clump| clump.logg);
    let is_compared =
        |logg: f64| logg < FAINTEST_GIANT && ((logg - clump_logg).abs() > CLUMP_HALF_WIDTH || clump_logg.is_nan());
    let agreement = |stars: &[Vec<f64>; 3]| {
        let offset = |star: usize| -> Option<f64> {
            let [teff, logg, fe_h] = [0, 1, 2].map(|k| stars[k][star]);
            let isochrone = is_compared(logg).then(|| at(fe_h)).flatten()?;
            Some(teff - isochrone.teff_at_logg(logg)?)
        };
        summed_up(&(0..stars[0].len()).filter_map(offset).collect::<Vec<f64>>())
    };
    let near = |fe_h: f64| -> Option<IsochroneAgreement> {
        let isochrone = at(fe_h)?;
        let [teff, logg, metals] = &estimates;
        let stars =
            (0..teff.len()).filter(|star| (metals[*star] - fe_h).abs() <= NEAR_FE_H && is_compared(logg[*star]));
        let offsets: Vec<f64> =
            stars.filter_map(|star| Some(teff[star] - isochrone.teff_at_logg(logg[star])?)).collect();
        Some(IsochroneAgreement { fe_h, within: NEAR_FE_H, agreement: summed_up(&offsets) })
    };
    let kiel = Kiel {
        age_gyr: settings.age_gyr,
        n_stars: estimates[0].iter().filter(|teff| teff.is_finite()).count(),
        isochrones: DRAWN.into_iter().filter_map(near).collect(),
        estimates: agreement(&estimates),
        catalogue: agreement(&catalogue),
        trend: trend(&estimates, &catalogue, &at),
        red_clump: red_clump.as_ref().and_then(|place| clump(place, &estimates[1])),
        bump: bump.as_ref().map(|place| Bump { teff: place.teff, logg: place.logg }),
    };
    let diagram =
        KielDiagram { estimates, catalogue, isochrones: DRAWN.into_iter().filter_map(at).collect(), red_clump, bump };
    Ok((kiel, diagram))
}

fn summed_up(offsets: &[f64]) -> Agreement {
    Agreement { n_stars: offsets.len(), median_offset: median(offsets), robust_scatter: robust_scatter(offsets) }
}

fn trend(
    estimates: &[Vec<f64>; 3],
    catalogue: &[Vec<f64>; 3],
    at: &dyn Fn(f64) -> Option<Isochrone>,
) -> Option<MetallicityTrend> {
    let (low, high) = TREND_LOGG;
    let middle = 0.5 * (low + high);
    let isochrones = at(0.0)?.teff_at_logg(middle)? - at(-1.0)?.teff_at_logg(middle)?;
    let (n_stars, of_estimates) = slope(estimates)?;
    let (_, of_catalogue) = slope(catalogue)?;
    Some(MetallicityTrend {
        logg_min: low,
        logg_max: high,
        n_stars,
        estimates: of_estimates,
        catalogue: of_catalogue,
        isochrones,
    })
}

/// Stars above the clump, and their d Teff / d [Fe/H]: Teff = a + b log g + c [Fe/H] by least squares.
fn slope([teff, logg, fe_h]: &[Vec<f64>; 3]) -> Option<(usize, f64)> {
    let (low, high) = TREND_LOGG;
    let stars: Vec<usize> = (0..teff.len())
        .filter(|star| (low..=high).contains(&logg[*star]) && teff[*star].is_finite() && fe_h[*star].is_finite())
        .collect();
    if stars.len() < 10 {
        return None;
    }
    let of = |values: &[f64]| nalgebra::DVector::from_iterator(stars.len(), stars.iter().map(|star| values[*star]));
    let design =
        nalgebra::DMatrix::from_columns(&[nalgebra::DVector::from_element(stars.len(), 1.0), of(logg), of(fe_h)]);
    let solution = design.svd(true, true).solve(&of(teff), 1e-12).ok()?;
    Some((stars.len(), solution[2]))
}

/// The clump beside the commonest log g between 2 and 3; none without a star there.
fn clump(place: &Gathering, logg: &[f64]) -> Option<Clump> {
    let n_bins = (1.0 / LOGG_BIN).round() as usize;
    let mut counts = vec![0; n_bins];
    for value in logg.iter().filter(|value| (2.0..3.0).contains(*value)) {
        counts[(((value - 2.0) / LOGG_BIN) as usize).min(n_bins - 1)] += 1;
    }
    let most = (0..n_bins).max_by_key(|bin| counts[*bin]).filter(|bin| counts[*bin] > 0)?;
    Some(Clump {
        teff: place.teff,
        logg: place.logg,
        commonest_logg: 2.0 + (most as f64 + 0.5) * LOGG_BIN,
        bin: LOGG_BIN,
        n_in_bin: counts[most],
        n_near: logg.iter().filter(|value| (*value - place.logg).abs() <= CLUMP_HALF_WIDTH).count(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_that_follow_a_plane_give_its_slope() {
        let logg: Vec<f64> = (0..50).map(|star| 1.0 + 0.03 * f64::from(star)).collect();
        let fe_h: Vec<f64> = (0..50).map(|star| -0.8 + 0.1 * f64::from(star % 9)).collect();
        let teff: Vec<f64> = logg.iter().zip(&fe_h).map(|(g, m)| 4000.0 + 500.0 * g - 400.0 * m).collect();
        let (n_stars, slope) = slope(&[teff.clone(), logg.clone(), fe_h]).unwrap();
        let inside = logg.iter().filter(|g| (TREND_LOGG.0..=TREND_LOGG.1).contains(*g)).count();
        assert_eq!(n_stars, inside);
        assert!((slope + 400.0).abs() < 1e-6, "{slope}");
        assert!(super::slope(&[vec![4000.0], vec![1.5], vec![0.0]]).is_none());
    }

    #[test]
    fn the_clump_is_where_most_stars_are() {
        let place = Gathering { teff: 4800.0, logg: 2.45, teff_half_width: 50.0, logg_half_width: 0.05 };
        let logg = [1.0, 2.44, 2.46, 2.41, 2.9, 2.91, 3.2];
        let clump = clump(&place, &logg).unwrap();
        assert_eq!((clump.n_in_bin, clump.n_near), (3, 3));
        assert!((clump.commonest_logg - 2.45).abs() < 1e-9);
    }
}
