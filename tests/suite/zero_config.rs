//! The leak cases without a target file: who asks, and how, is found out from the schema alone.

use crate::leak_table::{Table, percent};

#[tokio::test]
async fn flawed_schemas_are_found_and_their_twins_are_quiet_without_a_target_file() {
    let table = Table::of(|_, _| Vec::new()).await;
    crate::providers::say(&format!(
        "without a target file: {}\n{}",
        table.figures(),
        table.by_class()
    ));
    table.compare("tests/leaks/open_zero_config.txt");
    assert!(percent(table.flawed) >= 85.0, "too few found: {}", table.figures());
    assert!(
        percent(table.correct) >= 98.0,
        "too many false alarms: {}",
        table.figures()
    );
}
