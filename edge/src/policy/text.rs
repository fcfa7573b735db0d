//! Showing where a policy is wrong.

use std::fmt::Write;

use culvert_proto::policy::{ParseError, Refusal};

/// What is wrong with a text in each of the notations, with a mark under the place.
pub(super) fn pointed(text: &str, error: &ParseError) -> String {
    let ParseError::Neither { shorthand, full } = error else {
        return error.to_string();
    };
    let mut message = "this is not a policy".to_owned();
    for (notation, refusal) in [("as shorthand", shorthand), ("in full form", full)] {
        // Writing to a `String` cannot fail.
        let _ = write!(message, "\n  {notation}: {}", refusal.problem);
        let (line, column) = place(text, refusal);
        let _ = write!(message, "\n    {line}\n    {:column$}^", "");
    }
    message
}

/// The line of a refusal, with a blank for each character that has no width of its own, and how many
/// characters are in front of the place.
fn place(text: &str, refusal: &Refusal) -> (String, usize) {
    let (before, behind) = text.split_at_checked(refusal.at).unwrap_or((text, ""));
    let before = before.rsplit('\n').next().unwrap_or_default();
    let behind = behind.split('\n').next().unwrap_or_default();
    let line = [before, behind].concat();
    let line = line.replace(char::is_control, " ");
    (line, before.chars().count())
}

#[cfg(test)]
mod tests {
    use culvert_proto::policy::{Mode, Policy};

    use super::*;

    #[test]
    fn the_place_is_marked() {
        let text = "a and\n\tb\u{e9} or";
        let error = Policy::parse(text, Mode::Strict).expect_err(text);
        let expected = "this is not a policy\n  \
            as shorthand: 'and', 'or' or the end is expected here\n     b\u{e9} or\n      ^\n  \
            in full form: '\u{e9}' has no meaning here\n     b\u{e9} or\n      ^";
        assert_eq!(pointed(text, &error), expected);
    }
}
