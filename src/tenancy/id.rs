//! Keys of tenants and users: uuids that cannot be taken for one another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that should be a key and is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read `{text}` as a {kind} id: it has to be a uuid, such as a0000000-0000-4000-8000-000000000000")]
pub struct InvalidId {
    kind: &'static str,
    text: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        ///
        /// ```
        #[doc = concat!("use tenantproof::tenancy::", stringify!($name), ";")]
        #[doc = concat!("let id: ", stringify!($name), " = \"a0000000-0000-4000-8000-000000000000\".parse()?;")]
        /// assert_eq!(id.to_string(), "a0000000-0000-4000-8000-000000000000");
        #[doc = concat!("assert!(\"a0\".parse::<", stringify!($name), ">().is_err());")]
        /// # Ok::<(), tenantproof::tenancy::InvalidId>(())
        /// ```
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A random new one.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// As the type of the database's column.
            pub fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        /// Hyphenated, in lower case.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                // Hyphenated only: what the policies' helper reads, so that one text means one thing everywhere.
                let uuid = (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten();
                uuid.map(Self).ok_or_else(|| InvalidId { kind: $kind, text: text.chars().take(64).collect() })
            }
        }
    };
}

id!(
    /// Names a tenant.
    TenantId,
    "tenant"
);
id!(
    /// Names a user.
    UserId,
    "user"
);
id!(
    /// Names a document within its tenant.
    DocumentId,
    "document"
);
