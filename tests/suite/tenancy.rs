//! The multi-tenant system, on real servers.

#[path = "tenancy/cache.rs"]
mod cache;
#[path = "tenancy/configuration.rs"]
mod configuration;
#[path = "tenancy/context.rs"]
mod context;
#[path = "tenancy/documents.rs"]
mod documents;
#[path = "tenancy/interleaved.rs"]
mod interleaved;
#[path = "tenancy/layer.rs"]
mod layer;
#[path = "tenancy/messages.rs"]
mod messages;
#[path = "tenancy/service.rs"]
mod service;
#[path = "tenancy/settings.rs"]
mod settings;
#[path = "tenancy/spawned.rs"]
mod spawned;
#[path = "tenancy/store.rs"]
mod store;
#[path = "tenancy/tools.rs"]
mod tools;

/// A newcomer copies it from the README; what is compiled is the guide, which is the module's documentation.
#[test]
fn the_readme_shows_the_example_that_is_compiled() {
    let example = |file: &str| {
        let text = crate::house::project(file);
        let (_, rest) = text.split_once("```rust,no_run\n").expect("there is an example");
        rest.split_once("```").expect("it ends").0.to_owned()
    };
    let shown = example("README.md");
    assert_eq!(shown, example("docs/tenancy.md"));
    assert!(shown.lines().count() <= 32 && shown.contains("with_tenant"), "{shown}");
}
