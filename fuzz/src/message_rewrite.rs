//! Messages: layout and prefix rewrite beside decode-then-encode.

use culvert_proto::address::Address;
use culvert_proto::limits::MAX_HOPS;
use culvert_proto::message::{Layout, Message};
use culvert_proto::rewrite::{Rewrite, RewriteError};
use culvert_proto::route::Route;

use crate::input::Input;

/// Rewriting in place equals decoding, changing and encoding again.
///
/// ```text
/// pop, onward pushes, return pushes, length of pushed values, headroom (2 bytes), message
/// ```
pub fn message_rewrite(data: &[u8]) {
    let mut input = Input::new(data);
    let pop = usize::from(input.byte() % 40);
    let [onward, back, len] = [(); 3].map(|()| usize::from(input.byte()));
    let headroom = usize::from(input.u16());
    let message = input.rest();

    let Ok(layout) = Layout::parse(message) else {
        assert!(Message::decode(message).is_err());
        return;
    };
    check_layout(message, &layout);
    let push_onward = route(onward % 40, len, b'o');
    let push_return = route(back % 40, len, b'r');
    let change = Rewrite {
        pop,
        push_onward: push_onward.view(),
        push_return: push_return.view(),
    };
    check_rewrite(message, &layout, &change, headroom);
}

/// Addresses as a relay puts them into a route.
fn route(hops: usize, len: usize, fill: u8) -> Route {
    (0..hops)
        .map(|_| Address::new(0, vec![fill; len]))
        .collect()
}

/// The parts are in order, inside the message, and what decoding yields.
fn check_layout(message: &[u8], layout: &Layout) {
    let decoded = Message::decode(message).expect("it has a layout");
    let payload = layout.payload_range();
    assert!(layout.tail_start() <= payload.start && payload.end <= layout.end());
    assert!(layout.end() <= message.len());
    assert_eq!(decoded.payload, &message[payload]);
    assert_eq!(layout.onward(message).to_owned(), decoded.onward);
    assert_eq!(
        layout.return_route(message).to_owned(),
        decoded.return_route
    );
    let again = decoded.encode();
    assert_eq!(Message::decode(&again).expect("our own encoding"), decoded);
    // Where a message ends does not depend on what follows.
    assert_eq!(Layout::parse(&message[..layout.end()]), Ok(*layout));
}

fn check_rewrite(message: &[u8], layout: &Layout, change: &Rewrite<'_>, headroom: usize) {
    let before = Message::decode(message).expect("it has a layout");
    let expected = match changed(&before, change) {
        Ok(expected) => expected,
        Err(error) => {
            assert_eq!(change.prefix_len(message, layout), Err(error));
            return;
        }
    };
    let mut buf = vec![0xaa; headroom];
    buf.extend_from_slice(message);
    let len = match change.prefix_len(message, layout) {
        Ok(len) => len,
        // Only a peer that does not encode canonically can make a route too long in bytes.
        Err(error) => {
            assert_ne!(before.encode(), message[..layout.end()], "{error}");
            return;
        }
    };
    let head = match change.apply(&mut buf, headroom, layout) {
        Ok(head) => head,
        Err(error) => {
            assert_eq!(error, RewriteError::NoRoom);
            assert!(len > headroom + layout.tail_start());
            assert_eq!(&buf[headroom..], message, "nothing may have changed");
            return;
        }
    };
    let rewritten = &buf[head..];
    assert_eq!(head + len, headroom + layout.tail_start());
    assert!(buf[..head.min(headroom)].iter().all(|&byte| byte == 0xaa));
    assert_eq!(
        &rewritten[len..],
        &message[layout.tail_start()..],
        "the tail is untouched"
    );
    let mut prefix = vec![0; len];
    change.write_prefix(message, layout, &mut prefix);
    assert_eq!(prefix, &rewritten[..len]);

    let new_layout = Layout::parse(rewritten).expect("a rewritten message is a message");
    assert_eq!(change.layout(message, layout), Ok(new_layout));
    assert_eq!(
        Message::decode(rewritten).expect("it has a layout"),
        expected
    );
    if before.encode() == message[..layout.end()] {
        assert_eq!(expected.encode(), rewritten[..new_layout.end()]);
    }
}

/// The slow way.
fn changed(before: &Message, change: &Rewrite<'_>) -> Result<Message, RewriteError> {
    let left = before
        .onward
        .hops()
        .checked_sub(change.pop)
        .ok_or(RewriteError::TooFewHops)?;
    let onward_hops = left + change.push_onward.hops();
    let return_hops = before.return_route.hops() + change.push_return.hops();
    if onward_hops > MAX_HOPS || return_hops > MAX_HOPS {
        return Err(RewriteError::TooManyHops);
    }
    let kept = before.onward.iter().skip(change.pop);
    let back = before.return_route.iter();
    Ok(Message {
        onward: change
            .push_onward
            .iter()
            .chain(kept)
            .map(|hop| hop.to_owned())
            .collect(),
        return_route: change
            .push_return
            .iter()
            .chain(back)
            .map(|hop| hop.to_owned())
            .collect(),
        ..before.clone()
    })
}
