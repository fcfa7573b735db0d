//! What commands are given: bytes as hexadecimal text or in files, attributes.

use std::fmt::Display;
use std::fs::File;
use std::io::{ErrorKind, Read};

use culvert_crypto::identity::Identity;
use culvert_proto::credential::Attributes;
use culvert_proto::policy::is_reserved_attribute;

use crate::failure::Failure;

/// Most bytes read from a file.
const LONGEST_FILE: u64 = 1 << 20;
/// The schema of attributes that authorities use.
const SCHEMA: u64 = 1;

/// Bytes given as hexadecimal text, or as the name of a file that holds such text or the bytes
/// themselves. `what` they are is for messages only.
///
/// # Errors
///
/// When the file cannot be read.
pub fn bytes(text: &str, what: &str) -> Result<Vec<u8>, Failure> {
    if let Ok(bytes) = hex::decode(text.trim()) {
        return Ok(bytes);
    }
    let failed = |error: &dyn Display| {
        Failure::new(
            format!("cannot read the {what} from {text:?}: {error}"),
            "give it as hexadecimal text, or name a file that holds it",
        )
    };
    let file = File::open(text).map_err(|error| match error.kind() {
        ErrorKind::NotFound => failed(&error).because_of(4, "not-found"),
        _ => failed(&error),
    })?;
    let mut bytes = Vec::new();
    let read = file.take(LONGEST_FILE).read_to_end(&mut bytes);
    read.map_err(|error| failed(&error))?;
    let as_text = std::str::from_utf8(&bytes).ok();
    let decoded = as_text.and_then(|text| hex::decode(text.trim()).ok());
    Ok(decoded.unwrap_or(bytes))
}

/// An identity given as its change history, verified.
///
/// # Errors
///
/// When it cannot be read, or is not one.
pub fn history(text: &str, what: &str) -> Result<Identity, Failure> {
    Identity::verify(&bytes(text, what)?, None).map_err(|error| {
        Failure::new(
            format!("the {what} is not a valid change history: {error}"),
            "`culvert-edge identity show --output json` prints it as \"change_history\"",
        )
    })
}

/// Reads `NAME=VALUE`.
///
/// # Errors
///
/// What is wrong, for people.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) | None => Err("an attribute is NAME=VALUE".into()),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
    }
}

/// Attributes out of pairs.
///
/// # Errors
///
/// Wrong usage for names that are given twice, or that nobody may issue.
pub fn attributes(pairs: &[(String, String)]) -> Result<Attributes, Failure> {
    for (index, (name, _)) in pairs.iter().enumerate() {
        if is_reserved_attribute(name.as_bytes()) {
            return Err(Failure::usage(
                format!("no attribute can have the name {name:?}"),
                "policies would ignore it: 'identifier' and 'has_credential' are built in, and names \
                 have no blanks or control characters",
            ));
        }
        if pairs.iter().take(index).any(|(earlier, _)| earlier == name) {
            return Err(Failure::usage(
                format!("the attribute {name:?} is given twice"),
                "give each attribute one value",
            ));
        }
    }
    let pairs = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    Ok(Attributes::new(SCHEMA, pairs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_checked() {
        let given = |texts: &[&str]| {
            let pairs: Result<Vec<_>, _> = texts.iter().map(|text| pair(text)).collect();
            attributes(&pairs.expect("pairs"))
        };
        let made = given(&["role=member", "note=a=b", "empty="]).expect("attributes");
        assert_eq!(made.get(b"note"), Some(b"a=b".as_slice()));
        for wrong in [
            &["identifier=x"][..],
            &["has_credential=x"],
            &["a b=x"],
            &["a=1", "a=2"],
        ] {
            assert!(
                given(wrong).is_err_and(|failure| failure.is_usage()),
                "{wrong:?}"
            );
        }
        assert!(pair("=x").is_err() && pair("x").is_err());
    }
}
