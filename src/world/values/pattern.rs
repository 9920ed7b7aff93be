//! Texts that a regular expression or a LIKE pattern takes, made from the pattern.

/// The `n`th text that a regular expression of PostgreSQL takes, with repetitions that have no upper limit stretched to so
/// many; `None` where it uses what is not understood.
pub(crate) fn stretched(pattern: &str, n: u64, stretch: usize) -> Option<String> {
    let chars: Vec<char> = pattern.trim_start_matches("(?i)").chars().collect();
    let mut parser = Parser { chars: &chars, at: 0 };
    let tree = parser.alternatives()?;
    if parser.at != chars.len() {
        return None;
    }
    let mut seed = n;
    let mut text = String::new();
    write(&tree, &mut seed, stretch, &mut text);
    Some(text)
}

/// A text that a LIKE pattern takes.
pub(crate) fn like(pattern: &str, filler: &str) -> String {
    let mut text = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => text.push_str(filler),
            '_' => text.push('a'),
            '\\' => text.extend(chars.next()),
            c => text.push(c),
        }
    }
    text
}

#[derive(Debug, Clone)]
enum Piece {
    /// One of these characters.
    Class(Vec<char>),
    /// One of these alternatives, each a sequence.
    Group(Vec<Vec<Piece>>),
    /// A piece so many times; without an upper limit where that is none.
    Repeat(Box<Piece>, usize, Option<usize>),
}

fn write(alternatives: &[Vec<Piece>], seed: &mut u64, stretch: usize, text: &mut String) {
    // The first alternative: others come up where the first does not fit, through other candidates.
    let Some(sequence) = alternatives.first() else { return };
    for piece in sequence {
        write_piece(piece, seed, stretch, text);
    }
}

fn write_piece(piece: &Piece, seed: &mut u64, stretch: usize, text: &mut String) {
    match piece {
        Piece::Class(set) => {
            let size = set.len().max(1) as u64;
            if let Some(c) = set.get(usize::try_from(*seed % size).unwrap_or(0)) {
                text.push(*c);
            }
            *seed /= size;
        }
        Piece::Group(alternatives) => write(alternatives, seed, stretch, text),
        Piece::Repeat(inner, low, high) => {
            let varied = matches!(&**inner, Piece::Class(set) if set.len() > 1);
            let wanted = match high {
                _ if !varied => *low,
                Some(high) => (*low).max(stretch.min(*high)),
                None => (*low).max(stretch),
            };
            for _ in 0..wanted {
                write_piece(inner, seed, stretch, text);
            }
        }
    }
}

