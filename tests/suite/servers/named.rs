//! A server of the user's, here one of our own under a URL.

use std::time::{Duration, Instant};

use tenantproof::pg::{Provider, Scratch, Server, ServerChoice, ServerError, ServerOptions};

use super::{connect, databases, run, start, texts};
use crate::child::Holder;
use crate::providers::absent;
use crate::traces;

/// The folder of the server's socket, as a URL takes it.
fn folder_of(scratch: &Scratch) -> String {
    scratch.connect_options().get_socket().unwrap().display().to_string()
}

fn url(scratch: &Scratch, user: &str, database: &str) -> String {
    format!("postgres://{user}@localhost/{database}?host={}", folder_of(scratch))
}

async fn refusal(url: String) -> ServerError {
    let begun = Instant::now();
    let error = Server::start(&ServerOptions {
        choice: ServerChoice::Url(url),
        version: None,
    })
    .await
    .unwrap_err();
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "refusing took {:?}",
        begun.elapsed()
    );
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("s3cret"), "the password shows: {shown}");
    error
}

#[tokio::test]
async fn a_named_server_keeps_nothing_of_ours_and_loses_nothing_of_its_own() {
    if absent("local") {
        return;
    }
    let host = start("local").await;
    let witness = host.scratch().await.unwrap();
    let mut connection = connect(witness.connect_options()).await;
    run(&mut connection, "CREATE DATABASE tenantproof_prod").await;
    run(&mut connection, "CREATE ROLE theirs").await;

    let named = start(&url(&witness, "postgres", "postgres")).await;
    assert_eq!(named.kind(), Provider::Url);
    assert_eq!(named.version(), host.version());
    let kept = named.scratch().await.unwrap();
    assert!(kept.roles_before().contains("theirs"));
    assert_eq!(databases(&mut connection).await.len(), 3);
    named.stop().await;
    assert_eq!(
        databases(&mut connection).await.len(),
        2,
        "stop drops what is still there"
    );
    drop(kept);
    assert_eq!(
        texts(
            &mut connection,
            "SELECT rolname::text FROM pg_roles WHERE rolname = 'theirs'"
        )
        .await
        .len(),
        1
    );
    assert!(
        databases(&mut connection)
            .await
            .contains(&"tenantproof_prod".to_owned())
    );
}

#[tokio::test]
async fn a_killed_run_is_swept_from_a_named_server_and_a_living_one_is_not() {
    if absent("local") {
        return;
    }
    let host = start("local").await;
    let witness = host.scratch().await.unwrap();
    let mut connection = connect(witness.connect_options()).await;
    run(&mut connection, "CREATE ROLE theirs").await;
    let url = url(&witness, "postgres", "postgres");
    let mut killed = Holder::spawn(Holder::command_with_role(&url, "of_the_killed"));
    assert!(killed.report().starts_with("READY url"));
    let mut living = Holder::spawn(Holder::command_with_role(&url, "of_the_living"));
    assert!(living.report().starts_with("READY url"));
    killed.kill();

    let named = start(&url).await;
    assert_eq!(named.swept().databases.len(), 1);
    assert!(named.swept().databases[0].contains(&format!("_{}_", killed.pid())));
    assert_eq!(named.swept().roles, ["of_the_killed"]);
    let roles = "SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'of_%' OR rolname = 'theirs' ORDER BY 1";
    assert_eq!(texts(&mut connection, roles).await, ["of_the_living", "theirs"]);
    let left = databases(&mut connection).await;
    assert!(
        left.iter().any(|name| name.contains(&format!("_{}_", living.pid()))),
        "{left:?}"
    );
    named.stop().await;
    living.finish();
    assert_eq!(texts(&mut connection, roles).await, ["theirs"]);
    assert_eq!(databases(&mut connection).await, [witness.name()]);
    assert_eq!(traces::processes(killed.pid()), [""; 0]);
}

#[tokio::test]
async fn each_refusal_has_a_name_and_shows_no_password() {
    if absent("local") {
        return;
    }
    let host = start("local").await;
    let witness = host.scratch().await.unwrap();
    let mut connection = connect(witness.connect_options()).await;
    run(
        &mut connection,
        "CREATE ROLE creator LOGIN CREATEDB; CREATE ROLE nobody LOGIN; CREATE ROLE guarded LOGIN PASSWORD 'other'",
    )
    .await;
    let hba = std::path::Path::new(&folder_of(&witness)).join("data/pg_hba.conf");
    let rules = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(
        &hba,
        format!("local all guarded scram-sha-256\nlocal all barred reject\n{rules}"),
    )
    .unwrap();
    run(&mut connection, "SELECT pg_reload_conf()").await;
    tokio::time::sleep(Duration::from_millis(200)).await;

    let error = refusal(url(&witness, "guarded:s3cret", "postgres")).await;
    assert!(matches!(error, ServerError::WrongPassword { .. }), "{error:?}");
    assert!(
        error.to_string().contains("`guarded`") && error.to_string().contains(&folder_of(&witness)),
        "{error}"
    );
    let error = refusal(url(&witness, "postgres:s3cret", "absent")).await;
    assert!(matches!(error, ServerError::NoSuchDatabase { .. }), "{error:?}");
    let error = refusal(url(&witness, "barred:s3cret", "postgres")).await;
    assert!(matches!(error, ServerError::Refused { .. }), "{error:?}");
    let error = refusal(url(&witness, "creator:s3cret", "postgres")).await;
    assert!(
        matches!(
            error,
            ServerError::MissingRight {
                missing: "SUPERUSER",
                ..
            }
        ),
        "{error:?}"
    );
    let error = refusal(url(&witness, "nobody:s3cret", "postgres")).await;
    assert!(error.to_string().contains("SUPERUSER (and CREATEDB)"), "{error}");
    let error = refusal("postgres://postgres:s3cret@127.0.0.1:1/postgres".into()).await;
    assert!(matches!(error, ServerError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    let error = refusal("postgres://postgres:s3cret@127.0.0.1:nine/postgres".into()).await;
    assert!(matches!(error, ServerError::InvalidUrl(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let error = refusal(format!("postgres://postgres:s3cret@127.0.0.1:{port}/postgres")).await;
    assert!(matches!(error, ServerError::NoAnswer { .. }), "{error:?}");
}
