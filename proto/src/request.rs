//! The envelope of API services: requests, responses and their errors.
//!
//! Specification: `protocol/05-requests.md`.
//!
//! ```text
//! payload = ULEB128(n) cbor          n: length of cbor; bytes after it are ignored
//! cbor    = header body              header: one map; body: the bytes up to the end
//! request  header { 1: id u32, 2: path text, 3: method, 4: has body bool }
//! response header { 1: id u32, 2: re u32, 3: status, 4: has body bool }
//! ```
//!
//! Headers are read with the bounded cursor of [`crate::cbor`]: unknown keys may hold anything, and
//! a peer must not choose how much memory skipping it takes.

mod error_body;
mod node_api;
pub mod node_command;
pub mod node_info;
pub mod node_policies;
pub mod node_portals;

pub use error_body::ErrorBody;
pub use node_api::{
    ConnectionStatus, CreateRelay, FlowControlId, RelayInfo, RelayList, ReturnTiming, ServiceList,
    ServiceStatus, StartService,
};

use crate::bare::{self, BareError};
use crate::cbor::{self, CborError, Cursor, Items};
use crate::limits::MAX_REQUEST;

/// Address of the node API service.
pub const NODE_MANAGER: &str = "_internal.nodemanager";

/// Most segments a path is split into; the last one contains the rest.
pub const MAX_SEGMENTS: usize = 5;

/// Why an envelope is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The length prefix is missing or wrong.
    #[error(transparent)]
    Bare(#[from] BareError),
    /// The header is not the CBOR it must be.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// A mandatory field of the header is missing; its key.
    #[error("missing field {0}")]
    Missing(u8),
    /// A method number outside the list.
    #[error("unknown method {0}")]
    Method(u64),
    /// A status number outside the list.
    #[error("unknown status {0}")]
    Status(u64),
    /// Longer than [`MAX_REQUEST`].
    #[error("request or response of {0} bytes is too long")]
    TooLong(usize),
}

/// What a request asks to do with its path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Method {
    /// 0: read.
    Get,
    /// 1: create.
    Post,
    /// 2: replace.
    Put,
    /// 3: remove.
    Delete,
    /// 4: change.
    Patch,
}

impl Method {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The name in error messages, upper case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Patch => "PATCH",
        }
    }

    const fn from_number(number: u64) -> Result<Self, RequestError> {
        Ok(match number {
            0 => Self::Get,
            1 => Self::Post,
            2 => Self::Put,
            3 => Self::Delete,
            4 => Self::Patch,
            _ => return Err(RequestError::Method(number)),
        })
    }

    /// Reads a method or a null.
    fn decode(cursor: &mut Cursor<'_>) -> Result<Option<Self>, RequestError> {
        match cursor.null()? {
            true => Ok(None),
            false => Self::from_number(cursor.u64()?).map(Some),
        }
    }
}

/// The outcome of a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// Done.
    Ok = 200,
    /// The request makes no sense.
    BadRequest = 400,
    /// The caller is unknown.
    Unauthorized = 401,
    /// The caller may not do this.
    Forbidden = 403,
    /// There is no such thing.
    NotFound = 404,
    /// The path exists but not for this method.
    MethodNotAllowed = 405,
    /// It took too long.
    Timeout = 408,
    /// It contradicts something that exists.
    Conflict = 409,
    /// The service failed.
    InternalServerError = 500,
    /// The service cannot do this.
    NotImplemented = 501,
}

impl Status {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    const fn from_number(number: u64) -> Result<Self, RequestError> {
        Ok(match number {
            200 => Self::Ok,
            400 => Self::BadRequest,
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            405 => Self::MethodNotAllowed,
            408 => Self::Timeout,
            409 => Self::Conflict,
            500 => Self::InternalServerError,
            501 => Self::NotImplemented,
            _ => return Err(RequestError::Status(number)),
        })
    }

    fn decode(cursor: &mut Cursor<'_>) -> Result<Option<Self>, RequestError> {
        match cursor.null()? {
            true => Ok(None),
            false => Self::from_number(cursor.u64()?).map(Some),
        }
    }
}

/// A request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// Chosen at random by the caller, never 0.
    pub id: u32,
    /// What it is about; see [`segments`].
    pub path: &'a str,
    /// What to do. `None` must never be sent: it ends the process of a reference node.
    pub method: Option<Method>,
    /// The body, if there is one, in whatever encoding the service uses.
    pub body: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    /// The payload to send: header and body behind their length.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut cbor = Vec::new();
        let pairs = if self.method.is_some() { 4 } else { 3 };
        cbor::put_head(&mut cbor, cbor::MAP, pairs);
        put_field(&mut cbor, 1, self.id.into());
        cbor::put_unsigned(&mut cbor, 2);
        cbor::put_text(&mut cbor, self.path);
        if let Some(method) = self.method {
            put_field(&mut cbor, 3, method.number().into());
        }
        put_body(&mut cbor, self.body.is_some(), self.body);
        pack(&cbor)
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`RequestError`] when the envelope is not acceptable. The reference does not reply then.
    pub fn decode(payload: &'a [u8]) -> Result<Self, RequestError> {
        let cbor = unpack(payload)?;
        let (mut id, mut path, mut method, mut has_body) = (None, None, None, None);
        let rest = map(cbor, |key, cursor| {
            match key {
                1 => id = Some(cursor.u32()?),
                2 => path = Some(cursor.text()?),
                3 => method = Method::decode(cursor)?,
                4 => has_body = Some(cursor.bool()?),
                _ => cursor.skip()?,
            }
            Ok(())
        })?;
        let has_body = has_body.ok_or(RequestError::Missing(4))?;
        Ok(Self {
            id: id.ok_or(RequestError::Missing(1))?,
            path: path.ok_or(RequestError::Missing(2))?,
            method,
            body: has_body.then_some(rest),
        })
    }
}

