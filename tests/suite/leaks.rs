//! The leak cases as one table: what is found, what is quiet, and what is not handled yet.

use crate::leak_table::Table;

#[tokio::test]
async fn flawed_schemas_are_found_and_their_twins_are_quiet() {
    let table = Table::of(|case, variant| case.sessions(variant)).await;
    crate::providers::say(&table.figures());
    let percent = |(all, good): (usize, usize)| good * 100 / all.max(1);
    assert!(percent(table.reads) >= 70, "too few found: {}", table.figures());
    assert!(
        percent(table.correct) >= 95,
        "too many false alarms: {}",
        table.figures()
    );
    table.compare("tests/leaks/open.txt");
}
