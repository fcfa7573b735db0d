//! The envelope of everything that is signed.
//!
//! The signed message is SHA-256 of the encoded [`VersionedData`]; its data type is the only
//! domain separation. Specification: `protocol/11-identities.md` 2 and 3.

use culvert_proto::identity::{DataType, VERSION, VersionedData, WireError, decode_exact, encode};
use minicbor::{Decode, Encode};
use thiserror::Error;

use crate::primitives::sha256;

/// Why an envelope is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EnvelopeError {
    /// Envelope or content are not the expected structure.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The version is not 1.
    #[error("unknown version {0}")]
    Version(u8),
    /// It holds something else.
    #[error("unexpected data type {0}")]
    DataType(u8),
}

/// Encodes content and envelope; also gives the hash to be signed.
pub(crate) fn wrap<T: Encode<()>>(data_type: DataType, content: &T) -> (Vec<u8>, [u8; 32]) {
    let data = encode(&VersionedData::new(data_type, encode(content)));
    let hash = sha256(&data);
    (data, hash)
}

/// The content of an envelope, with nothing behind it, and the hash that must have been signed.
pub(crate) fn unwrap<T>(data_type: DataType, data: &[u8]) -> Result<(T, [u8; 32]), EnvelopeError>
where
    T: for<'b> Decode<'b, ()>,
{
    let envelope: VersionedData = decode_exact(data)?;
    if envelope.version != VERSION {
        return Err(EnvelopeError::Version(envelope.version));
    }
    if envelope.data_type != data_type as u8 {
        return Err(EnvelopeError::DataType(envelope.data_type));
    }
    Ok((decode_exact(&envelope.data)?, sha256(data)))
}
