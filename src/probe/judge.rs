//! Judging: what observations and effects mean for a cell, and what is a fault.

mod lockout;
mod subject;
mod write;

use std::collections::BTreeMap;

use subject::mentions;
pub use subject::{Subject, type_of};

use super::binding::Binding;
use super::evidence::{Scene, column_is};
use super::observe::{Query, Seen};
use super::oracle::{self, Oracle};
use super::scenery::Scenery;
use super::state::Change;
use super::trial::Trial;
use crate::model::{CellVerdict, Command, ContextState, Function, ObjectType, Relation, RelationKind, Severity};
use crate::world::Class;

/// A fault that was seen, before faults of one cause are put together.
#[derive(Debug, Clone)]
pub struct Hit {
    /// Which property failed.
    pub oracle: &'static Oracle,
    /// Severity.
    pub severity: Severity,
    /// What to fix, by identity.
    pub object: String,
    /// Its type.
    pub object_type: ObjectType,
    /// The object that the statement named.
    pub route: (String, ObjectType, Command),
    /// Session.
    pub session: String,
    /// Context state.
    pub state: ContextState,
    /// Object and effect.
    pub message: String,
    /// Script, without its universes.
    pub evidence: String,
    /// The universes.
    pub scenery: std::sync::Arc<Scenery>,
    /// Relations that a view or function shows rows of: where one of them is at fault itself, this is only a route to it.
    pub through: Vec<String>,
}

/// What a relation's observations come to.
#[derive(Debug, Clone)]
pub struct ReadJudgement {
    /// Verdict of the cell.
    pub verdict: CellVerdict,
    /// Reason.
    pub reason: Option<String>,
    /// Fault.
    pub hit: Option<Hit>,
}

/// Observations of one relation in the worlds.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'s> {
    /// Before either universe.
    pub base: &'s Seen,
    /// With A.
    pub zero: &'s Seen,
    /// With A, again.
    pub again: &'s Seen,
    /// With A and B.
    pub one: &'s Seen,
}

/// Makes hits of one trial.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'a> {
    /// The trial.
    pub trial: &'a Trial<'a>,
    /// What A saw with its context in world 0: for positive controls.
    pub seen_zero: &'a BTreeMap<u32, Seen>,
    /// What the pair of keys is there to confuse.
    pub purpose: &'static str,
}

impl<'a> Judge<'a> {
    /// Reading with the tenant's own context.
    pub fn bound_read(&self, relation: &Relation, query: &Query, seen: Observed<'_>) -> ReadJudgement {
        let verdict = |verdict, reason: Option<String>| ReadJudgement {
            verdict,
            reason,
            hit: None,
        };
        if let Some(error) = seen.zero.interference().or(seen.one.interference()) {
            return verdict(CellVerdict::Vacuous, Some(error.reason()));
        }
        let found = match (seen.zero, seen.one) {
            (Seen::Failed(zero), Seen::Failed(one))
                if zero.code == one.code && zero.visible_text() == one.visible_text() =>
            {
                let judged = if zero.code == "42501" {
                    verdict(CellVerdict::Denied, Some(zero.message.clone()))
                } else {
                    let reason = format!("the session's own read fails: {} {}", zero.code, zero.message);
                    verdict(CellVerdict::Vacuous, Some(reason))
                };
                return ReadJudgement {
                    hit: self.lockout(relation, query, zero),
                    ..judged
                };
            }
            (_, Seen::Failed(one)) => {
                let text = one.visible_text();
                let quotes = self.trial.has_canary(&[Some(text.clone())]);
                let oracle = if quotes {
                    &oracle::FOREIGN_VALUE_IN_ERROR
                } else {
                    &oracle::EXISTENCE_REVEALED
                };
                Some((
                    oracle,
                    Severity::Medium,
                    format!(
                        "fails with {} once another tenant has rows: {}",
                        one.code,
                        first_line(&text)
                    ),
                ))
            }
            (Seen::Failed(_), Seen::Rows(_)) => Some((
                &oracle::EXISTENCE_REVEALED,
                Severity::Medium,
                "fails only while no other tenant has rows".to_owned(),
            )),
            (Seen::Rows(_), Seen::Rows(_)) => match self.compare_rows(relation, seen) {
                Compared::Same(reason) => {
                    let own = !seen.zero.beyond(seen.base).is_empty() || seen.zero.rows() != seen.base.rows();
                    return if own
                        || relation.kind == RelationKind::Sequence
                        || self.trial.classes.is_shared(relation.oid)
                    {
                        verdict(CellVerdict::Held, reason)
                    } else {
                        verdict(
                            CellVerdict::Vacuous,
                            Some("the session sees no row of its own here".to_owned()),
                        )
                    };
                }
                Compared::Differs(oracle, severity, what) => Some((oracle, severity, what)),
            },
        };
        let Some((oracle, severity, what)) = found else {
            return verdict(CellVerdict::Held, None);
        };
        let binding = self.trial.as_a(ContextState::Bound);
        let what = format!("{what}{}", self.because());
        ReadJudgement {
            verdict: CellVerdict::Violated,
            reason: None,
            hit: Some(self.reads(oracle, severity, relation, query, &binding, &what)),
        }
    }

