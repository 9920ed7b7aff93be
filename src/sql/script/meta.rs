//! psql's backslash commands: which are carried out, which are passed over, and which are refused by name.
//!
//! A command that only formats or prints is passed over. One that would change what is loaded, and needs psql or a server
//! to do so, is refused: loading half a script in silence would prove something about another schema.

use std::path::PathBuf;

use super::ScriptError;
use super::scan::{Branch, Reference, Scanner, boolean};

/// Commands that change nothing in a database.
const QUIET: &[&str] = &[
    "?",
    "C",
    "H",
    "T",
    "a",
    "conninfo",
    "copyright",
    "echo",
    "encoding",
    "errverbose",
    "f",
    "h",
    "help",
    "html",
    "l",
    "l+",
    "list",
    "list+",
    "o",
    "out",
    "p",
    "print",
    "pset",
    "qecho",
    "restrict",
    "s",
    "setenv",
    "sf",
    "sf+",
    "sv",
    "sv+",
    "t",
    "timing",
    "unrestrict",
    "warn",
    "x",
    "z",
];

/// Commands refused, and why.
const REFUSED: &[(&str, &str)] = &[
    ("!", "it runs a shell command; leave it out"),
    (
        "bind",
        "it needs a prepared statement of psql; write the values into the statement",
    ),
    (
        "cd",
        "it moves psql to another folder; use `\\ir`, which is relative to the file",
    ),
    (
        "copy",
        "it reads or writes a file of psql's machine; use `COPY ... FROM stdin` with the rows in the script",
    ),
    ("crosstabview", "it only shows a result; end the statement with `;`"),
    ("e", "it opens an editor; leave it out"),
    ("edit", "it opens an editor; leave it out"),
    ("ef", "it opens an editor; leave it out"),
    ("ev", "it opens an editor; leave it out"),
    (
        "gdesc",
        "it describes a result without running the statement; leave it out",
    ),
    ("getenv", "it reads psql's environment; use `\\set` with the value"),
    (
        "gexec",
        "it runs what a query returns; write those statements out, or use a DO block with EXECUTE",
    ),
    (
        "gset",
        "it needs the query's result while the script is read; use `\\set` with the value, or a DO block",
    ),
    ("password", "it asks for a password; use ALTER ROLE ... PASSWORD"),
    (
        "prompt",
        "it asks the person at the keyboard; use `\\set` with the value",
    ),
    ("w", "it writes a file; leave it out"),
    ("watch", "it runs a query again and again; end the statement with `;`"),
    ("write", "it writes a file; leave it out"),
];

impl Scanner<'_, '_> {
    /// Carries out the meta-command whose backslash is next.
    pub(super) fn meta(&mut self) -> Result<(), ScriptError> {
        let start = self.at;
        let body = &self.text[start + 1..];
        if let Some(c) = body.chars().next().filter(|c| matches!(c, ';' | ':')) {
            self.at += 2;
            return match c {
                _ if !self.is_active() => Ok(()),
                ';' => self.finish(),
                _ => {
                    self.push_plain(":", start);
                    Ok(())
                }
            };
        }
        let length = body
            .find(|c: char| c.is_ascii_whitespace() || c == '\\')
            .unwrap_or(body.len());
        let command = body[..length].to_owned();
        self.at += 1 + length;
        let evaluate = match command.as_str() {
            "elif" => self.branches.last().is_some_and(|branch| branch.outer && !branch.taken),
            _ => self.is_active(),
        };
        let arguments = self.arguments(start, &command, evaluate)?;
        match command.as_str() {
            "if" | "elif" | "else" | "endif" => self.conditional(start, &command, &arguments),
            _ if evaluate => self.carry_out(start, &command, arguments),
            _ => Ok(()),
        }
    }

