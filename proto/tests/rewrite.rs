//! Rewriting: in place, into a new prefix and by decoding and encoding again are the same thing; and
//! layouts agree with a decoder that is written differently.

mod common;

use culvert_proto::address::{Address, AddressError, AddressRef};
use culvert_proto::cbor::{self, CborError};
use culvert_proto::frame;
use culvert_proto::limits::{MAX_ADDRESS, MAX_HOPS};
use culvert_proto::message::{Layout, Message, MessageError};
use culvert_proto::rewrite::{Rewrite, RewriteError};
use culvert_proto::route::{Route, RouteError};
use minicbor::data::Type;
use minicbor::decode::{Decoder, Error};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn addresses() -> impl Strategy<Value = Address> {
    let values = prop_oneof![
        4 => vec(any::<u8>(), 0..40),
        1 => vec(any::<u8>(), 250..=MAX_ADDRESS),
    ];
    (prop_oneof![4 => 0u8..3, 1 => any::<u8>()], values).prop_map(|(t, v)| Address::new(t, v))
}

fn routes(hops: usize) -> impl Strategy<Value = Route> {
    vec(addresses(), 0..=hops).prop_map(|addresses| addresses.into_iter().collect())
}

fn messages() -> impl Strategy<Value = Message> {
    let payloads = prop_oneof![3 => vec(any::<u8>(), 0..300), 1 => vec(any::<u8>(), 65530..65540)];
    (routes(10), routes(26), payloads, option::of("[ -~]{0,30}")).prop_map(
        |(onward, return_route, payload, tracing)| Message {
            onward,
            return_route,
            payload,
            tracing,
        },
    )
}

/// How a peer may encode the same message.
#[derive(Clone, Debug)]
struct Style {
    outer_indefinite: bool,
    onward_indefinite: bool,
    return_indefinite: bool,
    address_indefinite: bool,
    /// Ignored elements after the fourth, which is null when there is no tracing context.
    extra: usize,
    /// Heads in the long form.
    long_heads: bool,
}

fn styles() -> impl Strategy<Value = Style> {
    (any::<[bool; 5]>(), 0usize..30).prop_map(|(flags, extra)| Style {
        outer_indefinite: flags[0],
        onward_indefinite: flags[1],
        return_indefinite: flags[2],
        address_indefinite: flags[3],
        long_heads: flags[4],
        extra,
    })
}

impl Style {
    fn head(&self, out: &mut Vec<u8>, major: u8, n: usize) {
        if self.long_heads {
            out.push(major << 5 | 26);
            out.extend((n as u32).to_be_bytes());
        } else {
            cbor::put_head(out, major, n as u64);
        }
    }

    fn array(&self, out: &mut Vec<u8>, indefinite: bool, elements: &[Vec<u8>]) {
        match indefinite {
            true => out.push(cbor::ARRAY_INDEFINITE),
            false => self.head(out, cbor::ARRAY, elements.len()),
        }
        out.extend(elements.concat());
        if indefinite {
            out.push(cbor::BREAK);
        }
    }

    fn route(&self, indefinite: bool, route: &Route) -> Vec<u8> {
        let mut out = Vec::new();
        let addresses: Vec<_> = route
            .iter()
            .map(|address| {
                let (mut transport, mut value, mut out) = (Vec::new(), Vec::new(), Vec::new());
                self.head(&mut transport, cbor::UNSIGNED, address.transport.into());
                self.head(&mut value, cbor::BYTES, address.value.len());
                value.extend(address.value);
                self.array(&mut out, self.address_indefinite, &[transport, value]);
                out
            })
            .collect();
        self.array(&mut out, indefinite, &addresses);
        out
    }

