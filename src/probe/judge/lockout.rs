//! The opposite fault: a session that was granted a table cannot read even its own rows, for its policies cannot be evaluated.

use super::{Hit, Judge, Subject, named_columns, type_of};
use crate::model::{Command, ContextState, Relation, Severity};
use crate::pg::conn::DbError;
use crate::probe::observe::Query;
use crate::probe::oracle;

impl Judge<'_> {
    /// A read that fails in the policies themselves, whoever has rows.
    pub(super) fn lockout(&self, relation: &Relation, query: &Query, error: &DbError) -> Option<Hit> {
        let trial = self.trial;
        let is_policed = trial
            .catalog
            .relation(relation.oid)
            .is_some_and(|r| !r.policies.is_empty());
        if !is_policed || trial.a.base(relation.oid).is_none() {
            return None;
        }
        let named = error.message.rsplit(' ').next()?.trim_matches('"');
        let (subject, severity) = match error.code.as_str() {
            // "infinite recursion detected in policy for relation ..."
            "42P17" => (
                trial.catalog.find_relation(None, named).map(Subject::of),
                Severity::Medium,
            ),
            "54001" => (Some(Subject::of(relation)), Severity::Medium),
            // What a policy calls or reads was not granted to who is asked by it.
            "42501" if error.message.starts_with("permission denied for function ") => (
                trial
                    .catalog
                    .find_functions(None, named)
                    .next()
                    .map(Subject::of_function),
                Severity::Low,
            ),
            "42501" if error.message.starts_with("permission denied for ") && named != relation.name.name => {
                (trial.catalog.find_relation(None, named).map(Subject::of), Severity::Low)
            }
            _ => return None,
        };
        let mut subject = subject.unwrap_or_else(|| Subject::of(relation));
        let sentence = format!(
            "{} {}: session `{}` cannot read its own rows in {}: {}",
            subject.object_type.word(),
            subject.object,
            trial.session.name,
            relation.name,
            error.message
        );
        subject.route = Some((relation.name.to_string(), type_of(relation), Command::Select));
        let binding = trial.as_a(ContextState::Bound);
        let evidence = self.scene(&binding, relation.oid, |scene| {
            scene.fails(&sentence, &binding, &named_columns(query), &error.code)
        });
        Some(self.hit(
            &oracle::OWN_ROWS_UNREACHABLE,
            severity,
            subject,
            Command::Select,
            ContextState::Bound,
            sentence,
            evidence,
            Vec::new(),
        ))
    }
}
