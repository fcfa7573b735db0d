//! Cutting frames out of a stream of bytes.

use culvert_proto::frame::{Decoded, LEN, decode, length_prefix};
use culvert_proto::limits::MAX_FRAME;

/// Frames are found where their lengths say, however many of their bytes have arrived.
pub fn frame(data: &[u8]) {
    let mut rest = data;
    while let Ok(Decoded::Frame(message)) = decode(rest) {
        assert_eq!(message.start, LEN);
        assert!(message.end <= rest.len() && !message.is_empty() && message.len() <= MAX_FRAME);
        let prefix = length_prefix(message.len()).expect("a length just accepted");
        assert_eq!(prefix, rest[..LEN]);
        check_prefixes(&rest[..message.end]);
        rest = &rest[message.end..];
    }
    match decode(rest) {
        Ok(Decoded::Frame(_)) => unreachable!("the loop takes all frames"),
        Ok(Decoded::Need(needed)) => assert!(rest.len() < needed && needed <= LEN + MAX_FRAME),
        Err(error) => {
            // More bytes do not make it better.
            assert!(rest.len() >= LEN);
            assert_eq!(decode(&[rest, &[0; 8]].concat()), Err(error));
            assert_eq!(decode(&rest[..LEN]), Err(error));
        }
    }
}

/// Any part of a frame needs more, never too much, and enough to make progress.
fn check_prefixes(frame: &[u8]) {
    // Every length around the head, then a few.
    let lengths = (0..frame.len().min(16)).chain([frame.len() / 2, frame.len() - 1]);
    for len in lengths {
        match decode(&frame[..len]) {
            Ok(Decoded::Need(needed)) => assert!(len < needed && needed <= frame.len()),
            other => panic!("{len} of {} bytes: {other:?}", frame.len()),
        }
    }
}
