//! From a tree to the types of a program, through serde.
//!
//! Serde gives up at the first mistake. To name all of them a value that cannot be read is left out and
//! the rest is read again, until nothing more is found.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeOwned, Visitor};

use super::access::{Entries, Items, Variant};
use super::findings::{Findings, Place};
use super::tree::{Entry, Tree, Value, nearest, quoted, same_key};

/// Reads a part of a file. `path` says to people which part it is; empty for the whole file.
///
/// Keys that the type does not have are refused. Types must not use `serde(flatten)`, whose keys
/// cannot be told before.
pub(super) fn read<T: DeserializeOwned>(
    tree: &Tree,
    path: &str,
    findings: &mut Findings,
) -> Option<T> {
    let reader = Reader {
        skipped: RefCell::default(),
        findings: RefCell::new(findings),
    };
    let mut was_refused = false;
    loop {
        let node = Node {
            tree,
            path: path.to_owned(),
            reader: &reader,
        };
        let stop = match T::deserialize(node) {
            Ok(value) => return (!was_refused).then_some(value),
            Err(stop) => stop,
        };
        was_refused = true;
        if !stop.quiet {
            reader.refuse(stop.place.unwrap_or(tree.place), stop.message);
        }
        let is_new = stop
            .part
            .is_some_and(|part| reader.skipped.borrow_mut().insert(part));
        if !is_new || reader.findings.borrow().is_full() {
            return None;
        }
    }
}

pub(super) struct Reader<'a> {
    /// What is left out because it cannot be read.
    skipped: RefCell<HashSet<Part>>,
    findings: RefCell<&'a mut Findings>,
}

/// Something that can be left out.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Part {
    Entry(Place),
    Item(Place),
}

impl Reader<'_> {
    fn refuse(&self, place: Place, message: String) {
        self.findings.borrow_mut().refuse(place, message);
    }

    pub(super) fn is_skipped(&self, part: Part) -> bool {
        self.skipped.borrow().contains(&part)
    }
}

/// Why a value cannot be read.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) message: String,
    pub(super) place: Option<Place>,
    pub(super) part: Option<Part>,
    /// A key that has to be there.
    pub(super) missing: Option<&'static str>,
    /// Whether it only follows from something that was said.
    pub(super) quiet: bool,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Stop {}

impl de::Error for Stop {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            message: message.to_string(),
            place: None,
            part: None,
            missing: None,
            quiet: false,
        }
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format_args!("expected {expected}, found {found}"))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            missing: Some(field),
            ..Self::custom(format_args!("'{field}' is missing"))
        }
    }
}

/// A value that is being read.
#[derive(Clone)]
pub(super) struct Node<'a> {
    pub(super) tree: &'a Tree,
    pub(super) path: String,
    pub(super) reader: &'a Reader<'a>,
}

impl<'a> Node<'a> {
    pub(super) fn child(&self, tree: &'a Tree, path: String) -> Self {
        Self {
            tree,
            path,
            reader: self.reader,
        }
    }

    pub(super) fn expected(&self, what: impl fmt::Display) -> Stop {
        let found = self.tree.described();
        self.stop(format!("expected {what}, found {found}"))
    }

    fn stop(&self, message: String) -> Stop {
        let stop = <Stop as de::Error>::custom(message);
        self.placed(stop)
    }

    /// Says where a refusal is, unless that is known already.
    pub(super) fn placed(&self, mut stop: Stop) -> Stop {
        if stop.place.is_some() {
            return stop;
        }
        if let Some(missing) = stop.missing {
            // It may be there and have been left out.
            let entry = self.tree.entry(missing);
            stop.quiet = entry.is_some_and(|entry| self.reader.is_skipped(entry.part()));
        }
        if !self.path.is_empty() {
            stop.message = format!("{}: {}", self.path, stop.message);
        }
        stop.place = Some(self.tree.place);
        stop
    }

    fn text(&self, expected: impl fmt::Display) -> Result<&'a str, Stop> {
        self.tree.text().ok_or_else(|| self.expected(expected))
    }

    fn entries(&self) -> Result<&'a [Entry], Stop> {
        match &self.tree.value {
            Value::Map(entries) => Ok(entries),
            _ => Err(self.expected("keys and values")),
        }
    }

    /// The entries that a struct has, with its own names for them; others are refused.
    fn fields(&self, fields: &'static [&'static str]) -> Result<Vec<(&'a str, &'a Entry)>, Stop> {
        let mut known: Vec<(&'a str, &'a Entry)> = Vec::new();
        for entry in self.entries()? {
            match fields.iter().find(|field| same_key(field, &entry.key)) {
                Some(field) if known.iter().any(|(other, _)| other == field) => {
                    let key = quoted(&entry.key);
                    let message = format!("the key {key} is there already, as '{field}'");
                    self.reader.refuse(entry.place, message);
                }
                Some(field) => known.push((field, entry)),
                None => {
                    let message = unknown_key(&entry.key, &self.path, fields.iter().copied());
                    self.reader.refuse(entry.place, message);
                }
            }
        }
        Ok(known)
    }
}

