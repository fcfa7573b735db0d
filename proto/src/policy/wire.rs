//! Policies in CBOR, as the node API has them.
//!
//! ```text
//! expression   [1, [text]]  [2, [int]]  [3, [float]]  [4, [bool]]     values
//!              [5, [name]]  [6, [[…]]] sequence  [7, [[…]]] list
//! policy       [0, [expression]]  or, of names only,  [1, [shorthand]]
//! shorthand    [0, [name]]  [1, [a, b]] or  [2, [a, b]] and  [3, [a]] not
//! ```
//!
//! What is read is text in full form, which [`Policy::parse`] decides about: there is one way to a
//! policy. Depth and number of parts are bounded before that.

use core::fmt::Write as _;

use minicbor::decode::{Decoder, Error};
use minicbor::encode::{Encoder, Write};
use minicbor::{Decode, Encode};

use super::tree::Expr;
use super::value::write_float;
use super::{MAX_DEPTH, MAX_NODES, MAX_TEXT, Policy};

/// A policy in a request: its text in full form, not yet checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WirePolicy(pub String);

impl<'b, C> Decode<'b, C> for WirePolicy {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Self, Error> {
        let mut reader = Reader::default();
        match variant(decoder, 1)? {
            0 => reader.expression(decoder, MAX_DEPTH)?,
            1 => reader.shorthand(decoder, MAX_DEPTH)?,
            number => return Err(Error::unknown_variant(number.into())),
        }
        Ok(Self(reader.text))
    }
}

/// A policy in an answer: `[kind, [...]]` of its root expression.
impl<C> Encode<C> for Policy {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        put(&self.root, encoder)
    }
}

/// The head of a part: its number, with `fields` fields to follow.
fn variant(decoder: &mut Decoder<'_>, fields: u64) -> Result<u8, Error> {
    if decoder.array()? != Some(2) {
        return Err(Error::message("a part of a policy has two elements"));
    }
    let number = decoder.u8()?;
    match decoder.array()? {
        Some(found) if found == fields => Ok(number),
        _ => Err(Error::message("a part of a policy has other fields")),
    }
}

/// Text being put together.
#[derive(Default)]
struct Reader {
    text: String,
    parts: usize,
}

impl Reader {
    /// Counts a part, and looks whether the text is still short enough.
    fn count(&mut self) -> Result<(), Error> {
        self.parts += 1;
        match self.parts > MAX_NODES || self.text.len() > MAX_TEXT {
            true => Err(Error::message("the policy is too long")),
            false => Ok(()),
        }
    }

    fn expression(&mut self, decoder: &mut Decoder<'_>, depth: usize) -> Result<(), Error> {
        self.count()?;
        let left = depth
            .checked_sub(1)
            .ok_or_else(|| Error::message("the policy is nested too deeply"))?;
        let number = variant(decoder, 1)?;
        // Writing to a `String` cannot fail.
        let _ = match number {
            1 => write!(self.text, "{:?}", decoder.str()?),
            2 => write!(self.text, "{}", decoder.i64()?),
            3 => write!(self.text, "{}", Number(decoder.f64()?)),
            4 => write!(self.text, "{}", decoder.bool()?),
            5 => write!(self.text, "{}", name(decoder)?),
            6 => return self.items(decoder, left, ['[', ']']),
            7 => return self.items(decoder, left, ['(', ')']),
            _ => return Err(Error::unknown_variant(number.into())),
        };
        Ok(())
    }

    fn items(
        &mut self,
        decoder: &mut Decoder<'_>,
        depth: usize,
        [open, close]: [char; 2],
    ) -> Result<(), Error> {
        let count = decoder.array()?;
        self.text.push(open);
        let mut read = 0;
        loop {
            match count {
                Some(count) if read == count => break,
                None if decoder.datatype()? == minicbor::data::Type::Break => {
                    decoder.skip()?;
                    break;
                }
                _ => {}
            }
            if read > 0 {
                self.text.push(' ');
            }
            self.expression(decoder, depth)?;
            read += 1;
        }
        self.text.push(close);
        Ok(())
    }

    /// Names stand for attributes that are "true".
    fn shorthand(&mut self, decoder: &mut Decoder<'_>, depth: usize) -> Result<(), Error> {
        self.count()?;
        let left = depth
            .checked_sub(1)
            .ok_or_else(|| Error::message("the policy is nested too deeply"))?;
        if decoder.array()? != Some(2) {
            return Err(Error::message("a part of a policy has two elements"));
        }
        let (number, fields) = (decoder.u8()?, decoder.array()?);
        let operator = match (number, fields) {
            (0, Some(1)) => {
                let _ = write!(self.text, "(= subject.{} \"true\")", name(decoder)?);
                return Ok(());
            }
            (1, Some(2)) => "or",
            (2, Some(2)) => "and",
            (3, Some(1)) => "not",
            _ => return Err(Error::message("this is not a part of a shorthand policy")),
        };
        let _ = write!(self.text, "({operator}");
        for _ in 0..fields.unwrap_or_default() {
            self.text.push(' ');
            self.shorthand(decoder, left)?;
        }
        self.text.push(')');
        Ok(())
    }
}

