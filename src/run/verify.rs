//! `verify`: sessions and meaning of columns, all pairs of keys, the committing phase, and one outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::commit;
use super::defaults;
use super::embedded;
use super::infer::{self, Guess};
use super::merge;
use super::path;
use super::territory::{self, Territories};
use super::worlds::{Setting, VISITOR, run_pair};
use crate::introspect::{self, IntrospectError};
use crate::model::catalog::Privileges;
use crate::model::{
    Acceptance, Attacker, Catalog, Cell, CellVerdict, Cells, Command, ContextState, Finding, PolicyCommand, Relation,
    Role, Session, Severity, Tenancy, Verdict,
};
use crate::pg::conn::{Conn, ConnError};
use crate::probe::binding::has_identity;
use crate::probe::guise;
use crate::probe::judge::Hit;
use crate::world::classes::is_named;
use crate::world::keys::{self, KeyType};
use crate::world::{Class, Classes};

/// What to verify, once the schema is loaded.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Sessions of the target; empty to infer them.
    pub sessions: Vec<Session>,
    /// What the user said of tenants.
    pub tenancy: Tenancy,
    /// Exposed schemas; empty for all.
    pub schemas: Vec<String>,
    /// Accepted findings.
    pub acceptances: Vec<Acceptance>,
    /// Seed, for the report.
    pub seed: u64,
    /// Most pairs of keys to try; at least the plain one.
    pub cases: usize,
    /// Threshold of the verdict.
    pub fail_on: Severity,
    /// Most vacuous cells, in percent.
    pub max_vacuous: f64,
    /// Roles that were on the server before the schema was loaded.
    pub roles_before: BTreeSet<String>,
    /// What the reader should know of how the schema was loaded.
    pub notes: Vec<String>,
    /// Today, `YYYY-MM-DD`, for the expiry of acceptances.
    pub today: String,
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The one verdict.
    pub verdict: Verdict,
    /// Seed.
    pub seed: u64,
    /// Relations, policies and functions that were judged.
    pub counts: (usize, usize, usize),
    /// Findings, the worst first.
    pub findings: Vec<Finding>,
    /// Cells.
    pub coverage: Vec<Cell>,
    /// Findings that were accepted.
    pub accepted: usize,
    /// Messages sent.
    pub statements: u64,
    /// Time taken, in milliseconds.
    pub elapsed_ms: u64,
    /// Sessions, given or inferred.
    pub sessions: Vec<Session>,
    /// Guesses behind inferred sessions.
    pub guesses: Vec<Guess>,
    /// What the reader should know: why it is inconclusive, what was not judged.
    pub notes: Vec<String>,
}

/// What stopped the run from judging.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The server refused a statement of ours or went away.
    #[error(transparent)]
    Conn(#[from] ConnError),
    /// The catalog could not be read.
    #[error(transparent)]
    Introspect(#[from] IntrospectError),
    /// A session names a role that the schema does not have.
    #[error(
        "find role `{role}` of session `{session}`: neither the schema nor the server has it; correct `role` in the target file"
    )]
    NoRole {
        /// Session.
        session: String,
        /// Role.
        role: String,
    },
    /// A set-up statement of a session failed.
    #[error("run the set-up of {0}; correct `setup` in the target file")]
    Setup(String),
}