    /// A fault of what A reads of a relation by this request. `what` it is comes after "session ...".
    pub fn reads(
        &self,
        oracle: &'static Oracle,
        severity: Severity,
        relation: &Relation,
        query: &Query,
        by: &Binding,
        what: &str,
    ) -> Hit {
        let sentence = format!(
            "{} {}: session `{}` {what}",
            type_of(relation).word(),
            relation.name,
            self.trial.session.name
        );
        let evidence = self.scene(&self.trial.as_a(ContextState::Bound), relation.oid, |scene| {
            scene.read(&sentence, by, &named_columns(query))
        });
        self.hit(
            oracle,
            severity,
            Subject::of(relation),
            Command::Select,
            ContextState::Bound,
            sentence,
            evidence,
            self.through(relation),
        )
    }

    fn compare_rows(&self, relation: &Relation, seen: Observed<'_>) -> Compared {
        let extra = seen.one.beyond(seen.zero);
        let missing = seen.zero.beyond(seen.one);
        let is_noise = seen.zero != seen.again;
        // What sequences tell is judged by drawing from them in turn: they do not roll back.
        if extra.is_empty() && missing.is_empty() || relation.kind == RelationKind::Sequence {
            return Compared::Same(None);
        }
        let mut reason = None;
        if relation.kind.holds_rows() {
            let mut leaked = 0;
            for row in &extra {
                match self.trial.grown_row(relation, row) {
                    Some(grown) if self.trial.is_unowned(grown) => {
                        reason = Some("shared by design: rows without a tenant".to_owned())
                    }
                    Some(grown) => match self.trial.shared_by_state(grown) {
                        Some(why) => reason = Some(why),
                        None => leaked += 1,
                    },
                    None => leaked += usize::from(!is_noise || self.trial.has_canary(row)),
                }
            }
            if leaked == 0 && (missing.is_empty() || is_noise) {
                return Compared::Same(reason);
            }
            return match leaked {
                0 => Compared::Differs(
                    &oracle::EXISTENCE_REVEALED,
                    Severity::Medium,
                    "sees fewer rows once another tenant has some".to_owned(),
                ),
                n => Compared::Differs(
                    &oracle::FOREIGN_ROWS_READABLE,
                    self.severity(Severity::Critical),
                    format!("reads {n} rows of another tenant"),
                ),
            };
        }
        let foreign = self.trial.foreign_among(relation, &extra);
        let leaked = foreign.iter().filter(|row| !self.is_published(row)).count();
        if leaked > 0 {
            return Compared::Differs(
                &oracle::FOREIGN_ROWS_READABLE,
                self.severity(Severity::Critical),
                format!("reads {leaked} rows of another tenant"),
            );
        }
        if !foreign.is_empty() {
            return Compared::Same(Some("shared by design: rows in a public state".to_owned()));
        }
        if is_noise && seen.zero.shape() == seen.one.shape() {
            return Compared::Same(Some(
                "values differ from read to read; compared by number of rows".to_owned(),
            ));
        }
        Compared::Differs(
            &oracle::FOREIGN_VALUES_IN_AGGREGATE,
            Severity::Low,
            "gets another result once another tenant has rows".to_owned(),
        )
    }

