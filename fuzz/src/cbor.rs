//! Our CBOR cursor beside minicbor.

use culvert_proto::cbor::{CborError, Cursor};
use minicbor::Decoder;

/// Longest input looked at: every offset is tried, which takes quadratic time.
const MAX_INPUT: usize = 128;

/// Our cursor reads the same values, and ends at the same place, as `minicbor`, from every offset.
///
/// Two differences are allowed, both in [`Cursor::skip`]: it refuses what is nested too deeply, and a
/// break outside of an indefinite item, which `minicbor` counts as an item.
pub fn cbor(data: &[u8]) {
    let data = &data[..data.len().min(MAX_INPUT)];
    for start in 0..=data.len() {
        let input = &data[start..];
        same(input, Cursor::u8, |d| d.u8());
        same(input, Cursor::u16, |d| d.u16());
        same(input, Cursor::u32, |d| d.u32());
        same(input, Cursor::u64, |d| d.u64());
        same(input, Cursor::bool, |d| d.bool());
        same(input, Cursor::bytes, |d| d.bytes());
        same(input, Cursor::text, |d| d.str());
        same(input, Cursor::array, |d| d.array());
        same(input, Cursor::map, |d| d.map());
        same(input, required_null, |d| d.null());
        same(input, Cursor::skip, |d| d.skip());
    }
}

fn required_null(cursor: &mut Cursor<'_>) -> Result<(), CborError> {
    match cursor.null()? {
        true => Ok(()),
        false => Err(CborError::Type(0)),
    }
}

/// Reads with both, and compares what they say.
fn same<'a, T: PartialEq + std::fmt::Debug>(
    input: &'a [u8],
    ours: fn(&mut Cursor<'a>) -> Result<T, CborError>,
    theirs: fn(&mut Decoder<'a>) -> Result<T, minicbor::decode::Error>,
) {
    let mut cursor = Cursor::new(input);
    let mut decoder = Decoder::new(input);
    match (ours(&mut cursor), theirs(&mut decoder)) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours, theirs, "{input:02x?}");
            assert_eq!(cursor.position(), decoder.position(), "{input:02x?}");
        }
        (Err(CborError::TooDeep | CborError::UnexpectedBreak), Ok(_)) | (Err(_), Err(_)) => {}
        (ours, theirs) => panic!("{ours:?}, minicbor {theirs:?}: {input:02x?}"),
    }
}