/// What to say about a key that there is not.
pub(super) fn unknown_key<'a>(
    key: &str,
    path: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> String {
    let place = if path.is_empty() {
        String::new()
    } else {
        format!(" in {path}")
    };
    let key_shown = quoted(key);
    match nearest(key, known.clone()) {
        Some(near) => format!("unknown key {key_shown}{place}, did you mean '{near}'?"),
        None => {
            let known: Vec<_> = known.collect();
            format!(
                "unknown key {key_shown}{place}; there are {}",
                known.join(", ")
            )
        }
    }
}

impl Entry {
    pub(super) fn part(&self) -> Part {
        Part::Entry(self.place)
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
            let expected = format!("a whole number from {} to {}", <$type>::MIN, <$type>::MAX);
            let number = self.text(&expected)?.parse();
            let number = number.map_err(|_| self.expected(&expected))?;
            visitor.$visit(number).map_err(|stop: Stop| self.placed(stop))
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Node<'de> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let scalar = match &self.tree.value {
            Value::List(_) => return self.deserialize_seq(visitor),
            Value::Map(_) => return self.deserialize_map(visitor),
            Value::Scalar(_) if self.tree.is_nothing() => return visitor.visit_unit(),
            Value::Scalar(scalar) => scalar,
        };
        let text = scalar.text.as_str();
        let begins = |byte: u8| byte.is_ascii_digit() || byte == b'-';
        if !scalar.plain {
            return visitor.visit_borrowed_str(text);
        }
        match text {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ if !text.bytes().next().is_some_and(begins) => visitor.visit_borrowed_str(text),
            _ => match (text.parse(), text.parse(), text.parse()) {
                (Ok(number), _, _) => visitor.visit_u64(number),
                (_, Ok(number), _) => visitor.visit_i64(number),
                (_, _, Ok(number)) => visitor.visit_f64(number),
                _ => visitor.visit_borrowed_str(text),
            },
        }
    }

    numbers! {
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let number = self.text("a number")?.parse().ok();
        let number = number.filter(|number: &f64| number.is_finite());
        visitor.visit_f64(number.ok_or_else(|| self.expected("a number"))?)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match self.text("true or false")? {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(self.expected("true or false")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let text = self.text("text")?;
        visitor
            .visit_borrowed_str(text)
            .map_err(|stop: Stop| self.placed(stop))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        if self.tree.is_nothing() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        visitor.visit_newtype_struct(self)
    }

    /// A value that is no list is one with this value.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let items = match &self.tree.value {
            Value::List(items) => items.as_slice(),
            Value::Scalar(_) if !self.tree.is_nothing() => std::slice::from_ref(self.tree),
            _ => return Err(self.expected("a list")),
        };
        visitor
            .visit_seq(Items::new(&self, items))
            .map_err(|stop: Stop| self.placed(stop))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let entries = self.entries()?;
        let entries = entries.iter().map(|entry| (entry.key.as_str(), entry));
        let entries = Entries::new(&self, entries.collect());
        visitor
            .visit_map(entries)
            .map_err(|stop: Stop| self.placed(stop))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let entries = Entries::new(&self, self.fields(fields)?);
        visitor
            .visit_map(entries)
            .map_err(|stop: Stop| self.placed(stop))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let (written, content) = match self.tree.entries() {
            [] => (self.text(one_of(variants))?, None),
            [entry] => (entry.key.as_str(), Some(&entry.value)),
            _ => return Err(self.expected(one_of(variants))),
        };
        let Some(name) = variants.iter().find(|known| same_key(known, written)) else {
            let near = nearest(written, variants.iter().copied());
            let hint = near.map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
            let found = quoted(written);
            return Err(self.stop(format!(
                "expected {}, found {found}{hint}",
                one_of(variants)
            )));
        };
        let content = content.map(|tree| self.child(tree, joined(&self.path, written)));
        let variant = Variant { name, content };
        visitor
            .visit_enum(variant)
            .map_err(|stop: Stop| self.placed(stop))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i128 u128 bytes byte_buf unit unit_struct tuple_struct identifier
    }
}

fn one_of(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [name] => format!("'{name}'"),
        [names @ .., last] => format!("'{}' or '{last}'", names.join("', '")),
    }
}

pub(super) fn joined(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        _ => format!("{path}.{key}"),
    }
}
