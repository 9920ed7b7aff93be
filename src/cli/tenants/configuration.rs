//! `tenants show`, `set`, `unset` and `diff`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::anyhow;
use serde::Serialize;
use serde_json::Value;

use super::{Desk, Exit, Failure, table};
use crate::tenancy::{Change, Effective, FutureExt as _, Tenant};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// Slug or key
    tenant: String,
    /// One key; all where it is left out
    key: Option<String>,
}

/// What holds, with secrets left out.
#[derive(Serialize)]
struct Shown {
    value: Value,
    origin: String,
    locked: bool,
    version: Option<String>,
}

impl From<&Effective> for Shown {
    fn from(effective: &Effective) -> Self {
        Self {
            value: if effective.secret {
                "(secret)".into()
            } else {
                effective.value.clone()
            },
            origin: effective.origin.to_string(),
            locked: effective.locked,
            version: effective.version.map(|v| v.to_string()),
        }
    }
}

async fn shown(desk: &Desk, tenant: &Tenant) -> Result<BTreeMap<String, Shown>, Failure> {
    let context = desk.store.service().context(tenant.id);
    let effective = desk.store.configurations().effective().in_tenant(context).await?;
    Ok(effective
        .iter()
        .map(|(key, effective)| (key.clone(), effective.into()))
        .collect())
}

pub async fn show(desk: &Desk, args: Show) -> Result<Exit, Failure> {
    let tenant = desk.tenant(&args.tenant).await?;
    let mut shown = shown(desk, &tenant).await?;
    if let Some(key) = &args.key {
        shown.retain(|k, _| k == key);
        if shown.is_empty() {
            return Err(Failure::usage(anyhow!(
                "show `{key}` of tenant {}: neither it nor the schema has a value for it",
                tenant.slug
            )));
        }
    }
    desk.print(&shown, |shown| {
        table(
            ["KEY", "VALUE", "ORIGIN", "LOCKED"],
            shown
                .iter()
                .map(|(key, s)| [key.clone(), s.value.to_string(), s.origin.clone(), yes(s.locked)]),
        )
    })?;
    Ok(Exit::Isolated)
}

fn yes(is: bool) -> String {
    if is { "locked".into() } else { String::new() }
}

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Set {
    /// Slug or key
    tenant: String,
    /// KEY=VALUE; the value is JSON where it reads as such, else text
    #[arg(value_name = "KEY=VALUE", required_unless_present_any = ["lock", "unlock"])]
    values: Vec<String>,
    /// Keep tenants that inherit from this one from overriding a key
    #[arg(long, value_name = "KEY")]
    lock: Vec<String>,
    /// Let them again
    #[arg(long, value_name = "KEY")]
    unlock: Vec<String>,
    /// Why it is locked
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Check it and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub async fn set(desk: &Desk, args: Set) -> Result<Exit, Failure> {
    let tenant = desk.tenant(&args.tenant).await?;
    let mut changes = Vec::new();
    for pair in &args.values {
        let Some((key, text)) = pair.split_once('=') else {
            return Err(Failure::usage(anyhow!(
                "set `{pair}` of tenant {}: it has to be KEY=VALUE",
                tenant.slug
            )));
        };
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
        changes.push(Change::set(key, value));
    }
    changes.extend(args.lock.iter().map(|key| Change::lock(key, &args.reason)));
    changes.extend(args.unlock.iter().map(Change::unlock));
    apply(desk, &tenant, &changes, args.dry_run).await
}

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Unset {
    /// Slug or key
    tenant: String,
    /// Keys
    #[arg(value_name = "KEY", required = true)]
    keys: Vec<String>,
    /// Check it and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub async fn unset(desk: &Desk, args: Unset) -> Result<Exit, Failure> {
    let tenant = desk.tenant(&args.tenant).await?;
    if !args.dry_run {
        desk.confirm(&format!("take away {} of tenant {}", args.keys.join(", "), tenant.slug))?;
    }
    let changes: Vec<Change> = args.keys.iter().map(Change::unset).collect();
    apply(desk, &tenant, &changes, args.dry_run).await
}

/// What a change did or would do to a key.
#[derive(Serialize)]
struct Changed {
    key: String,
    before: Option<Shown>,
    after: Option<Shown>,
}

async fn apply(desk: &Desk, tenant: &Tenant, changes: &[Change], dry_run: bool) -> Result<Exit, Failure> {
    let context = desk.store.service().context(tenant.id);
    let configurations = desk.store.configurations();
    let mut before = shown(desk, tenant).await?;
    let mut after: BTreeMap<String, Shown> = if dry_run {
        let tried = configurations.try_changes(changes).in_tenant(context).await?;
        tried
            .iter()
            .map(|(key, effective)| (key.clone(), effective.into()))
            .collect()
    } else {
        configurations
            .apply_tenant_configuration_changes(changes)
            .in_tenant(context)
            .await?;
        shown(desk, tenant).await?
    };
    let keys: BTreeSet<&str> = changes.iter().map(Change::key).collect();
    let changed: Vec<Changed> = keys
        .into_iter()
        .map(|key| Changed {
            key: key.to_owned(),
            before: before.remove(key),
            after: after.remove(key),
        })
        .collect();
    let text = |shown: &Option<Shown>| {
        shown
            .as_ref()
            .map_or("(none)".to_owned(), |s| format!("{} ({})", s.value, s.origin))
    };
    desk.print(&changed, |changed| {
        let lines = changed
            .iter()
            .map(|c| format!("{}: {} -> {}\n", c.key, text(&c.before), text(&c.after)));
        lines.collect::<String>() + if dry_run { "nothing was changed: dry run" } else { "" }
    })?;
    Ok(Exit::Isolated)
}

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Diff {
    /// Slug or key of one
    left: String,
    /// Slug or key of the other
    right: String,
}

/// A key for which other things hold.
#[derive(Serialize)]
struct Differs {
    key: String,
    left: Option<Shown>,
    right: Option<Shown>,
}

pub async fn diff(desk: &Desk, args: Diff) -> Result<Exit, Failure> {
    let (left, right) = (desk.tenant(&args.left).await?, desk.tenant(&args.right).await?);
    let lefts = effective(desk, &left).await?;
    let rights = effective(desk, &right).await?;
    let keys: BTreeSet<String> = lefts.keys().chain(rights.keys()).cloned().collect();
    let differs: Vec<Differs> = keys
        .into_iter()
        .filter(|key| lefts.get(key).map(|e| &e.value) != rights.get(key).map(|e| &e.value))
        .map(|key| Differs {
            left: lefts.get(&key).map(Shown::from),
            right: rights.get(&key).map(Shown::from),
            key,
        })
        .collect();
    let text = |shown: &Option<Shown>| {
        shown
            .as_ref()
            .map_or("(none)".to_owned(), |s| format!("{} ({})", s.value, s.origin))
    };
    desk.print(&differs, |differs| {
        table(
            ["KEY", left.slug.as_str(), right.slug.as_str()],
            differs.iter().map(|d| [d.key.clone(), text(&d.left), text(&d.right)]),
        )
    })?;
    Ok(if differs.is_empty() {
        Exit::Isolated
    } else {
        Exit::Findings
    })
}

async fn effective(desk: &Desk, tenant: &Tenant) -> Result<BTreeMap<String, Effective>, Failure> {
    let context = desk.store.service().context(tenant.id);
    Ok(desk.store.configurations().effective().in_tenant(context).await?)
}
