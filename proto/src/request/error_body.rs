//! The error in the body of a failed response.

use super::{Method, RequestError};
use crate::cbor::{self, BYTES, CborError, Cursor, Items, TEXT};
use crate::limits::MAX_ERROR_CAUSES;

/// What went wrong, for people. All fields are optional; texts are not stable.
///
/// Specification: `protocol/05-requests.md` 4.
///
/// ```text
/// { 1: path text, 2: method, 3: message text, 4: cause (another error) }
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ErrorBody {
    /// Path of the request.
    pub path: Option<String>,
    /// Method of the request.
    pub method: Option<Method>,
    /// Free text.
    pub message: Option<String>,
    /// What caused it, outermost first when causes are nested.
    pub cause: Option<Box<Self>>,
}

impl ErrorBody {
    /// An error with a message only.
    #[must_use]
    pub fn message(text: impl Into<String>) -> Self {
        Self {
            message: Some(text.into()),
            ..Self::default()
        }
    }

    /// The encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut next = Some(self);
        // Field 4 comes last, so causes are simply appended.
        while let Some(error) = next {
            error.encode_without_cause(&mut out);
            next = error.cause.as_deref();
        }
        out
    }

    fn encode_without_cause(&self, out: &mut Vec<u8>) {
        let present = [
            self.path.is_some(),
            self.method.is_some(),
            self.message.is_some(),
            self.cause.is_some(),
        ];
        let pairs = present.iter().filter(|&&field| field).count();
        cbor::put_head(out, cbor::MAP, pairs as u64);
        if let Some(path) = &self.path {
            cbor::put_unsigned(out, 1);
            cbor::put_text(out, path);
        }
        if let Some(method) = self.method {
            super::put_field(out, 2, method.number().into());
        }
        if let Some(message) = &self.message {
            cbor::put_unsigned(out, 3);
            cbor::put_text(out, message);
        }
        if self.cause.is_some() {
            cbor::put_unsigned(out, 4);
        }
    }

    /// Reads the map at the start of `body`.
    ///
    /// # Errors
    /// [`RequestError`] when it is something else, or has more than [`MAX_ERROR_CAUSES`] causes.
    pub fn decode(body: &[u8]) -> Result<Self, RequestError> {
        Self::decode_nested(&mut Cursor::new(body), MAX_ERROR_CAUSES)
    }

    /// Reads the item at the start of `body`: a map, a text, or bytes of text. Anything else counts
    /// as an empty error.
    #[must_use]
    pub fn decode_lenient(body: &[u8]) -> Self {
        let mut cursor = Cursor::new(body);
        let text = match cursor.peek().map(|head| head >> 5) {
            Ok(TEXT) => cursor.text().ok(),
            Ok(BYTES) => cursor
                .bytes()
                .ok()
                .and_then(|bytes| str::from_utf8(bytes).ok()),
            _ => return Self::decode(body).unwrap_or_default(),
        };
        text.map(Self::message).unwrap_or_default()
    }

    /// Recurses at most `causes_left` times.
    fn decode_nested(cursor: &mut Cursor<'_>, causes_left: usize) -> Result<Self, RequestError> {
        let mut error = Self::default();
        let mut pairs = Items::new(cursor.map()?);
        while pairs.more(cursor)? {
            match cursor.u64()? {
                1 => error.path = text(cursor)?,
                2 => error.method = Method::decode(cursor)?,
                3 => error.message = text(cursor)?,
                4 if cursor.null()? => error.cause = None,
                4 => {
                    let left = causes_left.checked_sub(1).ok_or(CborError::TooDeep)?;
                    error.cause = Some(Box::new(Self::decode_nested(cursor, left)?));
                }
                _ => cursor.skip()?,
            }
        }
        Ok(error)
    }
}

fn text(cursor: &mut Cursor<'_>) -> Result<Option<String>, CborError> {
    match cursor.null()? {
        true => Ok(None),
        false => cursor.text().map(|text| Some(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_bounded() {
        for (causes, ok) in [(MAX_ERROR_CAUSES, true), (MAX_ERROR_CAUSES + 1, false)] {
            let mut body = [0xa1, 4].repeat(causes);
            body.push(0xa0);
            assert_eq!(ErrorBody::decode(&body).is_ok(), ok);
            if ok {
                assert_eq!(ErrorBody::decode(&body).unwrap().encode(), body);
            }
        }
        // Far deeper than any stack.
        let body = [0xa1, 4].repeat(500_000);
        assert_eq!(ErrorBody::decode_lenient(&body), ErrorBody::default());
    }
}
