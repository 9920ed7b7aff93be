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
    /// A role that the request then takes by SET ROLE.
    pub set_role: Option<String>,
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
            set_role: None,
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
        if let Some(role) = &self.set_role {
            sql += &format!(" SET LOCAL ROLE {};", quote::ident(role));
        }
        sql
    }

    /// Number of statements in [`Self::sql`].
    pub fn statements(&self) -> usize {
        1 + self.settings.len() + usize::from(self.set_role.is_some())
    }
}

/// Whether a session has any identity of a tenant at all; one without is only judged unset.
pub fn has_identity(session: &Session) -> bool {
    is_identity(&session.role) || session.settings.values().any(|t| is_identity(t))
}

/// Names of the settings that carry identity and that a request can lack: a search path there always is.
pub fn identity_settings(session: &Session) -> Vec<&str> {
    session
        .settings
        .iter()
        .filter(|(name, t)| is_identity(t) && *name != "search_path")
        .map(|(n, _)| n.as_str())
        .collect()
}

fn is_identity(template: &str) -> bool {
    ["{tenant}", "{user}", "{email}"]
        .iter()
        .any(|token| template.contains(token))
}
