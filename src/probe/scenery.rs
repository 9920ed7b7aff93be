//! The universes of evidence scripts, kept once for all scripts of a trial and filled in only where a finding keeps its script.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::world::reach::Reach;
use crate::world::{GrownRow, Universe};

/// In schemas of more tables than this a script holds the rows of those tables that it cannot be without.
const WHOLE: usize = 40;

/// Begins a line that stands for a universe; no SQL holds it.
const MARK: char = '\u{1}';

/// What stands in a script for a universe.
pub(super) fn mark(universe: &Universe) -> String {
    format!("{MARK}{}", universe.keys.canary)
}

/// The rows and set-up statements of the universes of a trial, as text.
#[derive(Debug)]
pub struct Scenery {
    parts: Vec<Part>,
    reach: Arc<Reach>,
}

#[derive(Debug)]
struct Part {
    mark: String,
    rows: Vec<(u32, String)>,
    setup: Vec<String>,
}

impl Scenery {
    pub(super) fn of<'u>(universes: impl IntoIterator<Item = &'u Universe>, reach: Arc<Reach>) -> Self {
        let part = |universe: &Universe| {
            let made = |row: &&GrownRow| !row.insert.starts_with("--");
            let rows = universe.rows.iter().filter(made);
            Part {
                mark: mark(universe),
                rows: rows.map(|r| (r.relation, r.insert.clone())).collect(),
                setup: universe.setup.clone(),
            }
        };
        Self {
            parts: universes.into_iter().map(part).collect(),
            reach,
        }
    }

    /// Nothing to fill in: for scripts that need no universe.
    pub fn none(reach: Arc<Reach>) -> Self {
        Self {
            parts: Vec::new(),
            reach,
        }
    }

    /// The script with its universes filled in.
    pub fn fill(&self, script: &str) -> String {
        let tables: BTreeSet<u32> = self.parts.iter().flat_map(|p| &p.rows).map(|(oid, _)| *oid).collect();
        let mut needed = None;
        if tables.len() > WHOLE {
            let setup = self.parts.iter().flat_map(|p| &p.setup);
            let texts: Vec<&str> = std::iter::once(script).chain(setup.map(String::as_str)).collect();
            needed = self.reach.needed_by(&texts.join("\n"));
        }
        let mut text = String::with_capacity(script.len());
        for line in script.split_inclusive('\n') {
            match self.parts.iter().find(|p| p.mark == line.trim_end()) {
                Some(part) => part.write(&mut text, needed.as_ref()),
                None => text += line,
            }
        }
        text
    }
}

impl Part {
    fn write(&self, text: &mut String, needed: Option<&BTreeSet<u32>>) {
        let wanted = self
            .rows
            .iter()
            .filter(|(oid, _)| needed.is_none_or(|n| n.contains(oid)));
        *text += "BEGIN;\nSET CONSTRAINTS ALL DEFERRED;\n";
        for (_, insert) in wanted {
            *text += &format!("{insert};\n");
        }
        // A view that is no longer materialized refuses to be refreshed: that must not take the rows with it.
        let is_refresh = |s: &&String| s.starts_with("REFRESH ");
        let (refreshes, others): (Vec<&String>, Vec<&String>) = self.setup.iter().partition(is_refresh);
        for statement in others {
            *text += &format!("{};\n", statement.trim().trim_end_matches(';'));
        }
        *text += "COMMIT;\n";
        for refresh in refreshes {
            *text += &format!("{refresh};\n");
        }
    }
}
