//! The user the server runs as: ourselves, or, as PostgreSQL refuses to run as root, somebody with fewer rights.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::pg::error::ServerError;

/// Who runs the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Account {
    /// The user we run as.
    Ourselves,
    /// A user we step down to, being root.
    Other { uid: u32, gid: u32 },
}

impl Account {
    /// `postgres`, else `nobody`, where we are root.
    pub(super) fn for_server() -> Result<Self, ServerError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Ourselves);
        }
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self::in_passwd(&passwd).ok_or(ServerError::NoAccount)
    }

    fn in_passwd(passwd: &str) -> Option<Self> {
        ["postgres", "nobody"].iter().find_map(|wanted| {
            passwd.lines().find_map(|line| {
                let fields: Vec<&str> = line.split(':').collect();
                let (name, uid, gid) = (fields.first()?, fields.get(2)?, fields.get(3)?);
                // macOS writes nobody as -2.
                let number = |text: &str| text.parse::<i64>().ok().map(|number| number as u32);
                match (number(uid)?, number(gid)?) {
                    (uid, gid) if name == wanted && uid != 0 => Some(Self::Other { uid, gid }),
                    _ => None,
                }
            })
        })
    }

    /// Makes a command run as this user, without supplementary groups.
    pub(super) fn become_in(self, command: &mut Command) {
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
    }

    /// Gives a file or folder to this user.
    pub(super) fn own(self, path: &Path) -> std::io::Result<()> {
        match self {
            Self::Ourselves => Ok(()),
            Self::Other { uid, gid } => std::os::unix::fs::lchown(path, Some(uid), Some(gid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_is_preferred_to_nobody_and_root_is_nobody() {
        let nobody = "root:x:0:0::/:/bin/sh\nnobody:x:65534:65533::/:/bin/false\n";
        assert_eq!(
            Account::in_passwd(nobody),
            Some(Account::Other { uid: 65534, gid: 65533 })
        );
        let both = format!("{nobody}postgres:x:101:104::/:/bin/sh\n");
        assert_eq!(Account::in_passwd(&both), Some(Account::Other { uid: 101, gid: 104 }));
        assert_eq!(Account::in_passwd("postgres:x:0:0::/:/bin/sh\n"), None);
        assert_eq!(Account::in_passwd(""), None);
    }
}
