//! Platforms whose roles and schemas a schema builds on. Each is data: a folder of SQL files.

use anyhow::anyhow;

use super::Failure;
use crate::run::load::EXTENSIONS;
use crate::sql::script::{self, Step};

const SUPABASE: &str = "supabase";

/// The files of each preset, in order.
const PRESETS: &[(&str, &[&str])] = &[(
    SUPABASE,
    &[
        crate::run::load::SUPABASE_ROLES,
        EXTENSIONS,
        include_str!("../../presets/supabase/02_platform.sql"),
    ],
)];

/// Statements of a preset.
pub fn steps(name: &str) -> Result<Vec<Step>, Failure> {
    let (_, files) = PRESETS
        .iter()
        .find(|(preset, _)| *preset == name)
        .ok_or_else(|| Failure::usage(anyhow!("load preset `{name}`: there is no such preset; use `supabase`")))?;
    let mut steps = Vec::new();
    for text in *files {
        steps.extend(script::read_text(&format!("preset {name}"), text).map_err(Failure::not_run)?);
    }
    Ok(steps)
}

/// The preset that a schema wants without saying so: it uses a platform's objects and does not make them.
pub fn wanted(schema: &[Step]) -> Option<&'static str> {
    const USED: [&str; 8] = [
        "auth.uid()",
        "auth.jwt()",
        "auth.role()",
        "auth.email()",
        "references auth.users",
        "from auth.users",
        "on auth.users",
        "storage.objects",
    ];
    let plain = |step: &Step| step.text.replace('"', "").to_lowercase();
    let texts: Vec<String> = schema.iter().map(plain).collect();
    let makes_it = |text: &String| {
        text.trim_start().starts_with("create schema") && text.split_whitespace().any(|w| w.trim_matches(';') == "auth")
    };
    let uses_it = |text: &String| USED.iter().any(|used| text.contains(used));
    (texts.iter().any(uses_it) && !texts.iter().any(makes_it)).then_some(SUPABASE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_that_asks_for_what_a_platform_has_wants_its_preset() {
        let read = |text: &str| script::read_text("test.sql", text).expect("a script");
        let policy = "CREATE POLICY p ON t USING (\"owner\" = \"auth\".\"uid\"());";
        assert_eq!(wanted(&read(policy)), Some(SUPABASE));
        assert_eq!(wanted(&read(&format!("CREATE SCHEMA \"auth\"; {policy}"))), None);
        assert_eq!(wanted(&read("CREATE TABLE t (id int);")), None);
    }
}
