//! HEALPix pixels in ring order (Górski et al. 2005, ApJ 622, 759): SDSS-V sorts its stars into folders by them.
//!
//! Its pipeline takes the position from the star's name (`obj2healpix` of apogee_drp 1.3). The catalogue's own `healpix` is of the
//! catalogued position, and can differ at a border.

use std::f64::consts::FRAC_PI_2;

/// Pixels along a side of each of the sphere's twelve squares, as SDSS-V counts them.
pub const N_SIDE: i64 = 128;

/// The pixel of a position in degrees, counted from the north pole ring by ring, of `12 n_side^2` in all.
///
/// In the belt |z| < 2/3 (z is the sine of the declination) borders are straight in z and longitude, and two families of them
/// number the pixels; in the caps they converge at the pole.
pub fn ring_pixel(n_side: i64, ra_deg: f64, dec_deg: f64) -> i64 {
    let z = dec_deg.to_radians().sin();
    // Longitude in quarters of a turn.
    let quarters = ra_deg.rem_euclid(360.0).to_radians() / FRAC_PI_2;
    let side = n_side as f64;
    if z.abs() <= 2.0 / 3.0 {
        let rising = (side * (0.5 + quarters - 0.75 * z)).floor() as i64;
        let falling = (side * (0.5 + quarters + 0.75 * z)).floor() as i64;
        // From 0 at z = 2/3 on; every other ring begins half a pixel further east.
        let ring = n_side + rising - falling;
        let shift = ring.rem_euclid(2);
        let in_ring = (rising + falling - n_side + shift + 1).div_euclid(2).rem_euclid(4 * n_side);
        return 2 * n_side * (n_side - 1) + 4 * n_side * ring + in_ring;
    }
    let to_pole = side * (3.0 * (1.0 - z.abs())).sqrt();
    let along = quarters.fract();
    let ring = 1 + (along * to_pole).floor() as i64 + ((1.0 - along) * to_pole).floor() as i64;
    let in_ring = ((quarters * ring as f64).floor() as i64).rem_euclid(4 * ring);
    if z > 0.0 { 2 * ring * (ring - 1) + in_ring } else { 12 * n_side * n_side - 2 * ring * (ring + 1) + in_ring }
}

/// The pixel of a star called in 2MASS style, `2M17335483-2753043`: hours, minutes, seconds to two decimals; degrees, minutes,
/// seconds to one. `None` for other names.
pub fn pixel_of_name(name: &str) -> Option<i64> {
    let at = name.find(['+', '-'])?;
    let digits = |text: &str, range: std::ops::Range<usize>| -> Option<f64> {
        text.get(range).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
    };
    let right_ascension = name[..at].get(at.checked_sub(8)?..)?;
    let declination = Some(&name[at + 1..]).filter(|text| text.len() == 7)?;
    let hours = digits(right_ascension, 0..2)? + digits(right_ascension, 2..4)? / 60.0;
    let hours = hours + digits(right_ascension, 4..8)? / 360_000.0;
    let degrees = digits(declination, 0..2)? + digits(declination, 2..4)? / 60.0;
    let degrees = degrees + digits(declination, 4..7)? / 36_000.0;
    let signed = if name[at..].starts_with('-') { -degrees } else { degrees };
    ((0.0..24.0).contains(&hours) && degrees <= 90.0).then(|| ring_pixel(N_SIDE, hours * 15.0, signed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_those_of_another_program() {
        // From astropy-healpix 2.0.1, `HEALPix(nside=128, order="ring")`.
        let known = [
            (263.478474, -27.884539, 144_502),
            (320.971463, 12.736753, 77_000),
            (58.402459, 25.200335, 56_659),
            (297.210723, 50.091099, 23_037),
            (0.0, 90.0, 0),
            (0.0, -90.0, 196_604),
            (200.125, -88.5, 196_576),
            (359.999, 0.001, 97_536),
            (45.0, 41.8, 33_088),
            (45.0, -41.9, 164_159),
            (135.5, 66.6, 8160),
        ];
        for (ra, dec, pixel) in known {
            assert_eq!(ring_pixel(128, ra, dec), pixel, "{ra} {dec}");
        }
    }

    #[test]
    fn every_centre_lies_in_its_pixel() {
        for n_side in [1, 4, 128] {
            let side = n_side as f64;
            let mut pixel = 0;
            for ring in 1..4 * n_side {
                let from_pole = ring.min(4 * n_side - ring);
                // Equations 4, 5, 8 and 9 of the paper, mirrored for the south.
                let (z, n_in_ring, start) = if from_pole < n_side {
                    let z = 1.0 - (from_pole as f64 / side).powi(2) / 3.0;
                    (if ring == from_pole { z } else { -z }, 4 * from_pole, 0.5)
                } else {
                    let start = 0.5 + 0.5 * ((ring + n_side) % 2) as f64;
                    (4.0 / 3.0 - 2.0 * ring as f64 / (3.0 * side), 4 * n_side, start)
                };
                for n in 1..=n_in_ring {
                    let ra = 360.0 / n_in_ring as f64 * (n as f64 - start);
                    assert_eq!(ring_pixel(n_side, ra, z.asin().to_degrees()), pixel, "{n_side}, ring {ring}: {ra}");
                    pixel += 1;
                }
            }
            assert_eq!(pixel, 12 * n_side * n_side);
        }
    }

    #[test]
    fn a_name_gives_its_pixel_and_other_names_none() {
        assert_eq!(pixel_of_name("2M00000000+9000000"), Some(0));
        assert_eq!(pixel_of_name("2M06000000+8954000"), Some(1));
        assert_eq!(pixel_of_name("2M18000000-8954000"), Some(12 * 128 * 128 - 1));
        assert_eq!(pixel_of_name("AP12000000+0000000"), pixel_of_name("2M12000000-0000000"));
        assert_eq!(pixel_of_name("2M17335483-2753043"), Some(ring_pixel(N_SIDE, 263.478_458_333, -27.884_527_778)));
        for other in
            ["", "HD1234", "2M1733+27", "2M17335483-275304", "2M99335483-2753043", "2M1733548x-2753043", "é+2753043"]
        {
            assert_eq!(pixel_of_name(other), None, "{other}");
        }
    }
}
