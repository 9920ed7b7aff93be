//! Scripts in, steps out.

use std::path::PathBuf;

use proptest::prelude::*;
use rstest::rstest;

use super::*;

/// Steps as text, COPY data after a bar.
fn texts(sql: &str) -> Vec<String> {
    let show = |step: Step| match step.kind {
        StepKind::Sql => step.text,
        StepKind::Copy { data } => format!("{}|{}", step.text, String::from_utf8_lossy(&data)),
        StepKind::Reconnect => "(reconnect)".to_owned(),
    };
    read_text("t.sql", sql)
        .expect("a readable script")
        .into_iter()
        .map(show)
        .collect()
}

fn error(sql: &str) -> String {
    read_text("t.sql", sql)
        .expect_err("a script that cannot be read")
        .to_string()
}

#[rstest]
#[case::at_semicolons("a; b;\n;;c", &["a;", "b;", "c"])]
#[case::comments_before_a_statement_are_dropped("-- x;\n/* y; */ a -- z;\n, b; -- end", &["a -- z;\n, b;"])]
#[case::comments_alone_are_no_statement("-- a\n/* b */\n", &[])]
#[case::quotes_hide_semicolons("a 'x;''y;' \"b;\"; c", &["a 'x;''y;' \"b;\";", "c"])]
#[case::escapes_hide_quotes("a E'\\';'; b", &["a E'\\';';", "b"])]
#[case::backslashes_in_plain_strings_hide_nothing("a '\\'; b", &["a '\\';", "b"])]
#[case::unless_the_setting_says_so(
    "SET standard_conforming_strings = off; a '\\';'; SET standard_conforming_strings TO 'on'; b '\\'; c",
    &["SET standard_conforming_strings = off;", "a '\\';';", "SET standard_conforming_strings TO 'on';", "b '\\';", "c"])]
#[case::dollar_bodies_hide_all("a $f$ ; $$ ; ' $f$; b", &["a $f$ ; $$ ; ' $f$;", "b"])]
#[case::nested_comments("a /* ; /* ; */ ; */; b", &["a /* ; /* ; */ ; */;", "b"])]
#[case::parentheses_hide_semicolons("CREATE RULE r AS ON INSERT TO t DO (a; b); c", &["CREATE RULE r AS ON INSERT TO t DO (a; b);", "c"])]
#[case::atomic_bodies(
    "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END; b",
    &["CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END;", "b"])]
#[case::a_column_called_begin_opens_no_body(
    "CREATE FUNCTION f(begin int) RETURNS int LANGUAGE sql RETURN begin; b",
    &["CREATE FUNCTION f(begin int) RETURNS int LANGUAGE sql RETURN begin;", "b"])]
#[case::begin_alone_is_a_statement("BEGIN; a; END;", &["BEGIN;", "a;", "END;"])]
#[case::windows_line_ends("a;\r\n-- x\r\nb;\r\n", &["a;", "b;"])]
#[case::byte_order_mark("\u{feff}a;", &["a;"])]
fn splits(#[case] sql: &str, #[case] expected: &[&str]) {
    assert_eq!(texts(sql), expected);
}

#[rstest]
#[case::rows("COPY t (a, b) FROM stdin;\n1\tit's\n;\n\\.\na;", &["COPY t (a, b) FROM stdin;|1\tit's\n;\n", "a;"])]
#[case::no_rows("COPY t FROM STDIN;\n\\.\n", &["COPY t FROM STDIN;|"])]
#[case::options("copy s.\"T\" from stdin with (format csv, header) ; -- rows\n\"a\n\\.\nb;", &["copy s.\"T\" from stdin with (format csv, header) ;|\"a\n", "b;"])]
#[case::windows_line_ends("COPY t FROM stdin;\r\n1\r\n\\.\r\na;", &["COPY t FROM stdin;|1\r\n", "a;"])]
#[case::files_have_no_rows("COPY t FROM '/x/stdin'; COPY t TO stdout; a;", &["COPY t FROM '/x/stdin';", "COPY t TO stdout;", "a;"])]
#[case::a_query_about_a_table_called_stdin("COPY (SELECT * FROM stdin) TO stdout; a", &["COPY (SELECT * FROM stdin) TO stdout;", "a"])]
#[case::the_end_of_the_file_may_end_the_mark("COPY t FROM stdin;\n1\n\\.", &["COPY t FROM stdin;|1\n"])]
fn copies(#[case] sql: &str, #[case] expected: &[&str]) {
    assert_eq!(texts(sql), expected);
}

