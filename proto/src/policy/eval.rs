//! Evaluation.
//!
//! Specification: `protocol/20-policies.md` 4.4 and 4.5, 9.4.

use core::cmp::Ordering;

use super::environment::Bindings;
use super::tree::{Expr, Operator};
use super::value::{Kind, Mismatch, Value};
use super::{Denial, Mode};

/// Why an expression has no value. Borrowed, because `or` may forget about it.
#[derive(Clone, Debug)]
pub(super) enum Fault<'e> {
    Missing(&'e str),
    Malformed(&'e Expr),
    InvalidType {
        part: &'e Expr,
        operand: &'e Expr,
    },
    TypeMismatch {
        part: &'e Expr,
        left: Kind,
        right: Kind,
    },
    UnknownOperator(&'e str),
    /// Strict mode: the last operand of `and` or `or`.
    NotBoolean(Value<'e>),
}

impl From<Fault<'_>> for Denial {
    fn from(fault: Fault<'_>) -> Self {
        match fault {
            Fault::Missing(name) => Self::Missing(name.to_owned()),
            Fault::Malformed(part) => Self::Malformed(part.to_string()),
            Fault::InvalidType { part, operand } => Self::InvalidType {
                part: part.to_string(),
                operand: operand.to_string(),
            },
            Fault::TypeMismatch { part, left, right } => Self::TypeMismatch {
                part: part.to_string(),
                left,
                right,
            },
            Fault::UnknownOperator(name) => Self::UnknownOperator(name.to_owned()),
            Fault::NotBoolean(value) => Self::NotBoolean(value.to_string()),
        }
    }
}

pub(super) type Valued<'e> = Result<Value<'e>, Fault<'e>>;

/// What a value decides.
pub(super) fn decision(valued: Valued<'_>) -> Result<(), Denial> {
    match valued? {
        Value::Bool(true) => Ok(()),
        Value::Bool(false) => Err(Denial::False),
        other => Err(Denial::NotBoolean(other.to_string())),
    }
}

/// What `and` or `or` comes to.
pub(super) struct Junction<'e> {
    pub(super) valued: Valued<'e>,
    /// The operand that decided; none if all of them did together.
    pub(super) by: Option<usize>,
    /// How many operands were evaluated.
    pub(super) evaluated: usize,
}

/// One evaluation of a policy.
pub(super) struct Evaluation<'e> {
    pub(super) bindings: &'e dyn Bindings,
    pub(super) mode: Mode,
}

impl<'e> Evaluation<'e> {
    pub(super) fn value(&self, expr: &'e Expr) -> Valued<'e> {
        Ok(match expr {
            Expr::Text(text) => Value::Text(text),
            Expr::Int(number) => Value::Int(*number),
            Expr::Float(bits) => Value::Float(f64::from_bits(*bits)),
            Expr::Bool(value) => Value::Bool(*value),
            Expr::Name(name) => {
                let bound = self.bindings.get(name, self.mode);
                return bound.ok_or(Fault::Missing(name));
            }
            Expr::Seq(items) => Value::Seq(self.values(items)?),
            Expr::Unit => Value::Unit,
            Expr::Call(operator, operands) => return self.call(expr, *operator, operands),
            Expr::Unknown(name, _) => return Err(Fault::UnknownOperator(name)),
            Expr::Headless(items) => {
                let operand = items.first().unwrap_or(expr);
                return Err(Fault::InvalidType {
                    part: expr,
                    operand,
                });
            }
        })
    }

    fn values(&self, items: &'e [Expr]) -> Result<Vec<Value<'e>>, Fault<'e>> {
        items.iter().map(|item| self.value(item)).collect()
    }

    fn call(&self, part: &'e Expr, operator: Operator, operands: &'e [Expr]) -> Valued<'e> {
        let truth = match (operator, operands) {
            (Operator::And | Operator::Or, _) => {
                return self
                    .junction(part, operator == Operator::Or, operands)
                    .valued;
            }
            (Operator::Not, [operand]) => !self.truth(part, operand)?,
            (Operator::If, [test, yes, no]) => {
                let test = self.truth(part, test)?;
                return self.value(if test { yes } else { no });
            }
            (Operator::Less, [_, _, ..]) => self.chain(part, operands, is_less)?,
            (Operator::Greater, [_, _, ..]) => self.chain(part, operands, is_greater)?,
            (Operator::Equal, [_, _, ..]) => self.chain(part, operands, Value::equals)?,
            (Operator::Different, _) => !self.chain(part, operands, Value::equals)?,
            (Operator::Member, [value, sequence]) => self.member(part, value, sequence)?,
            (Operator::Exists, _) => self.exist(part, operands)?,
            _ => return Err(Fault::Malformed(part)),
        };
        Ok(Value::Bool(truth))
    }

