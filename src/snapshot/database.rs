//! The page of what belongs to no single object: schemas, what objects to come are granted, publications, settings.

use crate::model::Catalog;
use crate::model::catalog::{DefaultObject, DefaultPrivilege, Publication};
use crate::sql::{layout, quote};

use super::page::{Names, Page, setting, sorted};

/// The page.
pub fn text(catalog: &Catalog, names: &Names) -> String {
    let mut page = Page::new();
    let mut schemas: Vec<_> = catalog.schemas.iter().collect();
    schemas.sort_by(|a, b| a.name.cmp(&b.name));
    for schema in schemas {
        page.section(&format!("schema {}", quote::ident(&schema.name)));
        page.line(1, &format!("owner: {}", names.role(&schema.owner)));
        page.lines(1, names.grants(&schema.grants));
    }
    default_privileges(&mut page, catalog, names);
    let mut publications: Vec<_> = catalog.publications.iter().collect();
    publications.sort_by(|a, b| a.name.cmp(&b.name));
    for publication in publications {
        self::publication(&mut page, publication, names);
    }
    let settings = catalog.default_settings.iter().filter(|s| s.role.is_none());
    page.list(
        "settings of the database",
        &sorted(settings.flat_map(|s| &s.settings).map(|s| setting(s))),
    );
    page.finish()
}

fn default_privileges(page: &mut Page, catalog: &Catalog, names: &Names) {
    let mut all: Vec<(String, &DefaultPrivilege)> = catalog
        .default_privileges
        .iter()
        .map(|d| {
            let place = d.schema.as_deref().map_or_else(
                || "anywhere".to_owned(),
                |schema| format!("in schema {}, in addition", quote::ident(schema)),
            );
            (
                format!("{} that {} makes {place}", objects(d.objects), names.role(&d.role)),
                d,
            )
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    for (heading, default) in all {
        page.section(&heading);
        let grants = names.grants(&default.grants);
        if grants.is_empty() {
            page.line(1, "(nobody else)");
        }
        page.lines(1, grants);
    }
}

fn objects(objects: DefaultObject) -> &'static str {
    match objects {
        DefaultObject::Tables => "tables",
        DefaultObject::Sequences => "sequences",
        DefaultObject::Functions => "functions",
        DefaultObject::Types => "types",
        DefaultObject::Schemas => "schemas",
        DefaultObject::LargeObjects => "large objects",
    }
}

fn publication(page: &mut Page, publication: &Publication, names: &Names) {
    page.section(&format!("publication {}", quote::ident(&publication.name)));
    page.line(1, &format!("owner: {}", names.role(&publication.owner)));
    page.line(1, &format!("operations: {}", publication.operations.join(", ")));
    if publication.all_tables {
        page.line(1, "all tables");
    }
    page.lines(
        1,
        sorted(
            publication
                .schemas
                .iter()
                .map(|s| format!("all tables in schema {}", quote::ident(s))),
        ),
    );
    let mut tables: Vec<_> = publication.tables.iter().collect();
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    for table in tables {
        let columns: Vec<String> = table.columns.iter().map(|c| quote::ident(c)).collect();
        let columns = match columns.as_slice() {
            [] => String::new(),
            _ => format!(" ({})", columns.join(", ")),
        };
        page.line(1, &format!("table {}{columns}", table.name));
        if let Some(filter) = &table.filter {
            page.line(2, "WHERE");
            page.lines(3, layout::expression(filter));
        }
    }
}
