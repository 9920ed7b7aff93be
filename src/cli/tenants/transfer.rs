//! `tenants export` and `import`.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, BufReader};

use super::{Desk, Exit, Failure, progress};
use crate::tenancy::{ImportOptions, Line, TransferError, parse_line};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// Slug or key
    tenant: String,
    /// Where it goes (default: standard output)
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub async fn export(desk: &Desk, args: Export) -> Result<Exit, Failure> {
    let tenant = desk.tenant(&args.tenant).await?;
    let mut out: BufWriter<Box<dyn Write + Send>> = BufWriter::new(match &args.output {
        Some(path) => {
            let file = std::fs::File::create(path).with_context(|| format!("write to `{}`", path.display()));
            Box::new(file.map_err(Failure::usage)?)
        }
        None => Box::new(std::io::stdout()),
    });
    let bar = progress("documents");
    let mut lines = std::pin::pin!(desk.store.export_tenant(tenant.id).await?);
    while let Some(line) = lines.try_next().await? {
        bar.inc(u64::from(matches!(line, Line::Document(_))));
        let text = serde_json::to_string(&line).map_err(Failure::usage)?;
        writeln!(out, "{text}")
            .context("write the export")
            .map_err(Failure::usage)?;
    }
    out.flush().context("write the export").map_err(Failure::usage)?;
    bar.finish_and_clear();
    Ok(Exit::Isolated)
}

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// File that was exported; `-` for standard input
    file: PathBuf,
    /// Delete first what the tenant has; otherwise it has to be empty
    #[arg(long)]
    replace: bool,
    /// Try it and keep nothing
    #[arg(long)]
    dry_run: bool,
}

pub async fn import(desk: &Desk, args: Import) -> Result<Exit, Failure> {
    if args.replace && !args.dry_run {
        desk.confirm("delete the configuration and all documents of the tenant before the import")?;
    }
    let reader: Box<dyn AsyncBufRead + Send + Unpin> = if args.file.as_os_str() == "-" {
        Box::new(BufReader::new(tokio::io::stdin()))
    } else {
        let file = tokio::fs::File::open(&args.file).await;
        let file = file.with_context(|| format!("read `{}`", args.file.display()));
        Box::new(BufReader::new(file.map_err(Failure::usage)?))
    };
    let texts = futures_util::stream::unfold(reader.lines(), |mut lines| async move {
        let line = lines.next_line().await.transpose()?;
        Some((line, lines))
    });
    let parsed = texts.enumerate().map(|(at, text)| {
        let text = text.map_err(|error| TransferError::Line {
            line: at + 1,
            reason: error.to_string(),
        })?;
        parse_line(at, &text)
    });
    let options = ImportOptions {
        replace: args.replace,
        dry_run: args.dry_run,
    };
    let bar = progress("documents");
    let imported = desk
        .store
        .import_tenant(parsed, options, |done| bar.set_position(done as u64))
        .await?;
    bar.finish_and_clear();
    desk.print(&imported, |i| {
        let verb = if args.dry_run { "would be imported" } else { "imported" };
        format!(
            "{} values, {} locks, {} documents {verb}",
            i.values, i.locks, i.documents
        )
    })?;
    Ok(Exit::Isolated)
}
