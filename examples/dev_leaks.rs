//! dev
#[path = "../tests/support/leaks.rs"]
mod leaks;
use sqlx::postgres::PgConnectOptions;
use std::str::FromStr;
use std::time::Duration;
use tenantproof::pg::conn::Conn;
use tenantproof::run::{load, verify};
use tenantproof::sql::script;

async fn one(
    url: &str,
    paths: &[std::path::PathBuf],
    request: &verify::Request,
    reset: &str,
) -> Result<verify::Outcome, String> {
    let opts = PgConnectOptions::from_str(url).unwrap();
    let mut admin = Conn::open(&opts, Duration::from_secs(60))
        .await
        .map_err(|e| e.to_string())?;
    admin
        .query("DROP DATABASE IF EXISTS dev_x WITH (FORCE)")
        .await
        .map_err(|e| format!("{e:#}"))?;
    if !reset.is_empty() {
        admin.query(reset).await.map_err(|e| format!("{e:#}"))?;
    }
    admin
        .query("CREATE DATABASE dev_x TEMPLATE template0")
        .await
        .map_err(|e| e.to_string())?;
    let o = opts.clone().database("dev_x");
    let mut conn = Conn::open(&o, Duration::from_secs(60))
        .await
        .map_err(|e| e.to_string())?;
    let steps = script::read_paths(paths).map_err(|e| e.to_string())?;
    load::load(&mut conn, &steps, load::LoadOptions::default())
        .await
        .map_err(|e| e.to_string())?;
    conn.close().await;
    let mut conn = Conn::open(&o, Duration::from_secs(60))
        .await
        .map_err(|e| e.to_string())?;
    conn.query("SET statement_timeout = '5s'").await.unwrap();
    let r = verify::verify(&mut conn, request, &|_| ())
        .await
        .map_err(|e| format!("{e:?}"));
    conn.close().await;
    admin.close().await;
    r
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let url = &args[1];
    let zero = args[2] == "zero";
    let words: Vec<&String> = args[3..].iter().collect();
    let reset = std::fs::read_to_string("tests/leaks/reset-roles.sql").unwrap();
    let (mut ok, mut bad, mut quiet, mut loud) = (0, 0, 0, 0);
    let mut roles_before = std::collections::BTreeSet::new();
    roles_before.insert("postgres".to_owned());
    for case in leaks::Case::all() {
        if !words.is_empty() && !words.iter().any(|w| case.id.contains(w.as_str())) {
            continue;
        }
        for variant in ["flawed", "safe"] {
            let Some(path) = case.schema(variant) else { continue };
            let sessions = if zero { vec![] } else { case.sessions(variant) };
            let request = verify::Request {
                sessions,
                roles_before: roles_before.clone(),
                max_vacuous: 25.0,
                cases: 16,
                today: "2026-11-24".into(),
                ..Default::default()
            };
            let r = one(url, &[path], &request, &reset).await;
            match r {
                Err(e) => {
                    println!("ERR  {} {variant} {e}", case.id);
                    if variant == "flawed" { bad += 1 } else { loud += 1 }
                }
                Ok(o) => {
                    let serious: Vec<String> = o
                        .findings
                        .iter()
                        .filter(|f| f.severity >= tenantproof::model::Severity::Medium)
                        .map(|f| format!("{}:{}", f.rule, f.object))
                        .collect();
                    let low: Vec<String> = o
                        .findings
                        .iter()
                        .filter(|f| f.severity < tenantproof::model::Severity::Medium)
                        .map(|f| format!("{}:{}", f.rule, f.object))
                        .collect();
                    if variant == "flawed" {
                        let min = if case.severity == "low" {
                            tenantproof::model::Severity::Info
                        } else {
                            tenantproof::model::Severity::Medium
                        };
                        let hit = o.findings.iter().any(|f| f.severity >= min && case.names(f));
                        if hit {
                            ok += 1
                        } else {
                            bad += 1;
                            println!(
                                "MISS {} [{} {} {}] serious={serious:?} low={low:?} want={:?} {:?}",
                                case.id, case.kind, case.attacker, case.severity, case.tables, case.objects
                            );
                            let v: Vec<String> = o
                                .coverage
                                .iter()
                                .filter(|c| c.verdict == tenantproof::model::CellVerdict::Vacuous)
                                .map(|c| {
                                    format!(
                                        "{} {} {}: {}",
                                        c.state.word(),
                                        c.command,
                                        c.object,
                                        c.reason.clone().unwrap_or_default()
                                    )
                                })
                                .collect();
                            println!("     vacuous={v:?} notes={:?}", o.notes);
                        }
                    } else if serious.is_empty() {
                        quiet += 1
                    } else {
                        loud += 1;
                        println!("LOUD {} {serious:?}", case.id);
                    }
                    if words.len() == 1 {
                        println!(
                            "{variant} {:?}\n{}",
                            o.notes,
                            o.findings
                                .iter()
                                .map(|f| format!(
                                    "{:?} {} {}\n{}",
                                    f.severity,
                                    f.rule,
                                    f.message,
                                    f.evidence.clone().unwrap_or_default()
                                ))
                                .collect::<Vec<_>>()
                                .join("\n")
                        );
                        for c in &o.coverage {
                            println!(
                                "   {:?} {} {} {:?} {:?}",
                                c.verdict,
                                c.state.word(),
                                c.command,
                                c.object,
                                c.reason
                            );
                        }
                    }
                }
            }
        }
    }
    println!("flawed: {ok} found, {bad} missed; safe: {quiet} quiet, {loud} loud");
}