#[rstest]
#[case::plain("\\set t app.x\nSELECT * FROM :t;", &["SELECT * FROM app.x;"])]
#[case::as_literal_and_as_name("\\set v 'it''s'\nSELECT :'v', :\"v\";", &["SELECT 'it''s', \"it's\";"])]
#[case::joined_arguments("\\set v a 'b c' d\n:v;", &["ab cd;"])]
#[case::values_are_read_again("\\set v 'a; b'\n:v;", &["a;", "b;"])]
#[case::never_set_stays("SELECT :x, :'y', a[1:n], b::text;", &["SELECT :x, :'y', a[1:n], b::text;"])]
#[case::casts_and_strings_stay("\\set x 1\nSELECT a::x, ':x', \":x\", $$:x$$;", &["SELECT a::x, ':x', \":x\", $$:x$$;"])]
#[case::unset("\\set x 1\n\\unset x\nSELECT :x;", &["SELECT :x;"])]
#[case::test("SELECT :{?x};\n\\set x\nSELECT :{?x};", &["SELECT FALSE;", "SELECT TRUE;"])]
fn variables(#[case] sql: &str, #[case] expected: &[&str]) {
    assert_eq!(texts(sql), expected);
}

#[rstest]
#[case::if_else("\\if true\na;\n\\else\nb;\n\\endif\nc;", &["a;", "c;"])]
#[case::elif("\\set x off\n\\if :x\na;\n\\elif yes\nb;\n\\elif on\nc;\n\\endif", &["b;"])]
#[case::nested("\\if 0\n\\if 1\na;\n\\else\nb;\n\\endif\n\\gexec\n\\else\nc;\n\\endif", &["c;"])]
#[case::inside_a_statement("SELECT\n\\if false\n1,\n\\endif\n2;", &["SELECT\n\n2;"])]
#[case::set_or_not("\\if :{?x}\n\\else\n\\set x 1\n\\endif\n:x;", &["1;"])]
#[case::passed_over("\\restrict Ab1\n\\echo don't; 'x\n\\pset format unaligned\n\\timing on\n\\dt+ *.*\na;\n\\unrestrict Ab1\n", &["a;"])]
#[case::on_error_stop("\\set ON_ERROR_STOP on\na;", &["a;"])]
#[case::several_on_a_line("\\echo a \\\\ b; \\echo c\nd;", &["b;", "d;"])]
#[case::g_ends_a_statement("a \\g\nb\\gx\nc \\g (format=unaligned)\n", &["a", "b", "c"])]
#[case::forced_semicolons_end_a_statement("a \\; b;", &["a", "b;"])]
#[case::quit("a;\n\\q\nb;", &["a;"])]
#[case::reset("a\n\\r\nb;", &["b;"])]
#[case::reconnect("a;\n\\connect -\nb;", &["a;", "(reconnect)", "b;"])]
#[case::database("a;\n\\connect x\nb;", &["a;", "(reconnect)", "b;"])]
fn meta_commands(#[case] sql: &str, #[case] expected: &[&str]) {
    assert_eq!(texts(sql), expected);
}

#[rstest]
#[case::dbmate("-- migrate:up\na;\n\n-- migrate:down transaction:false\nb;", &["a;"])]
#[case::goose_up_again("-- +goose Up\na;\n-- +goose Down\nb'\n-- +goose Up\nc;", &["a;", "c;"])]
#[case::unfinished_before_the_mark("a\n-- +migrate Down\nb;", &["a"])]
#[case::down_after_up("-- Up\na;\n-- Down\nb;", &["a;"])]
#[case::a_remark_about_down("-- down\na;", &["a;"])]
#[case::a_remark_beside_a_statement("a; -- migrate:down\nb;", &["a;", "b;"])]
fn migrations_back_are_left_out(#[case] sql: &str, #[case] expected: &[&str]) {
    assert_eq!(texts(sql), expected);
}

#[rstest]
#[case::string(
    "a;\n b 'x\n\n",
    "read t.sql:2:4: a quoted string begins here and never ends; close it with `'`"
)]
#[case::body(
    "é $f$ x",
    "read t.sql:1:3: a dollar-quoted body begins here and never ends; close it with `$f$`"
)]
#[case::comment(
    "/* /* */",
    "read t.sql:1:1: a comment begins here and never ends; close it with `*/`"
)]
#[case::rows(
    "COPY t FROM stdin;\n1\n",
    "read t.sql:1:1: a block of COPY rows begins here and never ends; close it with `\\.`"
)]
#[case::branch(
    "a;\n\\if true\nb;",
    "read t.sql:2:1: a branch (`\\if`) begins here and never ends; close it with `\\endif`"
)]
#[case::variable(
    "\\set q '\\''\n :q",
    "read t.sql:2:2: a quoted string in the value of variable `q` begins here and never ends; close it with `'`"
)]
#[case::gexec(
    "a\n  \\gexec",
    "read t.sql:2:3: meta-command `\\gexec` is not supported: it runs what a query returns; write those statements out, or use a DO block with EXECUTE"
)]
#[case::unknown(
    "\\frobnicate x",
    "read t.sql:1:1: meta-command `\\frobnicate` is not supported: only psql can carry it out; leave it out, or write what it does as SQL"
)]
#[case::output(
    "a \\g /tmp/x",
    "read t.sql:1:3: meta-command `\\g` is not supported: it sends the result to a file or a program; end the statement with `;`"
)]
#[case::shell(
    "\\set x `date`",
    "read t.sql:1:1: meta-command `\\set` is not supported: its argument runs a shell command; write the value instead"
)]
#[case::stray_end(
    "\\endif",
    "read t.sql:1:1: `\\endif` has no `\\if` before it in this file; remove it or add one"
)]
#[case::no_boolean(
    "\\if :x",
    "read t.sql:1:1: `\\if :x` is neither true nor false; write one, or `\\set` the variable before"
)]
#[case::missing_include("\\i no/such.sql", "include `no/such.sql` from t.sql:1:1")]
fn refuses(#[case] sql: &str, #[case] expected: &str) {
    assert_eq!(error(sql), expected);
}

