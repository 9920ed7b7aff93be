//! The target file, `tenantproof.toml` (contract: DESIGN section 5).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::{Acceptance, Session, Tenancy};

/// A target file, as written. Everything is optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetFile {
    /// What to load.
    #[serde(default)]
    pub target: TargetTable,
    /// Where to run it.
    #[serde(default)]
    pub server: ServerTable,
    /// What tenants are.
    #[serde(default)]
    pub tenancy: Tenancy,
    /// Sessions.
    #[serde(default)]
    pub session: Vec<Session>,
    /// Accepted findings.
    #[serde(default)]
    pub accept: Vec<Acceptance>,
}

/// `[target]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetTable {
    /// Files and folders, relative to the target file.
    #[serde(default)]
    pub schema: Vec<PathBuf>,
    /// Preset.
    pub preset: Option<String>,
    /// Exposed schemas.
    #[serde(default)]
    pub schemas: Vec<String>,
}

/// `[server]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTable {
    /// `auto`, `container`, `local`, `embedded`, `url`.
    pub provider: Option<String>,
    /// Image tag or binary major.
    pub version: Option<String>,
    /// A server where scratch databases may be made.
    pub url: Option<String>,
    /// Role that schema files are run as.
    pub load_as: Option<String>,
}

/// Why a target file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// It cannot be read.
    #[error("read target file `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no target file.
    #[error("understand target file `{}`: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, column and what is wrong.
        message: String,
    },
}

/// Reads a target file.
pub fn read(path: &Path) -> Result<TargetFile, TargetError> {
    let text = std::fs::read_to_string(path).map_err(|source| TargetError::Read {
        path: path.to_owned(),
        source,
    })?;
    let malformed = |message: String| TargetError::Malformed {
        path: path.to_owned(),
        message,
    };
    let mut file: TargetFile = toml::from_str(&text).map_err(|e| malformed(e.to_string().trim_end().to_owned()))?;
    if let Some(twice) = file
        .session
        .iter()
        .enumerate()
        .find(|(at, s)| file.session[..*at].iter().any(|o| o.name == s.name))
    {
        return Err(malformed(format!(
            "two sessions are called `{}`; give each a name of its own",
            twice.1.name
        )));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    for schema in &mut file.target.schema {
        *schema = folder.join(&*schema);
    }
    Ok(file)
}
