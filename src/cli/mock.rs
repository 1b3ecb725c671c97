//! `maury mock`: a survey that needs no network.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use super::bars::Bars;
use super::{say_of, signals};
use crate::mock::{MockFormat, MockPhysics, MockSettings, survey};

/// Make a survey to try things on.
///
/// Red giants are drawn as APOGEE DR17 found them, get model spectra (physics, not a polynomial in the labels), and are
/// observed: through fibres whose response and resolution differ, under airglow and absorbing air, in one to six visits,
/// with noise, cosmic rays, bad pixels and their mask bits. About 3% of them are pathological, and some 8% more stars are
/// there for cuts to remove.
///
/// OUT then holds allStar.fits and spectra/, in the formats of DR17, and truth.csv: what every star really is, beside the
/// catalogue that knows it with errors, and a column `pathology`. Everything that works on the real survey works on it.
///
/// With `--format sdss-v` the same stars and spectra lie in OUT as in the archive of DR19: the table astraAllStarASPCAP, an
/// mwmStar, an mwmVisit and an apStar of each star; the second spectrum of a star is one of DR17, in that release's own way.
#[derive(Debug, Args)]
#[command(after_help = "Example: maury mock --stars 400 mock && \\\n    \
    maury run configs/apogee.toml --set data.apstar.catalogue=mock/allStar.fits \\\n        \
    --set data.apstar.spectra=mock/spectra --set data.truth=mock/truth.csv\n\n\
    About 2 MB a star: 1886 stars take 4 GB, as SDSS-V 5.5 GB.")]
pub struct MockArgs {
    /// Stars that the cuts of configs/apogee.toml leave.
    #[arg(long, value_name = "N", default_value_t = MockSettings::default().stars)]
    stars: usize,
    /// The same seed gives the same files, to the last bit.
    #[arg(long, value_name = "S", default_value_t = MockSettings::default().seed)]
    seed: u64,
    /// In whose files the survey is written; stars and spectra are the same.
    #[arg(long, value_name = "RELEASE", value_enum, default_value_t = MockSettings::default().format)]
    format: MockFormat,
    /// Whose physics the stars obey; with another than the emulator's, models that lean on it can be tried where it is wrong.
    #[arg(long, value_name = "PHYSICS", value_enum, default_value_t = MockSettings::default().physics)]
    physics: MockPhysics,
    /// The folder to make; it appears when everything is in it.
    out: PathBuf,
}

pub fn execute(args: &MockArgs, bars: &Bars) -> anyhow::Result<()> {
    let settings = MockSettings { stars: args.stars, seed: args.seed, format: args.format, physics: args.physics };
    signals::heed();
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
    let (files, fields) = match args.format {
        MockFormat::Dr17 => ("allStar.fits, spectra/", ""),
        // SDSS-V has none.
        MockFormat::SdssV => ("spectro/, apogee/", " --set 'selection.fields=[]'"),
    };
    let catalogue = survey::catalogue(&args.out, args.format);
    let (spectra, truth) = (survey::spectra(&args.out, args.format), survey::truth(&args.out));
    writeln!(text, "{out}: {files}, truth.csv, {:.0} MB", summary.bytes as f64 / 1e6)?;
    writeln!(text, "now:\n  maury run configs/apogee.toml --set data.apstar.catalogue={} \\", catalogue.display())?;
    writeln!(
        text,
        "      --set data.apstar.spectra={} --set data.truth={}{fields}",
        spectra.display(),
        truth.display()
    )?;
    say_of(&text, &args.out)
}
