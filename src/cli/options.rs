//! Target options, shared by the subcommands, and what they and the target file come to.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::{Failure, presets};
use crate::model::Acceptance;
use crate::pg::{ServerChoice, ServerOptions};
use crate::run::target::{self, TargetFile};
use crate::sql::script::{self, ScriptError, Step};

/// What to verify, and where.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Target options")]
pub struct TargetOptions {
    /// Target file (default: ./tenantproof.toml where it exists)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// SQL file or folder, applied in name order to an empty database (default: policies/)
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub schema: Vec<PathBuf>,
    /// Platform whose roles and schemas are loaded first
    #[arg(long, value_name = "NAME", value_parser = ["supabase"])]
    pub preset: Option<String>,
    /// Where the scratch PostgreSQL comes from: auto, container, local, embedded or a URL
    #[arg(long, value_name = "SERVER")]
    pub server: Option<ServerChoice>,
    /// File of accepted findings, with reason and expiry
    #[arg(long, value_name = "FILE")]
    pub accept_file: Option<PathBuf>,
}

/// Options and target file, put together.
#[derive(Debug)]
pub struct Resolved {
    /// The target file.
    pub file: TargetFile,
    /// Statements to load.
    pub steps: Vec<Step>,
    /// Statements of a platform, to load before.
    pub platform: Vec<Step>,
    /// What the reader should know of it.
    pub notes: Vec<String>,
    /// The server to start.
    pub server: ServerOptions,
    /// Accepted findings.
    pub acceptances: Vec<Acceptance>,
}

impl TargetOptions {
    /// Reads the target file and the schema.
    pub fn resolve(&self) -> Result<Resolved, Failure> {
        let file = self.target_file()?;
        let schema = script::read_paths(&self.schema_paths(&file)?).map_err(script_failure)?;
        let named = self.preset.as_deref().or(file.target.preset.as_deref());
        let mut notes = Vec::new();
        let preset = named.or_else(|| {
            let wanted = presets::wanted(&schema)?;
            notes.push(format!(
                "preset `{wanted}` is loaded first, for the schema uses what that platform has"
            ));
            Some(wanted)
        });
        let platform = preset.map(presets::steps).transpose()?.unwrap_or_default();
        let server = ServerOptions {
            choice: self.server_choice(&file)?,
            version: file.server.version.clone(),
        };
        let mut acceptances = file.accept.clone();
        if let Some(path) = &self.accept_file {
            let extra = target::read(path).map_err(Failure::usage)?;
            acceptances.extend(extra.accept);
        }
        if let Some(bare) = acceptances.iter().find(|a| a.reason.trim().is_empty()) {
            return Err(Failure::usage(anyhow!(
                "accept `{}` of {}: it has no reason; say why it is right",
                bare.rule,
                bare.object
            )));
        }
        Ok(Resolved {
            file,
            steps: schema,
            platform,
            notes,
            server,
            acceptances,
        })
    }

    /// The target file that was named, else `./tenantproof.toml`; but where that names a schema of its own and the command
    /// line names another, its sessions and tables mean nothing there.
    fn target_file(&self) -> Result<TargetFile, Failure> {
        if let Some(path) = &self.config {
            return target::read(path).map_err(Failure::usage);
        }
        let found = Path::new("tenantproof.toml");
        if !found.exists() {
            return Ok(TargetFile::default());
        }
        let file = target::read(found).map_err(Failure::usage)?;
        let real = |paths: &[PathBuf]| -> Vec<PathBuf> {
            paths
                .iter()
                .map(|p| p.canonicalize().unwrap_or_else(|_| p.clone()))
                .collect()
        };
        let is_meant = self.schema.is_empty()
            || file.target.schema.is_empty()
            || real(&file.target.schema)
                .iter()
                .all(|own| real(&self.schema).contains(own));
        if is_meant {
            return Ok(file);
        }
        anstream::eprintln!(
            "note: ./tenantproof.toml is for another schema and is not used; give it with --config to use it"
        );
        Ok(TargetFile::default())
    }

    fn schema_paths(&self, file: &TargetFile) -> Result<Vec<PathBuf>, Failure> {
        if !self.schema.is_empty() {
            Ok(self.schema.clone())
        } else if !file.target.schema.is_empty() {
            Ok(file.target.schema.clone())
        } else if Path::new("policies").is_dir() {
            Ok(vec![PathBuf::from("policies")])
        } else {
            Err(Failure::usage(anyhow!(
                "find a schema: there is no folder `policies` here; name SQL files or folders with --schema"
            )))
        }
    }

    fn server_choice(&self, file: &TargetFile) -> Result<ServerChoice, Failure> {
        if let Some(choice) = &self.server {
            return Ok(choice.clone());
        }
        match (file.server.provider.as_deref(), &file.server.url) {
            (Some("url"), None) => Err(Failure::usage(anyhow!(
                "choose a server: provider `url` needs `url` beside it in [server]"
            ))),
            (Some("url") | None, Some(url)) => Ok(ServerChoice::Url(url.clone())),
            (Some(word), _) => word
                .parse()
                .map_err(|e| Failure::usage(anyhow!("choose a server: {e}"))),
            (None, None) => Ok(ServerChoice::Auto),
        }
    }
}

/// A path that is not there is bad usage; a script that cannot be read is a schema that does not load.
fn script_failure(error: ScriptError) -> Failure {
    match error {
        ScriptError::Missing { .. } | ScriptError::NoSql { .. } | ScriptError::Read { .. } => Failure::usage(error),
        _ => Failure::not_run(error),
    }
}
