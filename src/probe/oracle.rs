//! The dynamic properties, one record each: what a finding of it means and what mends it.

use crate::model::FindingKind;

/// A dynamic property.
#[derive(Debug, PartialEq, Eq)]
pub struct Oracle {
    /// Id: names the fault, reads after "accept".
    pub id: &'static str,
    /// Kind of its findings.
    pub kind: FindingKind,
    /// One line: what was shown.
    pub title: &'static str,
    /// How it is shown.
    pub how: &'static str,
    /// What usually mends it.
    pub remedy: &'static str,
}

macro_rules! oracles {
    ($($name:ident $id:literal $kind:ident, $title:literal, $how:literal, $remedy:literal;)*) => {
        $(#[doc = $title] pub static $name: Oracle =
            Oracle { id: $id, kind: FindingKind::$kind, title: $title, how: $how, remedy: $remedy };)*
        /// All of them, in the order of the manual.
        pub static ORACLES: &[&Oracle] = &[$(&$name),*];
    };
}

oracles! {
    FOREIGN_ROWS_READABLE "foreign-rows-readable" Leak,
        "a session reads rows of another tenant",
        "what the session observes differs between the world without and the world with the other tenant's rows",
        "enable and force row security, and compare the tenant column with the session's tenant in a policy for SELECT";
    FOREIGN_VALUES_IN_AGGREGATE "foreign-values-in-aggregate" Leak,
        "a result without foreign rows in it still depends on them",
        "a count, sum or other aggregate changes when the other tenant's rows are added",
        "compute the aggregate over the session's own rows: security_invoker on the view, or a tenant condition in it";
    FOREIGN_VALUE_IN_ERROR "foreign-value-in-error" Leak,
        "an error quotes another tenant's data",
        "an error that the session gets holds text that only the other tenant's rows have",
        "do not evaluate casts or raise errors on rows before the tenant condition has decided";
    FOREIGN_ROWS_WRITABLE "foreign-rows-writable" Breach,
        "a session changes rows of another tenant",
        "after the session's statement, rows of the other tenant are changed or gone",
        "give the command a policy whose USING expression compares the tenant column with the session's tenant, or revoke the privilege";
    FOREIGN_ROW_PLANTABLE "foreign-row-plantable" Breach,
        "a session makes rows that belong to another tenant",
        "after the session's statement there is a row with the other tenant's key, or the other tenant sees a row that was not there",
        "give the policy a WITH CHECK expression that compares the tenant column of the new row with the session's tenant";
    EXISTENCE_REVEALED "existence-revealed" Reveal,
        "the outcome of a statement tells whether another tenant has a row",
        "the same statement of the session ends differently in the world with the other tenant's row and in the one without",
        "put the tenant column first in the unique or foreign key, so that the key is compared within the tenant only";
    IDENTITY_GAINED "identity-gained" Escalation,
        "a session makes itself see or be another tenant",
        "after an accepted statement the session observes rows of the other tenant, or its settings name the other tenant",
        "let only trusted code write what decides identity: memberships, roles, invitations, shares, settings";
    READS_WITHOUT_CONTEXT "reads-without-context" Context,
        "a request without a tenant reads rows",
        "with the identity settings unset or empty, the session observes tenants' rows",
        "make a missing context match nothing: compare with NULLIF(current_setting('...', true), '') and no OR branch around it";
    WRITES_WITHOUT_CONTEXT "writes-without-context" Context,
        "a request without a tenant changes or makes rows",
        "with the identity settings unset or empty, the session's statement changes or makes tenants' rows",
        "make a missing context match nothing, in USING and in WITH CHECK";
    CONTEXT_OUTLIVES_TRANSACTION "context-outlives-transaction" Context,
        "identity set in one transaction is still there in the next",
        "after COMMIT, the identity setting or role still holds what a function of the transaction set",
        "set it transaction-locally: set_config(name, value, true), SET LOCAL";
    ENDED_RELATIONSHIP_COUNTS "ended-relationship-counts" Leak,
        "a relationship that has ended, or has not begun, still opens another tenant's rows",
        "the session reads rows of the other tenant that it no longer reads once the ended membership or share is taken away",
        "let the helper that policies ask count only what is in force: status, revoked_at IS NULL, expires_at > now()";
    CONTEXT_LOST "context-lost" Context,
        "a request is opened for one tenant and runs as another",
        "a function that sets the identity is called for A, for B and for A again; after the last call the setting names B",
        "set the context outside of a block with an EXCEPTION clause, whose rollback undoes it, and after all that can fail";
    CONTEXT_BY_DEFAULT "context-by-default" Context,
        "a connection starts with a tenant's identity",
        "ALTER DATABASE or ALTER ROLE ... SET gives the identity setting a value that holds until a request sets another",
        "ALTER DATABASE ... RESET the setting (or ALTER ROLE ... RESET), so that a request which says nothing is nobody's";
    PLAN_KEEPS_CONTEXT "plan-keeps-context" Context,
        "a kept plan serves one tenant's rows to the next",
        "a query is planned and run as B, then run again as A on the same connection: it returns B's rows",
        "declare functions that read settings STABLE, not IMMUTABLE";
    FILTER_WITHOUT_BARRIER "filter-without-barrier" Leak,
        "a view shows rows that its condition filters out to what runs before the condition",
        "a cheap function or a failing cast in the session's WHERE clause sees rows of the other tenant",
        "ALTER VIEW ... SET (security_barrier = true), or security_invoker over a table with row security";
    FOREIGN_ROW_HELD "foreign-row-held" Breach,
        "a session's row binds a row of another tenant",
        "after the session's insert the other tenant's own DELETE fails by the foreign key; without it, it succeeds",
        "put the tenant into the foreign key, so that a row can only refer to rows of its own tenant";
    SHARED_SEQUENCE_WRITABLE "shared-sequence-writable" Breach,
        "a session sets a counter that all tenants draw from",
        "setval on the sequence succeeds as the session",
        "grant USAGE on the sequence only: REVOKE UPDATE ON SEQUENCE";
    VOLUME_COUNTED_BY_SEQUENCE "volume-counted-by-sequence" Reveal,
        "numbers of a shared counter tell how much other tenants do",
        "the other tenant inserts between two inserts of the session: the session's numbers are then further apart",
        "use random keys, or a counter for each tenant, for numbers that tenants see";
    ROWS_COUNTED_BY_EXPLAIN "rows-counted-by-explain" Reveal,
        "EXPLAIN ANALYZE counts rows that row security removed",
        "EXPLAIN ANALYZE as the session prints other counts once the other tenant has rows",
        "let sessions that may send any statement read through functions or views of their own, or accept the channel";
    OWN_ROWS_UNREACHABLE "own-rows-unreachable" Lockout,
        "a session cannot read its own rows, for a policy cannot be evaluated",
        "the session's SELECT ends with an error that its policies raise: infinite recursion, or no right to what they use",
        "let the policy ask a SECURITY DEFINER function instead of its own table, or grant what it uses";
    TRUNCATE_GRANTED "truncate-granted" Breach,
        "a role may empty tables, to which row security does not apply",
        "TRUNCATE as the role removes rows of other tenants; the API in front of the database never sends it",
        "REVOKE TRUNCATE ON ALL TABLES IN SCHEMA ... FROM the role, and in its default privileges";
    STATEMENTS_OF_OTHERS_SHOWN "statements-of-others-shown" Leak,
        "a session reads the texts of other tenants' statements",
        "pg_stat_activity shows the session statements of other tenants",
        "revoke pg_read_all_stats (it is part of pg_monitor); for a role that tenants share, REVOKE SELECT ON pg_stat_activity FROM PUBLIC";
}

/// The oracle of this id.
pub fn find(id: &str) -> Option<&'static Oracle> {
    ORACLES.iter().copied().find(|o| o.id == id)
}
