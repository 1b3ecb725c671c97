//! Known lines in real spectra, and in what a Cannon trained on real spectra says of [alpha/Fe].

use maury::data::apstar;
use maury::data::linelist::{atomic_lines, co_band_heads};
use maury::data::table::Table;
use maury::spectra::features::{KnownLine, coincidence, matches, strongest_features};
use maury::spectra::grid::{APOGEE_N_PIXELS, WavelengthGrid, air_wavelength};
use maury::spectra::line_offsets::line_offsets;
use maury::spectra::pixmask::{self, PixmaskSettings};

use crate::support::real_data;

/// The strongest lines looked for in a spectrum.
const N_LINES: usize = 40;

#[test]
fn real_spectra_are_at_rest_and_in_vacuum() {
    let Some(folder) = real_data("apstar") else { return };
    let (grid, lines) = (WavelengthGrid::apogee(), atomic_lines().unwrap());
    let in_air: Vec<_> = lines
        .iter()
        .cloned()
        .map(|mut line| {
            line.wavelength = air_wavelength(line.wavelength);
            line
        })
        .collect();
    // The second star has 3645 K: molecules crowd and shift the minima of its weaker lines.
    for (file, largest_scatter) in [
        ("mystery_spec_wiped.fits", 0.3),
        ("apStar-dr17-2M17335483-2753043.fits", 1.2),
        ("apStar-dr17-2M19485057+5005279.fits", 0.3),
    ] {
        let raw = apstar::read(&folder.join(file)).unwrap();
        let settings = PixmaskSettings::default();
        let (masked, _) = pixmask::apply(
            &raw.raw_flux,
            &raw.raw_error,
            &raw.pixmask,
            &settings.places(&grid, &grid.chip_cores()),
            &settings,
        );
        let found = line_offsets(&masked.flux, &masked.ivar, &lines, &grid, N_LINES).unwrap();
        // A pixel is 4.1 km/s.
        assert!(found.median.abs() < 0.3, "{file}: {}", found.median);
        assert!(found.robust_scatter < largest_scatter, "{file}: {}", found.robust_scatter);
        assert!(found.lines.len() > 30, "{file}: {}", found.lines.len());
        // Where air wavelengths point, minima are fewer and lie anywhere.
        let lost = line_offsets(&masked.flux, &masked.ivar, &in_air, &grid, N_LINES).unwrap();
        assert!(lost.lines.len() < found.lines.len(), "{file}: {} {}", lost.lines.len(), found.lines.len());
        assert!(lost.robust_scatter > 2.0, "{file}: {}", lost.robust_scatter);
    }
}

#[test]
fn what_a_real_cannon_knows_of_alpha_are_lines_of_alpha_elements() {
    let Some(path) = real_data("cannon_dr10/coefficients.csv") else { return };
    let mut table = Table::open(&path).unwrap();
    let rows = 0..table.n_rows();
    let pixels = table.numbers("pix8575", rows.clone(), "").unwrap();
    // Term 4 of `terms.csv`: the flux's derivative with respect to [alpha/Fe] at the baseline labels.
    let gradient = table.numbers("c04", rows, "").unwrap();
    let (mut values, mut is_usable) = (vec![0.0; APOGEE_N_PIXELS], vec![false; APOGEE_N_PIXELS]);
    for (pixel, value) in pixels.iter().zip(&gradient) {
        (values[*pixel as usize], is_usable[*pixel as usize]) = (*value, true);
    }
    let grid = WavelengthGrid::apogee();
    let features = strongest_features(&values, &is_usable, &grid, 30, 5.0);
    let mut known: Vec<KnownLine> = atomic_lines().unwrap().iter().map(KnownLine::from).collect();
    known.extend(co_band_heads().iter().map(KnownLine::from));
    let of = |species: &[&str]| {
        let lines: Vec<KnownLine> =
            known.iter().filter(|line| species.iter().any(|name| line.name.starts_with(name))).cloned().collect();
        coincidence(&features, &lines, &is_usable, &grid, 2.0)
    };
    // Counted independently in Python: 9 on magnesium, 2 on silicon, none on iron.
    let (magnesium, silicon, iron) = (of(&["Mg I"]), of(&["Si I"]), of(&["Fe I"]));
    assert_eq!((magnesium.n_coincident, magnesium.n_lines_found, magnesium.n_lines), (9, 9, 10));
    assert_eq!((silicon.n_coincident, iron.n_coincident), (2, 0));
    assert!((magnesium.chance - 0.0055).abs() < 1e-4 && magnesium.p_value < 1e-12, "{magnesium:?}");
    assert_eq!(iron.p_value, 1.0);
    // Oxygen is an alpha element too: every head of carbon monoxide is there. Together 18 of 30.
    assert_eq!((of(&["CO"]).n_coincident, of(&["Mg I", "Si I", "CO"]).n_coincident), (7, 18));
    let strongest = &matches(&features, &known, &grid, 2.0)[0];
    assert_eq!(strongest.nearest.as_ref().unwrap().line.name, "Mg I");
    assert!((strongest.feature.wavelength - 16_369.2).abs() < 0.1 && strongest.feature.value < 0.0);
}
