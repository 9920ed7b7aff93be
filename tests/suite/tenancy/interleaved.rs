//! Random interleavings of three tenants through the whole of the library: nobody ever sees what is another's.
//!
//! Everything a tenant writes carries its mark; whatever it reads has to carry its own, or that of who shared it with it
//! and still does. A model of shares says who does.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tenantproof::tenancy::{
    Cache, CacheError, CacheOptions, Change, DocumentId, FutureExt as _, Layers, NewDocument, Reach, SWITCH, Settings,
    SettingsSource, Store,
};

use crate::tenancy_support::{Home, House, Redis, absent};

const TENANTS: usize = 3;

#[derive(Debug, Clone)]
enum Act {
    SetModel,
    UnsetModel,
    ReadConfiguration,
    ReadSettings,
    AddDocument,
    ListAndSearch,
    PutCached(u8),
    LoadCached(u8),
    InvalidateTenant,
    InvalidateKind,
    Consent(usize),
    Share(usize),
    Revoke(usize),
    ReadShared(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        Just(Act::SetModel),
        Just(Act::UnsetModel),
        Just(Act::ReadConfiguration),
        Just(Act::ReadSettings),
        Just(Act::AddDocument),
        Just(Act::ListAndSearch),
        (0_u8..3).prop_map(Act::PutCached),
        (0_u8..3).prop_map(Act::LoadCached),
        Just(Act::InvalidateTenant),
        Just(Act::InvalidateKind),
        (0..TENANTS).prop_map(Act::Consent),
        (0..TENANTS).prop_map(Act::Share),
        (0..TENANTS).prop_map(Act::Revoke),
        (0..TENANTS).prop_map(Act::ReadShared),
    ]
}

struct World {
    store: Store,
    settings: SettingsSource<Settings>,
    caches: Vec<Cache>,
    homes: Vec<Home>,
    documents: Vec<Option<DocumentId>>,
    /// (owner, reader) of consents and of live shares.
    consents: BTreeSet<(usize, usize)>,
    shares: BTreeSet<(usize, usize)>,
    steps: usize,
}

fn mark(who: usize) -> String {
    format!("mark{who}")
}

impl World {
    async fn new(house: &House, store: &Store, caches: &[Cache]) -> Self {
        let mut homes = Vec::new();
        for _ in 0..TENANTS {
            let slug = DocumentId::random().to_string();
            homes.push(house.tenant(store, &slug).await);
        }
        let layers = Layers::new().environment([(SWITCH, "true")]);
        let never = Duration::from_secs(3_600);
        let settings = SettingsSource::with_intervals(store.clone(), layers, never, never).unwrap();
        for cache in caches {
            cache.drop_settings_of(&settings);
        }
        Self {
            store: store.clone(),
            settings,
            caches: caches.to_vec(),
            homes,
            documents: vec![None; TENANTS],
            consents: BTreeSet::new(),
            shares: BTreeSet::new(),
            steps: 0,
        }
    }

