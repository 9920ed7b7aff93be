//! `inspect`: what was found out, as a target file with the reasons.

use super::options::TargetOptions;
use super::{Exit, Failure, scratch};
use crate::introspect;
use crate::run::infer;
use crate::world::{Class, Classes};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetOptions,
}

pub async fn run(args: Args) -> Result<Exit, Failure> {
    let resolved = args.target.resolve()?;
    let file = &resolved.file;
    scratch::with_schema(&resolved, |mut loaded| async move {
        let catalog = introspect::read_catalog(&mut loaded.conn)
            .await
            .map_err(Failure::not_run)?;
        let (sessions, guesses) = if file.session.is_empty() {
            infer::sessions(&catalog, &loaded.roles_before)
        } else {
            (file.session.clone(), Vec::new())
        };
        loaded.conn.close().await;
        let classes = Classes::infer(&catalog, &sessions, &file.tenancy);
        let mut text = format!(
            "# {} relations, {} policies, {} functions\n",
            catalog.relations.len(),
            catalog.policy_count(),
            catalog.functions.len()
        );
        for guess in &guesses {
            text += &format!("# {}: {}\n", guess.what, guess.reason);
        }
        text += "\n# columns that hold a tenant or a user\n";
        for table in catalog.tables().filter(|t| !t.is_partition) {
            for (class, word) in [
                (Class::Tenant, "tenant"),
                (Class::User, "user"),
                (Class::Email, "e-mail"),
            ] {
                let columns = classes.columns_of(table, class);
                if !columns.is_empty() {
                    text += &format!("#   {}: {word} in {}\n", table.name, columns.join(", "));
                }
            }
        }
        let mut tenancy = file.tenancy.clone();
        if tenancy.root.is_none() {
            tenancy.root = catalog
                .tables()
                .find(|t| classes.is_root(t.oid))
                .map(|t| t.name.to_string());
        }
        #[derive(serde::Serialize)]
        struct Shown<'a> {
            tenancy: crate::model::Tenancy,
            session: &'a [crate::model::Session],
        }
        let shown = toml::to_string(&Shown {
            tenancy,
            session: &sessions,
        })
        .map_err(Failure::not_run)?;
        anstream::println!("{text}\n{shown}");
        if sessions.is_empty() {
            return Ok(Exit::Inconclusive);
        }
        Ok(Exit::Isolated)
    })
    .await
}
