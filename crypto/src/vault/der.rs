//! P-256 keys and signatures as cloud key services write them (`protocol/10-vault.md` 7).
//!
//! ```text
//! public key: 3059 3013 0607 2a8648ce3d0201 0608 2a8648ce3d030107 0342 00 | 65 bytes of SEC1
//! signature:  30 len  02 len r  02 len s        integers without needless zeros in front
//! ```

/// SubjectPublicKeyInfo of a P-256 key, up to the point.
const KEY_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The uncompressed point in a DER SubjectPublicKeyInfo; none if it is not one of P-256. Whether the
/// point is on the curve is not looked at.
#[must_use]
pub fn p256_public_key(der: &[u8]) -> Option<[u8; 65]> {
    let point: [u8; 65] = der.strip_prefix(&KEY_PREFIX)?.try_into().ok()?;
    (point[0] == 4).then_some(point)
}

/// r and s of a DER signature, 32 bytes each; none if it is not strict DER of two such numbers. s
/// stays as it is, high or low.
#[must_use]
pub fn p256_signature(der: &[u8]) -> Option<[u8; 64]> {
    let (content, rest) = value(der, 0x30)?;
    let (r, after) = value(content, 0x02)?;
    let (s, end) = value(after, 0x02)?;
    if !rest.is_empty() || !end.is_empty() {
        return None;
    }
    let mut signature = [0; 64];
    let (first, second) = signature.split_at_mut(32);
    number(r, first)?;
    number(s, second)?;
    Some(signature)
}

/// The value of the item of this type at the beginning, and what follows. Nothing here is longer
/// than 127 bytes, so lengths are one byte.
fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [first, length, rest @ ..] = der else {
        return None;
    };
    if *first != tag || *length > 0x7f {
        return None;
    }
    rest.split_at_checked(usize::from(*length))
}

/// A positive integer, padded with zeros in front.
fn number(bytes: &[u8], out: &mut [u8]) -> Option<()> {
    let digits = match bytes {
        // A zero in front is there if, and only if, the number would be negative without.
        [0, rest @ ..] if rest.first().is_some_and(|byte| byte & 0x80 != 0) => rest,
        [0, ..] | [] => return None,
        [first, ..] if first & 0x80 != 0 => return None,
        digits => digits,
    };
    let at = out.len().checked_sub(digits.len())?;
    out[at..].copy_from_slice(digits);
    Some(())
}
