//! Evidence: a finding as a plain SQL script for a superuser on a fresh database that holds the schema.
//!
//! Contract: runs statement by statement (`psql -X -q -At`), goes on after errors, and prints as its last line `VIOLATED`,
//! `HELD` or `INVALID`. Facts on the way are kept in settings named `proof.*`, which any role may set.

use super::attempt::Act;
use super::binding::Binding;
use super::scenery;
use crate::model::Relation;
use crate::sql::quote;
use crate::world::Universe;

/// The universes of a script.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// Rows of nobody.
    pub common: &'a Universe,
    /// The attacker.
    pub a: &'a Universe,
    /// The victim.
    pub b: &'a Universe,
    /// The attacker's request with its own context, for the positive control.
    pub control: &'a Binding,
    /// A query that counts what the request must be able to see.
    pub control_query: Option<&'a str>,
}

/// What an act is judged by.
#[derive(Debug, Clone)]
pub enum Check<'a> {
    /// B's rows of this table are all as they were.
    RowsKept(&'a Relation),
    /// No new row of this table satisfies the condition.
    NoNewRow(&'a Relation, String),
    /// What a session observes by this query is as before.
    SameView(&'a Binding, String),
    /// The condition, over settings that the act left behind, does not hold.
    Never(String),
}

impl Scene<'_> {
    /// B's rows show in what a session reads.
    pub fn read(&self, title: &str, binding: &Binding, query: &str) -> String {
        self.read_after(title, binding, query, &[])
    }

    /// B's rows show in what a session reads, once something was changed about them.
    pub fn read_after(&self, title: &str, binding: &Binding, query: &str, changes: &[String]) -> String {
        let mut script = self.opening(title);
        script.universe("the rows of nobody's tenant", self.common);
        script.universe("tenant A", self.a);
        self.control(&mut script);
        script.observe("what the session reads while only A is there", binding, query, "before");
        script.universe("tenant B", self.b);
        for change in changes {
            script.line(&format!("{change};"));
        }
        script.observe("the same read, with B there", binding, query, "after");
        // An error is a refusal unless it appeared with B.
        script.verdict("pg_catalog.current_setting('proof.after', true) IS DISTINCT FROM pg_catalog.current_setting('proof.before', true)");
        script.text
    }

    /// What a call returns depends on B's rows. The call without B is undone: it may have written something.
    pub fn call(&self, title: &str, binding: &Binding, query: &str) -> String {
        let mut script = self.opening(title);
        script.universe("the rows of nobody's tenant", self.common);
        script.universe("tenant A", self.a);
        self.control(&mut script);
        script.say("what the call returns while only A is there");
        let body = format!(
            "DECLARE shown text;\nBEGIN\n  SELECT {} INTO shown;\n  RAISE EXCEPTION 'undone' USING ERRCODE = 'TP000';\n\
             EXCEPTION WHEN SQLSTATE 'TP000' THEN\n  PERFORM pg_catalog.set_config('proof.before', shown, false);\nEND",
            all_as_text(query)
        );
        script.request(binding, &format!("DO $proof$\n{body}\n$proof$"));
        script.universe("tenant B", self.b);
        script.observe("the same call, with B there", binding, query, "after");
        script.verdict("pg_catalog.current_setting('proof.after', true) IS DISTINCT FROM pg_catalog.current_setting('proof.before', true)");
        script.text
    }

    /// Rows show although no context is set.
    pub fn read_without_context(&self, title: &str, binding: &Binding, query: &str) -> String {
        let mut script = self.opening(title);
        script.universe("the rows of nobody's tenant", self.common);
        script.observe(
            "what a request without a tenant reads of an empty system",
            binding,
            query,
            "before",
        );
        script.universe("tenant A", self.a);
        self.control(&mut script);
        script.universe("tenant B", self.b);
        script.observe("the same read, with rows of A and B there", binding, query, "after");
        script.verdict(
            "pg_catalog.current_setting('proof.after', true) IS NOT NULL AND \
             pg_catalog.current_setting('proof.after', true) IS DISTINCT FROM pg_catalog.current_setting('proof.before', true)",
        );
        script.text
    }

    /// An act of the session has an effect on B.
    pub fn write(&self, title: &str, binding: &Binding, act: &Act, check: &Check<'_>) -> String {
        let mut script = self.opening(title);
        script.universe("the rows of nobody's tenant", self.common);
        if let Check::RowsKept(table) = check {
            script.remember("common", &places(table, "true"));
        }
        script.universe("tenant A", self.a);
        if let Check::RowsKept(table) = check {
            script.remember("with_a", &places(table, "true"));
        }
        self.control(&mut script);
        script.universe("tenant B", self.b);
        for statement in &act.prepare {
            script.line(&format!("{statement};"));
        }
        match check {
            Check::RowsKept(table) => {
                script.say("rows that are not A's: one that is updated moves to another place");
                let not_a = format!("{} OR {}", is_not_at("with_a"), is_at("common"));
                script.remember("kept", &places(table, &not_a));
            }
            Check::NoNewRow(table, _) => {
                script.say("all rows before");
                script.remember("known", &places(table, "true"));
            }
            Check::SameView(binding, query) => script.observe("what is seen before", binding, query, "before"),
            Check::Never(_) => {}
        }
        script.act(binding, &act.sql);
        let fault = match check {
            Check::RowsKept(table) => {
                script.remember("left", &places(table, "t.tableoid || ':' || t.ctid = ANY (pg_catalog.string_to_array(pg_catalog.current_setting('proof.kept'), ' '))"));
                "pg_catalog.current_setting('proof.left', true) IS DISTINCT FROM pg_catalog.current_setting('proof.kept', true)".to_owned()
            }
            Check::NoNewRow(table, condition) => {
                let new = format!("({condition}) AND {}", is_not_at("known"));
                script.remember("new", &places(table, &new));
                "pg_catalog.current_setting('proof.new', true) <> ''".to_owned()
            }
            Check::SameView(binding, query) => {
                script.observe("what is seen after", binding, query, "after");
                "pg_catalog.current_setting('proof.after', true) IS DISTINCT FROM pg_catalog.current_setting('proof.before', true)".to_owned()
            }
            Check::Never(condition) => condition.clone(),
        };
        script.verdict(&fault);
        script.text
    }

    /// The same act ends differently with B there.
    pub fn outcome(&self, title: &str, binding: &Binding, sql: &str) -> String {
        let mut script = self.opening(title);
        script.universe("the rows of nobody's tenant", self.common);
        script.universe("tenant A", self.a);
        self.control(&mut script);
        script.try_out("while only A is there", binding, sql, "without");
        script.universe("tenant B", self.b);
        script.try_out("with B there", binding, sql, "with");
        // Refused for want of a privilege or by a policy in both worlds: nothing is told.
        script.verdict("pg_catalog.current_setting('proof.with', true) IS DISTINCT FROM pg_catalog.current_setting('proof.without', true)");
        script.text
    }

    /// A read of the session's own ends with an error.
    pub fn fails(&self, title: &str, binding: &Binding, query: &str, code: &str) -> String {
        let mut script = self.opening(title);
        script.universe("the rows of nobody's tenant", self.common);
        script.universe("tenant A", self.a);
        script.line("SELECT pg_catalog.set_config('proof.control', '1', false);");
        script.try_out(
            "the session's own read",
            binding,
            &format!("PERFORM * FROM ({query}) AS t"),
            "ended",
        );
        script.verdict(&format!(
            "pg_catalog.current_setting('proof.ended', true) = {}",
            quote::literal(code)
        ));
        script.text
    }

    /// Identity is still there after the transaction.
    pub fn outlives(&self, title: &str, binding: &Binding, sql: &str, condition: &str) -> String {
        let mut script = self.opening(title);
        script.universe("the rows of nobody's tenant", self.common);
        script.universe("tenant A", self.a);
        self.control(&mut script);
        script.act(binding, sql);
        script.say("the next request on this connection");
        script.verdict(condition);
        script.text
    }

    /// Statements of several parties in turn, in one transaction, and what tells that they worked.
    pub fn ploy(&self, title: &str, steps: &[(Option<Binding>, &str)], fault: &str, compare: bool) -> String {
        let mut script = self.opening(title);
        script.line("SELECT pg_catalog.set_config('proof.superuser', session_user, false);");
        script.universe("the rows of nobody's tenant", self.common);
        script.universe("tenant A", self.a);
        self.control(&mut script);
        if compare {
            script.say("while only A is there");
            script.steps(steps, "false");
            script.remember("before", "pg_catalog.current_setting('proof.shown', true)");
        }
        script.universe("tenant B", self.b);
        script.say("the act");
        script.line("SELECT pg_catalog.set_config('proof.shown', '', false);");
        script.steps(steps, fault);
        script.verdict("pg_catalog.current_setting('proof.fact', true) = 'true'");
        script.text
    }

    fn opening(&self, title: &str) -> Script {
        Script {
            text: format!(
                "-- {title}\n-- Run as superuser on a fresh database that holds the schema: psql -X -q -At -f FILE\n"
            ),
        }
    }

    fn control(&self, script: &mut Script) {
        if let Some(query) = self.control_query {
            script.say("positive control: the request can do its own work");
            script.request(
                self.control,
                &format!("SELECT pg_catalog.set_config('proof.control', ({query}), false)"),
            );
        } else {
            script.line("SELECT pg_catalog.set_config('proof.control', '1', false);");
        }
    }
}

struct Script {
    text: String,
}

impl Script {
    fn line(&mut self, line: &str) {
        self.text += line;
        self.text.push('\n');
    }

    fn say(&mut self, comment: &str) {
        self.text += &format!("\n-- {comment}\n");
    }

    fn universe(&mut self, name: &str, universe: &Universe) {
        if universe.rows.iter().all(|r| r.insert.starts_with("--")) && universe.setup.is_empty() {
            return;
        }
        self.say(name);
        self.line(&scenery::mark(universe));
    }

    /// A request of its own: a transaction with the session's role and settings.
    fn request(&mut self, binding: &Binding, statement: &str) {
        self.line("BEGIN;");
        self.line(&binding.sql().replace("; SELECT", ";\nSELECT"));
        self.line(&format!("{statement};"));
        self.line("COMMIT;");
    }

    /// Steps in one transaction, at the end of which the superuser notes whether the fact holds.
    fn steps(&mut self, steps: &[(Option<Binding>, &str)], fact: &str) {
        const SUPERUSER: &str = "SELECT pg_catalog.set_config('session_authorization', pg_catalog.current_setting('proof.superuser'), true);";
        self.line("BEGIN;");
        let mut last: Option<&Option<Binding>> = None;
        for (binding, sql) in steps {
            if last != Some(binding) {
                match binding {
                    Some(binding) => self.line(&binding.sql().replace("; SELECT", ";\nSELECT")),
                    None => self.line(SUPERUSER),
                }
            }
            last = Some(binding);
            self.line(&format!("{sql};"));
        }
        self.line(SUPERUSER);
        self.line(&format!(
            "SELECT pg_catalog.set_config('proof.fact', coalesce(({fact}), false)::text, false);"
        ));
        self.line("COMMIT;");
    }

    fn observe(&mut self, comment: &str, binding: &Binding, query: &str, name: &str) {
        self.say(comment);
        self.request(
            binding,
            &format!(
                "SELECT pg_catalog.set_config('proof.{name}', {}, false)",
                all_as_text(query)
            ),
        );
    }

    fn act(&mut self, binding: &Binding, sql: &str) {
        self.say("the act");
        self.request(binding, sql);
    }

    /// Runs a statement that is undone, and keeps how it ended.
    fn try_out(&mut self, comment: &str, binding: &Binding, sql: &str, name: &str) {
        self.say(comment);
        let body = format!(
            "BEGIN\n  {sql};\n  SET CONSTRAINTS ALL IMMEDIATE;\n  RAISE EXCEPTION 'undone' USING ERRCODE = 'TP000';\n\
             EXCEPTION WHEN OTHERS THEN\n  PERFORM pg_catalog.set_config('proof.{name}', SQLSTATE, false);\nEND"
        );
        self.request(binding, &format!("DO $proof$\n{body}\n$proof$"));
    }

    fn remember(&mut self, name: &str, query: &str) {
        self.line(&format!(
            "SELECT pg_catalog.set_config('proof.{name}', ({query}), false);"
        ));
    }

    fn verdict(&mut self, fault: &str) {
        self.say("the verdict");
        self.line(&format!(
            "SELECT CASE WHEN coalesce(pg_catalog.current_setting('proof.control', true), '0') IN ('', '0') THEN 'INVALID'\n            WHEN {fault} THEN 'VIOLATED' ELSE 'HELD' END;"
        ));
    }
}

/// All rows of a query as one text, whatever their order.
fn all_as_text(query: &str) -> String {
    format!(
        "(SELECT coalesce(pg_catalog.string_agg(pg_catalog.to_jsonb(t)::text, E'\\n' ORDER BY pg_catalog.to_jsonb(t)::text), '') FROM ({query}) AS t)"
    )
}

/// Places of the rows of a table that satisfy a condition, as one text.
fn places(table: &Relation, condition: &str) -> String {
    let only = if table.partition_key.is_some() { "" } else { "ONLY " };
    format!(
        "SELECT coalesce(pg_catalog.string_agg(t.tableoid || ':' || t.ctid, ' ' ORDER BY t.tableoid, t.ctid), '') FROM {only}{} AS t WHERE {condition}",
        table.name
    )
}

/// A condition on a row `t`: it is at a place that was remembered.
fn is_at(name: &str) -> String {
    format!(
        "t.tableoid || ':' || t.ctid = ANY (pg_catalog.string_to_array(pg_catalog.current_setting('proof.{name}'), ' '))"
    )
}

/// A condition on a row `t`: it is at none of the places that were remembered.
fn is_not_at(name: &str) -> String {
    format!(
        "t.tableoid || ':' || t.ctid <> ALL (pg_catalog.string_to_array(pg_catalog.current_setting('proof.{name}'), ' '))"
    )
}

/// A condition on a table's row `t`: a column holds a text.
pub fn column_is(column: &str, value: &str) -> String {
    format!("t.{}::text = {}", quote::ident(column), quote::literal(value))
}
