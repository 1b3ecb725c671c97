//! The folder of a star in SDSS-V's reduction: the HEALPix pixel of its position, which its name gives.
//!
//! Ring order, `N_SIDE` = 128: Gorski et al. 2005, ApJ 622, 759. That the pipeline takes the position from the
//! name: `obj2healpix` of apogee_drp 1.3. The catalogue's own `healpix` is of the catalogued position, and can differ at a border.

use std::f64::consts::{FRAC_PI_2, TAU};

/// Pixels along a side of each of the sphere's twelve squares.
const N_SIDE: i64 = 128;

/// The pixel of a star called in 2MASS style, `2M17335483-2753043`: hours, minutes, seconds to two decimals; degrees, minutes,
/// seconds to one. `None` for other names.
pub(super) fn of_name(name: &str) -> Option<i64> {
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
    ((0.0..24.0).contains(&hours) && degrees <= 90.0).then(|| pixel(hours * 15.0, signed))
}

/// The pixel of a position in degrees.
fn pixel(right_ascension: f64, declination: f64) -> i64 {
    let z = declination.to_radians().sin();
    // In quarters of a turn.
    let turn = right_ascension.to_radians().rem_euclid(TAU) / FRAC_PI_2;
    let n_pixels = 12 * N_SIDE * N_SIDE;
    let side = N_SIDE as f64;
    if z.abs() <= 2.0 / 3.0 {
        let (along, across) = (side * (0.5 + turn), side * z * 0.75);
        let (rising, falling) = ((along - across).floor() as i64, (along + across).floor() as i64);
        // Rings from the equatorial belt's first, 1 to 2 N_SIDE + 1.
        let ring = N_SIDE + 1 + rising - falling;
        let shift = 1 - ring.rem_euclid(2);
        let in_ring = (rising + falling - N_SIDE + shift + 1).div_euclid(2).rem_euclid(4 * N_SIDE);
        return 2 * N_SIDE * (N_SIDE - 1) + (ring - 1) * 4 * N_SIDE + in_ring;
    }
    let within = turn.fract();
    let width = side * (3.0 * (1.0 - z.abs())).sqrt();
    // Counted from the nearer pole.
    let ring = (within * width).floor() as i64 + ((1.0 - within) * width).floor() as i64 + 1;
    let in_ring = ((turn * ring as f64).floor() as i64).rem_euclid(4 * ring);
    if z > 0.0 { 2 * ring * (ring - 1) + in_ring } else { n_pixels - 2 * ring * (ring + 1) + in_ring }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Right ascension and declination of a pixel's centre in degrees, by the rings of the paper: the other way round.
    fn centre(pixel: i64) -> (f64, f64) {
        let (side, n_pixels, cap) = (N_SIDE, 12 * N_SIDE * N_SIDE, 2 * N_SIDE * (N_SIDE - 1));
        let of_cap = |pixel: i64| {
            let mut ring = 1;
            while 2 * ring * (ring + 1) <= pixel {
                ring += 1;
            }
            (ring, pixel - 2 * ring * (ring - 1))
        };
        let polar = |ring: i64| 1.0 - (ring * ring) as f64 / (3 * side * side) as f64;
        let (turn, z) = if pixel < cap {
            let (ring, place) = of_cap(pixel);
            ((place as f64 + 0.5) / ring as f64, polar(ring))
        } else if pixel < n_pixels - cap {
            let (ring, place) = ((pixel - cap) / (4 * side), (pixel - cap) % (4 * side));
            let shift = if ring % 2 == 0 { 0.5 } else { 0.0 };
            ((place as f64 + shift) / side as f64, (side - ring) as f64 * 2.0 / (3 * side) as f64)
        } else {
            let (ring, place) = of_cap(n_pixels - 1 - pixel);
            ((4 * ring - 1 - place) as f64 / ring as f64 + 0.5 / ring as f64, -polar(ring))
        };
        (turn * 90.0, z.asin().to_degrees())
    }

    #[test]
    fn every_pixel_holds_its_centre() {
        for number in 0..12 * N_SIDE * N_SIDE {
            let (right_ascension, declination) = centre(number);
            assert_eq!(pixel(right_ascension, declination), number, "{right_ascension} {declination}");
        }
    }

    #[test]
    fn a_name_gives_its_pixel_and_other_names_none() {
        assert_eq!(of_name("2M00000000+9000000"), Some(0));
        assert_eq!(of_name("2M06000000+8954000"), Some(1));
        assert_eq!(of_name("2M18000000-8954000"), Some(12 * 128 * 128 - 1));
        assert_eq!(of_name("AP12000000+0000000"), of_name("2M12000000-0000000"));
        assert_eq!(of_name("2M17335483-2753043"), Some(pixel(263.478_458_333, -27.884_527_778)));
        for other in
            ["", "HD1234", "2M1733+27", "2M17335483-275304", "2M99335483-2753043", "2M1733548x-2753043", "é+2753043"]
        {
            assert_eq!(of_name(other), None, "{other}");
        }
    }
}
