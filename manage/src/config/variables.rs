//! `$NAME` and `${NAME}` in the values of a file.

use std::collections::BTreeMap;
use std::env;

use super::findings::Findings;
use super::parse::Budget;
use super::tree::{Scalar, Tree, Value, nearest, quoted};

/// The key of the file's own variables.
pub(super) const KEY: &str = "variables";

/// What variables stand for: what was given counts before the environment, and that before the
/// `variables` of the file.
#[derive(Clone, Debug)]
pub struct Variables {
    given: BTreeMap<String, String>,
    environment: fn(&str) -> Option<String>,
}

impl Variables {
    /// Those given with the command, and those of the environment.
    #[must_use]
    pub fn new(given: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            given: given.into_iter().collect(),
            environment: |name| env::var(name).ok(),
        }
    }

    /// Those given, and not the environment: for texts that come from elsewhere, which must not learn
    /// what is in the environment of this process.
    #[must_use]
    pub fn without_environment(given: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            environment: |_| None,
            ..Self::new(given)
        }
    }

    /// Reads `NAME=VALUE`.
    ///
    /// # Errors
    ///
    /// What is wrong, for people.
    pub fn pair(text: &str) -> Result<(String, String), String> {
        let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
        if name.is_empty() || name_length(name) != name.len() {
            return Err(format!(
                "{} is not the name of a variable: letters, digits and '_', no digit first",
                quoted(name)
            ));
        }
        if value.is_empty() {
            return Err(format!("the value of {name} is empty"));
        }
        Ok((name.to_owned(), value.to_owned()))
    }
}

/// Puts values in the place of variables, in everything but keys, and takes the file's own variables
/// out of it.
pub(super) fn expand(
    root: &mut Tree,
    variables: &Variables,
    budget: &mut Budget,
    findings: &mut Findings,
) {
    let mut expansion = Expansion {
        variables,
        own: BTreeMap::new(),
        budget,
        findings,
    };
    let Value::Map(entries) = &mut root.value else {
        return;
    };
    if let Some(index) = entries.iter().position(|entry| entry.key == KEY) {
        let own = entries.remove(index).value;
        expansion.define(own);
    }
    expansion.expand(root);
}

struct Expansion<'a> {
    variables: &'a Variables,
    own: BTreeMap<String, String>,
    budget: &'a mut Budget,
    findings: &'a mut Findings,
}

impl Expansion<'_> {
    /// Takes the file's own variables. Later ones may use earlier ones.
    fn define(&mut self, own: Tree) {
        if own.is_nothing() {
            return;
        }
        let Value::Map(entries) = own.value else {
            let message = format!(
                "{KEY}: expected names and values, found {}",
                own.described()
            );
            return self.findings.refuse(own.place, message);
        };
        for mut entry in entries {
            let name = entry.key;
            if name.is_empty() || name_length(&name) != name.len() {
                let message = format!(
                    "{} is not the name of a variable: letters, digits and '_', no digit first",
                    quoted(&name)
                );
                self.findings.refuse(entry.place, message);
                continue;
            }
            self.expand(&mut entry.value);
            match entry.value.text() {
                Some(text) if !text.is_empty() => {
                    self.own.insert(name, text.to_owned());
                }
                _ => {
                    let found = match entry.value.text() {
                        Some(_) => "nothing".to_owned(),
                        None => entry.value.described(),
                    };
                    let message = format!("{KEY}.{name}: expected text, found {found}");
                    self.findings.refuse(entry.value.place, message);
                    // It is named once; its uses are not wrong for that.
                    self.own.insert(name, "?".to_owned());
                }
            }
        }
    }

    fn expand(&mut self, tree: &mut Tree) {
        match &mut tree.value {
            Value::List(items) => items.iter_mut().for_each(|item| self.expand(item)),
            Value::Map(entries) => {
                for entry in entries {
                    self.expand(&mut entry.value);
                }
            }
            Value::Scalar(scalar) if !scalar.text.contains('$') => {}
            Value::Scalar(_) => {
                let expanded = self.expanded(tree);
                if let (Value::Scalar(scalar), Some(text)) = (&mut tree.value, expanded) {
                    *scalar = Scalar {
                        text,
                        plain: scalar.plain,
                        exact: None,
                    };
                }
            }
        }
    }

    /// The text of a value with its variables replaced; none if that cannot be done.
    fn expanded(&mut self, tree: &Tree) -> Option<String> {
        let text = tree.text()?;
        let mut expanded = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            let at = text.len() - rest.len() + dollar;
            expanded.push_str(&rest[..dollar]);
            let behind = &rest[dollar + 1..];
            if let Some(behind) = behind.strip_prefix('$') {
                expanded.push('$');
                rest = behind;
                continue;
            }
            let (name, behind) = match reference(behind) {
                Ok(found) => found,
                Err(message) => {
                    self.findings.refuse(tree.place_of(at), message);
                    return None;
                }
            };
            let value = match self.value(name) {
                Ok(value) => value,
                Err(message) => {
                    self.findings.refuse(tree.place_of(at), message);
                    return None;
                }
            };
            if self.budget.take_text(value.len()).is_none() {
                let message = "the values of the variables are too long for a file";
                self.findings.refuse(tree.place_of(at), message);
                return None;
            }
            expanded.push_str(&value);
            rest = behind;
        }
        expanded.push_str(rest);
        Some(expanded)
    }

    fn value(&self, name: &str) -> Result<String, String> {
        let given = self.variables.given.get(name).cloned();
        let value = given
            .or_else(|| (self.variables.environment)(name))
            .or_else(|| self.own.get(name).cloned());
        match value {
            Some(value) if value.is_empty() => Err(format!(
                "the variable {name} is empty; give it a value, or take it out of the environment"
            )),
            Some(value) => Ok(value),
            None => Err(self.undefined(name)),
        }
    }

    fn undefined(&self, name: &str) -> String {
        let known = self.own.keys().chain(self.variables.given.keys());
        let hint = match nearest(name, known.map(String::as_str)) {
            Some(near) => format!(", did you mean '{near}'?"),
            None => format!(
                "; give it with --variable {name}=VALUE, in the environment or under '{KEY}' (a \
                 dollar sign is written '$$')"
            ),
        };
        format!("the variable {name} has no value{hint}")
    }
}

/// The name behind a dollar sign, and what follows it.
fn reference(behind: &str) -> Result<(&str, &str), String> {
    let (name, rest) = match behind.strip_prefix('{') {
        Some(inside) => inside
            .split_once('}')
            .ok_or("'${' is opened and not closed with '}'")?,
        None => behind.split_at(name_length(behind)),
    };
    if name.is_empty() || name_length(name) != name.len() {
        return Err(
            "no name of a variable follows '$'; a dollar sign itself is written '$$'".to_owned(),
        );
    }
    Ok((name, rest))
}

/// How many bytes at the beginning of a text are the name of a variable.
fn name_length(text: &str) -> usize {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    if !text.bytes().next().is_some_and(is_letter) {
        return 0;
    }
    text.bytes()
        .take_while(|byte| is_letter(*byte) || byte.is_ascii_digit())
        .count()
}
