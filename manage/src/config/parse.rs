//! From the text of a file to its tree.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::findings::{Findings, Place};
use super::tree::{Entry, Scalar, Tree, Value, quoted};

/// Longest file in bytes.
pub const MAX_FILE: usize = 256 * 1024;
/// Most lists, and keys and values, inside each other.
pub const MAX_DEPTH: usize = 32;
/// Most values of a file, each use of an alias counted again.
pub const MAX_VALUES: usize = 20_000;
/// Most bytes of text in the values of a file, each use of an alias or variable counted again.
pub const MAX_BYTES: usize = 1024 * 1024;

/// Why reading goes no further. What it is, is among the findings.
pub(super) struct Unreadable;

/// How much of a file may still be read.
pub(super) struct Budget {
    values: usize,
    bytes: usize,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self {
            values: MAX_VALUES,
            bytes: MAX_BYTES,
        }
    }

    /// Takes a value with this much text.
    pub(super) fn take(&mut self, bytes: usize) -> Option<()> {
        self.values = self.values.checked_sub(1)?;
        self.take_text(bytes)
    }

    /// Takes text of a value that was taken already.
    pub(super) fn take_text(&mut self, bytes: usize) -> Option<()> {
        self.bytes = self.bytes.checked_sub(bytes)?;
        Some(())
    }

    /// Takes everything in a tree.
    fn take_tree(&mut self, tree: &Tree) -> Option<()> {
        match &tree.value {
            Value::Scalar(scalar) => self.take(scalar.text.len()),
            Value::List(items) => {
                self.take(0)?;
                items.iter().try_for_each(|item| self.take_tree(item))
            }
            Value::Map(entries) => {
                self.take(0)?;
                entries.iter().try_for_each(|entry| {
                    self.take_text(entry.key.len())?;
                    self.take_tree(&entry.value)
                })
            }
        }
    }
}

/// Reads one document. An empty one has no keys.
pub(super) fn parse(
    text: &str,
    budget: &mut Budget,
    findings: &mut Findings,
) -> Result<Tree, Unreadable> {
    if text.len() > MAX_FILE {
        let size = text.len();
        let message = format!("the file has {size} bytes, at most {MAX_FILE} are read");
        findings.refuse(Place::START, message);
        return Err(Unreadable);
    }
    let options = granit_parser::options! { emit_comments: false };
    let builder = Builder {
        events: Parser::new_from_str_with_options(text, options),
        anchors: HashMap::new(),
        budget,
        findings,
    };
    builder.document()
}

struct Builder<'a> {
    events: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Tree>,
    budget: &'a mut Budget,
    findings: &'a mut Findings,
}

