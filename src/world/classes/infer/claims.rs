//! Settings and claims that are compared with constants: what else a request can carry, beside who it is.

use super::{Inference, literals_of};
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
}
