//! The page of a relation: who owns it, what its policies let through, who was granted what, and what reaches past both
//! (keys, foreign keys, triggers, rules, views).

use crate::model::catalog::{Check, PolicyMode, TriggerState, UniqueKey};
use crate::model::{
    Catalog, Column, ForeignKey, Generated, Identity, Policy, PolicyCommand, Relation, RelationKind, RowSecurity,
};
use crate::sql::{layout, quote};

use super::page::{Names, Page, sorted};

/// The page.
pub fn text(relation: &Relation, catalog: &Catalog, names: &Names) -> String {
    let mut page = Page::new();
    head(&mut page, relation, catalog, names);
    policies(&mut page, relation, names);
    grants(&mut page, relation, names);
    if relation.kind != RelationKind::Sequence {
        page.list("columns", &relation.columns.iter().map(column).collect::<Vec<_>>());
    }
    page.list("keys", &keys(&relation.keys));
    page.list(
        "foreign keys",
        &sorted(relation.foreign_keys.iter().map(|k| foreign_key(k, catalog))),
    );
    checks(&mut page, &relation.checks);
    page.list("triggers", &triggers(&relation.triggers, &relation.trigger_states));
    page.list("rules", &sorted(relation.rules.iter().map(|r| layout::one_line(r))));
    if let Some(definition) = &relation.definition {
        page.section("definition");
        page.lines(1, layout::query(definition));
    }
    page.finish()
}

fn head(page: &mut Page, relation: &Relation, catalog: &Catalog, names: &Names) {
    page.line(0, &format!("{} {}", kind(relation.kind), relation.name));
    page.line(0, &format!("owner: {}", names.role(&relation.owner)));
    match relation.kind {
        RelationKind::Table | RelationKind::PartitionedTable => page.line(
            0,
            match relation.row_security {
                RowSecurity::Disabled => "row security: disabled",
                RowSecurity::Enabled => "row security: enabled, not for the owner",
                RowSecurity::Forced => "row security: forced",
            },
        ),
        RelationKind::View => {
            let reads_as = if relation.is_security_invoker() {
                "who asks (security_invoker)"
            } else {
                "its owner"
            };
            page.line(0, &format!("reads as: {reads_as}"));
            let options = relation.options.iter().filter(|o| !o.starts_with("security_invoker="));
            page.lines(0, sorted(options.map(|o| format!("option: {o}"))));
        }
        RelationKind::MaterializedView => page.line(0, "reads as: its owner, when refreshed"),
        RelationKind::ForeignTable => {
            let server = relation.foreign_server.as_deref().unwrap_or_default();
            page.line(0, &format!("foreign server: {}", quote::ident(server)));
        }
        RelationKind::Sequence => {}
    }
    if let Some(key) = &relation.partition_key {
        page.line(0, &format!("partitioned by: {}", layout::one_line(key)));
    }
    let word = if relation.is_partition {
        "partition of"
    } else {
        "inherits"
    };
    for parent in &relation.parents {
        let bound = relation.partition_bound.as_deref().unwrap_or_default();
        page.line(0, &format!("{word}: {} {bound}", named(*parent, catalog)));
    }
}

fn kind(kind: RelationKind) -> &'static str {
    match kind {
        RelationKind::Table => "table",
        RelationKind::PartitionedTable => "partitioned table",
        RelationKind::View => "view",
        RelationKind::MaterializedView => "materialized view",
        RelationKind::ForeignTable => "foreign table",
        RelationKind::Sequence => "sequence",
    }
}

fn named(oid: u32, catalog: &Catalog) -> String {
    catalog
        .relation(oid)
        .map_or_else(|| "(a relation of an extension)".to_owned(), |r| r.name.to_string())
}

