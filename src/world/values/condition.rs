//! Conditions as PostgreSQL prints them (`pg_get_expr`), as trees: enough of them to make values that they take.
//!
//! What is not understood becomes [`Expr::Other`]; the server stays the judge.

/// A condition, or a part of one. Casts are seen through.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expr {
    /// A column; `VALUE` of a domain's check has that name.
    Column(String),
    /// A literal, as text.
    Literal(String),
    /// NULL.
    Null,
    /// ARRAY[...] or a row.
    List(Vec<Expr>),
    /// A function call, the name without schema, in lower case.
    Call(String, Vec<Expr>),
    /// An operator, upper case; ` ANY` or ` ALL` is appended where it ranges over a list.
    Binary(String, Box<Expr>, Box<Expr>),
    /// All of them.
    And(Vec<Expr>),
    /// One of them.
    Or(Vec<Expr>),
    /// The opposite.
    Not(Box<Expr>),
    /// IS NULL, or IS NOT NULL where the flag is false.
    IsNull(Box<Expr>, bool),
    /// CASE: conditions with their results, and ELSE.
    Case(Vec<(Expr, Expr)>, Option<Box<Expr>>),
    /// Anything else.
    Other,
}

/// Reads a condition.
pub(crate) fn parse(text: &str) -> Expr {
    let tokens = tokens(text);
    let mut parser = Parser { tokens: &tokens, at: 0 };
    let expr = parser.expression(0);
    if parser.at < tokens.len() { Expr::Other } else { expr }
}

impl Expr {
    /// Conditions that all have to hold.
    pub(crate) fn conjuncts(&self) -> Vec<&Self> {
        match self {
            Self::And(parts) => parts.iter().flat_map(Self::conjuncts).collect(),
            other => vec![other],
        }
    }

    /// Columns named in it, each once.
    pub(crate) fn columns(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.visit(&mut |e| {
            if let Self::Column(name) = e
                && !found.contains(&name.as_str())
            {
                found.push(name.as_str());
            }
        });
        found
    }

    /// Itself and all its parts.
    pub(crate) fn visit<'e>(&'e self, see: &mut impl FnMut(&'e Self)) {
        see(self);
        match self {
            Self::List(parts) | Self::Call(_, parts) | Self::And(parts) | Self::Or(parts) => {
                parts.iter().for_each(|p| p.visit(see));
            }
            Self::Binary(_, left, right) => {
                left.visit(see);
                right.visit(see);
            }
            Self::Not(inner) | Self::IsNull(inner, _) => inner.visit(see),
            Self::Case(arms, otherwise) => {
                for (condition, result) in arms {
                    condition.visit(see);
                    result.visit(see);
                }
                if let Some(inner) = otherwise {
                    inner.visit(see);
                }
            }
            Self::Column(_) | Self::Literal(_) | Self::Null | Self::Other => {}
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Text(String),
    Number(String),
    Sign(String),
}

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let next = chars.get(at + 1).copied();
        if c.is_whitespace() {
            at += 1;
        } else if c == '\'' || (matches!(c, 'E' | 'e' | 'B' | 'b' | 'X' | 'x') && next == Some('\'')) {
            let escaped = c == 'E' || c == 'e';
            at += if c == '\'' { 1 } else { 2 };
            let mut value = String::new();
            while let Some(&c) = chars.get(at) {
                at += 1;
                match c {
                    '\'' if chars.get(at) == Some(&'\'') => {
                        value.push('\'');
                        at += 1;
                    }
                    '\'' => break,
                    '\\' if escaped => {
                        value.extend(chars.get(at));
                        at += 1;
                    }
                    c => value.push(c),
                }
            }
            found.push(Token::Text(value));
        } else if c == '"' {
            let mut value = String::new();
            at += 1;
            while let Some(&c) = chars.get(at) {
                at += 1;
                if c == '"' {
                    if chars.get(at) != Some(&'"') {
                        break;
                    }
                    at += 1;
                }
                value.push(c);
            }
            found.push(Token::Quoted(value));
        } else if c.is_ascii_digit() || (c == '.' && next.is_some_and(|n| n.is_ascii_digit())) {
            let start = at;
            while chars.get(at).is_some_and(|c| c.is_ascii_digit() || *c == '.') {
                at += 1;
            }
            found.push(Token::Number(chars[start..at].iter().collect()));
        } else if c.is_alphabetic() || c == '_' {
            let start = at;
            while chars
                .get(at)
                .is_some_and(|c| c.is_alphanumeric() || *c == '_' || *c == '$')
            {
                at += 1;
            }
            found.push(Token::Word(chars[start..at].iter().collect()));
        } else if c == ':' && next == Some(':') {
            found.push(Token::Sign("::".to_owned()));
            at += 2;
        } else if "()[],.;:".contains(c) {
            found.push(Token::Sign(c.to_string()));
            at += 1;
        } else {
            let start = at;
            while chars.get(at).is_some_and(|c| "+-*/<>=~!@#%^&|`?".contains(*c)) {
                at += 1;
                // A sign before a number is the number's.
                if at > start && chars.get(at) == Some(&'-') && chars.get(at + 1).is_some_and(char::is_ascii_digit) {
                    break;
                }
            }
            at = at.max(start + 1);
            found.push(Token::Sign(chars[start..at].iter().collect()));
        }
    }
    found
}

