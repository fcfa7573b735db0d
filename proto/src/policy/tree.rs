//! The compiled expression.

use core::fmt;

use super::value::write_float;

/// An operator.
///
/// Specification: `protocol/20-policies.md` 4.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    And,
    Or,
    Not,
    If,
    Less,
    Greater,
    Equal,
    Different,
    Member,
    Exists,
}

/// All operators, as they are written.
const OPERATORS: [(&str, Operator); 10] = [
    ("and", Operator::And),
    ("or", Operator::Or),
    ("not", Operator::Not),
    ("if", Operator::If),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("=", Operator::Equal),
    ("!=", Operator::Different),
    ("member?", Operator::Member),
    ("exists?", Operator::Exists),
];

impl Operator {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let found = OPERATORS.iter().find(|(written, _)| *written == name);
        found.map(|(_, operator)| *operator)
    }

    pub(super) fn name(self) -> &'static str {
        let found = OPERATORS.iter().find(|(_, operator)| *operator == self);
        found.map_or("", |(written, _)| *written)
    }

    /// Fewest and most operands. The reference asks no number of `!=`; strict mode does.
    pub(super) const fn operands(self) -> (usize, usize) {
        match self {
            Self::And | Self::Or | Self::Exists => (0, usize::MAX),
            Self::Not => (1, 1),
            Self::If => (3, 3),
            Self::Less | Self::Greater | Self::Equal | Self::Different => (2, usize::MAX),
            Self::Member => (2, 2),
        }
    }
}

/// An expression. Its depth is at most [`super::MAX_DEPTH`], so it may be walked by recursion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expr {
    Text(Box<str>),
    Int(i64),
    /// The bits of a number, so that every tree equals itself.
    Float(u64),
    Bool(bool),
    Name(Box<str>),
    Seq(Box<[Self]>),
    Unit,
    Call(Operator, Box<[Self]>),
    /// A list whose head is a name but no operator, in compat mode.
    Unknown(Box<str>, Box<[Self]>),
    /// A list whose head is no name.
    Headless(Box<[Self]>),
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Int(number) => number.fmt(f),
            Self::Float(bits) => write_float(f, f64::from_bits(*bits)),
            Self::Bool(value) => value.fmt(f),
            Self::Name(name) => f.write_str(name),
            Self::Seq(items) => write_items(f, "[", None, items, "]"),
            Self::Unit => f.write_str("()"),
            Self::Call(operator, items) => write_items(f, "(", Some(operator.name()), items, ")"),
            Self::Unknown(head, items) => write_items(f, "(", Some(head), items, ")"),
            Self::Headless(items) => write_items(f, "(", None, items, ")"),
        }
    }
}

fn write_items(
    f: &mut fmt::Formatter<'_>,
    open: &str,
    head: Option<&str>,
    items: &[Expr],
    close: &str,
) -> fmt::Result {
    f.write_str(open)?;
    f.write_str(head.unwrap_or_default())?;
    for (index, item) in items.iter().enumerate() {
        let first = index == 0 && head.is_none();
        f.write_str(if first { "" } else { " " })?;
        write!(f, "{item}")?;
    }
    f.write_str(close)
}
