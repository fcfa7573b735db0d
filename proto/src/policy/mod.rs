//! The policy language: one expression that says who may use a resource.
//!
//! Specification: `protocol/20-policies.md`.
//!
//! ```text
//! shorthand    component=db and not trial
//! full form    (and (= subject.component "db") (not (= subject.trial "true")))
//! ```
//!
//! A policy is read once, into a tree that is decided without looking at text again. Only *true*
//! lets anybody in: false, a value of another kind, a missing attribute and every error deny.
//!
//! | module | what |
//! |---|---|
//! | [`environment`] | the names a policy may use |
//! | [`explain`] | which part decided |
//! | [`set`] | which policy counts for a resource |
//! | [`error`] | why a text is no policy, with the place |
//! | [`wire`] | policies in CBOR |

mod compile;
pub mod environment;
pub mod error;
mod eval;
pub mod explain;
mod full;
mod lexer;
pub mod set;
mod shorthand;
mod syntax;
mod tree;
pub mod value;
pub mod wire;

use core::fmt;

pub use environment::{Bindings, Credential, Environment, is_reserved_attribute};
pub use error::{ParseError, Problem, Refusal};
pub use explain::{Explanation, Outcome, Part};
pub use set::{PolicySet, ResourceType, Scope};
pub use value::{Kind, Value};

use eval::Evaluation;
use tree::Expr;

/// Longest text of a policy in bytes, in either notation and as canonical text.
pub const MAX_TEXT: usize = 4096;
/// Most lists and sequences inside each other.
pub const MAX_DEPTH: usize = 64;
/// Most names, values, lists and sequences in one policy.
pub const MAX_NODES: usize = 1024;

/// How texts are read and expressions are evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Mistakes are refused when the policy is set, and the order of operands does not matter.
    /// Specification: `protocol/20-policies.md` 9.
    #[default]
    Strict,
    /// As the reference does, its traps included. Specification: `protocol/20-policies.md` 2 to 6.
    Compat,
}

/// A policy, read and checked.
///
/// Two are equal if they are the same expression, read in the same mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    mode: Mode,
    root: Expr,
}

impl Policy {
    /// Reads a text: as shorthand if all of it is, otherwise as full form.
    ///
    /// In strict mode what is accepted has a canonical text that is read as the same expression.
    ///
    /// # Errors
    /// Every [`ParseError`].
    pub fn parse(text: &str, mode: Mode) -> Result<Self, ParseError> {
        let policy = Self::read(text, mode)?;
        let canonical = policy.canonical();
        if canonical.len() > MAX_TEXT {
            return Err(ParseError::TooLong(canonical.len()));
        }
        if mode == Mode::Strict && Self::read(&canonical, mode).as_ref() != Ok(&policy) {
            return Err(ParseError::Ambiguous(canonical));
        }
        Ok(policy)
    }

    fn read(text: &str, mode: Mode) -> Result<Self, ParseError> {
        if text.len() > MAX_TEXT {
            return Err(ParseError::TooLong(text.len()));
        }
        let read_as = |parsed: Result<syntax::Node, Refusal>| {
            let root = compile::compile(parsed?, mode)?;
            Ok(Self { mode, root })
        };
        let shorthand = match read_as(shorthand::parse(text, mode)) {
            Ok(policy) => return Ok(policy),
            Err(refusal) => refusal,
        };
        read_as(full::parse(text, mode)).map_err(|full| ParseError::Neither { shorthand, full })
    }

    /// The mode it was read in, which is also the one it is evaluated in.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The text in full form: what is stored, shown and exchanged. `protocol/20-policies.md` 2.
    #[must_use]
    pub fn canonical(&self) -> String {
        self.root.to_string()
    }

    /// Decides. Allocates nothing as long as it allows, unless sequences or more than two operands are
    /// compared.
    ///
    /// # Errors
    /// Why not, for everything but *true*.
    pub fn decide(&self, bindings: &dyn Bindings) -> Result<(), Denial> {
        let evaluation = Evaluation {
            bindings,
            mode: self.mode,
        };
        eval::decision(evaluation.value(&self.root))
    }

    /// Decides, and says which part did.
    #[must_use]
    pub fn explain(&self, bindings: &dyn Bindings) -> Explanation {
        let evaluation = Evaluation {
            bindings,
            mode: self.mode,
        };
        explain::explain(&evaluation, &self.root)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

/// Why somebody is not let in. Parts are canonical texts.
///
/// Specification: `protocol/20-policies.md` 4.5 and 6.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The policy is false.
    #[error("the policy is false")]
    False,
    /// The policy, or the last operand of `and` or `or`, is not true or false but this value.
    #[error("{0} is neither true nor false")]
    NotBoolean(String),
    /// A name that is not bound: the subject does not have the attribute.
    #[error("{0} is missing")]
    Missing(String),
    /// An operator with a wrong number of operands.
    #[error("{0}: wrong number of operands")]
    Malformed(String),
    /// An operand of a kind that the operator does not take.
    #[error("{part}: the operand {operand} is of the wrong kind")]
    InvalidType {
        /// The expression.
        part: String,
        /// Which of its operands.
        operand: String,
    },
    /// Two kinds that cannot be compared.
    #[error("{part}: {left} cannot be compared with {right}")]
    TypeMismatch {
        /// The expression.
        part: String,
        /// Kind of one side.
        left: Kind,
        /// Kind of the other side.
        right: Kind,
    },
    /// No such operator.
    #[error("there is no operator '{0}'")]
    UnknownOperator(String),
    /// No policy is set, neither for the resource nor for its type.
    #[error("no policy is set for this resource or its type")]
    NoPolicy,
    /// The policy that is set cannot be read.
    #[error("the policy that is set cannot be read: {0}")]
    Unreadable(ParseError),
}
