//! The leak cases without a target file: who asks, and how, is found out from the schema alone.

use crate::leak_table::Table;

#[tokio::test]
async fn flawed_schemas_are_found_and_their_twins_are_quiet_without_a_target_file() {
    let table = Table::of(|_, _| Vec::new()).await;
    crate::providers::say(&format!("without a target file: {}", table.figures()));
    let percent = |(all, good): (usize, usize)| good * 100 / all.max(1);
    assert!(percent(table.flawed) >= 65, "too few found: {}", table.figures());
    assert!(
        percent(table.correct) >= 95,
        "too many false alarms: {}",
        table.figures()
    );
    table.compare("tests/leaks/open_zero_config.txt");
}
