//! Why a text is not a policy.

use super::{MAX_DEPTH, MAX_NODES, MAX_TEXT};

/// Why a text is not a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Neither notation fits.
    #[error("not a policy: as shorthand, {shorthand}; in full form, {full}")]
    Neither {
        /// What is wrong with it as shorthand.
        shorthand: Refusal,
        /// What is wrong with it in full form.
        full: Refusal,
    },
    /// The text, or its canonical text, has this many bytes, more than [`MAX_TEXT`].
    #[error("the policy has {0} bytes, {MAX_TEXT} are allowed")]
    TooLong(usize),
    /// Its canonical text would be read as another expression.
    #[error("the policy would be stored as `{0}`, which reads as another expression")]
    Ambiguous(String),
}

impl ParseError {
    /// The refusal by the notation that was probably meant: the one that got further.
    #[must_use]
    pub fn likely(&self) -> Option<&Refusal> {
        match self {
            Self::Neither { shorthand, full } => {
                let is_open = matches!(full.problem, Problem::OpenList);
                let is_short = full.problem == Problem::NoOperator
                    || shorthand.at > full.at && !full.problem.is_late()
                    || is_open && shorthand.problem == Problem::Unclosed;
                Some(if is_short { shorthand } else { full })
            }
            Self::TooLong(_) | Self::Ambiguous(_) => None,
        }
    }

    /// What to do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Neither { .. } => {
                let hint = self.likely().and_then(|refusal| refusal.problem.hint());
                hint.unwrap_or(
                    "write NAME, NAME=VALUE, and, or, not and parentheses, or the full form: \
                     (= subject.NAME \"VALUE\")",
                )
            }
            Self::TooLong(_) => "use (member? subject.NAME [\"…\" \"…\"]) for a list of values",
            Self::Ambiguous(_) => "say it without empty (and), (or) or (not)",
        }
    }
}

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} (at byte {at})")]
pub struct Refusal {
    /// Offset in bytes; the length of the text for its end.
    pub at: usize,
    /// What is wrong.
    pub problem: Problem,
}

impl Refusal {
    pub(super) fn new(at: usize, problem: Problem) -> Self {
        Self { at, problem }
    }
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nothing but blanks and comments.
    #[error("there is nothing")]
    Empty,
    /// Lists, or shorthand, inside each other more than [`MAX_DEPTH`] times.
    #[error("more than {MAX_DEPTH} lists inside each other")]
    TooDeep,
    /// More than [`MAX_NODES`] items.
    #[error("more than {MAX_NODES} names, values and lists")]
    TooMany,

    /// Shorthand: something else where an attribute, `not` or a parenthesis must be.
    #[error("an attribute, 'not' or '(' is expected here")]
    Operand,
    /// Shorthand: something else behind an operand.
    #[error("'and', 'or' or the end is expected here")]
    Junction,
    /// Shorthand: a parenthesis that is not closed.
    #[error("')' is expected here")]
    Unclosed,
    /// Shorthand: a blank in front of `=`.
    #[error("no blank may stand before '='")]
    Spaced,
    /// Shorthand: no value behind `=`.
    #[error("a value is expected behind '='")]
    NoValue,
    /// Shorthand: a quoted value that does not end.
    #[error("the quoted value does not end")]
    OpenValue,
    /// Shorthand: `and`, `or` or `not` where an attribute must be.
    #[error("'{0}' is no attribute")]
    Keyword(String),
    /// Shorthand: a keyword without a blank or a parenthesis in front of it.
    #[error("a blank is needed before '{0}'")]
    Glued(String),
    /// Shorthand: a name with the prefix that shorthand implies.
    #[error("'{0}' would be the attribute 'subject.{0}'")]
    Prefixed(String),

    /// Full form: a character that has no meaning.
    #[error("{0:?} has no meaning here")]
    Character(char),
    /// Full form: a comment that does not end.
    #[error("the comment does not end")]
    OpenComment,
    /// Full form: a string that does not end.
    #[error("the string does not end")]
    OpenString,
    /// Full form: an unknown escape, or one with a wrong value.
    #[error("this is no escape of a string")]
    Escape,
    /// Full form: escapes that together are no text.
    #[error("the string is not UTF-8")]
    Utf8,
    /// Full form: a control character that turns the direction of writing.
    #[error("{0:?} would show something else than it says")]
    Confusing(char),
    /// Full form: a whole number outside of 64 bits.
    #[error("the number {0} has more than 64 bits")]
    Overflow(String),
    /// Full form: a floating-point number that is not decimal.
    #[error("{0} is no decimal number")]
    Float(String),
    /// Full form: a word that is not a name.
    #[error("'{0}' is no name")]
    Name(String),
    /// Full form: a list that is not closed.
    #[error("this '(' is not closed")]
    OpenList,
    /// Full form: a sequence that is not closed.
    #[error("this '[' is not closed")]
    OpenSequence,
    /// Full form: a bracket that closes something else.
    #[error("this closes nothing, or something of another kind")]
    Unopened,
    /// Full form: it does not begin with an operator.
    #[error("the first word is not one of: and or not if < > = != member? exists?")]
    NoOperator,
    /// Full form: neighbours of different kinds in a sequence.
    #[error("the items of a sequence must be of one kind")]
    Mixed,

    /// Strict mode: a list that begins with another word than an operator.
    #[error("there is no operator '{0}'")]
    UnknownOperator(String),
    /// Strict mode: an operator with too few or too many operands.
    #[error("'{operator}' takes {wanted}, not {given}")]
    Operands {
        /// The operator.
        operator: &'static str,
        /// How many it takes.
        wanted: &'static str,
        /// How many there are.
        given: usize,
    },
    /// Strict mode: an operator where an operand must be.
    #[error("'{0}' is an operator and stands where an operand must be")]
    Misplaced(String),
    /// Strict mode: both notations in one text.
    #[error("shorthand cannot continue what the full form began")]
    BothForms,
    /// Strict mode: a name with `$` or `@` in front, or in quotes.
    #[error("a name written with '$' or '@' does not read back as the same")]
    Sigil,
    /// Strict mode: a NUL in a string.
    #[error("a string with a NUL does not read back as the same")]
    Nul,
}

impl Problem {
    /// Whether the text was looked at up to its end.
    const fn is_late(&self) -> bool {
        matches!(
            self,
            Self::UnknownOperator(_)
                | Self::Operands { .. }
                | Self::Misplaced(_)
                | Self::BothForms
                | Self::TooMany
                | Self::OpenList
                | Self::OpenSequence
                | Self::OpenString
        )
    }

    /// What to do about it, where that is not obvious.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Prefixed(_) => {
                "leave 'subject.' out in shorthand, or write (= subject.NAME \"VALUE\")"
            }
            Self::Keyword(_) => "write the full form for an attribute with such a name",
            Self::Misplaced(_) => "operators come first: (= subject.NAME \"VALUE\")",
            Self::BothForms => "write the whole policy in one of the two notations",
            Self::UnknownOperator(_) | Self::NoOperator => {
                "the operators are: and or not if < > = != member? exists?"
            }
            Self::TooDeep => "operators of the full form take more than two operands: (or a b c)",
            Self::Spaced | Self::NoValue | Self::OpenValue => {
                "write NAME=VALUE or NAME=\"VALUE\", without blanks around '='"
            }
            Self::Character('\'') => "texts stand in double quotes",
            _ => return None,
        })
    }
}
