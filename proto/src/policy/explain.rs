//! Which part of a policy decided.

use core::fmt;

use super::Denial;
use super::eval::{Evaluation, decision};
use super::tree::{Expr, Operator};

/// What a part of a policy came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its value, as it would be written in full form.
    Value(String),
    /// It has no value.
    Fault(Denial),
    /// Others had decided before.
    Skipped,
}

/// A part of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its canonical text.
    pub text: String,
    /// What it came to.
    pub outcome: Outcome,
    /// Whether it is the smallest part that is responsible for the decision.
    pub decided: bool,
    /// Its operands, except plain values.
    pub parts: Vec<Self>,
}

/// A decision with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// As [`super::Policy::decide`] gives it.
    pub decision: Result<(), Denial>,
    /// The whole policy.
    pub policy: Part,
}

impl Explanation {
    /// The smallest part that is responsible for the decision.
    #[must_use]
    pub fn decided(&self) -> &Part {
        let mut part = &self.policy;
        while !part.decided {
            let inner = part.parts.iter().find(|inner| inner.holds_decided());
            match inner {
                Some(inner) => part = inner,
                None => break,
            }
        }
        part
    }
}

impl Part {
    fn holds_decided(&self) -> bool {
        self.decided || self.parts.iter().any(Self::holds_decided)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let mark = if self.decided { "->" } else { "  " };
        write!(f, "{mark} {:indent$}{} ", "", self.text, indent = 2 * depth)?;
        match &self.outcome {
            Outcome::Value(value) => writeln!(f, "is {value}")?,
            Outcome::Fault(denial) => writeln!(f, "has no value: {denial}")?,
            Outcome::Skipped => writeln!(f, "was not needed")?,
        }
        self.parts
            .iter()
            .try_for_each(|part| part.write(f, depth + 1))
    }
}

impl fmt::Display for Explanation {
    /// A line for each part, operands indented under their operator; an arrow in front of the part
    /// that decided.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.policy.write(f, 0)
    }
}

pub(super) fn explain<'e>(evaluation: &Evaluation<'e>, root: &'e Expr) -> Explanation {
    Explanation {
        decision: decision(evaluation.value(root)),
        policy: part(evaluation, root, true),
    }
}

/// A part that was needed; `decided` is whether the decision is in it.
fn part<'e>(evaluation: &Evaluation<'e>, expr: &'e Expr, decided: bool) -> Part {
    let outcome = match evaluation.value(expr) {
        Ok(value) => Outcome::Value(value.to_string()),
        Err(fault) => Outcome::Fault(fault.into()),
    };
    let operands = match expr {
        Expr::Call(Operator::Exists, _) => &[],
        Expr::Call(_, operands) | Expr::Seq(operands) => &**operands,
        _ => &[],
    };
    let (by, needed) = responsible(evaluation, expr, operands, &outcome);
    let parts: Vec<Part> = operands
        .iter()
        .enumerate()
        .filter(|(_, operand)| !is_plain(operand))
        .map(|(index, operand)| {
            if needed.contains(&index) {
                part(evaluation, operand, decided && by == Some(index))
            } else {
                skipped(operand)
            }
        })
        .collect();
    let inside = parts.iter().any(Part::holds_decided);
    Part {
        text: expr.to_string(),
        outcome,
        decided: decided && !inside,
        parts,
    }
}

/// Which operand is responsible for what the expression came to, if it is one alone, and which
/// operands were evaluated.
fn responsible<'e>(
    evaluation: &Evaluation<'e>,
    expr: &'e Expr,
    operands: &'e [Expr],
    outcome: &Outcome,
) -> (Option<usize>, Vec<usize>) {
    match (expr, operands) {
        (Expr::Call(operator @ (Operator::And | Operator::Or), _), _) => {
            let is_or = *operator == Operator::Or;
            let junction = evaluation.junction(expr, is_or, operands);
            (junction.by, (0..junction.evaluated).collect())
        }
        (Expr::Call(Operator::Not, _), [_]) => (Some(0), vec![0]),
        (Expr::Call(Operator::If, _), [test, ..]) => match evaluation.value(test) {
            Ok(super::Value::Bool(true)) => (Some(1), vec![0, 1]),
            Ok(super::Value::Bool(false)) => (Some(2), vec![0, 2]),
            _ => (Some(0), vec![0]),
        },
        // All operands are evaluated, up to the first without a value.
        _ => {
            let fault = matches!(outcome, Outcome::Fault(_));
            let by = operands
                .iter()
                .position(|operand| evaluation.value(operand).is_err())
                .filter(|_| fault);
            let needed = by.map_or(operands.len(), |by| by + 1);
            (by, (0..needed).collect())
        }
    }
}

fn skipped(expr: &Expr) -> Part {
    Part {
        text: expr.to_string(),
        outcome: Outcome::Skipped,
        decided: false,
        parts: Vec::new(),
    }
}

/// Values that are what they say.
fn is_plain(expr: &Expr) -> bool {
    match expr {
        Expr::Text(_) | Expr::Int(_) | Expr::Float(_) | Expr::Bool(_) | Expr::Unit => true,
        Expr::Seq(items) => items.iter().all(is_plain),
        _ => false,
    }
}
