//! `tenants list`, `verify`, `migrate` and `usage`.

use serde::Serialize;

use super::{Desk, Exit, Failure, progress, table};
use crate::tenancy::{FutureExt as _, Migrator, Tenant, Weight};

/// A tenant, and how far its configuration has migrated.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    tenant: Tenant,
    schema_version: i32,
}

pub async fn list(desk: &Desk) -> Result<Exit, Failure> {
    let service = desk.store.service();
    let mut listed = Vec::new();
    for tenant in service.tenants().await? {
        let schema = desk
            .store
            .configurations()
            .schema()
            .in_tenant(service.context(tenant.id))
            .await?;
        listed.push(Listed {
            tenant,
            schema_version: schema.version,
        });
    }
    desk.print(&listed, |listed| {
        let slug_of = |id| {
            listed
                .iter()
                .find(|l| Some(l.tenant.id) == id)
                .map(|l| l.tenant.slug.clone())
        };
        table(
            ["SLUG", "ID", "INHERITS FROM", "STATUS", "SCHEMA"],
            listed.iter().map(|l| {
                let base = slug_of(l.tenant.base).unwrap_or_default();
                [
                    l.tenant.slug.clone(),
                    l.tenant.id.to_string(),
                    base,
                    l.tenant.status.clone(),
                    l.schema_version.to_string(),
                ]
            }),
        )
    })?;
    Ok(Exit::Isolated)
}

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// Slug or key of one tenant; all where it is left out
    tenant: Option<String>,
}

pub async fn verify(desk: &Desk, args: Verify) -> Result<Exit, Failure> {
    let only = match &args.tenant {
        Some(name) => Some(desk.tenant(name).await?.id),
        None => None,
    };
    let problems = desk.store.check_tenants(only).await?;
    desk.print(&problems, |problems| {
        let lines = problems
            .iter()
            .map(|p| format!("{} {}: {}\n", p.weight, p.slug, p.message));
        let errors = problems.iter().filter(|p| p.weight == Weight::Error).count();
        let warnings = problems.iter().filter(|p| p.weight == Weight::Warning).count();
        let notes = problems.len() - errors - warnings;
        lines.collect::<String>() + &format!("{errors} errors, {warnings} warnings, {notes} notes")
    })?;
    let is_right = problems.iter().all(|p| p.weight < Weight::Warning);
    Ok(if is_right { Exit::Isolated } else { Exit::Findings })
}

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Migrate {
    /// Slug or key of one tenant; all where it is left out
    tenant: Option<String>,
    /// Try it and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Tenants at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=10))]
    jobs: u16,
}

pub async fn migrate(desk: &Desk, args: Migrate) -> Result<Exit, Failure> {
    let mut migrator = Migrator::new(&desk.store)
        .parallelism(args.jobs.into())
        .dry_run(args.dry_run);
    if let Some(name) = &args.tenant {
        migrator = migrator.only(desk.tenant(name).await?.id);
    }
    let bar = progress("tenants");
    let report = migrator.run(|done| bar.set_position(done as u64)).await?;
    bar.finish_and_clear();
    desk.print(&report, |report| {
        let failed = report
            .failed
            .iter()
            .map(|f| format!("{}: version {}: {}\n", f.slug, f.version, f.reason));
        let verb = if report.dry_run {
            "would be migrated"
        } else {
            "migrated"
        };
        failed.collect::<String>()
            + &format!(
                "version {}: {} {verb}, {} there already, {} failed; {} values changed",
                report.target,
                report.migrated,
                report.unchanged,
                report.failed.len(),
                report.changed_values
            )
    })?;
    Ok(if report.failed.is_empty() {
        Exit::Isolated
    } else {
        Exit::Findings
    })
}

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct UsageArgs {
    /// Slug or key
    tenant: String,
    /// So many days, today included
    #[arg(long, value_name = "N", default_value_t = 30)]
    days: u32,
}

pub async fn usage(desk: &Desk, args: UsageArgs) -> Result<Exit, Failure> {
    let tenant = desk.tenant(&args.tenant).await?;
    let used = desk.store.usage().window(&desk.store, tenant.id, args.days).await?;
    desk.print(&used, |used| {
        table(
            ["METRIC", "QUANTITY"],
            used.iter().map(|(metric, n)| [metric.clone(), n.to_string()]),
        )
    })?;
    Ok(Exit::Isolated)
}
