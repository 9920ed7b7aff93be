//! The `tenantproof` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    tenantproof::cli::main()
}
