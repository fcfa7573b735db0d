//! A file as it was written: keys and values with their places, types not yet decided.

use super::findings::Place;

/// A value and where it is.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Where it begins.
    pub place: Place,
    /// What is there.
    pub value: Value,
}

/// What can be at a place.
#[derive(Clone, Debug)]
pub enum Value {
    /// Text, a number, a truth value or nothing: that depends on who reads it.
    Scalar(Scalar),
    /// A list.
    List(Vec<Tree>),
    /// Keys and values, in the order of the file; no key is there twice.
    Map(Vec<Entry>),
}

/// A value without parts.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// Its text.
    pub text: String,
    /// Whether it was written without quotes.
    pub plain: bool,
    /// Columns between the beginning of the value and the beginning of its text, if each character
    /// of the text is one of the file, in one line.
    pub exact: Option<usize>,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key is.
    pub place: Place,
    /// Its value.
    pub value: Tree,
}

impl Tree {
    /// The value of a key, written with `-` or `_`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// A key, written with `-` or `_`, and its value.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries()
            .iter()
            .find(|entry| same_key(&entry.key, key))
    }

    /// Takes a key and its value out.
    pub fn remove(&mut self, key: &str) {
        if let Value::Map(entries) = &mut self.value {
            entries.retain(|entry| !same_key(&entry.key, key));
        }
    }

    /// All keys and values; none if it has no keys.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The text of a value without parts.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) if !self.is_nothing() => Some(&scalar.text),
            _ => None,
        }
    }

    /// Whether nothing was written there.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        match &self.value {
            Value::Scalar(scalar) => {
                scalar.plain && matches!(scalar.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// The place of a byte of its text. The place of the value, where the text is not written exactly
    /// like that (it has variables, escapes or several lines).
    #[must_use]
    pub fn place_of(&self, byte: usize) -> Place {
        let Value::Scalar(Scalar {
            text,
            exact: Some(columns),
            ..
        }) = &self.value
        else {
            return self.place;
        };
        let before = text.get(..byte).unwrap_or(text).chars().count();
        Place {
            column: self.place.column + columns + before,
            ..self.place
        }
    }

    /// The same as JSON that is read as the same again: all values without parts are text, nothing is
    /// null, and dollar signs are doubled, as no variables are left.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Scalar(_) if self.is_nothing() => serde_json::Value::Null,
            Value::Scalar(scalar) => scalar.text.replace('$', "$$").into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                let pairs = entries.iter();
                let pairs = pairs.map(|entry| (entry.key.clone(), entry.value.to_json()));
                serde_json::Value::Object(pairs.collect())
            }
        }
    }

    /// What it is, for people.
    #[must_use]
    pub fn described(&self) -> String {
        match &self.value {
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "keys and values".to_owned(),
            Value::Scalar(_) if self.is_nothing() => "nothing".to_owned(),
            Value::Scalar(scalar) => quoted(&scalar.text),
        }
    }
}

/// Text in quotes, shortened.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 40;
    let shown: String = text.chars().take(SHOWN).collect();
    let shown = shown.replace(char::is_control, " ");
    let dots = if text.chars().nth(SHOWN).is_some() {
        "…"
    } else {
        ""
    };
    format!("'{shown}{dots}'")
}

/// Whether two keys are the same, however their words are joined.
#[must_use]
pub fn same_key(left: &str, right: &str) -> bool {
    let joined = |byte| if byte == b'_' { b'-' } else { byte };
    left.len() == right.len() && left.bytes().map(joined).eq(right.bytes().map(joined))
}

/// The known name that was probably meant.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Anything above it looks like a slip of the fingers.
    const NEAR: f64 = 0.6;
    // Longer ones are no slips, and comparing takes the product of the lengths.
    const LONGEST: usize = 64;
    if name.len() > LONGEST {
        return None;
    }
    let name = name.replace('_', "-");
    let score = |known: &str| strsim::normalized_damerau_levenshtein(&name, known);
    known
        .into_iter()
        .map(|known| (score(known), known))
        .filter(|(score, _)| *score >= NEAR)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, known)| known)
}