    fn carry_out(&mut self, start: usize, command: &str, arguments: Vec<String>) -> Result<(), ScriptError> {
        match command {
            "i" | "include" => self.include(start, command, arguments, false),
            "ir" | "include_relative" => self.include(start, command, arguments, true),
            "set" => {
                let mut arguments = arguments.into_iter();
                if let Some(name) = arguments.next() {
                    self.reader.variables.insert(name, arguments.collect());
                }
                Ok(())
            }
            "unset" => {
                for name in arguments {
                    self.reader.variables.remove(&name);
                }
                Ok(())
            }
            "g" | "gx" => match arguments.first() {
                Some(target) if !target.starts_with('(') => {
                    self.refuse(start, command, "it sends the result to a file or a program; end the statement with `;`")
                }
                _ => self.finish(),
            },
            "r" | "reset" => {
                self.statement = Default::default();
                Ok(())
            }
            "q" | "quit" => {
                self.at = self.text.len();
                self.branches.clear();
                Ok(())
            }
            // Whatever the database is called: the scratch database stands for it.
            "c" | "connect" if arguments.iter().skip(1).all(|argument| argument == "-") => {
                let origin = self.origin(start);
                self.reconnect(origin);
                Ok(())
            }
            "c" | "connect" => self.refuse(
                start,
                command,
                "the script is loaded as one role; use SET ROLE to act as another, or leave the role out for a fresh connection",
            ),
            "." => {
                let problem = "`\\.` ends the rows of COPY, but no `COPY ... FROM stdin` is open here; remove it".to_owned();
                Err(ScriptError::Malformed { at: self.origin(start), problem })
            }
            "" => {
                let problem = "a lone backslash is neither SQL nor a meta-command; remove it".to_owned();
                Err(ScriptError::Malformed { at: self.origin(start), problem })
            }
            _ if QUIET.contains(&command) || is_describe(command) => Ok(()),
            _ => {
                let known = REFUSED.iter().find(|(name, _)| *name == command).map(|(_, reason)| *reason);
                let reason = known.unwrap_or("only psql can carry it out; leave it out, or write what it does as SQL");
                self.refuse(start, command, reason)
            }
        }
    }

    fn refuse(&mut self, start: usize, command: &str, reason: &str) -> Result<(), ScriptError> {
        let at = self.origin(start);
        Err(ScriptError::MetaCommand {
            at,
            command: command.to_owned(),
            reason: reason.to_owned(),
        })
    }

    fn malformed<T>(&mut self, start: usize, problem: String) -> Result<T, ScriptError> {
        Err(ScriptError::Malformed {
            at: self.origin(start),
            problem,
        })
    }

    fn include(
        &mut self,
        start: usize,
        command: &str,
        arguments: Vec<String>,
        relative: bool,
    ) -> Result<(), ScriptError> {
        let [name] = &arguments[..] else {
            return self.malformed(
                start,
                format!("`\\{command}` takes the name of one file; quote a name with blanks"),
            );
        };
        let mut path = PathBuf::from(name);
        if let Some(folder) = self.file.parent().filter(|_| relative) {
            path = folder.join(path);
        }
        let at = self.origin(start);
        if self.reader.is_open(&path) {
            return Err(ScriptError::IncludeCycle { at, path });
        }
        match self.reader.file(&path) {
            // What is wrong inside the file says so itself; what is wrong with the file needs the line that names it.
            Err(source @ (ScriptError::Missing { .. } | ScriptError::Read { .. } | ScriptError::NotText { .. })) => {
                Err(ScriptError::Include {
                    at,
                    path,
                    source: Box::new(source),
                })
            }
            result => result,
        }
    }

    fn conditional(&mut self, start: usize, command: &str, arguments: &[String]) -> Result<(), ScriptError> {
        if command == "if" {
            let outer = self.is_active();
            let active = outer && self.condition(start, command, arguments)?;
            let at = self.origin(start);
            self.branches.push(Branch {
                at,
                outer,
                active,
                taken: active,
                last: false,
            });
            return Ok(());
        }
        let Some(branch) = self.branches.last() else {
            return self.malformed(
                start,
                format!("`\\{command}` has no `\\if` before it in this file; remove it or add one"),
            );
        };
        if command == "endif" {
            self.branches.pop();
            return Ok(());
        }
        if branch.last {
            return self.malformed(start, format!("`\\{command}` comes after `\\else`; move it before"));
        }
        let open = branch.outer && !branch.taken;
        let active = open && (command == "else" || self.condition(start, command, arguments)?);
        if let Some(branch) = self.branches.last_mut() {
            branch.active = active;
            branch.taken |= active;
            branch.last = command == "else";
        }
        Ok(())
    }