#[test]
fn another_role_for_a_connection_is_refused_by_name() {
    let message = error("CREATE DATABASE x;\n\\connect x somebody\n");
    assert!(
        message.starts_with("read t.sql:2:1: meta-command `\\connect` is not supported:"),
        "{message}"
    );
}

#[track_caller]
fn check_place(sql: &str, step: usize, needle: &str, expected: (u32, u32)) {
    let step = &read_text("t.sql", sql).expect("a readable script")[step];
    let at = step.text.find(needle).expect("the needle");
    assert_eq!(locate(step, step.text[..at].chars().count() + 1), expected, "{step:?}");
}

#[test]
fn positions_lead_back_to_the_file() {
    check_place("-- x\n  a,\n  é, b;", 0, "a", (2, 3));
    check_place("-- x\n  a,\n  é, b;", 0, "b", (3, 6));
    check_place("a;\r\nb,\r\n c;", 1, "c", (3, 2));
}

#[test]
fn positions_pass_over_variables_and_skipped_branches() {
    let sql = "\\set long a_long_name\n:long, x,\n y\n\\if false\nz\n\\endif\n, w;";
    check_place(sql, 0, "long_name", (2, 1));
    check_place(sql, 0, "x", (2, 8));
    check_place(sql, 0, "y", (3, 2));
    check_place(sql, 0, "w", (7, 3));
}

#[test]
fn a_position_beyond_the_end_is_the_end() {
    let step = &read_text("t.sql", "ab;").expect("a readable script")[0];
    assert_eq!(locate(step, 99), (1, 4));
}

#[test]
fn includes_are_relative_to_the_file_and_circles_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        path
    };
    let main = file("main.sql", "\\set t x\na;\n\\ir 'sub/b.sql'\n:t;");
    file("sub/b.sql", "b :t;\n\\ir c.sql\n");
    file("sub/c.sql", "\\set t y\nc");
    let read = read_paths(std::slice::from_ref(&main)).expect("a readable script");
    let shown: Vec<_> = read.iter().map(|step| step.text.as_str()).collect();
    assert_eq!(shown, ["a;", "b x;", "c", "y;"]);
    assert!(read[2].origin.file.ends_with("sub/c.sql"));

    file("sub/c.sql", "\n \\ir ../main.sql\n");
    let message = read_paths(&[main]).expect_err("a circle").to_string();
    assert!(
        message.contains("c.sql:2:2") && message.contains("is being read already"),
        "{message}"
    );
}

#[test]
fn folders_give_their_migrations_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in [
        "10_c/up.sql",
        "10_c/down.sql",
        "2_b.sql",
        "2_b.down.sql",
        "1_a/migration.sql",
        "notes.txt",
        "meta/x.sql",
        ".x.sql",
    ] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, format!("-- {name}\n{name};")).expect("a file");
    }
    let steps = read_paths(&[folder.path().to_owned()]).expect("readable migrations");
    let shown: Vec<_> = steps.iter().map(|step| step.text.as_str()).collect();
    assert_eq!(shown, ["1_a/migration.sql;", "2_b.sql;", "10_c/up.sql;"]);
}

#[test]
fn folders_without_sql_and_missing_files_say_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let say = |path: PathBuf| read_paths(&[path]).expect_err("nothing to read").to_string();
    assert!(say(folder.path().to_owned()).contains("the folder is empty"));
    std::fs::create_dir(folder.path().join("migrations")).expect("a folder");
    std::fs::write(folder.path().join("migrations/1.sql"), "a;").expect("a file");
    let message = say(folder.path().to_owned());
    assert!(
        message.contains("no file in it ends in `.sql`") && message.contains("migrations` does hold SQL"),
        "{message}"
    );
    assert!(say(folder.path().join("x.sql")).contains("there is no such file or folder"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(sql in "[-a'\"$/*\\\\ \n;:()éCOPY{?}]{0,60}") {
        if let Ok(steps) = read_text("t.sql", &sql) {
            for step in steps {
                classify(&step);
                hides_role_commands(&step);
                locate(&step, step.text.chars().count());
            }
        }
    }

    #[test]
    fn statements_come_out_as_they_went_in(
        parts in proptest::collection::vec("[a-z]{1,4}( '[;a\n]{0,4}'| \\$x\\$[;'\n]{0,3}\\$x\\$| \\([;a]{0,3}\\)){0,3};", 0..8),
    ) {
        let steps = read_text("t.sql", &parts.join("\n")).expect("readable");
        let texts: Vec<_> = steps.iter().map(|step| step.text.clone()).collect();
        prop_assert_eq!(texts, parts);
    }
}
