//! Envelopes of API services, and what an authority or a node is asked in them.

use culvert_proto::authority::{
    AddMember, AttributesEntry, Command, CreateToken, MemberList, OneTimeCode, Service,
};
use culvert_proto::identity::{decode_exact, encode};
use culvert_proto::policy::{Mode, Policy};
use culvert_proto::request::node_command::NodeCommand;
use culvert_proto::request::{ErrorBody, Request, Response};

/// What is accepted is written as it was read: an envelope that was read and written again says the
/// same, and so does each body. An envelope is a request or a response, never both.
pub fn request(data: &[u8]) {
    if let Ok(request) = Request::decode(data) {
        let again = request.encode();
        assert_eq!(Request::decode(&again), Ok(request));
        for service in Service::ALL {
            command(service, &request);
        }
        node_command(&request);
    }
    if let Ok(response) = Response::decode(data) {
        let again = response.encode();
        assert_eq!(Response::decode(&again), Ok(response));
        if let Some(error) = response.error() {
            assert_eq!(ErrorBody::decode(&error.encode()), Ok(error));
        }
        assert!(response.is_ok() || response.body().is_none());
    }
    if let Ok(list) = decode_exact::<MemberList>(data) {
        assert_eq!(decode_exact(&encode(&list)), Ok(list));
    }
    if let Ok(entry) = decode_exact::<AttributesEntry>(data) {
        assert_eq!(decode_exact(&encode(&entry)), Ok(entry));
    }
}

/// A policy that was asked for is one or is refused; if it is one it is written as it was read.
fn node_command(request: &Request<'_>) {
    let Ok(NodeCommand::SetPolicy(asked)) = NodeCommand::parse(request) else {
        return;
    };
    if let Ok(policy) = Policy::parse(&asked.policy.0, Mode::Strict) {
        let written = policy.canonical();
        assert_eq!(Policy::parse(&written, Mode::Strict), Ok(policy));
    }
}

fn command(service: Service, request: &Request<'_>) {
    let body = match Command::parse(service, request) {
        Ok(Command::CreateToken(wanted)) => same::<CreateToken>(&wanted),
        Ok(Command::Redeem(code)) => same::<OneTimeCode>(&code),
        Ok(Command::Add(wanted)) => same::<AddMember>(&wanted),
        _ => return,
    };
    let again = Request {
        body: Some(&body),
        ..*request
    };
    assert_eq!(
        Command::parse(service, &again),
        Command::parse(service, request)
    );
}

/// The encoding of a body, which reads as the same body.
fn same<T>(body: &T) -> Vec<u8>
where
    T: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()> + PartialEq + std::fmt::Debug,
{
    let bytes = encode(body);
    assert_eq!(decode_exact::<T>(&bytes).as_ref(), Ok(body));
    bytes
}