impl<'a> Builder<'a> {
    fn document(mut self) -> Result<Tree, Unreadable> {
        let mut root = None;
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => break,
                (Event::StreamStart | Event::DocumentEnd, _) => {}
                (Event::DocumentStart(..), span) if root.is_some() => {
                    return Err(self.refuse(&span, "a second document begins here; one is read"));
                }
                (Event::DocumentStart(..), _) => {
                    let (event, span) = self.next()?;
                    root = Some(self.value(event, span, 0)?);
                }
                (_, span) => return Err(self.refuse(&span, "nothing is expected here")),
            }
        }
        let empty = Tree {
            place: Place::START,
            value: Value::Map(Vec::new()),
        };
        let root = root.filter(|root| !root.is_nothing()).unwrap_or(empty);
        if !matches!(root.value, Value::Map(_)) {
            let message = format!("expected keys and values, found {}", root.described());
            self.findings.refuse(root.place, message);
            return Err(Unreadable);
        }
        Ok(root)
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Unreadable> {
        match self.events.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let place = place(error.marker().line(), error.marker().col());
                self.findings.refuse(place, explained(&error));
                Err(Unreadable)
            }
            None => {
                let message = "the text ends in the middle of a value";
                self.findings.refuse(Place::START, message);
                Err(Unreadable)
            }
        }
    }

    fn refuse(&mut self, span: &Span, message: impl Into<String>) -> Unreadable {
        self.findings.refuse(begin(span), message);
        Unreadable
    }

    fn value(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Tree, Unreadable> {
        if depth > MAX_DEPTH {
            return Err(self.refuse(&span, too_deep()));
        }
        let (value, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, &span),
            Event::Scalar(text, style, anchor, tag) => {
                self.check_tag(tag.as_deref(), &span)?;
                self.take(text.len(), &span)?;
                (
                    Value::Scalar(scalar(text.into_owned(), style, &span)),
                    anchor,
                )
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), &span)?;
                self.take(0, &span)?;
                (Value::List(self.list(depth)?), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), &span)?;
                self.take(0, &span)?;
                (Value::Map(self.map(depth)?), anchor)
            }
            _ => return Err(self.refuse(&span, "a value is expected here")),
        };
        let tree = Tree {
            place: begin(&span),
            value,
        };
        if anchor != 0 {
            // What an anchor keeps is a copy like any other.
            self.take_tree(&tree, &span)?;
            self.anchors.insert(anchor, tree.clone());
        }
        Ok(tree)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Tree>, Unreadable> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.value(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, Unreadable> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut known: HashMap<String, Place> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(self.refuse(&span, "a key has to be text")),
            };
            self.take_text(key.len(), &span)?;
            let place = begin(&span);
            let (event, span) = self.next()?;
            let mut value = self.value(event, span, depth + 1)?;
            if value.is_nothing() {
                // Where nothing is, the key is what can be looked at.
                value.place = place;
            }
            if key == "<<" {
                let message = "merging with '<<' is not supported; write the keys out";
                self.findings.refuse(place, message);
            } else if let Some(first) = known.get(&key) {
                let key = quoted(&key);
                let message = format!("the key {key} is there already, in line {}", first.line);
                self.findings.refuse(place, message);
            } else {
                known.insert(key.clone(), place);
                entries.push(Entry { key, place, value });
            }
        }
    }

    fn alias(&mut self, anchor: usize, span: &Span) -> Result<Tree, Unreadable> {
        let Some(tree) = self.anchors.get(&anchor).cloned() else {
            return Err(self.refuse(span, "this refers to something that contains it"));
        };
        self.take_tree(&tree, span)?;
        Ok(tree)
    }

    fn check_tag(&mut self, tag: Option<&Tag>, span: &Span) -> Result<(), Unreadable> {
        match tag {
            None => Ok(()),
            Some(_) => Err(self.refuse(span, "tags ('!…') have no meaning here")),
        }
    }

    fn take(&mut self, bytes: usize, span: &Span) -> Result<(), Unreadable> {
        let taken = self.budget.take(bytes);
        taken.ok_or_else(|| self.too_much(span))
    }

    fn take_text(&mut self, bytes: usize, span: &Span) -> Result<(), Unreadable> {
        let taken = self.budget.take_text(bytes);
        taken.ok_or_else(|| self.too_much(span))
    }

    fn take_tree(&mut self, tree: &Tree, span: &Span) -> Result<(), Unreadable> {
        let taken = self.budget.take_tree(tree);
        taken.ok_or_else(|| self.too_much(span))
    }

    fn too_much(&mut self, span: &Span) -> Unreadable {
        let message = format!(
            "the file has more than {MAX_VALUES} values or {MAX_BYTES} bytes of text, aliases counted"
        );
        self.refuse(span, message)
    }
}

fn scalar(text: String, style: ScalarStyle, span: &Span) -> Scalar {
    let quotes = match style {
        ScalarStyle::Plain => Some(0),
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Some(1),
        ScalarStyle::Literal | ScalarStyle::Folded => None,
    };
    let length = span.end.index().saturating_sub(span.start.index());
    let exact = quotes.filter(|quotes| {
        span.start.line() == span.end.line() && length == text.chars().count() + 2 * quotes
    });
    Scalar {
        text,
        plain: style == ScalarStyle::Plain,
        exact,
    }
}

fn begin(span: &Span) -> Place {
    place(span.start.line(), span.start.col())
}

/// The parser counts columns from 0, and is in front of the first line before it has begun.
fn place(line: usize, column: usize) -> Place {
    Place {
        line: line.max(1),
        column: column + 1,
    }
}

fn too_deep() -> String {
    format!("more than {MAX_DEPTH} levels are inside each other")
}

/// What the parser says, for the mistakes that are made most in words of their own.
fn explained(error: &ScanError) -> String {
    use granit_parser::ErrorKind;
    match error.kind() {
        ErrorKind::TabInIndentation | ErrorKind::TabNotAllowed => {
            "a tab; indent with blanks".to_owned()
        }
        ErrorKind::RecursionLimitExceeded => too_deep(),
        ErrorKind::UnclosedQuotedScalar => "a quote is opened and not closed".to_owned(),
        ErrorKind::UnknownAnchor => "nothing was given this name with '&' before".to_owned(),
        ErrorKind::MappingValueNotAllowed => {
            "':' is not expected here; put text that has it in quotes, and check how the line is \
             indented"
                .to_owned()
        }
        kind => kind.to_string(),
    }
}
