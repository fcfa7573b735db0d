//! The shorthand: attributes with `and`, `or` and `not`.
//!
//! Specification: `protocol/20-policies.md` 3.
//!
//! ```text
//! expr     = and_expr { "or"  and_expr }
//! and_expr = not_expr { "and" not_expr }
//! not_expr = "not" not_expr | "(" expr ")" | term
//! ```

use super::error::{Problem, Refusal};
use super::syntax::{Item, Node};
use super::{MAX_DEPTH, Mode};

const KEYWORDS: [&str; 3] = ["and", "or", "not"];
/// Bytes of an identifier as text.
const IDENTIFIER: usize = 65;

/// Reads a text as shorthand.
pub(super) fn parse(text: &str, mode: Mode) -> Result<Node, Refusal> {
    let mut parser = Parser { text, at: 0, mode };
    if mode == Mode::Strict {
        parser.skip_blanks();
    }
    if text.trim_matches(BLANKS).is_empty() {
        return parser.refuse(Problem::Empty);
    }
    let Tree { node, .. } = parser.either(0)?;
    if mode == Mode::Strict {
        parser.skip_blanks();
    }
    if !parser.rest().is_empty() {
        parser.skip_blanks();
        parser.check_keyword()?;
        let is_spaced = parser.rest().starts_with('=');
        return parser.refuse(if is_spaced {
            Problem::Spaced
        } else {
            Problem::Junction
        });
    }
    Ok(node)
}

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// An expression and how many lists it has inside each other.
struct Tree {
    node: Node,
    depth: usize,
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    mode: Mode,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn refuse<T>(&self, problem: Problem) -> Result<T, Refusal> {
        Err(Refusal::new(self.at, problem))
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(BLANKS).len();
    }

    /// Takes a word between blanks if it comes next; otherwise nothing.
    fn take(&mut self, word: &str) -> bool {
        let before = self.at;
        self.skip_blanks();
        if !self.rest().starts_with(word) {
            self.at = before;
            return false;
        }
        self.at += word.len();
        self.skip_blanks();
        true
    }

    /// Takes a keyword. In strict mode it must be a whole word, with a blank or a parenthesis in
    /// front.
    fn take_keyword(&mut self, keyword: &str) -> bool {
        if self.mode == Mode::Compat {
            return self.take(keyword);
        }
        let before = self.at;
        self.skip_blanks();
        let is_free = self.text.get(..self.at).is_none_or(|before| {
            before.is_empty() || before.ends_with(BLANKS) || before.ends_with(['(', ')'])
        });
        if name_of(self.rest()) != keyword || !is_free {
            self.at = before;
            return false;
        }
        self.at += keyword.len();
        self.skip_blanks();
        true
    }

    /// Says it when what comes next is a keyword without a blank in front.
    fn check_keyword(&self) -> Result<(), Refusal> {
        let word = name_of(self.rest());
        let is_glued = ["and", "or"].contains(&word);
        if is_glued && self.mode == Mode::Strict {
            self.refuse(Problem::Glued(word.to_owned()))
        } else {
            Ok(())
        }
    }

    fn either(&mut self, nested: usize) -> Result<Tree, Refusal> {
        self.operands("or", nested, Self::both)
    }

    fn both(&mut self, nested: usize) -> Result<Tree, Refusal> {
        self.operands("and", nested, Self::operand)
    }

    /// Operands with an operator between them, in pairs from the left.
    fn operands(
        &mut self,
        operator: &str,
        nested: usize,
        operand: fn(&mut Self, usize) -> Result<Tree, Refusal>,
    ) -> Result<Tree, Refusal> {
        let at = self.at;
        let mut left = operand(self, nested)?;
        while self.take_keyword(operator) {
            let right = operand(self, nested)?;
            left = self.list(at, operator, left, Some(right))?;
        }
        Ok(left)
    }

    fn list(
        &self,
        at: usize,
        operator: &str,
        first: Tree,
        second: Option<Tree>,
    ) -> Result<Tree, Refusal> {
        let mut items = vec![Node::name(at, operator), first.node];
        let mut depth = first.depth;
        if let Some(second) = second {
            items.push(second.node);
            depth = depth.max(second.depth);
        }
        if depth >= MAX_DEPTH {
            return Err(Refusal::new(at, Problem::TooDeep));
        }
        let (node, depth) = (Node::new(at, Item::List(items)), depth + 1);
        Ok(Tree { node, depth })
    }

