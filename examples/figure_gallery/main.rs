//! Draws figures of made-up data, to look at them after a change: `cargo run --release --example figure_gallery -- FOLDER [NAME]`,
//! all of them or those whose names begin with NAME.

use std::path::PathBuf;

use maury::stats::normal::draw as normal;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

mod calibration;
mod giants;
mod mock_spectra;
mod posteriors;
mod rows;
mod spectra;

const NAMES: [&str; 5] = ["Teff", "log g", "[Fe/H]", "[Mg/Fe]", "[Si/Fe]"];
const UNITS: [&str; 5] = ["K", "dex", "dex", "dex", "dex"];
const ERRORS: [f64; 5] = [11.0, 0.03, 0.011, 0.013, 0.012];

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| "gallery".into()));
    let wanted = arguments.next().unwrap_or_default();
    std::fs::create_dir_all(&folder)?;
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut figures = posteriors::figures(&mut random)?;
    figures.extend(calibration::figures(&mut random)?);
    let mock = mock_spectra::MockSpectra::new(&mut random)?;
    figures.extend(rows::figures(&mock, &mut random)?);
    figures.extend(spectra::figures(&mock, &mut random)?);
    figures.extend(giants::figures(&mut random)?);
    for (name, figure) in figures.into_iter().filter(|(name, _)| name.starts_with(&wanted)) {
        std::fs::write(folder.join(format!("{name}.svg")), &figure.svg)?;
        let png = figure.png()?;
        std::fs::write(folder.join(format!("{name}.png")), &png)?;
        println!("{name}: SVG of {} kB, PNG of {} kB", figure.svg.len() / 1000, png.len() / 1000);
    }
    Ok(())
}
