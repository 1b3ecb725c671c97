//! maury: parse, run, report errors once, exit 0, 1 (failed) or 2 (the request was wrong).

use std::process::ExitCode;

use clap::Parser;

/// Tensor operations allocate and free megabytes all the time; the system's allocator hands them back to the kernel and
/// pays for every page again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An error with its causes, each said once: a message may quote its cause already.
fn whole(err: &anyhow::Error) -> String {
    err.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        _ if said.contains(&cause) => said,
        _ => format!("{said}: {cause}"),
    })
}

fn main() -> ExitCode {
    match maury::cli::execute(maury::cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            maury::cli::tell(&format!("error: {}", whole(&err)));
            ExitCode::from(err.downcast_ref::<maury::error::Error>().map_or(1, maury::error::Error::exit_code))
        }
    }
}