/// A name that stays one name when it is written.
fn name<'b>(decoder: &mut Decoder<'b>) -> Result<&'b str, Error> {
    let name = decoder.str()?;
    let breaks = |c: char| c.is_whitespace() || c.is_control() || "()[]\"".contains(c);
    match name.is_empty() || name.contains(breaks) {
        true => Err(Error::message("a name of a policy is empty or is several")),
        false => Ok(name),
    }
}

struct Number(f64);

impl core::fmt::Display for Number {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write_float(f, self.0)
    }
}

/// Depth is bounded by [`MAX_DEPTH`].
fn put<W: Write>(
    expression: &Expr,
    encoder: &mut Encoder<W>,
) -> Result<(), minicbor::encode::Error<W::Error>> {
    let named = |encoder: &mut Encoder<W>, name: &str| {
        encoder.array(2)?.u8(5)?.array(1)?.str(name)?;
        Ok(())
    };
    let (number, head, items) = match expression {
        Expr::Text(text) => return encoder.array(2)?.u8(1)?.array(1)?.str(text)?.ok(),
        Expr::Int(number) => return encoder.array(2)?.u8(2)?.array(1)?.i64(*number)?.ok(),
        Expr::Float(bits) => {
            let number = f64::from_bits(*bits);
            return encoder.array(2)?.u8(3)?.array(1)?.f64(number)?.ok();
        }
        Expr::Bool(value) => return encoder.array(2)?.u8(4)?.array(1)?.bool(*value)?.ok(),
        Expr::Name(name) => return named(encoder, name),
        Expr::Seq(items) => (6, None, &items[..]),
        Expr::Unit => (7, None, &[][..]),
        Expr::Call(operator, items) => (7, Some(operator.name()), &items[..]),
        Expr::Unknown(head, items) => (7, Some(&**head), &items[..]),
        Expr::Headless(items) => (7, None, &items[..]),
    };
    let count = items.len() + usize::from(head.is_some());
    encoder
        .array(2)?
        .u8(number)?
        .array(1)?
        .array(count as u64)?;
    if let Some(head) = head {
        named(encoder, head)?;
    }
    items.iter().try_for_each(|item| put(item, encoder))
}

#[cfg(test)]
mod tests {
    use super::super::Mode;
    use super::*;

    fn read(bytes: &[u8]) -> Result<String, Error> {
        minicbor::decode::<WirePolicy>(bytes).map(|policy| policy.0)
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in [
            "(= subject.component \"db \\\" x\")",
            "(and (= subject.a \"1\") (not (= subject.b \"2\")))",
            "(member? subject.a [\"x\" \"y\"])",
            "(if (= subject.a \"1\") (exists? subject.b) (!= subject.c \"2\"))",
        ] {
            let policy = Policy::parse(text, Mode::Strict).expect(text);
            let mut bytes = vec![0x82, 0, 0x81];
            bytes.extend(minicbor::to_vec(&policy).expect("encoded"));
            let again = Policy::parse(&read(&bytes).expect(text), Mode::Strict);
            assert_eq!(again.as_ref(), Ok(&policy));
        }
    }

    #[test]
    fn shorthand_means_attributes_that_are_true() {
        // web and not trial
        let bytes = hex::decode("8201818202828200816377656282038182008165747269616c").expect("hex");
        let expected = "(and (= subject.web \"true\") (not (= subject.trial \"true\")))";
        assert_eq!(read(&bytes).expect("a policy"), expected);
    }

    #[test]
    fn depth_is_bounded_and_names_cannot_smuggle() {
        let mut deep = vec![0x82, 0, 0x81];
        deep.extend([0x82, 7, 0x81, 0x81].repeat(100_000));
        assert!(read(&deep).is_err());
        let mut short = vec![0x82, 1, 0x81];
        short.extend([0x82, 3, 0x81].repeat(100_000));
        assert!(read(&short).is_err());
        let wide = [
            &[0x82, 0, 0x81, 0x82, 7, 0x81, 0x9f][..],
            &[0x82, 4, 0x81, 0xf5].repeat(2000),
        ];
        assert!(read(&wide.concat()).is_err());
        let mut named = vec![0x82, 0, 0x81, 0x82, 5, 0x81];
        named.extend(minicbor::to_vec("a) (or true").expect("encoded"));
        assert!(read(&named).is_err());
    }
}
