//! Values of expressions.
//!
//! Specification: `protocol/20-policies.md` 4.3 and 4.4.

use core::cmp::Ordering;
use core::fmt;

/// A value. Texts are borrowed: from the policy, or from what it is decided on.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Text; attributes are never anything else.
    Text(&'a str),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A sequence.
    Seq(Vec<Self>),
    /// The empty list.
    Unit,
}

/// Kinds of values. Only values of one kind can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Int,
    /// A floating-point number.
    Float,
    /// True or false.
    Bool,
    /// A sequence.
    Seq,
    /// The empty list.
    Unit,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Int => "a whole number",
            Self::Float => "a floating-point number",
            Self::Bool => "true or false",
            Self::Seq => "a sequence",
            Self::Unit => "the empty list",
        })
    }
}

/// Two kinds that cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mismatch(pub(super) Kind, pub(super) Kind);

impl Value<'_> {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Int(_) => Kind::Int,
            Self::Float(_) => Kind::Float,
            Self::Bool(_) => Kind::Bool,
            Self::Seq(_) => Kind::Seq,
            Self::Unit => Kind::Unit,
        }
    }

    /// Whether two values are equal. Sequences of different lengths are not, whatever is in them.
    pub(super) fn equals(&self, other: &Value<'_>) -> Result<bool, Mismatch> {
        Ok(match (self, other) {
            (Self::Float(a), Value::Float(b)) => a == b,
            (Self::Seq(a), Value::Seq(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (a, b) in a.iter().zip(b) {
                    if !a.equals(b)? {
                        return Ok(false);
                    }
                }
                true
            }
            _ => self.compare(other)? == Some(Ordering::Equal),
        })
    }

    /// The order of two values: text by bytes, false before true, short sequences before long
    /// ones. There is none where a NaN takes part.
    pub(super) fn compare(&self, other: &Value<'_>) -> Result<Option<Ordering>, Mismatch> {
        Ok(match (self, other) {
            (Self::Text(a), Value::Text(b)) => Some((*a).cmp(*b)),
            (Self::Int(a), Value::Int(b)) => Some(a.cmp(b)),
            (Self::Float(a), Value::Float(b)) => a.partial_cmp(b),
            (Self::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Self::Unit, Value::Unit) => Some(Ordering::Equal),
            (Self::Seq(a), Value::Seq(b)) => {
                if a.len() != b.len() {
                    return Ok(Some(a.len().cmp(&b.len())));
                }
                for (a, b) in a.iter().zip(b) {
                    let order = a.compare(b)?;
                    if order != Some(Ordering::Equal) {
                        return Ok(order);
                    }
                }
                Some(Ordering::Equal)
            }
            (a, b) => return Err(Mismatch(a.kind(), b.kind())),
        })
    }
}

impl fmt::Display for Value<'_> {
    /// As it would be written in full form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Int(number) => number.fmt(f),
            Self::Float(number) => write_float(f, *number),
            Self::Bool(value) => value.fmt(f),
            Self::Seq(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { " " })?;
                    value.fmt(f)?;
                }
                f.write_str("]")
            }
            Self::Unit => f.write_str("()"),
        }
    }
}

/// A number as the full form has it.
pub(super) fn write_float(f: &mut fmt::Formatter<'_>, number: f64) -> fmt::Result {
    if number.is_nan() {
        f.write_str("nan")
    } else if number.is_infinite() {
        f.write_str(if number > 0.0 { "+inf" } else { "-inf" })
    } else {
        write!(f, "{number:?}")
    }
}
