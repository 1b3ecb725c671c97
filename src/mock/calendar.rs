//! When a field is observed: nights on which it is high, and how headers write them.

use super::random::Random;
use super::sky::sun_longitude;

/// Typical days between a star's visits.
const BETWEEN_VISITS: f64 = 20.0;
/// Modified Julian dates of the survey's first and last night: 2011-09-01 and 2019-12-31.
const NIGHTS: (f64, f64) = (55_805.0, 58_848.0);
const JD_OF_MJD_0: f64 = 2_400_000.5;
const JD_OF_UNIX_0: f64 = 2_440_587.5;

/// Julian dates of `n` visits in time: nights on which the Sun is far from the field, weeks apart or a season.
pub(super) fn nights(n: usize, ra_deg: f64, random: &mut Random) -> Vec<f64> {
    let mut nights: Vec<f64> = Vec::with_capacity(n);
    let mut mjd = random.uniform(NIGHTS.0, NIGHTS.1 - 700.0).floor();
    while nights.len() < n {
        // Night at the Apache Point Observatory, in days UTC.
        let jd = JD_OF_MJD_0 + mjd + random.uniform(0.1, 0.5);
        // At 180 degrees the field is highest at midnight.
        let from_sun = (sun_longitude(jd) - ra_deg).rem_euclid(360.0);
        if (from_sun - 180.0).abs() < 75.0 {
            nights.push((jd * 1e5).round() / 1e5);
            // The waiting times of a random process, a night at least.
            mjd += (1.0 - BETWEEN_VISITS * (1.0 - random.uniform(0.0, 1.0)).ln()).floor();
        } else {
            mjd += 1.0;
        }
    }
    nights
}

/// The night in which a moment lies.
pub(super) fn mjd(jd: f64) -> i64 {
    (jd - JD_OF_MJD_0) as i64
}

/// DATE-OBS of a moment: ISO 8601, to the millisecond.
pub(super) fn date(jd: f64) -> String {
    let milliseconds = ((jd - JD_OF_UNIX_0) * 86_400_000.0).round() as i64;
    let moment = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    moment.strftime("%Y-%m-%dT%H:%M:%S%.3f").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_a_real_header() {
        // JD1 is rounded to 1e-5 day, about a second.
        assert!(date(2_456_396.99199).starts_with("2013-04-14T11:48"));
        assert_eq!((mjd(2_456_396.98), date(2_451_545.0)), (56_396, "2000-01-01T12:00:00.000".to_string()));
    }

    #[test]
    fn fields_are_observed_at_night_and_in_time() {
        let mut random = Random::new(9, 0);
        for _ in 0..50 {
            let nights = nights(6, 322.0, &mut random);
            for jd in &nights {
                let from_sun = (sun_longitude(*jd) - 322.0).rem_euclid(360.0);
                assert!((100.0..260.0).contains(&from_sun), "{jd}");
            }
            assert!(nights.windows(2).all(|pair| mjd(pair[1]) > mjd(pair[0])), "{nights:?}");
        }
    }
}
