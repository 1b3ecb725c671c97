//! `maury init`: a commented experiment to begin with.

use std::path::PathBuf;

use clap::Args;

use super::say;
use crate::data::files;
use crate::error::Error;
use crate::experiment::presets::Start;

/// Write a commented experiment to begin with.
///
/// The file extends a preset that is part of the program (`extends = "maury:lab"`), so that it runs in any folder. It is yours: change
/// it at will. One that is there already stays as it is.
#[derive(Debug, Args)]
#[command(after_help = "Example: maury init survey mine && cd mine && maury check survey.toml")]
pub struct InitArgs {
    /// What to begin with.
    #[arg(value_enum)]
    start: Start,
    /// Where to write it; made if it is not there.
    #[arg(default_value = ".")]
    folder: PathBuf,
}

pub fn execute(args: &InitArgs) -> anyhow::Result<()> {
    let (name, text) = args.start.file();
    let path = args.folder.join(name);
    if path.exists() {
        let detail = "is there already, and is left as it is; remove it, or name another folder";
        return Err(Error::Config(format!("{} {detail}", path.display())).into());
    }
    files::create_folder(&args.folder)?;
    files::write_bytes(&path, text)?;
    say(&format!("{}: read it, then `maury run {}`\n", path.display(), path.display()))
}