/// Verifies the schema in the connection's database. Nothing of it is kept but what the committing phase writes.
pub async fn verify(conn: &mut Conn, request: &Request, progress: &dyn Fn(&str)) -> Result<Outcome, VerifyError> {
    let started = Instant::now();
    let mut catalog = introspect::read_catalog(conn).await?;
    if !request.schemas.is_empty() {
        restrict(&mut catalog, &request.schemas);
    }
    let default = conn.query("SHOW search_path").await?.concat().concat();
    let path = path::of_requests(&catalog, default.first().and_then(Option::as_deref).unwrap_or_default());
    if let Some(statement) = &path.statement {
        conn.stand(statement).await?;
    }
    let (mut sessions, guesses) = if request.sessions.is_empty() {
        infer::sessions(&catalog, &request.roles_before)
    } else {
        (request.sessions.clone(), Vec::new())
    };
    let territories = territory::settle(&catalog, &mut sessions);
    let mut run = Run {
        catalog: &catalog,
        territories: &territories,
        request,
        notes: request
            .notes
            .iter()
            .cloned()
            .chain(path.note)
            .chain(conn.is_embedded().then(|| embedded::not_judged(&catalog)))
            .collect(),
        hits: Vec::new(),
        cells: Vec::new(),
        grown: Vec::new(),
    };
    run.judge(conn, &sessions, progress).await?;
    let Run { notes, hits, cells, .. } = run;
    let mut findings = merge::findings(&catalog, hits);
    let all = findings.len();
    findings.retain(|f| !request.acceptances.iter().any(|a| accepts(a, f, &request.today)));
    let accepted = all - findings.len();
    if let Some(statement) = &path.statement {
        for evidence in findings.iter_mut().filter_map(|f| f.evidence.as_mut()) {
            *evidence = path::in_script(statement, evidence);
        }
    }
    let mut outcome = Outcome {
        verdict: Verdict::Isolated,
        seed: request.seed,
        counts: (catalog.relations.len(), catalog.policy_count(), catalog.functions.len()),
        findings,
        coverage: cells,
        accepted,
        statements: conn.statements(),
        elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        sessions,
        guesses,
        notes,
    };
    outcome.verdict = outcome.weigh(request);
    Ok(outcome)
}

impl Outcome {
    /// Where several apply: findings first, then too little judged.
    fn weigh(&mut self, request: &Request) -> Verdict {
        let cells = Cells::count(&self.coverage);
        if self.findings.iter().any(|f| f.severity >= request.fail_on) {
            Verdict::Violated
        } else if cells.judgeable() == 0 {
            self.notes.push("nothing could be judged".to_owned());
            Verdict::Inconclusive
        } else if cells.held + cells.violated == 0 || cells.vacuous_percent() > request.max_vacuous {
            self.notes.push(format!(
                "{:.0} % of the cells are vacuous, more than the {:.0} % allowed",
                cells.vacuous_percent(),
                request.max_vacuous
            ));
            Verdict::Inconclusive
        } else {
            Verdict::Isolated
        }
    }
}

struct Run<'a> {
    catalog: &'a Catalog,
    territories: &'a Territories,
    request: &'a Request,
    notes: Vec<String>,
    hits: Vec<Hit>,
    cells: Vec<Cell>,
    grown: Vec<String>,
}

