//! The policy language.

#[path = "../common/mod.rs"]
mod common;
mod explained;
mod random;
mod strict;
mod vectors;

use std::collections::BTreeMap;

use culvert_proto::policy::{Bindings, Mode, Value};
use serde_json::Value as Json;

/// Any names with any values, where the vectors and properties need more than a node binds.
pub(crate) struct Names(BTreeMap<String, Json>);

impl Names {
    pub(crate) fn new(names: &Json) -> Self {
        let pairs = names.as_object().expect("names").clone();
        Self(pairs.into_iter().collect())
    }
}

impl Bindings for Names {
    fn get(&self, name: &str, _: Mode) -> Option<Value<'_>> {
        self.0.get(name).map(value)
    }
}

fn value(json: &Json) -> Value<'_> {
    match json {
        Json::String(text) => Value::Text(text),
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => Value::Int(number.as_i64().expect("a whole number")),
        Json::Array(values) => Value::Seq(values.iter().map(value).collect()),
        other => panic!("{other} is no value"),
    }
}
