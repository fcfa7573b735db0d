//! BARE: the encoding of text payloads and of the wrapper around API messages.
//!
//! Specification: `protocol/01-transport.md` 1.1 and 1.3. Strings and data are a ULEB128 length and
//! the bytes; what follows a complete value is ignored by decoders, so the readers return it.

/// Longest ULEB128 of 64 bits, in bytes.
pub const MAX_ULEB128: usize = 10;

/// Why a value cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BareError {
    /// The input ends inside the value.
    #[error("unexpected end of input")]
    End,
    /// A ULEB128 of more than 64 bits.
    #[error("variable-length integer too long")]
    Overflow,
    /// A string that is not UTF-8.
    #[error("string is not UTF-8")]
    Utf8,
}

/// Reads a ULEB128: the number and how many bytes it took. Non-minimal forms are accepted.
///
/// # Errors
/// [`BareError::End`], or [`BareError::Overflow`] when the 10th byte is not `01`.
#[inline]
pub fn read_uleb128(input: &[u8]) -> Result<(u64, usize), BareError> {
    let mut n = 0u64;
    for (i, &byte) in input.iter().take(MAX_ULEB128).enumerate() {
        if i == MAX_ULEB128 - 1 && byte != 1 {
            return Err(BareError::Overflow);
        }
        n |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Ok((n, i + 1));
        }
    }
    Err(BareError::End)
}

/// Bytes of the shortest ULEB128 of `n`.
#[inline]
#[must_use]
pub const fn uleb128_len(n: u64) -> usize {
    let bits = (u64::BITS - (n | 1).leading_zeros()) as usize;
    bits.div_ceil(7)
}

/// The shortest ULEB128 of `n` and its length.
#[inline]
#[must_use]
pub const fn uleb128(mut n: u64) -> ([u8; MAX_ULEB128], usize) {
    let mut out = [0; MAX_ULEB128];
    let mut length = 0;
    while n >= 0x80 {
        out[length] = n as u8 | 0x80;
        n >>= 7;
        length += 1;
    }
    out[length] = n as u8;
    (out, length + 1)
}

/// Writes the shortest ULEB128 of `n` to the start of `out` and returns its length.
///
/// # Panics
/// When `out` is shorter than [`uleb128_len`]`(n)`: the caller sized it.
#[inline]
pub fn write_uleb128(out: &mut [u8], n: u64) -> usize {
    let (bytes, length) = uleb128(n);
    out[..length].copy_from_slice(&bytes[..length]);
    length
}

/// Appends the shortest ULEB128 of `n`.
pub fn put_uleb128(out: &mut Vec<u8>, n: u64) {
    let (bytes, length) = uleb128(n);
    out.extend_from_slice(&bytes[..length]);
}

/// Reads data: its bytes, and what follows.
///
/// # Errors
/// [`BareError`] when the length or the bytes are cut off.
#[inline]
pub fn read_data(input: &[u8]) -> Result<(&[u8], &[u8]), BareError> {
    let (length, prefix) = read_uleb128(input)?;
    let length = usize::try_from(length).map_err(|_| BareError::End)?;
    input
        .get(prefix..)
        .and_then(|rest| rest.split_at_checked(length))
        .ok_or(BareError::End)
}

/// Reads a string: its text, and what follows.
///
/// # Errors
/// [`BareError`] when it is cut off or not UTF-8.
pub fn read_string(input: &[u8]) -> Result<(&str, &[u8]), BareError> {
    let (bytes, rest) = read_data(input)?;
    Ok((str::from_utf8(bytes).map_err(|_| BareError::Utf8)?, rest))
}

/// Appends data.
pub fn put_data(out: &mut Vec<u8>, data: &[u8]) {
    put_uleb128(out, data.len() as u64);
    out.extend_from_slice(data);
}

/// Appends a string.
pub fn put_string(out: &mut Vec<u8>, text: &str) {
    put_data(out, text.as_bytes());
}

/// The encoding of `text`: the payload of workers that exchange a plain string.
#[must_use]
pub fn string(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(uleb128_len(text.len() as u64) + text.len());
    put_string(&mut out, text);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uleb128_round_trip() {
        for n in [
            0,
            1,
            127,
            128,
            300,
            16383,
            16384,
            u64::from(u32::MAX),
            u64::MAX,
        ] {
            let (bytes, length) = uleb128(n);
            assert_eq!(length, uleb128_len(n));
            assert_eq!(read_uleb128(&bytes[..length]), Ok((n, length)));
            assert_eq!(read_uleb128(&bytes[..length - 1]), Err(BareError::End));
        }
    }

    #[test]
    fn uleb128_limits() {
        assert_eq!(read_uleb128(&[0x83, 0x00]), Ok((3, 2)));
        let mut longest = [0xff; MAX_ULEB128];
        for (last, outcome) in [
            (0x01, Ok((u64::MAX, 10))),
            (0x00, Err(BareError::Overflow)),
            (0x02, Err(BareError::Overflow)),
            (0x81, Err(BareError::Overflow)),
        ] {
            longest[9] = last;
            assert_eq!(read_uleb128(&longest), outcome);
        }
    }
}