struct Parser<'a> {
    chars: &'a [char],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += usize::from(c.is_some());
        c
    }

    fn eat(&mut self, text: &str) -> bool {
        let wanted: Vec<char> = text.chars().collect();
        let found = self.chars[self.at.min(self.chars.len())..].starts_with(&wanted);
        if found {
            self.at += wanted.len();
        }
        found
    }

    fn alternatives(&mut self) -> Option<Vec<Vec<Piece>>> {
        let mut found = vec![self.sequence()?];
        while self.eat("|") {
            found.push(self.sequence()?);
        }
        Some(found)
    }

    fn sequence(&mut self) -> Option<Vec<Piece>> {
        let mut pieces = Vec::new();
        while let Some(c) = self.peek() {
            if matches!(c, '|' | ')') {
                break;
            }
            self.at += 1;
            let piece = match c {
                '^' | '$' => continue,
                '(' => {
                    let is_look = self.eat("?=") || self.eat("?!") || self.eat("?<=") || self.eat("?<!");
                    self.eat("?:");
                    let inner = self.alternatives()?;
                    if !self.eat(")") {
                        return None;
                    }
                    // What only looks takes nothing; that it is content with the rest is left to the server.
                    if is_look {
                        continue;
                    }
                    Piece::Group(inner)
                }
                '[' => Piece::Class(self.class()?),
                '.' => Piece::Class(letters_and_digits()),
                '\\' => match self.escape()? {
                    Some(set) => Piece::Class(set),
                    None => continue,
                },
                c => Piece::Class(vec![c]),
            };
            pieces.push(self.repeated(piece)?);
        }
        Some(pieces)
    }

    fn repeated(&mut self, piece: Piece) -> Option<Piece> {
        let (low, high) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') if self.chars.get(self.at + 1).is_some_and(char::is_ascii_digit) => {
                self.at += 1;
                let low = self.count()?;
                let high = if self.eat(",") {
                    if self.peek() == Some('}') {
                        None
                    } else {
                        Some(self.count()?)
                    }
                } else {
                    Some(low)
                };
                if self.peek() != Some('}') {
                    return None;
                }
                (low, high)
            }
            _ => return Some(piece),
        };
        self.at += 1;
        // A non-greedy mark changes nothing of what is taken.
        self.eat("?");
        if high == Some(1) && low == 0 {
            return Some(Piece::Repeat(Box::new(Piece::Group(vec![vec![piece]])), 0, high));
        }
        self.repeated(Piece::Repeat(Box::new(piece), low, high))
    }

    fn count(&mut self) -> Option<usize> {
        let mut digits = String::new();
        while let Some(c) = self.peek().filter(char::is_ascii_digit) {
            digits.push(c);
            self.at += 1;
        }
        digits.parse().ok().filter(|n| *n <= 1000)
    }

    /// The set of an escape; nothing for one that only looks at where it is.
    fn escape(&mut self) -> Option<Option<Vec<char>>> {
        Some(match self.take()? {
            'd' => Some(('0'..='9').collect()),
            'w' => Some(letters_and_digits()),
            's' => Some(vec![' ']),
            'D' | 'S' | 'W' => Some(('a'..='z').collect()),
            'A' | 'Z' | 'm' | 'M' | 'y' | 'b' | 'B' | 'Y' => None,
            'n' => Some(vec!['\n']),
            't' => Some(vec!['\t']),
            c if c.is_ascii_alphanumeric() => return None,
            c => Some(vec![c]),
        })
    }

    fn class(&mut self) -> Option<Vec<char>> {
        let negated = self.eat("^");
        let mut set: Vec<char> = Vec::new();
        let mut first = true;
        loop {
            if self.eat("[:") {
                let mut name = String::new();
                while let Some(c) = self.peek().filter(|c| *c != ':') {
                    name.push(c);
                    self.at += 1;
                }
                if !self.eat(":]") {
                    return None;
                }
                set.extend(named(&name));
                first = false;
                continue;
            }
            let c = self.take()?;
            match c {
                ']' if !first => break,
                '\\' => set.extend(self.escape()?.into_iter().flatten()),
                low => {
                    let is_range = self.peek() == Some('-') && self.chars.get(self.at + 1).is_some_and(|c| *c != ']');
                    if is_range {
                        self.at += 1;
                        let mut high = self.take()?;
                        if high == '\\' {
                            high = self.escape()??.first().copied()?;
                        }
                        set.extend((low..=high).take(200));
                    } else {
                        set.push(low);
                    }
                }
            }
            first = false;
        }
        if negated {
            let all = letters_and_digits();
            return Some(all.into_iter().filter(|c| !set.contains(c)).collect());
        }
        // Letters and digits first: what is a sign at the start or end is often refused elsewhere.
        set.sort_by_key(|c| !c.is_ascii_alphanumeric());
        let plain: Vec<char> = set.iter().copied().filter(char::is_ascii_alphanumeric).collect();
        Some(if plain.is_empty() { set } else { plain })
    }
}

fn letters_and_digits() -> Vec<char> {
    ('a'..='z').chain('0'..='9').collect()
}

fn named(class: &str) -> Vec<char> {
    match class {
        "digit" => ('0'..='9').collect(),
        "upper" => ('A'..='Z').collect(),
        "xdigit" => ('0'..='9').chain('a'..='f').collect(),
        "space" | "blank" => vec![' '],
        "punct" => vec!['-', '_', '.'],
        "alpha" | "lower" => ('a'..='z').collect(),
        _ => letters_and_digits(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn samples_are_taken_by_their_pattern() {
        for pattern in [
            "^[a-z][a-z0-9-]*$",
            "^[A-Z]{2}[0-9]{6}$",
            r"^\d{3}-\d{4}$",
            "^#[0-9a-fA-F]{6}$",
            r"^[^@\s]+@[^@\s]+\.[^@\s]+$",
            "^(INV|CRN)-[0-9]{4,8}$",
            "^[a-z0-9]+(?:-[a-z0-9]+)*$",
            r"^\+?[1-9][0-9]{7,14}$",
            "^[[:alpha:]][[:alnum:]_]{2,30}$",
            r"^v[0-9]+\.[0-9]+\.[0-9]+(-[a-z]+)?$",
            "^https?://.+",
            "^[A-Z0-9]{4}-[A-Z0-9]{4}$",
            r"^[0-9]{2}:[0-9]{2}$",
        ] {
            let engine = regex::Regex::new(pattern).expect("a pattern of the test");
            let samples: BTreeSet<String> = (0..50).map(|n| stretched(pattern, n, 4).expect(pattern)).collect();
            for text in &samples {
                assert!(engine.is_match(text), "{pattern} takes {text}");
            }
            assert!(samples.len() >= 40, "{pattern}: {samples:?}");
        }
    }

    #[test]
    fn what_is_not_understood_gives_nothing() {
        assert_eq!(stretched(r"^(a)\1$", 1, 4), None);
        assert_eq!(stretched("^(a$", 1, 4), None);
    }

    #[test]
    fn like_patterns_are_filled() {
        assert_eq!(like("doc\\_%_x", "axq7"), "doc_axq7ax");
    }
}