    /// Whether all that a row shows of B are values of rows in a public state.
    fn is_published(&self, row: &[Option<String>]) -> bool {
        let canary = &self.trial.b.keys.canary;
        let published: Vec<&String> = self
            .trial
            .b
            .rows
            .iter()
            .filter(|r| self.trial.shared_by_state(r).is_some() || self.trial.is_unowned(r))
            .flat_map(|r| r.values.values().flatten())
            .collect();
        let mut shown = row.iter().flatten().filter(|v| v.contains(canary.as_str())).peekable();
        shown.peek().is_some() && shown.all(|v| published.contains(&v))
    }

    /// Reading without a context. `bound` is what the same session sees with its context: the positive control.
    pub fn stateless_read(
        &self,
        relation: &Relation,
        query: &Query,
        state: ContextState,
        base: &Seen,
        one: &Seen,
        bound: Option<&Seen>,
    ) -> ReadJudgement {
        let cell = |verdict, reason: Option<String>| ReadJudgement {
            verdict,
            reason,
            hit: None,
        };
        let control = bound.is_some_and(|s| !s.rows().is_empty());
        let shared = |row: &&Vec<Option<String>>| {
            self.trial
                .grown_row(relation, row)
                .is_some_and(|g| self.trial.shared_by_state(g).is_some())
                || self
                    .grown_by_a(relation, row)
                    .is_some_and(|g| self.trial.shared_by_state(g).is_some())
        };
        match one {
            Seen::Failed(error) if error.code == "42501" && error.message.starts_with("permission denied") => {
                cell(CellVerdict::Denied, Some(error.message.clone()))
            }
            Seen::Failed(error) if control && !error.is_interference() => {
                cell(CellVerdict::Held, Some(format!("refuses: {}", error.code)))
            }
            Seen::Failed(error) => cell(CellVerdict::Vacuous, Some(error.reason())),
            Seen::Rows(_) => {
                let extra: Vec<&Vec<Option<String>>> = one.beyond(base).into_iter().filter(|r| !shared(r)).collect();
                let visible: Vec<&&Vec<Option<String>>> = extra
                    .iter()
                    .filter(|row| !self.seen_by_all(relation, row, bound))
                    .collect();
                if visible.is_empty()
                    || relation.kind == RelationKind::Sequence
                    || self.trial.classes.is_shared(relation.oid)
                {
                    let shown = self.trial.classes.is_shared(relation.oid) && !one.rows().is_empty();
                    return if control || shown {
                        cell(CellVerdict::Held, None)
                    } else {
                        cell(
                            CellVerdict::Vacuous,
                            Some("the session sees no row of its own here with a context either".to_owned()),
                        )
                    };
                }
                if !relation.kind.holds_rows()
                    && !visible
                        .iter()
                        .any(|r| self.trial.has_canary(r) || self.has_own_canary(r))
                {
                    return cell(
                        if control {
                            CellVerdict::Held
                        } else {
                            CellVerdict::Vacuous
                        },
                        Some("an aggregate over no row of a tenant".to_owned()),
                    );
                }
                let unowned = relation.kind.holds_rows()
                    && visible.iter().all(|r| {
                        self.trial
                            .grown_row(relation, r)
                            .or(self.grown_by_a(relation, r))
                            .is_some_and(|g| self.trial.is_unowned(g))
                    });
                let severity = if unowned { Severity::Medium } else { Severity::High };
                let binding = self.trial.as_a(state);
                let sentence = format!(
                    "{} {}: a request of session `{}` without a tenant (context {}) reads {} rows of tenants",
                    type_of(relation).word(),
                    relation.name,
                    self.trial.session.name,
                    state.word(),
                    visible.len()
                );
                let evidence = self.scene(&self.trial.as_a(ContextState::Bound), relation.oid, |scene| {
                    scene.read_without_context(&sentence, &binding, &named_columns(query))
                });
                ReadJudgement {
                    verdict: CellVerdict::Violated,
                    reason: None,
                    hit: Some(self.hit(
                        &oracle::READS_WITHOUT_CONTEXT,
                        severity,
                        Subject::of(relation),
                        Command::Select,
                        state,
                        sentence,
                        evidence,
                        self.through(relation),
                    )),
                }
            }
        }
    }

