//! maury, the program: [`maury::cli::main`] with an allocator that keeps its pages.

use std::process::ExitCode;

/// Tensor operations allocate and free megabytes all the time; the system's allocator hands them back to the kernel and
/// pays for every page again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    maury::cli::main()
}