    fn operand(&mut self, nested: usize) -> Result<Tree, Refusal> {
        if nested >= MAX_DEPTH {
            return self.refuse(Problem::TooDeep);
        }
        if self.mode == Mode::Strict {
            self.skip_blanks();
        }
        let at = self.at;
        if !self.is_keyword_as_name() && self.take_keyword("not") {
            match self.operand(nested + 1) {
                Ok(operand) => return self.list(at, "not", operand, None),
                // For the reference it may still be an attribute called so.
                Err(refusal)
                    if self.mode == Mode::Compat && refusal.problem != Problem::TooDeep =>
                {
                    self.at = at;
                }
                Err(refusal) => return Err(refusal),
            }
        } else if self.take("(") {
            let inner = self.either(nested + 1)?;
            if !self.take(")") {
                self.skip_blanks();
                self.check_keyword()?;
                return self.refuse(Problem::Unclosed);
            }
            return Ok(inner);
        }
        self.term()
    }

    /// In strict mode a keyword is an attribute only where it can be nothing else: before `=`, and
    /// alone between parentheses.
    fn is_keyword_as_name(&self) -> bool {
        let word = name_of(self.rest());
        if self.mode == Mode::Compat || !KEYWORDS.contains(&word) {
            return false;
        }
        let before = self.text.get(..self.at).unwrap_or_default();
        let behind = self.rest().get(word.len()..).unwrap_or_default();
        behind.starts_with('=')
            || before.trim_end_matches(BLANKS).ends_with('(')
                && behind.trim_start_matches(BLANKS).starts_with(')')
    }

    fn term(&mut self) -> Result<Tree, Refusal> {
        let (at, name) = (self.at, name_of(self.rest()));
        if name.is_empty() {
            return self.refuse(Problem::Operand);
        }
        if self.mode == Mode::Strict {
            if KEYWORDS.contains(&name) && !self.is_keyword_as_name() {
                return self.refuse(Problem::Keyword(name.to_owned()));
            }
            if name.starts_with("subject.") {
                return self.refuse(Problem::Prefixed(name.to_owned()));
            }
        }
        self.at += name.len();
        if is_identifier(name) {
            let text = match self.mode {
                Mode::Strict => format!("I{}", name.get(1..).unwrap_or_default().to_lowercase()),
                Mode::Compat => name.to_owned(),
            };
            return Ok(comparison(at, "identifier", text));
        }
        let Some(value) = self.rest().strip_prefix('=') else {
            return Ok(comparison(at, name, "true".to_owned()));
        };
        self.at += 1;
        let value = match value.strip_prefix('"') {
            Some(quoted) => {
                let end = quoted.find('"');
                let Some(text) = end.and_then(|end| quoted.get(..end)) else {
                    return self.refuse(Problem::OpenValue);
                };
                if text.is_empty() {
                    return self.refuse(Problem::NoValue);
                }
                self.at += text.len() + 2;
                text
            }
            None => {
                let end = value.find(|c| !is_further(c)).unwrap_or(value.len());
                let text = value.get(..end).unwrap_or_default();
                if text.is_empty() {
                    return self.refuse(Problem::NoValue);
                }
                self.at += text.len();
                text
            }
        };
        Ok(comparison(at, name, value.to_owned()))
    }
}

/// `(= subject.name "value")`
fn comparison(at: usize, name: &str, value: String) -> Tree {
    let items = vec![
        Node::name(at, "="),
        Node::name(at, format!("subject.{name}")),
        Node::new(at, Item::Text(value)),
    ];
    let node = Node::new(at, Item::List(items));
    Tree { node, depth: 1 }
}

fn is_further(c: char) -> bool {
    c.is_ascii_alphanumeric() || ".-_".contains(c)
}

/// The name that a text begins with; empty if it begins with none.
fn name_of(text: &str) -> &str {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '-') {
        return "";
    }
    let end = text.find(|c| !is_further(c)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

fn is_identifier(name: &str) -> bool {
    name.len() == IDENTIFIER
        && name
            .strip_prefix('I')
            .is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}
