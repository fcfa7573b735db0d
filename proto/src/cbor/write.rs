//! Writers of heads and scalars: always the shortest, definite form.

use super::{BYTES, FALSE, TEXT, TRUE, UNSIGNED};

/// Bytes of the shortest head with the number `n`: 1, 2, 3, 5 or 9.
#[inline]
#[must_use]
pub const fn head_len(n: usize) -> usize {
    match n {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

/// The shortest head of type `major` with the number `n`, and its length.
#[inline]
#[must_use]
pub const fn head(major: u8, n: u64) -> ([u8; 9], usize) {
    let [a, b, c, d, e, f, g, h] = n.to_be_bytes();
    let major = major << 5;
    match n {
        0..=23 => ([major | h, 0, 0, 0, 0, 0, 0, 0, 0], 1),
        24..=0xff => ([major | 24, h, 0, 0, 0, 0, 0, 0, 0], 2),
        0x100..=0xffff => ([major | 25, g, h, 0, 0, 0, 0, 0, 0], 3),
        0x1_0000..=0xffff_ffff => ([major | 26, e, f, g, h, 0, 0, 0, 0], 5),
        _ => ([major | 27, a, b, c, d, e, f, g, h], 9),
    }
}

/// Writes the shortest head of type `major` with the number `n` to the start of `out` and returns
/// its length.
///
/// # Panics
/// When `out` is shorter than [`head_len`]`(n)`: the caller sized it.
#[inline]
pub fn write_head(out: &mut [u8], major: u8, n: usize) -> usize {
    let (bytes, length) = head(major, n as u64);
    out[..length].copy_from_slice(&bytes[..length]);
    length
}

/// Appends the shortest head of type `major` with the number `n`.
pub fn put_head(out: &mut Vec<u8>, major: u8, n: u64) {
    let (bytes, length) = head(major, n);
    out.extend_from_slice(&bytes[..length]);
}

/// Appends an unsigned integer.
pub fn put_unsigned(out: &mut Vec<u8>, n: u64) {
    put_head(out, UNSIGNED, n);
}

/// Appends a byte string.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_head(out, BYTES, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a text string.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    put_head(out, TEXT, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Appends a boolean.
pub fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { TRUE } else { FALSE });
}
