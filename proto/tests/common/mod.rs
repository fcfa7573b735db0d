//! What the vector tests share: files, hexadecimal text and the routes inside them.
#![allow(
    dead_code,
    reason = "every test file is a crate of its own and uses a part"
)]

use culvert_proto::address::Address;
use culvert_proto::route::Route;
use serde_json::Value;
use std::path::Path;

/// One of the captured or generated vector files.
pub(crate) fn vectors(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/vectors")
        .join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path:?}: {e}"))
}

/// The array `key` of `value`.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key]
        .as_array()
        .unwrap_or_else(|| panic!("no list {key}"))
}

/// The text `key` of `value`.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("no text {key} in {value}"))
}

/// The bytes written in hexadecimal under `key`.
pub(crate) fn bytes(value: &Value, key: &str) -> Vec<u8> {
    hex::decode(text(value, key)).unwrap_or_else(|e| panic!("{key} in {value}: {e}"))
}

/// A route given as a list of `{tt, value_utf8}`.
pub(crate) fn route(hops: &Value) -> Route {
    hops.as_array()
        .expect("a list of hops")
        .iter()
        .map(address)
        .collect()
}

/// An address given as `{tt, value_utf8}`.
pub(crate) fn address(fields: &Value) -> Address {
    let transport = fields["tt"]
        .as_u64()
        .and_then(|tt| u8::try_from(tt).ok())
        .expect("tt");
    Address::new(transport, text(fields, "value_utf8"))
}

/// A route given as a list of texts like `0#echo`.
pub(crate) fn text_route(hops: &Value) -> Route {
    let hops = hops.as_array().expect("a list of texts");
    hops.iter()
        .map(|hop| hop.as_str().unwrap().parse::<Address>().unwrap())
        .collect()
}
