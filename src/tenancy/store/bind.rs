//! The one statement that says for whom a transaction works.
//!
//! All of it is transaction-local, so the next one on the connection inherits nothing, also behind a pooler. What is not
//! said is said to be empty: a pooled connection may carry settings of others.

use std::time::Duration;

use super::Pooler;
use crate::sql::quote;
use crate::tenancy::context::{Access, TenantContext};
use crate::tenancy::id::TenantId;

/// What a transaction sees of others that run at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    ReadCommitted,
    Serializable,
}

/// For whom a transaction works.
#[derive(Debug, Clone)]
pub(super) enum Identity {
    /// The tenant of a context.
    Tenant(TenantContext),
    /// The server, for no tenant: the register of tenants.
    Register,
}

impl Identity {
    fn settings(&self) -> [(&'static str, String); 4] {
        let (role, tenant, user, claims) = match self {
            Self::Tenant(context) => (
                context.access().role(),
                context.tenant().to_string(),
                context.user().map(|user| user.to_string()).unwrap_or_default(),
                context.claims().map(|claims| claims.to_string()).unwrap_or_default(),
            ),
            Self::Register => (Access::Service.role(), String::new(), String::new(), String::new()),
        };
        [
            ("role", role.to_owned()),
            ("app.tenant_id", tenant),
            ("app.user_id", user),
            ("request.jwt.claims", claims),
        ]
    }

    /// Whose it is, where it is a tenant's.
    pub(super) fn tenant(&self) -> Option<TenantId> {
        match self {
            Self::Tenant(context) => Some(context.tenant()),
            Self::Register => None,
        }
    }

    /// Opens a transaction and binds it, in one message. The settings come first: where one is refused, the server has
    /// rolled back before BEGIN, and the connection is clean. BEGIN makes what came before in its message part of the
    /// transaction (manual, "Multiple Statements in a Simple Query").
    pub(super) fn opening(&self, isolation: Isolation, pooler: Pooler, limit: Duration) -> String {
        let mut statement = String::new();
        if pooler == Pooler::Transaction {
            // The driver names what it prepares by numbers of its own; another client may have used them on this server.
            statement.push_str("DEALLOCATE ALL; ");
        }
        if isolation == Isolation::Serializable {
            statement.push_str("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; ");
        }
        statement.push_str("SELECT ");
        for (name, value) in self.settings() {
            // PostgreSQL's text knows no NUL.
            let value = value.replace('\0', "");
            statement.push_str(&format!(
                "pg_catalog.set_config('{name}', {}, true), ",
                quote::literal(&value)
            ));
        }
        let limit = limit.as_millis().clamp(1, i32::MAX as u128);
        statement.push_str(&format!(
            "pg_catalog.set_config('statement_timeout', '{limit}', true); BEGIN"
        ));
        statement
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenancy::id::UserId;

    #[test]
    fn everything_is_said_also_what_is_empty() {
        let statement = Identity::Register.opening(Isolation::ReadCommitted, Pooler::None, Duration::from_secs(2));
        for part in [
            "set_config('role', 'tenantproof_service', true)",
            "set_config('app.tenant_id', '', true)",
            "set_config('app.user_id', '', true)",
            "set_config('request.jwt.claims', '', true)",
            "set_config('statement_timeout', '2000', true); BEGIN",
        ] {
            assert!(statement.contains(part), "{statement}");
        }
    }

    #[test]
    fn claims_cannot_end_the_literal() {
        let claims = serde_json::json!({"sub": "'); DROP TABLE tenants; --", "x": "\\'"});
        let context = TenantContext::member(TenantId::random(), UserId::random()).with_claims(claims.clone());
        let statement =
            Identity::Tenant(context).opening(Isolation::Serializable, Pooler::Transaction, Duration::from_secs(1));
        assert!(statement.contains(&quote::literal(&claims.to_string())), "{statement}");
    }
}
