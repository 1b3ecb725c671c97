//! The command line: one file per verb, each parses, calls and prints.

mod bars;
mod check;
mod clean;
mod compare;
mod explain;
mod fetch;
mod import;
mod init;
mod job;
mod label;
mod label_job;
mod label_out;
mod logging;
mod merge;
mod mock;
mod posterior;
mod posterior_job;
mod prepare;
mod repeats;
mod report;
mod run;
mod shard;
mod signals;
mod spectra;
mod status;
mod terminal;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::device::start_threads;
use crate::error::Error;
use crate::experiment::clean::CACHE;
use crate::experiment::load::Experiment;

pub use terminal::tell;

/// Stellar labels from spectra: The Cannon and neural networks, learned on Burn tensors and compared honestly.
///
/// One TOML file is one experiment. `maury run` takes it from catalogue and spectra to a table of bias and scatter on
/// stars the model has not seen; the folder it leaves holds models, predictions, figures and metrics.
#[derive(Debug, Parser)]
#[command(name = "maury", version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Say less: only warnings, no progress bars.
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an experiment: select, prepare, train, label the test stars, compare with the catalogue.
    Run(run::RunArgs),
    /// Only prepare the spectra of an experiment, and say what was masked and lost.
    Prepare(prepare::PrepareArgs),
    Label(label::LabelArgs),
    Merge(merge::MergeArgs),
    Status(status::StatusArgs),
    Posterior(posterior::PosteriorArgs),
    Repeats(repeats::RepeatsArgs),
    Compare(compare::CompareArgs),
    Report(report::ReportArgs),
    Fetch(fetch::FetchArgs),
    Init(init::InitArgs),
    Check(check::CheckArgs),
    Explain(explain::ExplainArgs),
    /// Make a survey to try things on: spectra and a catalogue in the formats of APOGEE DR17, with the truth beside them.
    Mock(mock::MockArgs),
    Clean(clean::CleanArgs),
    /// Make a model folder from the coefficient tables of a Cannon trained elsewhere.
    Import(import::ImportArgs),
}

/// An experiment file and what to change in it.
#[derive(Debug, Args)]
struct ExperimentArgs {
    /// The experiment, a TOML file; `configs/` and `experiments/` hold some to start from.
    file: PathBuf,
    /// Change a value: --set continuum.order=3, --set 'labels=["teff","logg"]'. May be given again.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Name of the experiment, in place of the file's name.
    #[arg(long)]
    name: Option<String>,
    /// Where experiments keep their runs.
    #[arg(long, value_name = "FOLDER", default_value = "experiments")]
    experiments: PathBuf,
}

impl ExperimentArgs {
    fn load(&self) -> crate::error::Result<Experiment> {
        Experiment::load(&self.file, &self.sets, self.name.as_deref())
    }

    /// Prepared sets of all experiments, shared where inputs and settings agree.
    fn cache(&self) -> PathBuf {
        self.experiments.join(CACHE)
    }
}

/// The whole program: reads the command line, does what it says, and reports an error once.
///
/// A crate of one's own that adds kinds of models ([`crate::kinds::registry::add`]) and then calls this is maury with those kinds.
pub fn main() -> ExitCode {
    ExitCode::from(main_with(std::env::args_os()))
}

/// The same with another command line, the program's name first; the exit code.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    match execute(Cli::parse_from(arguments)) {
        Ok(()) => 0,
        Err(err) => {
            tell(&format!("error: {}", whole(&err)));
            let stopped = || signals::code_of_stop().filter(|_| err.downcast_ref().is_some_and(Error::is_interruption));
            stopped().unwrap_or_else(|| err.downcast_ref::<Error>().map_or(1, Error::exit_code))
        }
    }
}

/// An error with its causes, each said once: a message may quote its cause already.
fn whole(err: &anyhow::Error) -> String {
    err.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        _ if said.contains(&cause) => said,
        _ => format!("{said}: {cause}"),
    })
}

/// Does what the command line says.
///
/// # Errors
/// Whatever failed, with file and remedy.
fn execute(cli: Cli) -> anyhow::Result<()> {
    logging::init(cli.quiet);
    let bars = bars::Bars::new(cli.quiet);
    // Those that have a device start what it asks for.
    if matches!(
        cli.command,
        Command::Compare(_) | Command::Merge(_) | Command::Report(_) | Command::Fetch(_) | Command::Mock(_)
    ) {
        start_threads(0)?;
    }
    match cli.command {
        Command::Run(args) => run::execute(&args, &bars),
        Command::Prepare(args) => prepare::execute(&args, &bars),
        Command::Label(args) => label::execute(&args, &bars),
        Command::Merge(args) => merge::execute(&args, &bars),
        Command::Status(args) => status::execute(&args),
        Command::Posterior(args) => posterior::execute(&args, &bars),
        Command::Repeats(args) => repeats::execute(&args, &bars),
        Command::Compare(args) => compare::execute(&args),
        Command::Report(args) => report::execute(&args),
        Command::Fetch(args) => fetch::execute(&args, &bars),
        Command::Init(args) => init::execute(&args),
        Command::Check(args) => check::execute(&args),
        Command::Explain(args) => explain::execute(&args),
        Command::Clean(args) => clean::execute(&args),
        Command::Mock(args) => mock::execute(&args, &bars),
        Command::Import(args) => import::execute(&args),
    }
}

/// Prints the answer to stdout; a reader that has seen enough (`| head`) is no error.
///
/// # Errors
/// Any other failure to write.
fn say(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(terminal::shown(text).as_bytes()).and_then(|()| stdout.flush()) {
        Err(err) if err.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::anyhow!("standard output: cannot write the answer: {err}"))
        }
        _ => Ok(()),
    }
}

/// The same of what is saved in a place.
///
/// # Errors
/// As [`say`], with that place.
fn say_of(text: &str, saved: &Path) -> anyhow::Result<()> {
    say(text).map_err(|err| anyhow::anyhow!("{err}; nothing is lost: {} is written", saved.display()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
