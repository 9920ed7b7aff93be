//! How often a unit of work waits for the server: counted on the wire, by a proxy between the store and PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tenantproof::tenancy::{FutureExt as _, Store, StoreError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use crate::tenancy_support::House;

/// Hands bytes on, and counts the turns: times that the client spoke after the server had.
async fn proxy(listener: UnixListener, server: std::path::PathBuf, turns: Arc<AtomicUsize>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let (server, turns) = (server.clone(), turns.clone());
        tokio::spawn(async move {
            let mut server = UnixStream::connect(server).await.expect("the server is there");
            let (mut from_client, mut from_server) = (vec![0; 65_536], vec![0; 65_536]);
            let mut server_spoke = true;
            loop {
                tokio::select! {
                    Ok(n) = client.read(&mut from_client) => {
                        if n == 0 { return }
                        if server_spoke {
                            turns.fetch_add(1, Ordering::SeqCst);
                            server_spoke = false;
                        }
                        server.write_all(&from_client[..n]).await.expect("the server reads");
                    }
                    Ok(n) = server.read(&mut from_server) => {
                        if n == 0 { return }
                        server_spoke = true;
                        if client.write_all(&from_server[..n]).await.is_err() { return }
                    }
                    else => return,
                }
            }
        });
    }
}

#[tokio::test]
async fn a_bound_transaction_costs_no_more_round_trips_than_an_unbound_one() {
    let house = House::new().await;
    let direct = house.store().await;
    let home = house.tenant(&direct, "a").await;
    let (folder, port, _) = house.place();
    let own = tempfile::tempdir().expect("a folder");
    let listener = UnixListener::bind(own.path().join(".s.PGSQL.5432")).expect("listens");
    let turns = Arc::new(AtomicUsize::new(0));
    let proxied = tokio::spawn(proxy(listener, folder.join(format!(".s.PGSQL.{port}")), turns.clone()));
    let options = house.login().socket(own.path()).port(5432);

    // By hand: BEGIN, the statement, COMMIT; no tenant is bound, so the login itself may ask nothing of the tenants.
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false);
    let pool = pool.connect_with(options.clone()).await.unwrap();
    let by_hand = async || {
        let mut tx = pool.begin().await.unwrap();
        let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        one
    };
    let store = Store::connect(tenantproof::tenancy::StoreOptions::new(options).max_connections(1))
        .await
        .unwrap();
    let bound = async || {
        let mut tx = store.begin().await?;
        let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&mut *tx).await?;
        tx.commit().await?;
        Ok::<_, StoreError>(one)
    };
    // What is prepared once a connection is prepared by now.
    by_hand().await;
    bound().in_tenant(home.member()).await.unwrap();
    let before = turns.load(Ordering::SeqCst);
    for _ in 0..20 {
        by_hand().await;
    }
    let unbound = turns.load(Ordering::SeqCst) - before;
    let before = turns.load(Ordering::SeqCst);
    for _ in 0..20 {
        bound().in_tenant(home.member()).await.unwrap();
    }
    let with_tenant = turns.load(Ordering::SeqCst) - before;
    assert!(unbound >= 60, "{unbound}: the proxy counts");
    // Of the 20, one more at most may have its ping, which the driver sends when a connection comes back, counted here.
    assert!(
        with_tenant <= unbound + 1,
        "{with_tenant} turns bound, {unbound} unbound"
    );
    pool.close().await;
    store.close().await;
    direct.close().await;
    proxied.abort();
    house.stop().await;
}
