//! How Ockam's control API spells what is asked of a portal or a relay.
//!
//! Values that ask for what a node does anyway are taken; what it does not offer is refused, never
//! ignored.

use culvert_manage::problem::Problem;
use culvert_node::random_bytes;
use serde_json::{Map, Value};

use super::given::kind;

type Members = Map<String, Value>;

/// `{"hostname": …, "port": …}`, or a port alone, as text.
pub(super) fn place(given: &mut Members, field: &str) -> Result<(), Problem> {
    let Some(value) = given.get_mut(field) else {
        return Ok(());
    };
    let text = match &*value {
        Value::Object(parts) => object(parts),
        Value::Number(port) => Some(port.to_string()),
        _ => return Ok(()),
    };
    let Some(text) = text else {
        return Err(Problem::invalid(
            format!("the field '{field}' is {} of another form", kind(value)),
            "expected \"HOST:PORT\" or {\"hostname\": \"HOST\", \"port\": PORT}",
        ));
    };
    *value = text.into();
    Ok(())
}

fn object(parts: &Members) -> Option<String> {
    let host = parts.get("hostname")?.as_str()?;
    let port = u16::try_from(parts.get("port")?.as_u64()?).ok()?;
    (parts.len() == 2).then(|| match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    })
}

/// Takes a field away that says what is the case anyway.
///
/// # Errors
///
/// When it says anything else.
pub(super) fn only(
    given: &mut Members,
    field: &str,
    usual: &str,
    instead: &str,
) -> Result<(), Problem> {
    match given.remove(field) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(value)) if value == usual => Ok(()),
        Some(value) => Err(Problem::invalid(
            format!("the field '{field}' cannot be {value} here"),
            instead,
        )),
    }
}

/// Gives a field another name.
///
/// # Errors
///
/// When both are there.
pub(super) fn rename(given: &mut Members, from: &str, to: &str) -> Result<(), Problem> {
    let Some(value) = given.remove(from) else {
        return Ok(());
    };
    match given.insert(to.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(Problem::invalid(
            format!("the fields '{from}' and '{to}' say the same"),
            "leave one of them out",
        )),
    }
}

/// Gives something without a name one that nobody else chose.
pub(super) fn name(given: &mut Members) {
    if given.get("name").is_none_or(Value::is_null) {
        let name = hex::encode(random_bytes::<4>());
        given.insert("name".to_owned(), name.into());
    }
}

/// The kinds of portals: whether they go direct.
pub(super) fn portal_kind(given: &mut Members) -> Result<(), Problem> {
    let Some(value) = given.remove("kind") else {
        return Ok(());
    };
    match value.as_str() {
        Some("regular") => Ok(()),
        // The second is how Ockam spells it.
        Some("udp-puncture" | "udp-pucture") => {
            given.insert("direct".to_owned(), true.into());
            Ok(())
        }
        _ => Err(Problem::invalid(
            format!("the field 'kind' cannot be {value} here"),
            "expected \"regular\" or \"udp-puncture\"",
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn members(value: Value) -> Members {
        match value {
            Value::Object(members) => members,
            _ => panic!("an object"),
        }
    }

    #[test]
    fn places_are_read_as_ockam_writes_them() {
        for (written, read) in [
            (
                json!({"hostname": "db.example", "port": 5432}),
                json!("db.example:5432"),
            ),
            (json!({"hostname": "::1", "port": 0}), json!("[::1]:0")),
            (json!("[::1]:7"), json!("[::1]:7")),
            (json!(15432), json!("15432")),
        ] {
            let mut given = members(json!({ "from": written }));
            place(&mut given, "from").expect("a place");
            assert_eq!(given["from"], read);
        }
        for wrong in [
            json!({"hostname": "a"}),
            json!({"hostname": "a", "port": 65536}),
            json!({"hostname": 1, "port": 1}),
            json!({"hostname": "a", "port": 1, "more": 1}),
        ] {
            let mut given = members(json!({ "from": wrong }));
            assert!(place(&mut given, "from").is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_offered_is_refused() {
        for (value, is_taken) in [(json!("none"), true), (json!("validate"), false)] {
            let mut given = members(json!({ "tls": value }));
            assert_eq!(only(&mut given, "tls", "none", "").is_ok(), is_taken);
        }
        for kind in ["privileged", "only-udp-puncture", "x"] {
            assert!(portal_kind(&mut members(json!({ "kind": kind }))).is_err());
        }
        let mut direct = members(json!({ "kind": "udp-puncture" }));
        portal_kind(&mut direct).expect("offered");
        assert_eq!(direct["direct"], true);
    }

    #[test]
    fn two_names_for_one_thing_are_one_too_many() {
        let mut given = members(json!({"to": "a", "at": "b"}));
        assert!(rename(&mut given, "to", "at").is_err());
        let mut unnamed = members(json!({}));
        name(&mut unnamed);
        assert_eq!(unnamed["name"].as_str().map(str::len), Some(8));
    }
}