    /// A row without a tenant that every bound session sees as well: shared by design, with or without a context.
    fn seen_by_all(&self, relation: &Relation, row: &Vec<Option<String>>, bound: Option<&Seen>) -> bool {
        let grown = self.trial.grown_row(relation, row).or(self.grown_by_a(relation, row));
        grown.is_some_and(|g| self.trial.is_unowned(g)) && bound.is_some_and(|s| s.rows().contains(row))
    }

    fn grown_by_a(&self, relation: &Relation, seen: &[Option<String>]) -> Option<&'a crate::world::GrownRow> {
        let privileges = self.trial.privileges.relations.get(&relation.oid)?;
        let holder = self.trial.holder_oid(relation);
        self.trial.a.rows_of(holder).find(|row| {
            privileges
                .select
                .iter()
                .zip(seen)
                .all(|(name, value)| row.values.get(name).is_none_or(|v| v == value))
        })
    }

    fn has_own_canary(&self, row: &[Option<String>]) -> bool {
        row.iter().flatten().any(|v| v.contains(&self.trial.a.keys.canary))
    }

    /// A query that counts what the session must be able to see.
    pub fn scene<T>(&self, control: &Binding, preferred: u32, make: impl FnOnce(&Scene<'_>) -> T) -> T {
        let query = self.trial.control_query(self.seen_zero, preferred);
        make(&Scene {
            common: self.trial.common,
            a: self.trial.a,
            b: self.trial.b,
            control,
            control_query: query.as_deref(),
        })
    }

    /// Puts a hit together.
    #[expect(clippy::too_many_arguments, reason = "the parts of a finding")]
    pub fn hit(
        &self,
        oracle: &'static Oracle,
        severity: Severity,
        subject: Subject,
        command: Command,
        state: ContextState,
        message: String,
        evidence: String,
        through: Vec<String>,
    ) -> Hit {
        Hit {
            oracle,
            severity,
            route: subject
                .route
                .unwrap_or((subject.object.clone(), subject.object_type, command)),
            object: subject.object,
            object_type: subject.object_type,
            session: self.trial.session.name.clone(),
            state,
            message,
            evidence,
            scenery: self.trial.scenery(),
            through,
        }
    }

    /// What to fix where a statement on one table changed another: the table's only trigger, else the table that changed.
    fn subject(&self, named: &Relation, changed: &Relation, by_changed: bool) -> Subject {
        let holder = self.trial.holder_oid(named);
        if changed.oid == holder || !by_changed || source_is(self.trial, named, changed.oid) {
            return Subject::of(named);
        }
        let mut subject = Subject::of(changed);
        // What a foreign key does by itself is no trigger's doing.
        let acts = |action: &str| matches!(action, "c" | "n" | "d");
        let follows = changed
            .foreign_keys
            .iter()
            .any(|k| k.references == holder && (acts(&k.on_delete) || acts(&k.on_update)));
        let functions: Vec<&Function> = named
            .triggers
            .iter()
            .filter_map(|t| trigger_function(self.trial, t))
            .collect();
        let writes = |f: &&&Function| mentions(self.trial.catalog, &f.body, &changed.name.name);
        if let Some(function) = functions
            .iter()
            .find(writes)
            .or(functions.first().filter(|_| functions.len() == 1 && !follows))
        {
            subject = Subject::of_function(function);
        }
        subject.route = Some((named.name.to_string(), type_of(named), Command::Insert));
        subject
    }

    fn carries_tenant(&self, change: &Change) -> bool {
        let keys = [
            &self.trial.a.keys.tenant,
            &self.trial.b.keys.tenant,
            &self.trial.common.keys.tenant,
        ];
        self.trial.catalog.relation(change.relation).is_some_and(|t| {
            self.trial
                .tenant_values(t, &change.row)
                .iter()
                .any(|v| keys.contains(&v))
        })
    }

    /// A condition on a row `t`: it carries another tenant's key and not A's.
    pub(super) fn foreign_tenant(&self, table: &Relation) -> String {
        let keys = [&self.trial.b.keys.tenant, &self.trial.common.keys.tenant];
        let columns = self.trial.classes.columns_of(table, Class::Tenant);
        let foreign: Vec<String> = columns
            .iter()
            .flat_map(|c| keys.iter().map(move |k| column_is(c, k)))
            .collect();
        let own: Vec<String> = columns
            .iter()
            .map(|c| column_is(c, &self.trial.a.keys.tenant))
            .collect();
        format!(
            "({}) AND NOT coalesce({}, false)",
            foreign.join(" OR "),
            own.join(" OR ")
        )
    }

    fn any_tenant(&self, table: &Relation) -> String {
        let keys = [
            &self.trial.a.keys.tenant,
            &self.trial.b.keys.tenant,
            &self.trial.common.keys.tenant,
        ];
        let columns = self.trial.classes.columns_of(table, Class::Tenant);
        let any: Vec<String> = columns
            .iter()
            .flat_map(|c| keys.iter().map(move |k| column_is(c, k)))
            .collect();
        if any.is_empty() {
            "true".to_owned()
        } else {
            any.join(" OR ")
        }
    }

    /// Relations that a view or partition takes its rows from.
    pub fn through(&self, relation: &Relation) -> Vec<String> {
        let mut names = Vec::new();
        let mut waiting: Vec<u32> = relation.reads.iter().chain(relation.parents.iter()).copied().collect();
        let mut seen = Vec::new();
        while let Some(oid) = waiting.pop() {
            if seen.contains(&oid) {
                continue;
            }
            seen.push(oid);
            if let Some(inner) = self.trial.catalog.relation(oid) {
                names.push(inner.name.to_string());
                waiting.extend(&inner.reads);
            }
        }
        names
    }

    fn severity(&self, plain: Severity) -> Severity {
        if matches!(self.purpose, "plain" | "given by the schema") {
            plain
        } else {
            Severity::High
        }
    }

    fn because(&self) -> String {
        match self.purpose {
            "plain" | "given by the schema" => String::new(),
            purpose => format!(
                " whose key is confused with its own ({purpose}: `{}` and `{}`)",
                self.trial.a.keys.tenant, self.trial.b.keys.tenant
            ),
        }
    }
}

enum Compared {
    Same(Option<String>),
    Differs(&'static Oracle, Severity, String),
}

fn source_is(trial: &Trial<'_>, relation: &Relation, table: u32) -> bool {
    super::write::source(trial, relation).is_some_and(|s| s.oid == table)
}

fn trigger_function<'a>(trial: &Trial<'a>, definition: &str) -> Option<&'a Function> {
    let name = definition
        .rsplit_once(" EXECUTE FUNCTION ")?
        .1
        .split('(')
        .next()?
        .trim();
    let (schema, name) = match name.rsplit_once('.') {
        Some((schema, name)) => (Some(schema), name),
        None => (None, name),
    };
    trial.catalog.find_functions(schema, name.trim_matches('"')).next()
}

/// A query whose columns have names of their own, so that it can stand in FROM.
pub fn named_columns(query: &Query) -> String {
    query.sql.replace("::text FROM", " FROM").replace("::text, ", ", ")
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("")
}
