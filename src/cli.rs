//! The command line: arguments in, an exit code out. One file a subcommand.
//!
//! Sole user of clap and anyhow. Errors end here, each as one message that says what failed, where, and what to do.

mod exit;
mod explain;
mod inspect;
mod options;
mod presets;
mod scratch;
mod snapshot;
mod tenants;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use exit::Exit;

/// Proves, by running it, that no tenant of a PostgreSQL database can read, change or notice another tenant's data.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load the schema into a scratch database, grow two tenants, and try to make anything cross
    Verify(verify::Args),
    /// Write or check what decides access, as text for review
    Snapshot(snapshot::Args),
    /// Show what was found out about tenants and sessions, as a target file
    Inspect(inspect::Args),
    /// Print the manual page of a rule, or list the rules
    Explain(explain::Args),
    /// Look after the tenants of a database with the schema in policies/
    Tenants(tenants::Args),
}

/// A failure and the exit code it has.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Usage,
            error: error.into(),
        }
    }

    fn not_run(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::NotRun,
            error: error.into(),
        }
    }
}

/// Parses the arguments, runs the subcommand, and prints what went wrong.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(code) = with_cache_folder() {
        return code;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Failure::not_run(error)),
    };
    let ended = runtime.block_on(run(cli.command));
    // A thread that waits for an endless statement must not keep the process.
    runtime.shutdown_background();
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => fail(&failure),
    }
}

/// Where the home folder takes no cache, the embedded server is told of another folder through the environment, which a
/// process cannot safely change for itself: it starts itself anew.
#[cfg(feature = "embedded")]
fn with_cache_folder() -> Option<ExitCode> {
    use std::os::unix::process::CommandExt as _;
    let (variable, folder) = crate::pg::embedded::cache_fallback()?;
    let program = std::env::current_exe().ok()?;
    let error = std::process::Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(variable, folder)
        .exec();
    Some(fail(&Failure::not_run(
        anyhow::Error::new(error).context("start again with a cache folder of its own"),
    )))
}

#[cfg(not(feature = "embedded"))]
fn with_cache_folder() -> Option<ExitCode> {
    None
}

async fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Verify(args) => verify::run(args).await,
        Command::Snapshot(args) => snapshot::run(args).await,
        Command::Inspect(args) => inspect::run(args).await,
        Command::Explain(args) => explain::run(&args),
        Command::Tenants(args) => tenants::run(args).await,
    }
}

/// The chain of an error as one text: what failed, then why.
fn fail(failure: &Failure) -> ExitCode {
    let mut parts: Vec<String> = Vec::new();
    for cause in failure.error.chain() {
        let text = cause.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
    }
    anstream::eprintln!(
        "{}error{:#}: failed to {}",
        anstyle::AnsiColor::Red.on_default().bold(),
        anstyle::Style::new(),
        parts.join(": ")
    );
    failure.exit.into()
}
