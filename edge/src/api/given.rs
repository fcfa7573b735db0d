//! Bodies of requests, and what is wrong with them.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use culvert_manage::config::tree::nearest;
use culvert_manage::problem::{Kind, Problem};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The members of the object in a body; none for an empty body.
pub(super) struct Given(pub(super) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Given {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|refused| match refused.status() {
                StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
                    Kind::TooLarge,
                    "the body is too large",
                    "a request has at most 256 KiB",
                ),
                _ => Problem::invalid("the body did not arrive whole", "send it again"),
            })?;
        parse(&bytes).map(Self)
    }
}

/// The names in a path.
pub(super) struct At<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let names = Path::from_request_parts(parts, state).await;
        names.map(|Path(names)| Self(names)).map_err(|error| {
            let message = format!("the path cannot be read: {}", error.body_text());
            Problem::invalid(message, "write it as UTF-8 in percent-encoding")
        })
    }
}

/// What stands behind the question mark of a path.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let asked = Query::from_request_parts(parts, state).await;
        asked.map(|Query(asked)| Self(asked)).map_err(|error| {
            let message = format!("the query cannot be read: {}", error.body_text());
            Problem::invalid(message, "see the document at /v1/openapi.json")
        })
    }
}

fn parse(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    let hint = "send one JSON object";
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(other) => Err(Problem::invalid(
            format!("the body is {}, but an object is expected", kind(&other)),
            hint,
        )),
        Err(error) => Err(Problem::invalid(
            format!("the body is not JSON: {error}"),
            hint,
        )),
    }
}

/// What a value is, for people.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Reads what is given as a `T`.
///
/// # Errors
///
/// Which field is wrong, missing or unknown; for an unknown one also the nearest there is.
pub(super) fn read<T: DeserializeOwned>(given: Map<String, Value>) -> Result<T, Problem> {
    let read = |given: &Map<String, Value>| serde_json::from_value(Value::Object(given.clone()));
    let error: serde_json::Error = match read(&given) {
        Ok(it) => return Ok(it),
        Err(error) => error,
    };
    let text = error.to_string();
    let mut names = text.split('`').skip(1).step_by(2);
    let first = names.next().unwrap_or_default();
    if text.starts_with("unknown field") {
        let known: Vec<&str> = names.collect();
        return Err(unknown(first, &known));
    }
    if text.starts_with("missing field") {
        let message = format!("the field '{first}' is missing");
        return Err(Problem::invalid(message, "add it"));
    }
    // The error does not say in which field: it is the one without which it is another error.
    let is_wrong = |name: &String| {
        let mut without = given.clone();
        without.remove(name);
        let other: Result<T, _> = read(&without);
        other.err().is_none_or(|other| other.to_string() != text)
    };
    let message = match given.keys().find(|name| is_wrong(name)) {
        Some(name) => format!("the field '{name}' is wrong: {text}"),
        None => format!("the body is wrong: {text}"),
    };
    Err(Problem::invalid(
        message,
        "see the schema at /v1/openapi.json",
    ))
}

/// A field that nobody knows.
pub(super) fn unknown(name: &str, known: &[&str]) -> Problem {
    let message = format!("there is no field '{name}'");
    match nearest(name, known.iter().copied()) {
        Some(nearest) => Problem::invalid(message, format!("did you mean '{nearest}'?")),
        None => Problem::invalid(message, format!("fields are: {}", known.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::InletSpec;

    fn inlet(value: Value) -> Result<InletSpec, Problem> {
        let Value::Object(members) = value else {
            panic!("an object")
        };
        read(members)
    }

    #[test]
    fn problems_name_the_field() {
        for (body, message, hint) in [
            (
                json!({"name": "a", "from": "1", "form": "2"}),
                "there is no field 'form'",
                "did you mean 'from'?",
            ),
            (
                json!({"name": "a", "from": "1", "xyzzy": 1}),
                "there is no field 'xyzzy'",
                "fields are: name, from",
            ),
            (json!({"name": "a"}), "the field 'from' is missing", ""),
            (
                json!({"name": "a", "from": "1", "direct": "yes", "to": "x"}),
                "the field 'direct' is wrong: invalid type",
                "",
            ),
            (
                json!({"name": ["a"], "from": "1"}),
                "the field 'name' is wrong",
                "",
            ),
        ] {
            let problem = inlet(body.clone()).expect_err("refused");
            assert_eq!(problem.kind, Kind::Invalid, "{body}");
            assert!(problem.message.starts_with(message), "{body}: {problem:?}");
            assert!(problem.hint.starts_with(hint), "{body}: {problem:?}");
        }
        assert!(inlet(json!({"name": "a", "from": "1"})).is_ok());
    }

    #[test]
    fn bodies_are_objects() {
        assert_eq!(parse(b" \n").expect("nothing"), Map::new());
        for (body, what) in [
            (&b"[1]"[..], "a list"),
            (b"\"a\"", "a text"),
            (b"{\"a\": }", "line 1 column 7"),
            (b"\xff", "line 1 column 1"),
            (b"{} {}", "trailing"),
        ] {
            let problem = parse(body).expect_err("refused");
            assert!(problem.message.contains(what), "{problem:?}");
        }
    }
}
