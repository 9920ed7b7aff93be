//! `tenants`: tools for operators of the multi-tenant system. One file a group of commands.
//!
//! Whatever the login may, every transaction runs as the role of the server's own work, bound to one tenant.

mod configuration;
mod register;
mod share;
mod transfer;

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{Exit, Failure};
use crate::tenancy::{ConfigurationError, Pooler, ShareError, Store, StoreError, StoreOptions, Tenant, TransferError};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// The database, as postgres://user@host:5432/name
    #[arg(
        long,
        value_name = "URL",
        env = "DATABASE_URL",
        hide_env_values = true,
        global = true,
        default_value = ""
    )]
    database_url: String,
    /// Connect through a pooler in transaction mode
    #[arg(long, global = true)]
    transaction_pooler: bool,
    /// Form of the output: human or json
    #[arg(long, value_name = "FORMAT", value_enum, global = true, default_value = "human")]
    format: Format,
    /// Do not ask before something is destroyed
    #[arg(long, global = true)]
    yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Human,
    Json,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List tenants, what they inherit from, and how far their configuration has migrated
    List,
    /// Show what holds for a tenant, and where it is from
    Show(configuration::Show),
    /// Set values of a tenant's configuration, or lock and unlock keys: all or none
    Set(configuration::Set),
    /// Take a tenant's own values away, so that inherited ones hold
    Unset(configuration::Unset),
    /// Show in what two tenants differ; exit 1 where they do
    Diff(configuration::Diff),
    /// Check configurations, inheritance and leftovers; exit 1 where something is wrong
    Verify(register::Verify),
    /// Bring configurations to the newest version of the schema; exit 1 where a tenant fails
    Migrate(register::Migrate),
    /// Write a tenant's configuration and documents as lines of JSON
    Export(transfer::Export),
    /// Make a tenant of what was exported: all of it or nothing
    Import(transfer::Import),
    /// Show what a tenant used
    Usage(register::UsageArgs),
    /// Let a tenant read another one's document for a time
    Share(share::Share),
    /// End that at once
    Unshare(share::Unshare),
}

/// What every command works with.
struct Desk {
    store: Store,
    format: Format,
    yes: bool,
}

pub async fn run(args: Args) -> Result<Exit, Failure> {
    if args.database_url.is_empty() {
        return Err(Failure::usage(anyhow!(
            "reach the database: give --database-url postgres://user@host:5432/name, or set DATABASE_URL"
        )));
    }
    let pooler = if args.transaction_pooler {
        Pooler::Transaction
    } else {
        Pooler::None
    };
    let options = StoreOptions::from_url(&args.database_url)
        .map_err(Failure::usage)?
        .pooler(pooler)
        .deadline(Duration::from_secs(60))
        .operator();
    let desk = Desk {
        store: Store::connect(options).await.map_err(Failure::not_run)?,
        format: args.format,
        yes: args.yes,
    };
    let ended = match args.command {
        Command::List => register::list(&desk).await,
        Command::Show(args) => configuration::show(&desk, args).await,
        Command::Set(args) => configuration::set(&desk, args).await,
        Command::Unset(args) => configuration::unset(&desk, args).await,
        Command::Diff(args) => configuration::diff(&desk, args).await,
        Command::Verify(args) => register::verify(&desk, args).await,
        Command::Migrate(args) => register::migrate(&desk, args).await,
        Command::Export(args) => transfer::export(&desk, args).await,
        Command::Import(args) => transfer::import(&desk, args).await,
        Command::Usage(args) => register::usage(&desk, args).await,
        Command::Share(args) => share::share(&desk, args).await,
        Command::Unshare(args) => share::unshare(&desk, args).await,
    };
    desk.store.close().await;
    ended
}

impl Desk {
    /// The tenant of this slug or key.
    async fn tenant(&self, name: &str) -> Result<Tenant, Failure> {
        let found = self.store.service().find(name).await?;
        found.ok_or_else(|| {
            Failure::usage(anyhow!(
                "find tenant `{name}`: there is none of this slug or key; see `tenantproof tenants list`"
            ))
        })
    }

    /// The result, as JSON or by a function that makes text of it.
    fn print<T: Serialize>(&self, value: &T, human: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        let text = match self.format {
            Format::Human => human(value),
            Format::Json => serde_json::to_string_pretty(value).map_err(Failure::usage)?,
        };
        let mut out = anstream::stdout();
        // A reader that went away (`| head`) wants no more.
        let _ = writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush());
        Ok(())
    }

    /// Asks before something is destroyed.
    fn confirm(&self, what: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure::usage(anyhow!(
                "{what}: nobody is there to confirm it; give --yes"
            )));
        }
        anstream::eprint!("{what}? Type yes: ");
        let mut answer = String::new();
        let _ = std::io::stderr().flush();
        std::io::stdin().lock().read_line(&mut answer).map_err(Failure::usage)?;
        match answer.trim() {
            "yes" => Ok(()),
            _ => Err(Failure::usage(anyhow!("{what}: not confirmed"))),
        }
    }
}

/// A bar on stderr, only for a person.
fn progress(unit: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = format!("{{spinner}} {{elapsed}} {{pos}} {unit}");
    let bar =
        ProgressBar::new_spinner().with_style(ProgressStyle::with_template(&template).expect("the template is right"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A table without decoration.
fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(head);
    for row in rows {
        table.add_row(row);
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Refusals are usage; a database that is away is not.
impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error.code() {
            Some(_) if !error.is_transient() => Self::usage(error),
            _ => Self::not_run(error),
        }
    }
}

impl From<ConfigurationError> for Failure {
    fn from(error: ConfigurationError) -> Self {
        match error {
            ConfigurationError::Store(error) => error.into(),
            other => Self::usage(other),
        }
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Store(error) => error.into(),
            TransferError::Configuration(error) => error.into(),
            other => Self::usage(other),
        }
    }
}

impl From<ShareError> for Failure {
    fn from(error: ShareError) -> Self {
        match error {
            ShareError::Store(error) => error.into(),
            other => Self::usage(other),
        }
    }
}