struct Parser<'t> {
    tokens: &'t [Token],
    at: usize,
}

/// How tightly things bind; PostgreSQL prints parentheses nearly everywhere, so a few levels do.
const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const IS: u8 = 4;
const COMPARE: u8 = 5;
const OPERATOR: u8 = 6;
const SUM: u8 = 7;
const PRODUCT: u8 = 8;

impl Parser<'_> {
    fn word_at(&self, ahead: usize) -> String {
        match self.tokens.get(self.at + ahead) {
            Some(Token::Word(word)) => word.to_uppercase(),
            _ => String::new(),
        }
    }

    fn is_word(&self, word: &str) -> bool {
        self.word_at(0) == word
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.tokens.get(self.at), Some(Token::Sign(s)) if s == sign)
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        self.at += usize::from(found);
        found
    }

    fn expression(&mut self, least: u8) -> Expr {
        let mut left = self.prefix();
        loop {
            let before = self.at;
            left = match self.infix(left.clone(), least) {
                Some(joined) => joined,
                None => return left,
            };
            if self.at == before {
                return left;
            }
        }
    }

    fn infix(&mut self, left: Expr, least: u8) -> Option<Expr> {
        let binary = |op: &str, left, right| Expr::Binary(op.to_owned(), Box::new(left), Box::new(right));
        let word = self.word_at(0);
        match word.as_str() {
            "AND" if least <= AND => {
                self.at += 1;
                let right = self.expression(AND + 1);
                Some(match left {
                    Expr::And(mut parts) => {
                        parts.push(right);
                        Expr::And(parts)
                    }
                    left => Expr::And(vec![left, right]),
                })
            }
            "OR" if least <= OR => {
                self.at += 1;
                let right = self.expression(OR + 1);
                Some(match left {
                    Expr::Or(mut parts) => {
                        parts.push(right);
                        Expr::Or(parts)
                    }
                    left => Expr::Or(vec![left, right]),
                })
            }
            "IS" if least <= IS => {
                self.at += 1;
                let positive = !self.eat_word("NOT");
                if self.eat_word("DISTINCT") {
                    self.eat_word("FROM");
                    let right = self.expression(COMPARE + 1);
                    return Some(binary(if positive { "<>" } else { "=" }, left, right));
                }
                let word = self.word_at(0);
                self.at += 1;
                Some(match word.as_str() {
                    "NULL" => Expr::IsNull(Box::new(left), positive),
                    "TRUE" if positive => left,
                    "FALSE" if !positive => left,
                    "TRUE" | "FALSE" => Expr::Not(Box::new(left)),
                    _ => Expr::Other,
                })
            }
            "AT" if least <= OPERATOR && self.word_at(1) == "TIME" => {
                self.at += 3;
                self.expression(OPERATOR + 1);
                Some(left)
            }
            "COLLATE" => {
                self.at += 1;
                self.name();
                Some(left)
            }
            "LIKE" | "ILIKE" if least <= COMPARE => {
                self.at += 1;
                let right = self.expression(COMPARE + 1);
                Some(binary("~~", left, right))
            }
            "" => self.sign_infix(left, least),
            _ => None,
        }
    }

    fn sign_infix(&mut self, left: Expr, least: u8) -> Option<Expr> {
        let Some(Token::Sign(sign)) = self.tokens.get(self.at) else {
            return None;
        };
        let sign = sign.clone();
        match sign.as_str() {
            "::" => {
                self.at += 1;
                self.type_name();
                Some(left)
            }
            "[" => {
                self.at += 1;
                let index = self.expression(0);
                if self.eat(":") {
                    self.expression(0);
                }
                self.eat("]");
                Some(Expr::Call("[]".to_owned(), vec![left, index]))
            }
            "." => {
                self.at += 2;
                Some(Expr::Other)
            }
            "(" | ")" | "]" | "," | ";" | ":" => None,
            op => {
                let level = match op {
                    "=" | "<" | ">" | "<=" | ">=" | "<>" | "!=" => COMPARE,
                    "+" | "-" => SUM,
                    "*" | "/" | "%" => PRODUCT,
                    _ => OPERATOR,
                };
                if level < least {
                    return None;
                }
                let mut op = if op == "!=" { "<>".to_owned() } else { op.to_owned() };
                self.at += 1;
                for over in ["ANY", "ALL", "SOME"] {
                    if self.is_word(over) {
                        self.at += 1;
                        op += if over == "ALL" { " ALL" } else { " ANY" };
                    }
                }
                let right = self.expression(level + 1);
                Some(Expr::Binary(op, Box::new(left), Box::new(right)))
            }
        }
    }

    fn prefix(&mut self) -> Expr {
        let Some(token) = self.tokens.get(self.at).cloned() else {
            return Expr::Other;
        };
        self.at += 1;
        match token {
            Token::Text(value) | Token::Number(value) => Expr::Literal(value),
            Token::Quoted(name) => self.named(name, true),
            Token::Sign(sign) => match sign.as_str() {
                "(" => {
                    let mut parts = vec![self.expression(0)];
                    while self.eat(",") {
                        parts.push(self.expression(0));
                    }
                    if !self.eat(")") {
                        return Expr::Other;
                    }
                    if parts.len() == 1 {
                        parts.remove(0)
                    } else {
                        Expr::List(parts)
                    }
                }
                "-" => match self.expression(PRODUCT + 1) {
                    Expr::Literal(value) => Expr::Literal(format!("-{value}")),
                    inner => Expr::Call("-".to_owned(), vec![inner]),
                },
                "+" => self.expression(PRODUCT + 1),
                _ => Expr::Other,
            },
            Token::Word(word) => match word.to_uppercase().as_str() {
                "NOT" => Expr::Not(Box::new(self.expression(NOT))),
                "NULL" => Expr::Null,
                "TRUE" => Expr::Literal("true".to_owned()),
                "FALSE" => Expr::Literal("false".to_owned()),
                "CASE" => self.case(),
                "ARRAY" if self.eat("[") => self.list("]"),
                "ROW" if self.eat("(") => self.list(")"),
                _ => self.named(word, false),
            },
        }
    }

    fn list(&mut self, end: &str) -> Expr {
        let mut parts = Vec::new();
        while self.at < self.tokens.len() && !self.eat(end) {
            parts.push(self.expression(0));
            self.eat(",");
        }
        Expr::List(parts)
    }

    fn case(&mut self) -> Expr {
        let subject = (!self.is_word("WHEN")).then(|| self.expression(0));
        let mut arms = Vec::new();
        while self.eat_word("WHEN") {
            let mut condition = self.expression(0);
            if let Some(subject) = &subject {
                condition = Expr::Binary("=".to_owned(), Box::new(subject.clone()), Box::new(condition));
            }
            if !self.eat_word("THEN") {
                return Expr::Other;
            }
            arms.push((condition, self.expression(0)));
        }
        let otherwise = self.eat_word("ELSE").then(|| Box::new(self.expression(0)));
        if self.eat_word("END") {
            Expr::Case(arms, otherwise)
        } else {
            Expr::Other
        }
    }

    /// A column, or a call, that begins with this name.
    fn named(&mut self, first: String, is_quoted: bool) -> Expr {
        let mut name = if is_quoted { first } else { first.to_lowercase() };
        while self.is_sign(".") {
            self.at += 1;
            match self.tokens.get(self.at) {
                Some(Token::Word(word)) => name = word.to_lowercase(),
                Some(Token::Quoted(word)) => name = word.clone(),
                _ => return Expr::Other,
            }
            self.at += 1;
        }
        if !self.eat("(") {
            return Expr::Column(name);
        }
        let mut arguments = Vec::new();
        while self.at < self.tokens.len() && !self.eat(")") {
            let before = self.at;
            for word in [
                "FROM", "FOR", "PLACING", "IN", "BOTH", "LEADING", "TRAILING", "DISTINCT", "VARIADIC",
            ] {
                self.eat_word(word);
            }
            arguments.push(self.expression(0));
            self.eat(",");
            if self.at == before {
                return Expr::Other;
            }
        }
        Expr::Call(name, arguments)
    }

    fn name(&mut self) {
        self.at += 1;
        while self.eat(".") {
            self.at += 1;
        }
    }

    /// Passes over a type's name.
    fn type_name(&mut self) {
        self.name();
        loop {
            match self.word_at(0).as_str() {
                "VARYING" | "PRECISION" | "WITHOUT" | "WITH" | "TIME" | "ZONE" => self.at += 1,
                _ if self.is_sign("(") => {
                    while self.at < self.tokens.len() && !self.eat(")") {
                        self.at += 1;
                    }
                }
                _ if self.is_sign("[") => self.at += 2,
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> Box<Expr> {
        Box::new(Expr::Column(name.to_owned()))
    }

    fn text(value: &str) -> Box<Expr> {
        Box::new(Expr::Literal(value.to_owned()))
    }

    #[test]
    fn comparisons_are_read_through_casts_and_parentheses() {
        for (printed, op, right) in [
            ("((status)::text = 'open'::text)", "=", text("open")),
            ("(status > '-3'::integer)", ">", text("-3")),
            ("(status >= (0)::numeric)", ">=", text("0")),
            (
                "((status)::character varying(10) ~ '^[a-z]+$'::text)",
                "~",
                text("^[a-z]+$"),
            ),
            ("(status <> ''::text)", "<>", text("")),
        ] {
            assert_eq!(
                parse(printed),
                Expr::Binary(op.to_owned(), column("status"), right),
                "{printed}"
            );
        }
    }

    #[test]
    fn lists_nulls_and_connectives_are_read() {
        let printed =
            "((kind = ANY (ARRAY['a'::text, 'b'::text])) AND ((x IS NULL) OR (\"Y\" IS NOT NULL)) AND (NOT z))";
        let expr = parse(printed);
        assert_eq!(expr.conjuncts().len(), 3, "{expr:?}");
        assert_eq!(expr.columns(), ["kind", "x", "Y", "z"]);
        assert_eq!(
            *expr.conjuncts()[0],
            Expr::Binary(
                "= ANY".to_owned(),
                column("kind"),
                Box::new(Expr::List(vec![*text("a"), *text("b")]))
            )
        );
        assert_eq!(
            *expr.conjuncts()[1],
            Expr::Or(vec![Expr::IsNull(column("x"), true), Expr::IsNull(column("Y"), false)])
        );
    }

    #[test]
    fn calls_and_cases_are_read() {
        assert_eq!(
            parse("((char_length(btrim(name)) >= 3) AND (length(name) <= 80))")
                .conjuncts()
                .len(),
            2
        );
        let case = parse("CASE kind WHEN 'a'::text THEN (x IS NOT NULL) ELSE (x IS NULL) END");
        assert!(
            matches!(case, Expr::Case(ref arms, Some(_)) if arms.len() == 1),
            "{case:?}"
        );
        assert!(matches!(parse("(EXTRACT(year FROM day) > 2000)"), Expr::Binary(..)));
        assert!(matches!(parse("(num_nonnulls(a, b) = 1)"), Expr::Binary(..)));
    }

    #[test]
    fn what_is_not_understood_says_so() {
        assert_eq!(parse("(a = "), Expr::Other);
        assert_eq!(parse("a b"), Expr::Other);
    }
}