    fn condition(&mut self, start: usize, command: &str, arguments: &[String]) -> Result<bool, ScriptError> {
        let expression = arguments.join(" ");
        match boolean(&expression) {
            Some(value) => Ok(value),
            None => self.malformed(
                start,
                format!(
                    "`\\{command} {expression}` is neither true nor false; write one, or `\\set` the variable before"
                ),
            ),
        }
    }

    /// The arguments of a meta-command: up to the end of the line or the next backslash.
    fn arguments(&mut self, start: usize, command: &str, evaluate: bool) -> Result<Vec<String>, ScriptError> {
        let mut arguments = Vec::new();
        let mut current: Option<String> = None;
        while let Some(c) = self.text[self.at..].chars().next() {
            match c {
                '\n' => break,
                '\\' => {
                    if self.text[self.at..].starts_with("\\\\") {
                        self.at += 2;
                    }
                    break;
                }
                c if c.is_ascii_whitespace() => {
                    arguments.extend(current.take());
                    self.at += 1;
                }
                '\'' | '"' | '`' => {
                    let quoted = self.quoted(start, command, c, evaluate)?;
                    current.get_or_insert_default().push_str(&quoted);
                }
                ':' if evaluate => {
                    let reference = Reference::at(&self.text[self.at..]);
                    let value = reference.and_then(|(reference, length)| Some((self.value(&reference)?.0, length)));
                    let (value, length) = value.unwrap_or_else(|| (":".to_owned(), 1));
                    self.at += length;
                    current.get_or_insert_default().push_str(&value);
                }
                c => {
                    self.at += c.len_utf8();
                    current.get_or_insert_default().push(c);
                }
            }
        }
        arguments.extend(current);
        Ok(arguments)
    }

    /// A quoted part of an argument. It ends on its line, or psql would complain; for commands that are passed over, an
    /// apostrophe in running text (`\echo don't`) reads to the end of the line.
    fn quoted(&mut self, start: usize, command: &str, quote: char, evaluate: bool) -> Result<String, ScriptError> {
        if quote == '`' && evaluate && !QUIET.contains(&command) {
            self.refuse(
                start,
                command,
                "its argument runs a shell command; write the value instead",
            )?;
        }
        let line = &self.text[self.at..];
        let line = &line[..line.find('\n').unwrap_or(line.len())];
        let mut out = String::new();
        let mut characters = line.char_indices().skip(1).peekable();
        while let Some((at, c)) = characters.next() {
            if c == quote {
                if quote == '\'' && characters.next_if(|&(_, next)| next == quote).is_some() {
                    out.push(quote);
                    continue;
                }
                self.at += at + 1;
                // psql keeps double quotes: only some commands take them for the quotes of a name.
                let keep = quote == '"' && !matches!(command, "i" | "ir" | "include" | "include_relative");
                return Ok(if keep { format!("\"{out}\"") } else { out });
            }
            match (c, quote) {
                ('\\', '\'') => match characters.next() {
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, 't')) => out.push('\t'),
                    Some((_, 'r')) => out.push('\r'),
                    Some((_, other)) => out.push(other),
                    None => {}
                },
                _ => out.push(c),
            }
        }
        if evaluate && !QUIET.contains(&command) {
            return self.malformed(
                start,
                format!("an argument of `\\{command}` opens `{quote}` and does not close it on its line"),
            );
        }
        self.at += line.len();
        Ok(out)
    }
}

/// `\d`, `\dt`, `\dRp+` and their like, which print what is there.
fn is_describe(command: &str) -> bool {
    command.starts_with('d')
        && command.len() <= 6
        && command.chars().all(|c| c.is_ascii_alphabetic() || "+S".contains(c))
}
