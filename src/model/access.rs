//! What grants, memberships and policies let a role do, as far as the catalog alone tells.

use std::collections::BTreeSet;

use super::catalog::{Catalog, PolicyCommand, PolicyMode, Relation, RowSecurity};

impl Catalog {
    /// Whether a role, itself or through a role that it is in, was granted something on a relation or function.
    pub fn is_granted_anything(&self, role: &str) -> bool {
        let grants = self.relations.iter().flat_map(|r| &r.grants);
        let grants = grants.chain(self.functions.iter().flat_map(|f| &f.grants));
        let granted: BTreeSet<&str> = grants.map(|g| g.grantee.as_str()).filter(|g| *g != "PUBLIC").collect();
        self.with_memberships(role).iter().any(|name| granted.contains(name))
    }

    /// Whether a role is another, or a member of it to any depth.
    pub fn is_member(&self, role: &str, of: &str) -> bool {
        self.with_memberships(role).contains(of)
    }

    /// A role and all roles that it is a member of, to any depth.
    fn with_memberships<'c>(&'c self, role: &'c str) -> BTreeSet<&'c str> {
        let mut waiting = vec![role];
        let mut seen = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            if seen.insert(name) {
                let groups = self.role(name).into_iter().flat_map(|r| &r.member_of);
                waiting.extend(groups.map(String::as_str));
            }
        }
        seen
    }
}

impl Relation {
    /// Whether row security lets a role do anything by a command, `is` saying which roles it is a member of. What the
    /// expressions of the policies come to is another question.
    pub fn has_policy_for(&self, command: PolicyCommand, is: impl Fn(&str) -> bool) -> bool {
        match self.row_security {
            RowSecurity::Disabled => true,
            RowSecurity::Enabled if is(&self.owner) => true,
            RowSecurity::Enabled | RowSecurity::Forced => self.policies.iter().any(|p| {
                p.mode == PolicyMode::Permissive
                    && (p.command == command || p.command == PolicyCommand::All)
                    && p.roles.iter().any(|r| r == "PUBLIC" || is(r))
                    // Without USING a policy lets no row through that is there.
                    && (p.using.is_some() || command == PolicyCommand::Insert)
            }),
        }
    }
}
