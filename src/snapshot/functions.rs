//! The page of functions and procedures: whose rights they run with, who may call them, and what they do.

use crate::model::{Catalog, Function, FunctionKind, Volatility};

use super::page::{Names, Page, setting, sorted};

/// The page.
pub fn text(catalog: &Catalog, names: &Names) -> String {
    let mut functions: Vec<(String, &Function)> = catalog.functions.iter().map(|f| (f.identity(), f)).collect();
    functions.sort_by(|a, b| a.0.cmp(&b.0));
    let mut page = Page::new();
    for (identity, function) in functions {
        page.section(&format!("{} {identity}", kind(function.kind)));
        head(&mut page, function, names);
        body(&mut page, &function.body);
    }
    page.finish()
}

fn kind(kind: FunctionKind) -> &'static str {
    match kind {
        FunctionKind::Function => "function",
        FunctionKind::Procedure => "procedure",
        FunctionKind::Aggregate => "aggregate",
        FunctionKind::Window => "window function",
    }
}

fn head(page: &mut Page, function: &Function, names: &Names) {
    let owner = names.role(&function.owner);
    page.line(
        1,
        &if function.is_definer {
            format!("runs as: its owner {owner} (SECURITY DEFINER)")
        } else {
            format!("runs as: who calls; owner {owner}")
        },
    );
    if function.is_trigger() {
        page.line(1, "called by: triggers only");
    } else {
        let grants = names.grants(&function.grants);
        let callers: Vec<String> = grants.iter().map(|g| g.replace(": EXECUTE", "")).collect();
        let callers = if callers.is_empty() {
            "its owner only".to_owned()
        } else {
            callers.join(", ")
        };
        page.line(1, &format!("called by: {callers}"));
    }
    if function.kind != FunctionKind::Procedure {
        let set = if function.returns_set { "setof " } else { "" };
        page.line(1, &format!("returns: {set}{}", function.result_type));
    }
    let volatility = match function.volatility {
        Volatility::Immutable => "immutable",
        Volatility::Stable => "stable",
        Volatility::Volatile => "volatile",
    };
    let leakproof = if function.is_leakproof { ", leakproof" } else { "" };
    page.line(1, &format!("language: {}, {volatility}{leakproof}", function.language));
    page.lines(1, sorted(function.settings.iter().map(|s| setting(s))));
}

/// The body as it was written, its common indentation replaced. The bar keeps an empty line from ending the page's entry.
fn body(page: &mut Page, body: &str) {
    let lines: Vec<String> = body.lines().map(|l| l.trim_end().replace('\t', "    ")).collect();
    let is_blank = |l: &String| l.is_empty();
    let start = lines.iter().position(|l| !is_blank(l)).unwrap_or(lines.len());
    let end = lines.iter().rposition(|l| !is_blank(l)).map_or(start, |at| at + 1);
    let lines = &lines[start..end];
    let common = lines
        .iter()
        .filter(|l| !is_blank(l))
        .map(|l| l.len() - l.trim_start_matches(' ').len())
        .min()
        .unwrap_or_default();
    for line in lines {
        page.line(1, &format!("| {}", line.get(common..).unwrap_or_default()));
    }
}