    fn encode(&self, message: &Message) -> Vec<u8> {
        let mut payload = Vec::new();
        self.head(&mut payload, cbor::BYTES, message.payload.len());
        payload.extend(&message.payload);
        let mut elements = vec![
            self.route(self.onward_indefinite, &message.onward),
            self.route(self.return_indefinite, &message.return_route),
            payload,
        ];
        if let Some(tracing) = &message.tracing {
            let mut text = Vec::new();
            cbor::put_text(&mut text, tracing);
            elements.push(text);
        } else if self.extra > 0 {
            elements.push(vec![cbor::NULL]);
        }
        elements.extend((0..self.extra).map(|_| vec![0x82, 0x00, 0xa0]));
        let mut out = Vec::new();
        self.array(&mut out, self.outer_indefinite, &elements);
        out
    }
}

/// The same change to a decoded message.
fn rewrite_decoded(
    message: &Message,
    pop: usize,
    push_onward: &Route,
    push_return: &Route,
) -> Message {
    let joined = |front: &Route, back: Vec<_>| front.iter().chain(back).collect::<Route>();
    Message {
        onward: joined(push_onward, message.onward.iter().skip(pop).collect()),
        return_route: joined(push_return, message.return_route.iter().collect()),
        ..message.clone()
    }
}

/// Applies the change in both ways with ample headroom and returns the rewritten message.
fn rewrite_encoded(msg: &[u8], rewrite: &Rewrite<'_>) -> Result<Vec<u8>, RewriteError> {
    const HEADROOM: usize = 1 << 15;
    let layout = Layout::parse(msg).unwrap();
    let mut prefix = vec![0; rewrite.prefix_len(msg, &layout)?];
    rewrite.write_prefix(msg, &layout, &mut prefix);
    prefix.extend(&msg[layout.tail_start()..]);

    let mut buf = [&vec![0xee; HEADROOM], msg].concat();
    let head = rewrite.apply(&mut buf, HEADROOM, &layout)?;
    assert_eq!(hex::encode(&buf[head..]), hex::encode(&prefix));
    let after = rewrite.layout(msg, &layout)?;
    assert_eq!(Layout::parse(&prefix), Ok(after), "layout after the change");
    assert!(
        buf[..head.min(HEADROOM)].iter().all(|&byte| byte == 0xee),
        "wrote too far in front"
    );

    // Exactly as much headroom as needed; and one byte less changes nothing.
    let growth = HEADROOM.saturating_sub(head);
    let mut buf = [&vec![0xee; growth], msg].concat();
    assert_eq!(
        rewrite
            .apply(&mut buf, growth, &layout)
            .map(|head| buf[head..] == prefix),
        Ok(true)
    );
    if growth > 0 {
        let tight = [&vec![0xee; growth - 1], msg].concat();
        let mut buf = tight.clone();
        assert_eq!(
            rewrite.apply(&mut buf, growth - 1, &layout),
            Err(RewriteError::NoRoom)
        );
        assert!(buf == tight);
    }
    Ok(prefix)
}