    /// Does it, and says what was seen that should not have been.
    async fn act(&mut self, who: usize, act: &Act) -> Result<(), String> {
        self.steps += 1;
        let step = self.steps;
        let home = self.homes[who].clone();
        let context = home.admin();
        let (configurations, documents, shares) =
            (self.store.configurations(), self.store.documents(), self.store.shares());
        let own = |text: &str| {
            if text.contains(&mark(who)) {
                Ok(())
            } else {
                Err(format!("{who} reads `{text}`"))
            }
        };
        match act {
            Act::SetModel | Act::UnsetModel => {
                let change = match act {
                    Act::SetModel => Change::set("search.model", format!("{} {step}", mark(who))),
                    _ => Change::unset("search.model"),
                };
                configurations
                    .apply_tenant_configuration_changes(&[change])
                    .in_tenant(context.clone())
                    .await
                    .unwrap();
                self.settings.invalidate(home.id).await;
            }
            Act::ReadConfiguration => {
                let model = configurations
                    .get("search.model")
                    .in_tenant(context)
                    .await
                    .unwrap()
                    .unwrap()
                    .value;
                let model = model.as_str().unwrap().to_owned();
                if model != "none" {
                    own(&model)?;
                }
            }
            Act::ReadSettings => {
                let read = self
                    .settings
                    .for_current_tenant()
                    .in_tenant(context.clone())
                    .await
                    .unwrap()
                    .search_model
                    .clone();
                let now = configurations
                    .get("search.model")
                    .in_tenant(context)
                    .await
                    .unwrap()
                    .unwrap()
                    .value;
                if now != read.as_str() {
                    return Err(format!("{who}: settings say {read}, the database {now}"));
                }
            }
            Act::AddDocument => {
                let new = NewDocument {
                    slug: format!("d{step}"),
                    title: mark(who),
                    body: mark(who),
                    chunks: vec![tenantproof::tenancy::Chunk {
                        content: format!("common {}", mark(who)),
                        embedding: Some(vec![1.0, who as f32]),
                    }],
                    ..NewDocument::default()
                };
                let added = documents.add(new).in_tenant(context).await.unwrap();
                self.documents[who].get_or_insert(added.id);
            }
            Act::ListAndSearch => {
                for document in documents.list("", 1_000).in_tenant(context.clone()).await.unwrap() {
                    own(&document.body)?;
                }
                let readers = |owner: usize| self.shares.contains(&(owner, who));
                let mut hits = documents
                    .search_text("common", Reach::OwnAndShared, 1_000)
                    .in_tenant(context.clone())
                    .await
                    .unwrap();
                hits.extend(
                    documents
                        .search_vector(&[1.0, 1.0], Reach::OwnAndShared, 1_000)
                        .in_tenant(context)
                        .await
                        .unwrap(),
                );
                for hit in hits {
                    let allowed =
                        own(&hit.content).is_ok() || (0..TENANTS).any(|o| readers(o) && hit.content.contains(&mark(o)));
                    if !allowed {
                        return Err(format!("{who} finds `{}` with shares {:?}", hit.content, self.shares));
                    }
                }
            }
            Act::PutCached(n) => {
                for cache in &self.caches {
                    cache
                        .put("kind", &n.to_string(), &mark(who))
                        .in_tenant(context.clone())
                        .await
                        .unwrap();
                }
            }
            Act::LoadCached(n) => {
                for cache in &self.caches {
                    let load = || async { Ok::<_, CacheError>(Some(mark(who))) };
                    let found: Option<String> = cache
                        .get_or_load("kind", &n.to_string(), load)
                        .in_tenant(context.clone())
                        .await
                        .unwrap();
                    own(&found.unwrap())?;
                }
            }
            Act::InvalidateTenant => {
                for cache in &self.caches {
                    cache.invalidate_tenant().in_tenant(context.clone()).await.unwrap();
                    let gone = cache
                        .get::<String>("kind", "0")
                        .in_tenant(context.clone())
                        .await
                        .unwrap();
                    if gone.is_some() {
                        return Err(format!("{who}: still cached after the invalidation"));
                    }
                }
            }
            Act::InvalidateKind => {
                for cache in &self.caches {
                    cache.invalidate_kind("kind").in_tenant(context.clone()).await.unwrap();
                }
            }
            Act::Consent(from) => {
                shares.consent(self.homes[*from].id).in_tenant(context).await.unwrap();
                self.consents.insert((*from, who));
            }
            Act::Share(with) => {
                let Some(document) = self.documents[who] else {
                    return Ok(());
                };
                let time = Duration::from_secs(3_600);
                let done = shares
                    .share(document, self.homes[*with].id, time)
                    .in_tenant(context)
                    .await
                    .is_ok();
                if done != (self.consents.contains(&(who, *with)) || who == *with) {
                    return Err(format!(
                        "{who} shares with {with}: {done}, consents {:?}",
                        self.consents
                    ));
                }
                if done {
                    self.shares.insert((who, *with));
                }
            }
            Act::Revoke(with) => {
                let with_id = self.homes[*with].id;
                for share in shares.given().in_tenant(context.clone()).await.unwrap() {
                    if share.with == with_id {
                        shares.revoke(share.id).in_tenant(context.clone()).await.unwrap();
                    }
                }
                self.shares.remove(&(who, *with));
            }
            Act::ReadShared(owner) => {
                let Some(document) = self.documents[*owner] else {
                    return Ok(());
                };
                let read = documents
                    .get_shared(self.homes[*owner].id, document)
                    .in_tenant(context)
                    .await
                    .unwrap();
                let allowed = who == *owner || self.shares.contains(&(*owner, who));
                if read.is_some() != allowed {
                    return Err(format!(
                        "{who} reads of {owner}: {}, shares {:?}",
                        read.is_some(),
                        self.shares
                    ));
                }
            }
        }
        Ok(())
    }
}

#[test]
fn no_interleaving_shows_one_tenant_what_is_anothers() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let house = runtime.block_on(House::new());
    let store = runtime.block_on(house.store());
    let redis = (!absent("redis-server", "redis-server")).then(Redis::start);
    let mut caches = vec![Cache::in_process(CacheOptions::default())];
    if let Some(redis) = &redis {
        caches.push(
            runtime
                .block_on(Cache::redis(&redis.url(), CacheOptions::default()))
                .unwrap(),
        );
    }
    let plans = prop::collection::vec((0..TENANTS, act()), 1..60);
    let mut runner = TestRunner::new(Config {
        cases: 12,
        max_shrink_iters: 60,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&plans, |plan| {
        runtime.block_on(async {
            let mut world = World::new(&house, &store, &caches).await;
            for (who, act) in &plan {
                world.act(*who, act).await.map_err(TestCaseError::fail)?;
            }
            Ok(())
        })
    });
    runtime.block_on(async {
        store.close().await;
        house.stop().await;
    });
    outcome.unwrap();
}
