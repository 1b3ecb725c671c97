//! Where the stars stand: fields, positions, 2MASS names, galactic coordinates, and the Earth's own velocity.

use std::f64::consts::TAU;

use super::random::Random;

/// Degrees from a field's centre within which a plate has fibres.
const RADIUS_DEG: f64 = 1.45;

/// One of the lab's four fields.
#[derive(Debug)]
pub(super) struct Field {
    /// FIELD, as in archive paths.
    pub name: &'static str,
    /// Centre: right ascension, declination [degrees, J2000].
    pub centre: (f64, f64),
    /// Share of the survey's stars.
    pub weight: f64,
    /// Probability that of two candidate stars the more metal-poor one is taken: 0.5 is the survey's average.
    pub metal_poor: f64,
    /// Mean and spread of the stars' velocities [km/s].
    pub velocity_kms: (f64, f64),
    /// Mean K-band extinction [mag].
    pub extinction_k: f64,
    /// LOCATION_ID and plate number; invented.
    pub location: i32,
    /// Plates of the field; invented.
    pub plate: i64,
}

/// The lab's fields: a halo cluster's, an old open cluster's, one towards the anticentre, one in the disc.
pub(super) const FIELDS: [Field; 4] = [
    Field {
        name: "M15",
        centre: (321.6, 12.3),
        weight: 0.20,
        metal_poor: 0.85,
        velocity_kms: (-60.0, 75.0),
        extinction_k: 0.04,
        location: 4101,
        plate: 5601,
    },
    Field {
        name: "N6791",
        centre: (290.221, 37.772),
        weight: 0.27,
        metal_poor: 0.25,
        velocity_kms: (-30.0, 45.0),
        extinction_k: 0.06,
        location: 4102,
        plate: 5621,
    },
    Field {
        name: "K2_C4_168-21",
        centre: (59.3, 25.1),
        weight: 0.23,
        metal_poor: 0.60,
        velocity_kms: (10.0, 45.0),
        extinction_k: 0.10,
        location: 4103,
        plate: 5641,
    },
    Field {
        name: "060+00",
        centre: (295.976, 23.890),
        weight: 0.30,
        metal_poor: 0.45,
        velocity_kms: (-5.0, 40.0),
        extinction_k: 0.45,
        location: 4104,
        plate: 5661,
    },
];

/// A position drawn evenly from a field's disc [degrees].
pub(super) fn position(field: &Field, random: &mut Random) -> (f64, f64) {
    let (distance, angle) = (RADIUS_DEG * random.uniform(0.0, 1.0).sqrt(), random.uniform(0.0, TAU));
    let dec = field.centre.1 + distance * angle.sin();
    let ra = field.centre.0 + distance * angle.cos() / dec.to_radians().cos();
    // As many decimals as the catalogue prints.
    ((ra * 1e6).round() / 1e6, (dec * 1e6).round() / 1e6)
}

/// The 2MASS-style name of a position: hours to 0.01 s, degrees to 0.1", both cut, not rounded.
pub(super) fn apogee_id(ra_deg: f64, dec_deg: f64) -> String {
    // A hair above the cut, so that a position that lies on it is not pushed below by the last bit.
    let time = (ra_deg / 15.0 * 360_000.0 + 1e-6) as u64;
    let angle = (dec_deg.abs() * 36_000.0 + 1e-6) as u64;
    let sign = if dec_deg < 0.0 { '-' } else { '+' };
    let (hours, minutes, centiseconds) = (time / 360_000, time / 6000 % 60, time % 6000);
    let (degrees, arcmin, tenths) = (angle / 36_000, angle / 600 % 60, angle % 600);
    format!("2M{hours:02}{minutes:02}{centiseconds:04}{sign}{degrees:02}{arcmin:02}{tenths:03}")
}

/// Galactic longitude and latitude [degrees]; pole and node of the Hipparcos catalogue (ESA 1997, vol. 1, sect. 1.5.3).
pub(super) fn galactic(ra_deg: f64, dec_deg: f64) -> (f64, f64) {
    let (pole_ra, pole_dec, pole_longitude) = (192.85948_f64, 27.12825_f64.to_radians(), 122.93192);
    let (ra, dec) = ((ra_deg - pole_ra).to_radians(), dec_deg.to_radians());
    let latitude = (dec.sin() * pole_dec.sin() + dec.cos() * pole_dec.cos() * ra.cos()).asin();
    let longitude = (dec.cos() * ra.sin()).atan2(dec.sin() * pole_dec.cos() - dec.cos() * pole_dec.sin() * ra.cos());
    ((pole_longitude - longitude.to_degrees()).rem_euclid(360.0), latitude.to_degrees())
}

/// Mean longitude of the Sun at a Julian date [degrees].
pub(super) fn sun_longitude(jd: f64) -> f64 {
    (280.46 + 0.985_647_4 * (jd - 2_451_545.0)).rem_euclid(360.0)
}

/// What the Earth's orbit adds to an observed velocity to make it barycentric [km/s], on a circular orbit and without the
/// Earth's rotation: good to 1 km/s.
pub(super) fn barycentric_kms(jd: f64, ra_deg: f64, dec_deg: f64) -> f64 {
    let obliquity = 23.439_f64.to_radians();
    let (ra, dec) = (ra_deg.to_radians(), dec_deg.to_radians());
    // The star's direction in ecliptic coordinates.
    let x = dec.cos() * ra.cos();
    let y = dec.cos() * ra.sin() * obliquity.cos() + dec.sin() * obliquity.sin();
    // The Earth moves towards 90 degrees behind the Sun.
    let towards = (sun_longitude(jd) - 90.0).to_radians();
    29.79 * (x * towards.cos() + y * towards.sin())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_stars_get_their_real_names_and_galactic_coordinates() {
        let stars = [
            (263.478474, -27.884539, "2M17335483-2753043", 359.5225071703375, 2.739284701801576),
            (297.210723, 50.091099, "2M19485057+5005279", 83.47631990470005, 12.01944779245452),
        ];
        for (ra, dec, name, longitude, latitude) in stars {
            assert_eq!(apogee_id(ra, dec), name);
            let (l, b) = galactic(ra, dec);
            assert!((l - longitude).abs() < 3e-4 && (b - latitude).abs() < 3e-4, "{l} {b}");
        }
    }

    #[test]
    fn the_barycentric_correction_is_that_of_real_visits() {
        // BC1 and BC2 of the real file of 2M17335483-2753043.
        for (jd, correction) in [(2_456_396.99199, 25.757), (2_456_433.88234, 12.178)] {
            let computed = barycentric_kms(jd, 263.478474, -27.884539);
            assert!((computed - correction).abs() < 1.0, "{computed} {correction}");
        }
    }

    #[test]
    fn stars_stay_on_their_plate() {
        let mut random = Random::new(3, 0);
        for field in &FIELDS {
            for _ in 0..200 {
                let (ra, dec) = position(field, &mut random);
                let across = (ra - field.centre.0) * dec.to_radians().cos();
                assert!(across.hypot(dec - field.centre.1) < 1.5);
            }
        }
    }
}