proptest! {
    // What fails is printed; a file of seeds says less than a test written from it.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Canonical messages: byte for byte what decoding and encoding gives.
    #[test]
    fn canonical(message in messages(), pop in 0usize..12, onward in routes(3), back in routes(3)) {
        let rewrite = Rewrite { pop, push_onward: onward.view(), push_return: back.view() };
        match rewrite_encoded(&message.encode(), &rewrite) {
            Ok(rewritten) => {
                let expected = rewrite_decoded(&message, pop, &onward, &back);
                prop_assert_eq!(hex::encode(rewritten), hex::encode(expected.encode()));
            }
            Err(error) => {
                prop_assert_eq!(error, RewriteError::TooFewHops);
                prop_assert!(pop > message.onward.hops());
            }
        }
    }

    /// Any encoding a peer may choose: the same meaning, and everything behind the routes untouched.
    #[test]
    fn any_encoding(
        message in messages(),
        style in styles(),
        pop in 0usize..4,
        onward in routes(3),
        back in routes(3),
        trailing in vec(any::<u8>(), 0..5),
    ) {
        let mut msg = style.encode(&message);
        prop_assert_eq!(Layout::parse(&msg).unwrap().end(), msg.len());
        msg.extend(&trailing);
        prop_assert_eq!(&Message::decode(&msg).unwrap(), &message);
        let rewrite = Rewrite { pop, push_onward: onward.view(), push_return: back.view() };
        if let Ok(rewritten) = rewrite_encoded(&msg, &rewrite) {
            let expected = rewrite_decoded(&message, pop, &onward, &back);
            prop_assert_eq!(Message::decode(&rewritten).unwrap(), expected);
            prop_assert!(rewritten.ends_with(&trailing));
        } else {
            prop_assert!(pop > message.onward.hops());
        }
    }

    /// A layout never panics, nor does one that belongs to other bytes.
    #[test]
    fn arbitrary_bytes(mut bytes in vec(any::<u8>(), 0..200), message in messages()) {
        compare_with_oracle(&bytes)?;
        let layout = Layout::parse(&message.encode()).unwrap();
        let _ = (layout.onward(&bytes).last(), layout.payload(&bytes), layout.tracing(&bytes));
        let rewrite = Rewrite { pop: 2, ..Rewrite::default() };
        let _ = rewrite.apply(&mut bytes, 0, &layout);
    }

    /// Nearly valid messages: some bytes changed, or the end cut off.
    #[test]
    fn damaged_messages(
        message in messages(),
        style in styles(),
        damage in vec((any::<prop::sample::Index>(), interesting()), 0..3),
        cut in option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = style.encode(&message);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
        compare_with_oracle(&bytes)?;
    }

    /// The same near the start, where the structure is.
    #[test]
    fn structured_bytes(bytes in vec(interesting(), 0..60)) {
        compare_with_oracle(&bytes)?;
        compare_with_oracle(&[&[0x84, 0x81][..], &bytes].concat())?;
        compare_with_oracle(&[&[0x9f, 0x80, 0x80, 0x40][..], &bytes].concat())?;
    }
}

fn interesting() -> impl Strategy<Value = u8> {
    prop_oneof![
        1 => any::<u8>(),
        3 => prop::sample::select(
            &[0u8, 1, 2, 0x18, 0x19, 0x1b, 0x40, 0x41, 0x58, 0x5f, 0x60, 0x61, 0x7f, 0x80, 0x81, 0x82,
              0x83, 0x84, 0x98, 0x9b, 0x9f, 0xa0, 0xa1, 0xbf, 0xc0, 0xd8, 0xf6, 0xf7, 0xf8, 0xff][..]
        ),
    ]
}

/// A decoder as the reference derives it, on top of the reference's CBOR library.
fn oracle(bytes: &[u8]) -> Result<Message, Error> {
    let mut d = Decoder::new(bytes);
    let (mut onward, mut back, mut payload, mut tracing) = (None, None, None, None);
    elements(&mut d, |i, d| {
        match i {
            0 => onward = Some(oracle_route(d)?),
            1 => back = Some(oracle_route(d)?),
            2 => payload = Some(d.bytes()?.to_vec()),
            3 if d.datatype()? == Type::Null => d.skip()?,
            3 => tracing = Some(d.str()?.to_owned()),
            _ => d.skip()?,
        }
        Ok(())
    })?;
    let missing = || Error::message("missing");
    Ok(Message {
        onward: onward.ok_or_else(missing)?,
        return_route: back.ok_or_else(missing)?,
        payload: payload.ok_or_else(missing)?,
        tracing,
    })
}

fn oracle_route(d: &mut Decoder<'_>) -> Result<Route, Error> {
    let mut route = Route::new();
    elements(d, |_, d| {
        let (mut transport, mut value) = (None, None);
        elements(d, |i, d| {
            match i {
                0 => transport = Some(d.u8()?),
                1 => value = Some(d.bytes()?.to_vec()),
                _ => d.skip()?,
            }
            Ok(())
        })?;
        let (Some(transport), Some(value)) = (transport, value) else {
            return Err(Error::message("missing"));
        };
        route.push_back(Address::new(transport, value).as_ref());
        Ok(())
    })?;
    Ok(route)
}

fn elements<'b>(
    d: &mut Decoder<'b>,
    mut each: impl FnMut(u64, &mut Decoder<'b>) -> Result<(), Error>,
) -> Result<(), Error> {
    match d.array()? {
        Some(count) => (0..count).try_for_each(|i| each(i, d)),
        None => {
            let mut i = 0;
            while d.datatype()? != Type::Break {
                each(i, d)?;
                i += 1;
            }
            d.skip()
        }
    }
}

