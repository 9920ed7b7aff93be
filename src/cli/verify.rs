//! `verify`.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use indicatif::{ProgressBar, ProgressStyle};

use super::options::TargetOptions;
use super::{Exit, Failure, scratch};
use crate::model::Severity;
use crate::report::{Report, human, json};
use crate::run::verify::{Request, VerifyError, verify};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetOptions,
    /// Seed of what is generated
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Most pairs of tenant keys to try, beginning with the plain one
    #[arg(long, value_name = "N", default_value_t = 16)]
    cases: usize,
    /// Least severity that fails
    #[arg(long, value_name = "SEVERITY", default_value = "medium")]
    fail_on: Severity,
    /// Most vacuous cells, in percent of those that could be judged
    #[arg(long, value_name = "PCT", default_value_t = 25.0, value_parser = percent)]
    max_vacuous: f64,
    /// Report format: human or json; repeat it in pairs with --output
    #[arg(long, value_name = "FORMAT", value_enum)]
    format: Vec<Format>,
    /// Where the report of the same position goes (default: standard output)
    #[arg(long, value_name = "FILE")]
    output: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Human,
    Json,
}

fn percent(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|p| (0.0..=100.0).contains(p))
        .ok_or_else(|| "a percentage between 0 and 100 is wanted".to_owned())
}

pub async fn run(args: Args) -> Result<Exit, Failure> {
    if args.output.len() > args.format.len().max(1) {
        return Err(Failure::usage(anyhow!(
            "write the report: --output is given more often than --format; give them in pairs"
        )));
    }
    let resolved = args.target.resolve()?;
    let mut request = Request {
        sessions: resolved.file.session.clone(),
        tenancy: resolved.file.tenancy.clone(),
        schemas: resolved.file.target.schemas.clone(),
        acceptances: resolved.acceptances.clone(),
        seed: args.seed,
        cases: args.cases.max(1),
        fail_on: args.fail_on,
        max_vacuous: args.max_vacuous,
        today: today(),
        ..Request::default()
    };
    let args = &args;
    scratch::with_schema(&resolved, |mut loaded| async move {
        request.roles_before = loaded.roles_before.clone();
        request.notes = std::mem::take(&mut loaded.notes);
        let bar = progress();
        let outcome = verify(&mut loaded.conn, &request, &|what| bar.set_message(what.to_owned()))
            .await
            .map_err(|error| match error {
                VerifyError::NoRole { .. } | VerifyError::Setup(_) => Failure::usage(error),
                _ => Failure::not_run(error),
            })?;
        bar.finish_and_clear();
        loaded.conn.close().await;
        let report = Report {
            outcome: &outcome,
            server: &loaded.facts,
            fail_on: args.fail_on,
        };
        write_reports(args, &report).map_err(Failure::usage)?;
        Ok(outcome.verdict.into())
    })
    .await
}

fn write_reports(args: &Args, report: &Report<'_>) -> anyhow::Result<()> {
    let formats = if args.format.is_empty() {
        vec![Format::Human]
    } else {
        args.format.clone()
    };
    for (at, format) in formats.into_iter().enumerate() {
        let text = match format {
            Format::Human => human::render(report),
            Format::Json => json::render(report),
        };
        match args.output.get(at) {
            // A file is no terminal: styles are dropped.
            Some(path) => std::fs::write(path, anstream::adapter::strip_str(&text).to_string())
                .with_context(|| format!("write the report to `{}`", path.display()))?,
            None => {
                let mut out = anstream::stdout();
                // A reader that went away (`| head`) wants no more.
                let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            }
        }
    }
    Ok(())
}

/// A spinner on stderr that shows itself only when it takes long, and only to a person.
fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner()
        .with_style(ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}").expect("the template is right"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Today in UTC, `YYYY-MM-DD`.
fn today() -> String {
    let seconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    let (year, month, day) = civil(i64::try_from(seconds / 86_400).unwrap_or(0));
    format!("{year:04}-{month:02}-{day:02}")
}

/// Days since 1970 to a date of the Gregorian calendar (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (
        year_of_era + era * 400 + i64::from(month <= 2),
        month,
        day_of_year - (153 * shifted + 2) / 5 + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::civil;

    #[test]
    fn days_become_dates() {
        for (days, date) in [(0, (1970, 1, 1)), (11_016, (2000, 2, 29)), (20_781, (2026, 11, 24))] {
            assert_eq!(civil(days), date);
        }
    }
}
