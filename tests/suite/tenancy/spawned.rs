//! A service runs the library in tasks and behind traits: its futures have to be `Send`, whatever they borrow. Compiling is
//! the test.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tenantproof::tenancy::{
    Cache, CacheError, CacheScope, Change, DocumentChanges, DocumentId, Migrator, NewDocument, NewTenant, Reach,
    Settings, SettingsSource, Store, TenantId, UserId, with_tenant,
};

fn send<T: Send>(_: T) {}

#[expect(dead_code, reason = "compiling it is the test")]
fn every_future_can_be_spawned(
    store: &Store,
    cache: &Cache,
    source: &SettingsSource,
    id: DocumentId,
    tenant: TenantId,
    text: &str,
) {
    send(store.begin());
    send(store.begin_serializable());
    send(store.run(|| async { store.begin().await?.commit().await }));
    send(async { store.begin().await?.rollback().await });
    send(store.usage().flush(store));
    send(store.usage().window(store, tenant, 1));
    send(store.check_tenants(None));
    send(store.export_tenant(tenant));
    send(store.import_tenant(stream::empty(), Default::default(), |_| ()));
    let service = store.service();
    send(service.tenants());
    send(service.find(text));
    send(service.create_tenant(NewTenant::named(text)));
    send(service.add_member(tenant, UserId::random(), text, false));
    send(service.set_base(tenant, None));
    send(service.delete_tenant(tenant));
    let configurations = store.configurations();
    send(configurations.effective());
    send(configurations.apply_tenant_configuration_changes(&[]));
    send(configurations.try_changes(&[Change::unset(text)]));
    send(configurations.history(Some(text), 1));
    send(Migrator::new(store).run(|_| ()));
    let documents = store.documents();
    send(documents.add(NewDocument::default()));
    send(documents.list(text, 1));
    send(documents.stream().collect::<Vec<_>>());
    send(documents.update(id, DocumentChanges::default()));
    send(documents.search_text(text, Reach::Own, 1));
    send(documents.search_vector(&[], Reach::Own, 1));
    send(documents.import(stream::empty(), |_| ()));
    let shares = store.shares();
    send(shares.share(id, tenant, Duration::ZERO));
    send(shares.received());
    send(cache.get::<String>(text, text));
    send(cache.put(text, text, &text));
    send(cache.get_or_load(text, text, || async { Ok::<_, CacheError>(Some(text.to_owned())) }));
    send(cache.invalidate(CacheScope::Kind(text.to_owned())));
    send(source.for_current_tenant());
    send(Settings::for_current_tenant());
    send(with_tenant(service.context(tenant), async {
        store.begin().await.map(drop)
    }));
    send(async { store.configurations().get(text).await.map(drop) });
}