fn policies(page: &mut Page, relation: &Relation, names: &Names) {
    if !relation.kind.holds_rows() {
        return;
    }
    let heading = match (relation.row_security, relation.policies.is_empty()) {
        (RowSecurity::Disabled, true) => return,
        (RowSecurity::Disabled, false) => "policies (without effect: row security is disabled)",
        (RowSecurity::Enabled | RowSecurity::Forced, true) => "policies (none: every row is refused)",
        (RowSecurity::Enabled | RowSecurity::Forced, false) => "policies",
    };
    page.section(heading);
    let mut policies: Vec<&Policy> = relation.policies.iter().collect();
    policies.sort_by(|a, b| a.name.cmp(&b.name));
    for policy in policies {
        let mode = match policy.mode {
            PolicyMode::Permissive => "permissive",
            PolicyMode::Restrictive => "restrictive",
        };
        let (name, roles) = (quote::ident(&policy.name), names.roles(&policy.roles));
        page.line(1, &format!("{name}: {mode} for {} to {roles}", policy.command));
        if let Some(using) = &policy.using {
            page.line(2, "USING");
            page.lines(3, layout::expression(using));
        }
        match (&policy.check, policy.command) {
            (Some(check), _) => {
                page.line(2, "WITH CHECK");
                page.lines(3, layout::expression(check));
            }
            (None, PolicyCommand::All | PolicyCommand::Update) => page.line(2, "WITH CHECK as USING"),
            (None, PolicyCommand::Select | PolicyCommand::Insert | PolicyCommand::Delete) => {}
        }
    }
}

fn grants(page: &mut Page, relation: &Relation, names: &Names) {
    let grants = names.grants(&relation.grants);
    if grants.is_empty() {
        page.section("grants (none: the owner only)");
    } else {
        page.list("grants", &grants);
    }
}

fn column(column: &Column) -> String {
    let mut line = format!("{} {}", quote::ident(&column.name), column.type_name);
    if column.not_null {
        line += " not null";
    }
    line += match column.identity {
        Identity::No => "",
        Identity::Default => " generated by default as identity",
        Identity::Always => " generated always as identity",
    };
    if let Some(default) = &column.default {
        let default = layout::one_line(default);
        line += &match column.generated {
            Generated::No => format!(" default {default}"),
            Generated::Always => format!(" generated always as ({})", layout::expression(&default).join(" ")),
        };
    }
    line
}

fn keys(keys: &[UniqueKey]) -> Vec<String> {
    sorted(keys.iter().map(|key| {
        let word = match (key.is_primary, key.is_exclusion) {
            (true, _) => "primary key",
            (false, true) => "exclusion",
            (false, false) => "unique",
        };
        format!(
            "{}: {word} {}",
            quote::ident(&key.name),
            layout::index_parts(&key.definition)
        )
    }))
}

fn foreign_key(key: &ForeignKey, catalog: &Catalog) -> String {
    let columns = |names: &[String]| names.iter().map(|n| quote::ident(n)).collect::<Vec<_>>().join(", ");
    let mut line = format!(
        "{}: ({}) references {} ({})",
        quote::ident(&key.name),
        columns(&key.columns),
        named(key.references, catalog),
        columns(&key.referenced_columns)
    );
    if key.match_full {
        line += " match full";
    }
    for (event, code) in [("delete", &key.on_delete), ("update", &key.on_update)] {
        if let Some(action) = action(code) {
            line += &format!(" on {event} {action}");
            if event == "delete" && !key.on_delete_columns.is_empty() {
                line += &format!(" ({})", columns(&key.on_delete_columns));
            }
        }
    }
    if key.is_unchecked {
        line += ", not checked for all rows";
    }
    line
}

/// The action that a code of `pg_constraint` stands for; none where it refuses at the end of the statement, the default.
fn action(code: &str) -> Option<&'static str> {
    match code {
        "r" => Some("restrict"),
        "c" => Some("cascade"),
        "n" => Some("set null"),
        "d" => Some("set default"),
        _ => None,
    }
}

fn checks(page: &mut Page, checks: &[Check]) {
    if checks.is_empty() {
        return;
    }
    page.section("checks");
    let mut checks: Vec<&Check> = checks.iter().collect();
    checks.sort_by(|a, b| a.name.cmp(&b.name));
    for check in checks {
        let note = if check.is_unchecked {
            " (not checked for all rows)"
        } else {
            ""
        };
        page.line(1, &format!("{}{note}", quote::ident(&check.name)));
        page.lines(2, layout::expression(&check.expression));
    }
}

fn triggers(triggers: &[String], states: &[TriggerState]) -> Vec<String> {
    let mut lines = sorted(triggers.iter().map(|t| {
        let line = layout::one_line(t);
        line.strip_prefix("CREATE ").unwrap_or(&line).to_owned()
    }));
    lines.extend(sorted(
        states
            .iter()
            .map(|s| format!("{} TRIGGER {}", s.state, quote::ident(&s.name))),
    ));
    lines
}
