//! Isochrones against MIST's own file, and the table in the program against what it was made from.

use maury::data::isochrone::{Isochrone, Phase};
use maury::findings::gathering::Gathering;

use crate::support::real_data;

#[test]
fn a_file_of_the_mist_web_interpolator_reads() {
    let Some(path) = real_data("isochrones/MIST_iso_5fd2532653c27.iso.cmd") else { return };
    let set = Isochrone::read(&path).unwrap();
    assert_eq!(set.len(), 1);
    let one = &set[0];
    assert_eq!((one.points.len(), one.fe_h, one.points[0].eep), (1460, -1.35, 251));
    assert_eq!(one.name, "MIST 1.2, 12 Gyr, [Fe/H] -1.35");
    assert!((one.age_gyr - 12.0).abs() < 1e-9);
    let first = &one.points[0];
    assert!((first.teff.log10() - 3.540_339_809_560_604).abs() < 1e-12 && first.phase == Phase::MainSequence);
    assert!(
        (first.logg - 5.321_375_940_106_627).abs() < 1e-12 && (first.log_l + 2.746_652_043_036_987_4).abs() < 1e-12
    );
    let (clump, bump) = (Gathering::red_clump(one).unwrap(), Gathering::rgb_bump(one).unwrap());
    // An old, metal-poor clump is hot; the bump lies on the branch, above it in luminosity.
    assert!((2.3..2.6).contains(&clump.logg) && (5000.0..6500.0).contains(&clump.teff), "{clump:?}");
    let branch = one.teff_at_logg(bump.logg).unwrap();
    assert!((branch - bump.teff).abs() < 20.0 && (1.8..2.6).contains(&bump.logg), "{bump:?} {branch}");
    // Models of different versions: at the same age and metallicity Teff of the branch differs by under 150 K.
    let shipped = Isochrone::shipped().unwrap();
    let near = Isochrone::interpolate_fe_h(&shipped, -1.35, 6.0).unwrap();
    for logg in [3.0, 2.0, 1.0] {
        let difference = one.teff_at_logg(logg).unwrap() - near.teff_at_logg(logg).unwrap();
        assert!(difference.abs() < 150.0, "log g {logg}: {difference}");
    }
}

#[test]
fn the_shipped_table_is_what_it_was_made_from() {
    let Some(folder) = real_data("isochrones") else { return };
    let mut n_compared = 0;
    for one in Isochrone::shipped().unwrap() {
        let sign = if one.fe_h < 0.0 { 'm' } else { 'p' };
        let name = format!("mist_age{:02.0}gyr_feh{sign}{:.2}.csv", one.age_gyr, one.fe_h.abs());
        let text = std::fs::read_to_string(folder.join(&name)).unwrap();
        // eep, log_age, initial_mass, star_mass, log_teff, log_g, log_l, log_r, phase
        let full: Vec<Vec<f64>> =
            text.lines().skip(1).map(|line| line.split(',').map(|text| text.parse().unwrap()).collect()).collect();
        for point in &one.points {
            let row = full.iter().find(|row| row[0] == f64::from(point.eep)).unwrap();
            assert!((point.initial_mass - row[2]).abs() < 6e-8, "{name} {}", point.eep);
            assert!((point.teff.log10() - row[4]).abs() < 6e-6, "{name} {}", point.eep);
            assert!((point.logg - row[5]).abs() < 6e-5 && (point.log_l - row[6]).abs() < 6e-5);
            assert_eq!(Phase::from_number(row[8]), Some(point.phase));
        }
        let giants = |phase| full.iter().filter(|row| row[8] == phase).count();
        let shipped = |phase| one.points.iter().filter(|point| point.phase == phase).count();
        assert_eq!((giants(2.0), giants(3.0)), (shipped(Phase::GiantBranch), shipped(Phase::CoreHelium)));
        n_compared += one.points.len();
    }
    assert_eq!(n_compared, 5836);
}
