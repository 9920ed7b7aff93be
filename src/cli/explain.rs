//! `explain`: the manual of a rule.

use super::{Exit, Failure};
use crate::probe::oracle::{self, ORACLES};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rule to explain; without one, all are listed
    rule: Option<String>,
}

pub fn run(args: &Args) -> Result<Exit, Failure> {
    let Some(id) = &args.rule else {
        for oracle in ORACLES {
            anstream::println!("{:<32} {}", oracle.id, oracle.title);
        }
        return Ok(Exit::Isolated);
    };
    let oracle = oracle::find(id).ok_or_else(|| {
        Failure::usage(anyhow::anyhow!(
            "explain `{id}`: there is no such rule; `tenantproof explain` lists them"
        ))
    })?;
    anstream::println!(
        "{} ({})\n\n{}\n\nhow it is shown: {}\nremedy: {}",
        oracle.id,
        oracle.kind.word(),
        oracle.title,
        oracle.how,
        oracle.remedy
    );
    Ok(Exit::Isolated)
}
