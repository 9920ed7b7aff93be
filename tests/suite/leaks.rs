//! The leak cases as one table: what is found, what is quiet, and what is not handled yet.

use crate::leak_table::{Table, percent};

#[tokio::test]
async fn flawed_schemas_are_found_and_their_twins_are_quiet() {
    let table = Table::of(|case, variant| case.sessions(variant)).await;
    crate::providers::say(&format!("{}\n{}", table.figures(), table.by_class()));
    table.compare("tests/leaks/open.txt");
    assert!(percent(table.runnable()) >= 97.0, "too few found: {}", table.figures());
    assert!(
        percent(table.correct) >= 99.0,
        "too many false alarms: {}",
        table.figures()
    );
}
