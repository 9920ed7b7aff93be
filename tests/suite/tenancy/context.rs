//! The tenant of a task: carried where it should be, and nowhere else.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use tenantproof::tenancy::{
    self, FutureExt as _, NoTenant, TenantContext, TenantId, UserId, with_tenant, with_tenant_sync,
};

fn context() -> TenantContext {
    TenantContext::member(TenantId::random(), UserId::random())
}

fn seen() -> Option<TenantId> {
    TenantContext::current().ok().map(|c| c.tenant())
}

#[tokio::test]
async fn it_is_carried_across_awaits_and_threads() {
    let a = context();
    with_tenant(a.clone(), async {
        for _ in 0..50 {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_micros(50)).await;
            assert_eq!(seen(), Some(a.tenant()));
        }
    })
    .await;
    assert_eq!(TenantContext::current(), Err(NoTenant));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_do_not_see_one_anothers() {
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let own = context();
            tokio::spawn(with_tenant(own.clone(), async move {
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                    assert_eq!(seen(), Some(own.tenant()));
                }
            }))
        })
        .collect();
    for task in tasks {
        task.await.expect("each saw its own");
    }
}

#[tokio::test]
async fn a_nested_scope_ends_with_its_block_however_it_ends() {
    let (a, b) = (context(), context());
    with_tenant(a.clone(), async {
        // Returned, and failed.
        let failed: Result<(), &str> = with_tenant(b.clone(), async {
            assert_eq!(seen(), Some(b.tenant()));
            Err("no")
        })
        .await;
        assert_eq!((failed, seen()), (Err("no"), Some(a.tenant())));
        // Panicked.
        let panicked = AssertUnwindSafe(with_tenant(b.clone(), async {
            tokio::task::yield_now().await;
            panic!("on purpose");
        }))
        .catch_unwind()
        .await;
        assert!(panicked.is_err());
        assert_eq!(seen(), Some(a.tenant()));
        // Cancelled by select and by timeout, halfway.
        tokio::select! {
            () = with_tenant(b.clone(), std::future::pending()) => unreachable!(),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(seen(), Some(a.tenant()));
        let late = tokio::time::timeout(
            Duration::from_millis(1),
            with_tenant(b.clone(), std::future::pending::<()>()),
        );
        assert!(late.await.is_err());
        assert_eq!(seen(), Some(a.tenant()));
        // Polled by hand, between two polls of its own.
        let mut inner = Box::pin(with_tenant(b.clone(), async {
            tokio::task::yield_now().await;
            seen()
        }));
        assert_eq!(inner.as_mut().now_or_never(), None);
        assert_eq!(seen(), Some(a.tenant()), "between two polls the outer one holds");
        assert_eq!(inner.await, Some(b.tenant()));
        // Without awaits.
        assert_eq!(with_tenant_sync(b.clone(), seen), Some(b.tenant()));
        assert!(
            std::panic::catch_unwind(AssertUnwindSafe(|| with_tenant_sync(b.clone(), || panic!(
                "on purpose"
            ))))
            .is_err()
        );
        assert_eq!(seen(), Some(a.tenant()));
    })
    .await;
    assert_eq!(seen(), None);
}

#[tokio::test]
async fn spawn_carries_it_on_and_plain_spawn_does_not() {
    let a = context();
    assert!(matches!(tenancy::spawn(async {}), Err(NoTenant)), "nothing to carry");
    assert!(matches!(tenancy::spawn_blocking(|| ()), Err(NoTenant)));
    async {
        let carried = tenancy::spawn(async { seen() }).expect("there is one");
        assert_eq!(carried.await.unwrap(), Some(a.tenant()));
        let blocking = tenancy::spawn_blocking(seen).expect("there is one");
        assert_eq!(blocking.await.unwrap(), Some(a.tenant()));
        let plain = tokio::spawn(async { seen() });
        assert_eq!(plain.await.unwrap(), None, "plain spawn starts without a tenant");
        let nested = tenancy::spawn(async { tenancy::spawn(async { seen() }).expect("carried").await.unwrap() });
        assert_eq!(nested.expect("there is one").await.unwrap(), Some(a.tenant()));
    }
    .in_tenant(a.clone())
    .await;
}

#[tokio::test]
async fn an_aborted_task_leaves_nothing_on_its_thread() {
    let a = context();
    let task = tokio::spawn(with_tenant(a, std::future::pending::<()>()));
    tokio::task::yield_now().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    // The same thread: this runtime has one.
    assert_eq!(tokio::spawn(async { seen() }).await.unwrap(), None);
}

#[test]
fn what_is_printed_leaves_the_claims_out() {
    let context = context().with_claims(serde_json::json!({"sub": "x", "email": "ada@example.com"}));
    assert!(!format!("{context:?}").contains("ada@example.com"));
}

/// Remembers the fields of spans.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Spans {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        let mut spans = self.0.lock().unwrap();
        spans.push(format!("{} {:?}", span.metadata().name(), span.values()));
        tracing::span::Id::from_u64(spans.len() as u64)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn spans_carry_the_tenant() {
    let (spans, a) = (Spans::default(), context());
    tracing::subscriber::with_default(spans.clone(), || {
        with_tenant_sync(a.clone(), || ());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(with_tenant(a.clone(), async {}));
    });
    let seen = spans.0.lock().unwrap().clone();
    let of_tenant = seen
        .iter()
        .filter(|s| s.starts_with("tenant ") && s.contains(&a.tenant().to_string()));
    assert_eq!(of_tenant.count(), 2, "{seen:?}");
}
