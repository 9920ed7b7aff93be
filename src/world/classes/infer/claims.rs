//! Settings and claims that are compared with constants: what else a request can carry, beside who it is.

use super::{ColumnKey, Inference, literals_of};
use crate::sql::expr::{Comparison, Facts, OperandKind, SettingRead};

impl Inference<'_> {
    /// Constants that settings, or places in JSON settings, are compared with; and those that are asked for a truth value.
    pub(super) fn read_claims(&mut self, facts: &Facts) {
        for comparison in &facts.comparisons {
            self.read_claim(comparison);
        }
        let is_flag = |read: &&SettingRead| read.cast.as_deref().is_some_and(|c| c.starts_with("bool"));
        for read in facts.settings.iter().filter(is_flag) {
            self.add_claim(read.clone(), vec!["true".to_owned()]);
        }
    }

    fn read_claim(&mut self, comparison: &Comparison) {
        let sides = [
            (&comparison.left, &comparison.right),
            (&comparison.right, &comparison.left),
        ];
        for (side, other) in sides {
            if let (Some(values), OperandKind::Setting(read)) = (literals_of(other), side.kind()) {
                self.add_claim(read.clone(), values);
            }
        }
    }

    fn add_claim(&mut self, read: SettingRead, values: Vec<String>) {
        if self.class_of_setting(&read).is_some() {
            return;
        }
        let known = self.found.claims.entry((read.name, read.path)).or_default();
        for value in values.into_iter().filter(|v| !v.is_empty()) {
            if !known.contains(&value) {
                known.push(value);
            }
        }
    }

    /// Keeps apart the values that make somebody staff of the platform, who sees all tenants by design.
    pub(super) fn part_staff(&mut self, column: &ColumnKey, values: &mut Vec<String>) {
        let staff: Vec<String> = values.extract_if(.., |v| is_staff_word(v)).collect();
        if !staff.is_empty() {
            let known = self.found.staff.entry(column.clone()).or_default();
            known.extend(staff);
            known.dedup();
        }
    }
}

/// Words for those who run the platform rather than use it.
fn is_staff_word(word: &str) -> bool {
    let word = word.to_lowercase();
    [
        "platform",
        "super",
        "sysadmin",
        "system_admin",
        "staff",
        "support",
        "god",
        "root",
    ]
    .iter()
    .any(|w| word.starts_with(w) || word.contains(&format!("_{w}")))
}