/// A response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response<'a> {
    /// Chosen at random by the service.
    pub id: u32,
    /// The id of the request, or 0 when the service did not copy it.
    pub re: u32,
    /// The outcome. `None` counts as a failure.
    pub status: Option<Status>,
    /// Whether the service says that there is a body.
    pub has_body: bool,
    /// What follows the header; see [`Response::body`] and [`Response::error`].
    pub rest: &'a [u8],
}

impl<'a> Response<'a> {
    /// A response with a body.
    #[must_use]
    pub const fn new(id: u32, re: u32, status: Status, body: Option<&'a [u8]>) -> Self {
        let (has_body, rest) = match body {
            Some(body) => (true, body),
            None => (false, &[] as &[u8]),
        };
        Self {
            id,
            re,
            status: Some(status),
            has_body,
            rest,
        }
    }

    /// The payload to send: header and body behind their length.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut cbor = Vec::new();
        let pairs = if self.status.is_some() { 4 } else { 3 };
        cbor::put_head(&mut cbor, cbor::MAP, pairs);
        put_field(&mut cbor, 1, self.id.into());
        put_field(&mut cbor, 2, self.re.into());
        if let Some(status) = self.status {
            put_field(&mut cbor, 3, status.number().into());
        }
        put_body(&mut cbor, self.has_body, Some(self.rest));
        pack(&cbor)
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`RequestError`] when the envelope is not acceptable.
    pub fn decode(payload: &'a [u8]) -> Result<Self, RequestError> {
        let cbor = unpack(payload)?;
        let (mut id, mut re, mut status, mut has_body) = (None, None, None, None);
        let rest = map(cbor, |key, cursor| {
            match key {
                1 => id = Some(cursor.u32()?),
                2 => re = Some(cursor.u32()?),
                3 => status = Status::decode(cursor)?,
                4 => has_body = Some(cursor.bool()?),
                _ => cursor.skip()?,
            }
            Ok(())
        })?;
        Ok(Self {
            id: id.ok_or(RequestError::Missing(1))?,
            re: re.ok_or(RequestError::Missing(2))?,
            status,
            has_body: has_body.ok_or(RequestError::Missing(4))?,
            rest,
        })
    }

    /// Whether the request was carried out.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status == Some(Status::Ok)
    }

    /// The body of a success: all bytes after the header, if the service says there is one.
    #[must_use]
    pub fn body(&self) -> Option<&'a [u8]> {
        (self.is_ok() && self.has_body).then_some(self.rest)
    }

    /// The error of a failure, whatever the header says about a body. Empty when there is none or it
    /// cannot be read.
    #[must_use]
    pub fn error(&self) -> Option<ErrorBody> {
        (!self.is_ok()).then(|| ErrorBody::decode_lenient(self.rest))
    }
}

/// The segments of a path: leading slashes do not count, the fifth contains the rest.
pub fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.trim_start_matches('/').splitn(MAX_SEGMENTS, '/')
}

fn unpack(payload: &[u8]) -> Result<&[u8], RequestError> {
    if payload.len() > MAX_REQUEST {
        return Err(RequestError::TooLong(payload.len()));
    }
    Ok(bare::read_data(payload)?.0)
}

fn pack(cbor: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(bare::MAX_ULEB128 + cbor.len());
    bare::put_data(&mut payload, cbor);
    payload
}

/// Reads a map with unsigned keys, in any order, the last of duplicate keys winning, and returns
/// what follows it.
fn map<'a>(
    input: &'a [u8],
    mut field: impl FnMut(u64, &mut Cursor<'a>) -> Result<(), RequestError>,
) -> Result<&'a [u8], RequestError> {
    let mut cursor = Cursor::new(input);
    let mut pairs = Items::new(cursor.map()?);
    while pairs.more(&mut cursor)? {
        let key = cursor.u64()?;
        field(key, &mut cursor)?;
    }
    Ok(cursor.rest())
}

fn put_field(out: &mut Vec<u8>, key: u64, value: u64) {
    cbor::put_unsigned(out, key);
    cbor::put_unsigned(out, value);
}

fn put_body(out: &mut Vec<u8>, has_body: bool, body: Option<&[u8]>) {
    cbor::put_unsigned(out, 4);
    cbor::put_bool(out, has_body);
    out.extend_from_slice(body.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let split = |path| segments(path).collect::<Vec<_>>();
        assert_eq!(split("//node/relay"), ["node", "relay"]);
        assert_eq!(split("a/b/c/d/e/f"), ["a", "b", "c", "d", "e/f"]);
        assert_eq!(split("/"), [""]);
    }

    #[test]
    fn size_is_bounded() {
        let payload = vec![0; MAX_REQUEST + 1];
        assert_eq!(
            Request::decode(&payload),
            Err(RequestError::TooLong(MAX_REQUEST + 1))
        );
    }
}
