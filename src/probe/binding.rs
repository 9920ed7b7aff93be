//! Becoming a session: the role and settings that a request of a tenant runs with, in one of the context states.

use crate::model::{ContextState, Session};
use crate::sql::quote;
use crate::world::Keys;

/// A session made concrete for one universe and state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The role.
    pub role: String,
    /// Settings to make, in order.
    pub settings: Vec<(String, String)>,
    /// The state that this is.
    pub state: ContextState,
}

impl Binding {
    /// The session bound to the universe's keys, or in a state without them.
    pub fn new(session: &Session, keys: &Keys, state: ContextState) -> Self {
        let settings = session
            .settings
            .iter()
            .filter_map(|(name, template)| {
                let carries_identity = is_identity(template);
                match state {
                    ContextState::Bound => Some((name.clone(), keys.setting(template))),
                    ContextState::Unset if carries_identity => None,
                    ContextState::Empty if carries_identity => Some((name.clone(), String::new())),
                    ContextState::Unset | ContextState::Empty => Some((name.clone(), template.clone())),
                }
            })
            .collect();
        Self {
            role: keys.role(session),
            settings,
            state,
        }
    }

    /// Statements that become the session within a transaction. SESSION AUTHORIZATION, not ROLE, so that what the
    /// request's login could not do is refused here, too.
    pub fn sql(&self) -> String {
        let mut sql = format!("SET LOCAL SESSION AUTHORIZATION {};", quote::ident(&self.role));
        for (name, value) in &self.settings {
            sql += &format!(
                " SELECT pg_catalog.set_config({}, {}, true);",
                quote::literal(name),
                quote::literal(value)
            );
        }
        sql
    }

    /// Number of statements in [`Self::sql`].
    pub fn statements(&self) -> usize {
        1 + self.settings.len()
    }
}

/// Whether a session has any identity of a tenant at all; one without is only judged unset.
pub fn has_identity(session: &Session) -> bool {
    is_identity(&session.role) || session.settings.values().any(|t| is_identity(t))
}

/// Names of the settings that carry identity.
pub fn identity_settings(session: &Session) -> Vec<&str> {
    session
        .settings
        .iter()
        .filter(|(_, t)| is_identity(t))
        .map(|(n, _)| n.as_str())
        .collect()
}

fn is_identity(template: &str) -> bool {
    ["{tenant}", "{user}", "{email}"]
        .iter()
        .any(|token| template.contains(token))
}
