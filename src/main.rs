//! maury: parse, run, report errors once, exit 0, 1 (failed) or 2 (the request was wrong).

use std::process::ExitCode;

use clap::Parser;

/// Tensor operations allocate and free megabytes all the time; the system's allocator hands them back to the kernel and
/// pays for every page again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match maury::cli::execute(maury::cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            maury::cli::remark(&format!("error: {err:#}"));
            ExitCode::from(err.downcast_ref::<maury::error::Error>().map_or(1, maury::error::Error::exit_code))
        }
    }
}
