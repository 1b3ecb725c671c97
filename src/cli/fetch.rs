//! `maury fetch`: the catalogue and the spectra of an experiment, from the SDSS Science Archive.

use std::fmt::Write;

use anyhow::bail;
use clap::Args;

use super::bars::Bars;
use super::{ExperimentArgs, say, signals};
use crate::data::fetch::{CatalogueOrigin, FetchPlan, FetchReport, FetchRequest, ManifestEntry, fetch, plan};
use crate::error::Error;
use crate::report::tables::cuts_table;

/// Fetch the catalogue and the spectra of an experiment from the SDSS Science Archive.
///
/// data.apstar.catalogue is asked of SkyServer where it ends in .csv, and is the archive's allStar file (4 GB) where it
/// ends in .fits; with data.archive.release = "dr19" it is Astra's table of SDSS-V (1.1 GB). Stars are selected from it as
/// by `maury run`, and their spectra go to data.apstar.spectra. What is there already is not fetched again, what broke off
/// is continued: run it again until nothing is missing.
#[derive(Debug, Args)]
#[command(after_help = "Example: maury fetch experiments/lab-dr17.toml && maury run experiments/lab-dr17.toml\n\n\
    A mirror, or a copy of the archive on disk, is named by --set data.archive.root=URL. Proxies are taken from the\n\
    environment (HTTPS_PROXY).")]
pub struct FetchArgs {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// Only say what there is to fetch, and how much; writes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Fetch the catalogue even where there is one.
    #[arg(long)]
    refresh_catalogue: bool,
}

pub fn execute(args: &FetchArgs, bars: &Bars) -> anyhow::Result<()> {
    let experiment = args.experiment.load()?;
    let config = &experiment.config;
    let Some(data) = &config.data.apstar else {
        let said = "no [data.apstar], which says where to: catalogue = \"stars.csv\", spectra = \"spectra\"";
        return Err(Error::Config(format!("{}: {said}", args.experiment.file.display())).into());
    };
    let request = FetchRequest {
        settings: &config.data.archive,
        catalogue: &data.catalogue,
        spectra: &data.spectra,
        labels: &config.labels,
        columns: &config.data.columns,
        selection: &config.selection,
        refresh_catalogue: args.refresh_catalogue,
    };
    signals::heed();
    if args.dry_run {
        return say(&planned(&plan(&request, bars)?, &request)?);
    }
    let report = fetch(&request, bars)?;
    let mut text = summary(&report)?;
    if report.failed.is_empty() && report.check(request.settings).is_ok() {
        let sets = args.experiment.sets.iter().map(|set| format!(" --set '{set}'")).collect::<String>();
        writeln!(text, "now:\n  maury run {}{sets}", args.experiment.file.display())?;
    }
    say(&text)?;
    report.check(request.settings)?;
    if !report.failed.is_empty() {
        bail!("{} spectra could not be fetched; the same command tries them again", report.failed.len());
    }
    Ok(())
}

fn planned(plan: &FetchPlan, request: &FetchRequest) -> anyhow::Result<String> {
    let mut text = String::new();
    let catalogue = match (plan.catalogue, plan.catalogue_bytes) {
        (CatalogueOrigin::Kept, _) => "there already".into(),
        (CatalogueOrigin::SkyServer, _) => "to be asked of SkyServer".into(),
        (CatalogueOrigin::Archive, bytes) => format!("to fetch, {}", bytes.map_or("of unknown size".into(), size)),
    };
    writeln!(text, "{}: {catalogue}", request.catalogue.display())?;
    let Some(spectra) = &plan.spectra else {
        writeln!(text, "which spectra, only the catalogue can tell: it is not there yet")?;
        return Ok(text);
    };
    text += &cuts_table(&spectra.cuts);
    let mut how_much = spectra.bytes.map_or("of unknown size".into(), size);
    if spectra.is_extrapolated() {
        how_much += &format!(", extrapolated from {} of them", spectra.n_sized);
    }
    writeln!(
        text,
        "{} spectra: {} present, {} to fetch, {how_much}",
        spectra.n_selected, spectra.n_present, spectra.n_to_fetch
    )?;
    for (count, what) in [
        (spectra.n_absent, "of those asked about are not in the archive"),
        (spectra.n_without_path, "have no path in the catalogue"),
    ] {
        if count > 0 {
            writeln!(text, "{count} {what}")?;
        }
    }
    Ok(text)
}

fn summary(report: &FetchReport) -> anyhow::Result<String> {
    let mut text = cuts_table(&report.cuts);
    let (n_missing, n_failed) = (report.missing.len(), report.failed.len());
    writeln!(
        text,
        "{} spectra: {} present, {} fetched ({}), {n_missing} not in the archive, {n_failed} failed",
        report.n_selected,
        report.n_present,
        report.n_fetched,
        size(report.bytes)
    )?;
    // The manifest has all.
    let named = |entry: &ManifestEntry| format!("  {}: {}\n", entry.id, entry.reason);
    text.extend(report.failed.iter().take(5).chain(report.missing.iter().take(5)).map(named));
    writeln!(text, "{}", report.manifest.display())?;
    Ok(text)
}

fn size(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
