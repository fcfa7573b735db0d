//! Bodies of the node API about policies.
//!
//! ```text
//! resource   [1, [type u8]]  or  [2, [name text]]
//! type       1 tcp-inlet  2 tcp-outlet  3 echoer  4 kafka-consumer  5 kafka-producer  6 relay  7 lessor
//! ```

use minicbor::decode::{Decoder, Error};
use minicbor::encode::{Encoder, Write};
use minicbor::{Decode, Encode};

use crate::policy::wire::WirePolicy;
use crate::policy::{Policy, ResourceType, Scope};

/// The only action there is; it is in paths.
pub const ACTION: &str = "handle_message";

/// Types with their numbers: the first is 1.
const TYPES: [&str; 7] = [
    "tcp-inlet",
    "tcp-outlet",
    "echoer",
    "kafka-consumer",
    "kafka-producer",
    "relay",
    "lessor",
];

/// What a policy is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WireScope(pub Scope);

impl<'b, C> Decode<'b, C> for WireScope {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Self, Error> {
        if decoder.array()? != Some(2) {
            return Err(Error::message("a resource has two elements"));
        }
        let (number, fields) = (decoder.u8()?, decoder.array()?);
        match (number, fields) {
            (1, Some(1)) => {
                let number = decoder.u8()?;
                let name = TYPES.get(usize::from(number).wrapping_sub(1));
                let name = name.ok_or_else(|| Error::unknown_variant(number.into()))?;
                Ok(Self(Scope::Type(ResourceType::from(*name))))
            }
            (2, Some(1)) => Ok(Self(Scope::Name(decoder.str()?.to_owned()))),
            _ => Err(Error::unknown_variant(number.into())),
        }
    }
}

impl<C> Encode<C> for WireScope {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match &self.0 {
            Scope::Name(name) => encoder.array(2)?.u8(2)?.array(1)?.str(name)?.ok(),
            Scope::Type(kind) => encoder
                .array(2)?
                .u8(1)?
                .array(1)?
                .u8(number(kind).unwrap_or_default())?
                .ok(),
        }
    }
}

/// The number of a type, if the reference knows it.
#[must_use]
pub fn number(kind: &ResourceType) -> Option<u8> {
    let at = TYPES.iter().position(|name| *name == kind.as_str())?;
    u8::try_from(at + 1).ok()
}

/// Body of `POST /policy/handle_message`.
#[derive(Clone, PartialEq, Eq, Debug, Decode)]
#[cbor(map)]
pub struct SetPolicy {
    /// What it is for.
    #[n(1)]
    pub resource: WireScope,
    /// The policy.
    #[n(2)]
    pub policy: WirePolicy,
}

/// A policy, in answers about one.
#[derive(Clone, PartialEq, Eq, Debug, Encode)]
#[cbor(map)]
pub struct OnePolicy {
    /// What it is for.
    #[n(1)]
    pub resource: WireScope,
    /// 1: messages to the resource.
    #[n(2)]
    pub action: u8,
    /// The policy.
    #[n(3)]
    pub policy: Policy,
}

/// A policy of a resource, in lists.
#[derive(Clone, PartialEq, Eq, Debug, Encode)]
#[cbor(map)]
pub struct OfName {
    /// The resource.
    #[n(1)]
    pub name: String,
    /// 1: messages to the resource.
    #[n(2)]
    pub action: u8,
    /// The policy.
    #[n(3)]
    pub policy: Policy,
}

/// A policy of a type, in lists.
#[derive(Clone, PartialEq, Eq, Debug, Encode)]
#[cbor(map)]
pub struct OfType {
    /// The type.
    #[n(1)]
    pub number: u8,
    /// 1: messages to the resource.
    #[n(2)]
    pub action: u8,
    /// The policy.
    #[n(3)]
    pub policy: Policy,
}

/// Answer to `GET /policy`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode)]
#[cbor(map)]
pub struct PolicyList {
    /// Those of resources.
    #[n(1)]
    pub of_names: Vec<OfName>,
    /// Those of types.
    #[n(2)]
    pub of_types: Vec<OfType>,
}
