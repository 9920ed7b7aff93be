//! `snapshot`: what decides access, as text under version control.

use std::path::PathBuf;

use super::options::TargetOptions;
use super::{Exit, Failure, scratch};
use crate::introspect;
use crate::run::snapshots;
use crate::snapshot::{self, Difference};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetOptions,
    /// Compare with what was accepted; exit 1 with a diff where it differs (the default)
    #[arg(long, conflicts_with = "accept")]
    check: bool,
    /// Write what is there now as accepted
    #[arg(long)]
    accept: bool,
    /// Folder of snapshots; the files go to its sub-folder `access`
    #[arg(long, value_name = "DIR", default_value = "snapshots")]
    dir: PathBuf,
}

pub async fn run(args: Args) -> Result<Exit, Failure> {
    let resolved = args.target.resolve()?;
    let args = &args;
    scratch::with_schema(&resolved, |mut loaded| async move {
        let catalog = introspect::read_catalog_canonically(&mut loaded.conn)
            .await
            .map_err(Failure::not_run)?;
        loaded.conn.close().await;
        let current = snapshot::render(&catalog);
        let accepted = snapshots::read(&args.dir).map_err(Failure::usage)?;
        let differences = snapshot::compare(&accepted, &current);
        let folder = args.dir.join(snapshots::FOLDER);
        if args.accept {
            let written = snapshots::write(&args.dir, &current).map_err(Failure::usage)?;
            anstream::println!(
                "{}: {} files written, {} unchanged, {} removed",
                folder.display(),
                written.written,
                written.unchanged,
                written.removed
            );
            return Ok(Exit::Isolated);
        }
        if differences.is_empty() {
            anstream::println!("{}: {} files, as accepted", folder.display(), current.len());
            return Ok(Exit::Isolated);
        }
        for difference in &differences {
            match difference {
                Difference::Added { name } => anstream::println!("added {name}"),
                Difference::Removed { name } => anstream::println!("removed {name}"),
                Difference::Changed { name, diff } => anstream::println!("changed {name}\n{diff}"),
            }
        }
        anstream::println!(
            "{} of {} files differ from {}; review them, then accept them with `tenantproof snapshot --accept`",
            differences.len(),
            current.len(),
            folder.display()
        );
        Ok(Exit::Findings)
    })
    .await
}