impl Run<'_> {
    async fn judge(
        &mut self,
        conn: &mut Conn,
        sessions: &[Session],
        progress: &dyn Fn(&str),
    ) -> Result<(), VerifyError> {
        if !sessions.iter().any(has_identity) {
            self.notes.push("no setting, claim or role was found by which a request says which tenant it is: name one in [[session]] of tenantproof.toml".to_owned());
            return Ok(());
        }
        let mut tenancy = self.request.tenancy.clone();
        let mut fixed = self.role_pairs(sessions)?;
        let own_partitions = territory::partitions_of_roles(self.catalog).filter(|_| !fixed.is_empty());
        tenancy
            .columns
            .extend(own_partitions.iter().map(|(column, _)| column.clone()));
        let mut classes = Classes::infer(self.catalog, sessions, &tenancy);
        let (given, only) = classes.given_keys(self.catalog);
        let mut prepared: Vec<(&Session, Privileges)> = Vec::new();
        let mut of_roles: BTreeMap<String, Privileges> = BTreeMap::new();
        for session in sessions {
            let role = fixed
                .first()
                .map_or_else(|| session.role.clone(), |(a, _)| session.role.replace("{tenant}", a));
            if self.catalog.role(&role).is_none() {
                return Err(VerifyError::NoRole {
                    session: session.name.clone(),
                    role,
                });
            }
            prepared.push((session, introspect::read_privileges(conn, &role).await?));
            if session.attacker != Attacker::Api {
                for reached in guise::reachable(self.catalog, &role) {
                    let privileges = introspect::read_privileges(conn, &reached).await?;
                    of_roles.insert(reached, privileges);
                }
            }
        }
        classes.set_shared(self.shared(&classes, &prepared));
        let base_tenant = self
            .catalog
            .tables()
            .any(|t| classes.is_root(t.oid) && t.foreign_keys.iter().any(|k| k.references == t.oid));
        let tenant = classes
            .key_type(self.catalog, Class::Tenant)
            .map_or(KeyType::Text, |t| KeyType::of(&t));
        let user = classes
            .key_type(self.catalog, Class::User)
            .map_or(KeyType::Uuid, |t| KeyType::of(&t));
        let mut common = keys::common(tenant, user);
        let roles_are_keys = !fixed.is_empty();
        if let Some((a, b)) = &self.territories.pair {
            fixed = vec![(a.clone(), b.clone())];
        }
        if fixed.is_empty()
            && let [a, b, ..] = given.as_slice()
        {
            fixed = vec![(a.clone(), b.clone()), (b.clone(), a.clone())];
        }
        let mut pairs = keys::pairs(tenant, user, &fixed);
        if let Some((_, keys)) = &own_partitions {
            for side in pairs.iter_mut().flat_map(|p| [&mut p.a, &mut p.b]) {
                side.role = Some(side.tenant.clone());
                side.tenant = keys
                    .get(&side.tenant)
                    .cloned()
                    .unwrap_or_else(|| format!("{}-rows", side.canary));
            }
        }
        if !fixed.is_empty() && !roles_are_keys && !only && self.territories.pair.is_none() {
            pairs.extend(keys::pairs(tenant, user, &[]));
        }
        if !roles_are_keys {
            keys::fit(self.catalog, &classes, &mut pairs, &mut common);
        }
        for group in by_setup(&prepared) {
            for (at, pair) in pairs.iter().take(self.request.cases.max(1)).enumerate() {
                let setting = Setting {
                    catalog: self.catalog,
                    classes: &classes,
                    sessions: &group,
                    common: &common,
                    base_tenant,
                    of_roles: &of_roles,
                    territories: self.territories,
                };
                let shown = run_pair(conn, setting, pair, at == 0, progress).await?;
                if let Some(error) = shown.setup_errors.first()
                    && at == 0
                {
                    return Err(VerifyError::Setup(error.clone()));
                }
                if at == 0 {
                    for (oid, reason) in &shown.unfilled {
                        if let Some(table) = self.catalog.relation(*oid) {
                            self.explain_vacuous(&shown.cells, table, reason);
                        }
                    }
                    if self.grown.is_empty() {
                        self.grown = shown.grown;
                    }
                }
                self.add_cells(shown.cells, &shown.hits, at == 0);
                self.hits.extend(shown.hits);
            }
        }
        self.settle_visitors(&prepared);
        self.hits.extend(defaults::judge(self.catalog, &classes, sessions));
        progress("leftovers after COMMIT");
        let sessions: Vec<(&Session, &Privileges)> = prepared.iter().map(|(s, p)| (*s, p)).collect();
        if let Some(pair) = pairs.into_iter().next() {
            let stage = commit::Stage {
                catalog: self.catalog,
                classes: &classes,
                sessions: &sessions,
                pair: &pair,
                common: &common,
                base_tenant,
            };
            self.hits.extend(commit::committed(conn, stage).await?);
        }
        Ok(())
    }

    /// A session that is nobody's has no rows of its own to show that it was looked at rightly; another session's do.
    fn settle_visitors(&mut self, sessions: &[(&Session, Privileges)]) {
        let is_tenants = |name: &str| sessions.iter().any(|(s, _)| s.name == name && has_identity(s));
        let seen: BTreeSet<(String, Command)> = self
            .cells
            .iter()
            .filter(|c| matches!(c.verdict, CellVerdict::Held | CellVerdict::Violated) && is_tenants(&c.session))
            .map(|c| (c.object.clone(), c.command))
            .collect();
        for cell in &mut self.cells {
            if cell.verdict == CellVerdict::Vacuous
                && cell.reason.as_deref() == Some(VISITOR)
                && seen.contains(&(cell.object.clone(), cell.command))
            {
                cell.verdict = CellVerdict::Held;
                cell.reason = Some("others reach their rows here, this session none".to_owned());
            }
        }
    }

    /// Pairs of roles, where each tenant has one.
    fn role_pairs(&self, sessions: &[Session]) -> Result<Vec<(String, String)>, VerifyError> {
        let Some(session) = sessions.iter().find(|s| s.role.contains("{tenant}")) else {
            return Ok(Vec::new());
        };
        let (before, after) = session.role.split_once("{tenant}").unwrap_or(("", ""));
        let owners: BTreeSet<&str> = self.catalog.tables().map(|r| r.owner.as_str()).collect();
        let is_tenant = |role: &&Role| {
            !role.superuser
                && !role.bypasses_row_security
                && !owners.contains(role.name.as_str())
                && !self.request.roles_before.contains(&role.name)
        };
        let named = |role: &Role| Some(role.name.strip_prefix(before)?.strip_suffix(after)?.to_owned());
        let mut candidates: Vec<&Role> = self.catalog.roles.iter().filter(is_tenant).collect();
        // A login that takes the tenants' roles in turn is none of them.
        let tenants: BTreeSet<&str> = candidates.iter().map(|r| r.name.as_str()).collect();
        candidates.retain(|r| r.member_of.iter().filter(|m| tenants.contains(m.as_str())).count() < 2);
        // Those that hold privileges, first: a role that may do nothing shows nothing.
        candidates.sort_by_key(|r| (!self.catalog.is_granted_anything(&r.name), r.name.clone()));
        let names: Vec<String> = candidates.into_iter().filter_map(named).collect();
        match names.as_slice() {
            [a, b, ..] => Ok(vec![(a.clone(), b.clone()), (b.clone(), a.clone())]),
            _ => Err(VerifyError::NoRole {
                session: session.name.clone(),
                role: session.role.clone(),
            }),
        }
    }

    /// Tables whose rows are nobody's: no path to a tenant, and no session may write them.
    fn shared(&self, classes: &Classes, sessions: &[(&Session, Privileges)]) -> BTreeSet<u32> {
        let owned = classes.owned(self.catalog);
        let writable = |t: &Relation| {
            sessions.iter().any(|(s, p)| {
                let lets = |command| t.has_policy_for(command, |role| self.catalog.is_member(&s.role, role));
                p.relations.get(&t.oid).is_some_and(|p| {
                    !p.insert.is_empty() && lets(PolicyCommand::Insert)
                        || !p.update.is_empty() && lets(PolicyCommand::Update)
                        || p.delete && lets(PolicyCommand::Delete)
                })
            })
        };
        let readable = |t: &Relation| {
            sessions
                .iter()
                .any(|(_, p)| p.relations.get(&t.oid).is_some_and(|p| !p.select.is_empty()))
        };
        self.catalog
            .tables()
            .filter(|t| {
                let declared = self.request.tenancy.shared.iter().any(|name| is_named(t, name));
                declared
                    || (!owned.contains(&t.oid)
                        && !self.territories.schemas.contains(&t.name.schema)
                        && readable(t)
                        && !writable(t)
                        && !classes.is_guarded(t.oid))
            })
            .map(|t| t.oid)
            .collect()
    }

    fn explain_vacuous(&mut self, cells: &[Cell], table: &Relation, reason: &str) {
        let name = table.name.to_string();
        if cells
            .iter()
            .any(|c| c.object == name && c.verdict == CellVerdict::Vacuous)
        {
            self.notes.push(format!("table {name} stayed empty: {reason}"));
        }
    }

    /// Cells of the plain pair; a fault that only another pair shows turns its cell.
    fn add_cells(&mut self, cells: Vec<Cell>, hits: &[Hit], plain: bool) {
        if plain {
            self.cells.extend(cells);
            return;
        }
        for hit in hits.iter().filter(|h| h.severity >= Severity::Medium) {
            for cell in &mut self.cells {
                if cell.session == hit.session
                    && cell.object == hit.route.0
                    && cell.state == ContextState::Bound
                    && cell.command == Command::Select
                {
                    cell.verdict = CellVerdict::Violated;
                    cell.reason = None;
                }
            }
        }
    }
}

/// Sessions with the same set-up share their universes.
fn by_setup<'s>(prepared: &[(&'s Session, Privileges)]) -> Vec<Vec<(&'s Session, Privileges)>> {
    let mut groups: BTreeMap<&[String], Vec<(&Session, Privileges)>> = BTreeMap::new();
    for (session, privileges) in prepared {
        groups
            .entry(session.setup.as_slice())
            .or_default()
            .push((session, privileges.clone()));
    }
    groups.into_values().collect()
}

fn restrict(catalog: &mut Catalog, schemas: &[String]) {
    // Tables of other schemas stay: foreign keys and triggers lead there. Only what a request could name is left out.
    catalog
        .functions
        .retain(|f| schemas.contains(&f.name.schema) || f.is_trigger());
}

fn accepts(acceptance: &Acceptance, finding: &Finding, today: &str) -> bool {
    let current = acceptance
        .expires
        .as_ref()
        .is_none_or(|d| d.to_string().as_str() >= today);
    current && acceptance.rule == finding.rule && acceptance.object == finding.object
}