    /// An operand that must be true or false.
    fn truth(&self, part: &'e Expr, operand: &'e Expr) -> Result<bool, Fault<'e>> {
        match self.value(operand)? {
            Value::Bool(value) => Ok(value),
            _ => Err(Fault::InvalidType { part, operand }),
        }
    }

    /// `and` (`decisive` is false) and `or` (`decisive` is true).
    ///
    /// The reference takes the operands in order until one is decisive or a fault, and gives the
    /// last one back as it is. In strict mode a decisive operand counts wherever it stands.
    pub(super) fn junction(
        &self,
        part: &'e Expr,
        decisive: bool,
        operands: &'e [Expr],
    ) -> Junction<'e> {
        let mut fault = None;
        for (index, operand) in operands.iter().enumerate() {
            let is_last = index + 1 == operands.len();
            let valued = self.value(operand);
            let found = match valued {
                Ok(Value::Bool(value)) if value != decisive => continue,
                Ok(Value::Bool(_)) => Ok(Value::Bool(decisive)),
                Ok(value) if is_last && self.mode == Mode::Compat => Ok(value),
                Ok(value) if is_last => Err(Fault::NotBoolean(value)),
                Ok(_) => Err(Fault::InvalidType { part, operand }),
                Err(fault) => Err(fault),
            };
            if found.is_err() && self.mode == Mode::Strict {
                fault = fault.or_else(|| found.err().map(|found| (found, index)));
                continue;
            }
            return Junction {
                valued: found,
                by: Some(index),
                evaluated: index + 1,
            };
        }
        let (valued, by) = match fault {
            Some((fault, index)) => (Err(fault), Some(index)),
            None => (Ok(Value::Bool(!decisive)), None),
        };
        Junction {
            valued,
            by,
            evaluated: operands.len(),
        }
    }

    /// Whether all neighbours fulfil the predicate, up to the first that do not. All operands are
    /// evaluated before.
    fn chain(
        &self,
        part: &'e Expr,
        operands: &'e [Expr],
        fulfils: impl Fn(&Value<'e>, &Value<'e>) -> Result<bool, Mismatch>,
    ) -> Result<bool, Fault<'e>> {
        let mismatch = |Mismatch(left, right)| Fault::TypeMismatch { part, left, right };
        if let [left, right] = operands {
            let (left, right) = (self.value(left)?, self.value(right)?);
            return fulfils(&left, &right).map_err(mismatch);
        }
        let values = self.values(operands)?;
        for (left, right) in values.iter().zip(values.iter().skip(1)) {
            if !fulfils(left, right).map_err(mismatch)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn member(
        &self,
        part: &'e Expr,
        value: &'e Expr,
        operand: &'e Expr,
    ) -> Result<bool, Fault<'e>> {
        let value = self.value(value)?;
        let Value::Seq(items) = self.value(operand)? else {
            return Err(Fault::InvalidType { part, operand });
        };
        for item in &items {
            let equal = value.equals(item);
            if equal.map_err(|Mismatch(left, right)| Fault::TypeMismatch { part, left, right })? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn exist(&self, part: &'e Expr, operands: &'e [Expr]) -> Result<bool, Fault<'e>> {
        for operand in operands {
            let Expr::Name(name) = operand else {
                return Err(Fault::InvalidType { part, operand });
            };
            if self.bindings.get(name, self.mode).is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn is_less(left: &Value<'_>, right: &Value<'_>) -> Result<bool, Mismatch> {
    Ok(left.compare(right)? == Some(Ordering::Less))
}

fn is_greater(left: &Value<'_>, right: &Value<'_>) -> Result<bool, Mismatch> {
    Ok(left.compare(right)? == Some(Ordering::Greater))
}
