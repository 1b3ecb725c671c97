//! `maury mock`: a survey that needs no network.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use super::bars::{Bars, heed_ctrl_c};
use super::say;
use crate::mock::{MockSettings, survey};

/// Make a survey to try things on.
///
/// Red giants are drawn as APOGEE DR17 found them, get model spectra (physics, not a polynomial in the labels), and are
/// observed: through fibres whose response and resolution differ, under airglow and absorbing air, in one to six visits,
/// with noise, cosmic rays, bad pixels and their mask bits. About 3% of them are pathological, and some 8% more stars are
/// there for cuts to remove.
///
/// OUT then holds allStar.fits and spectra/, in the formats of DR17, and truth.csv: what every star really is, beside the
/// catalogue that knows it with errors, and a column `pathology`. Everything that works on the real survey works on it.
#[derive(Debug, Args)]
#[command(after_help = "Example: maury mock --stars 400 mock && \\\n    \
    maury run configs/apogee.toml --set data.apstar.catalogue=mock/allStar.fits \\\n        \
    --set data.apstar.spectra=mock/spectra --set data.truth=mock/truth.csv\n\n\
    About 2 MB a star: 1886 stars take 4 GB.")]
pub struct MockArgs {
    /// Stars that the cuts of configs/apogee.toml leave.
    #[arg(long, value_name = "N", default_value_t = MockSettings::default().stars)]
    stars: usize,
    /// The same seed gives the same files, to the last bit.
    #[arg(long, value_name = "S", default_value_t = MockSettings::default().seed)]
    seed: u64,
    /// The folder to make; it appears when everything is in it.
    out: PathBuf,
}

pub fn execute(args: &MockArgs, bars: &Bars) -> anyhow::Result<()> {
    let settings = MockSettings { stars: args.stars, seed: args.seed };
    heed_ctrl_c();
    let summary = survey::write(&args.out, &settings, bars)?;
    let counts = |counts: &mut dyn Iterator<Item = (&str, usize)>| {
        counts.map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
    };
    let out = args.out.display();
    let mut text = String::new();
    writeln!(text, "{} spectra of giants, {} of them for the cuts to leave", summary.n_spectra, summary.n_stars)?;
    writeln!(text, "fields: {}", counts(&mut summary.fields.iter().map(|(name, count)| (name.as_str(), *count))))?;
    if !summary.pathologies.is_empty() {
        writeln!(text, "amiss: {}", counts(&mut summary.pathologies.iter().map(|(name, count)| (*name, *count))))?;
    }
    writeln!(text, "{out}: allStar.fits, spectra/, truth.csv, {:.0} MB", summary.bytes as f64 / 1e6)?;
    writeln!(text, "now:\n  maury run configs/apogee.toml --set data.apstar.catalogue={out}/allStar.fits \\")?;
    writeln!(text, "      --set data.apstar.spectra={out}/spectra --set data.truth={out}/truth.csv")?;
    say(&text)
}