/// Ours accepts what the oracle accepts, with the same result, except beyond our limits and for a
/// break inside an ignored element, which the reference's library takes for an item.
fn compare_with_oracle(bytes: &[u8]) -> Result<(), TestCaseError> {
    match (Message::decode(bytes), oracle(bytes)) {
        (Ok(ours), theirs) => {
            prop_assert_eq!(Some(&ours), theirs.as_ref().ok());
            let layout = Layout::parse(bytes).unwrap();
            prop_assert!(layout.end() <= bytes.len());
            prop_assert!(layout.payload_range().end <= layout.end());
            prop_assert_eq!(layout.onward_hops(), ours.onward.hops());
        }
        (Err(_), Err(_)) => {}
        (Err(error), Ok(theirs)) => prop_assert!(is_limit(error), "{}, not {:?}", error, theirs),
    }
    Ok(())
}

fn is_limit(error: MessageError) -> bool {
    let cbor = match error {
        MessageError::TooLong
        | MessageError::Route(RouteError::TooManyHops | RouteError::TooLong) => {
            return true;
        }
        MessageError::Route(RouteError::Address(AddressError::TooLong(_))) => return true,
        MessageError::Cbor(error)
        | MessageError::Route(
            RouteError::Cbor(error) | RouteError::Address(AddressError::Cbor(error)),
        ) => error,
        _ => return false,
    };
    matches!(cbor, CborError::TooDeep | CborError::UnexpectedBreak)
}

#[test]
fn hop_limits() {
    let long: Route = core::iter::repeat_n(&Address::local("a"), MAX_HOPS).collect();
    let one: Route = [Address::local("b")].iter().collect();
    let msg = Message::new(long.clone(), long, vec![7]).encode();
    let too_many = Rewrite {
        push_return: one.view(),
        ..Rewrite::default()
    };
    assert_eq!(
        rewrite_encoded(&msg, &too_many),
        Err(RewriteError::TooManyHops)
    );
    let exchange = Rewrite {
        pop: 1,
        push_onward: one.view(),
        ..Rewrite::default()
    };
    let rewritten = Message::decode(&rewrite_encoded(&msg, &exchange).unwrap()).unwrap();
    assert_eq!(
        (rewritten.onward.hops(), rewritten.onward.first()),
        (MAX_HOPS, one.first())
    );
}

/// The last message of one direction of a link in a capture.
fn last_message(link: &serde_json::Value, direction: &str) -> Vec<u8> {
    let mut events = link.as_array().unwrap().iter();
    let data = events
        .rfind(|e| e["event"] == "data" && e["dir"] == direction)
        .unwrap();
    common::bytes(data, "hex").split_off(frame::LEN)
}

/// Two links, as captured: what the middle node sends is what it received, rewritten.
#[test]
fn captured_hop() {
    let file = common::vectors("tcp_session_two_links.json");
    let sender = Address::local(common::text(&file, "middle_tcp_sender_address_for_link2"));
    for direction in ["client->server", "server->client"] {
        let (mut received, mut sent) = (&file["links"]["link1"], &file["links"]["link2"]);
        if direction == "server->client" {
            (received, sent) = (sent, received);
        }
        let (received, sent) = (
            last_message(received, direction),
            last_message(sent, direction),
        );
        // The worker `hop` put itself in front of the return route, the receiver its sender.
        let back: Route = Message::decode(&sent)
            .unwrap()
            .return_route
            .iter()
            .take(2)
            .collect();
        assert_eq!(back.first(), Some(AddressRef::local(b"hop")));
        let other_way = back.last() == Some(sender.as_ref());
        assert_eq!(other_way, direction == "server->client");
        let rewrite = Rewrite {
            pop: 2,
            push_return: back.view(),
            ..Rewrite::default()
        };
        assert_eq!(rewrite_encoded(&received, &rewrite), Ok(sent));
    }
}
