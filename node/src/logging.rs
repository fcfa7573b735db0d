//! What a program that is made of this node logs, as its environment says.
//!
//! The subscriber that writes the logs is not named here, so that the library does not bring it.

use std::env::{self, VarError};
use std::io::{self, IsTerminal as _};
use std::str::FromStr;

use tracing::level_filters::LevelFilter;

use crate::failure::Failure;

/// Variable with directives separated by commas, each a level or `TARGET=LEVEL`.
const VARIABLE: &str = "CULVERT_LOG";
/// What is logged when it is not set or empty.
const DEFAULT: &str = "info";

/// The filter that `CULVERT_LOG` asks for.
///
/// # Errors
///
/// Wrong usage when a part of it makes no sense.
pub fn filter<F: FromStr>() -> Result<F, Failure> {
    match env::var(VARIABLE) {
        Ok(text) => filter_of(&text, VARIABLE),
        Err(VarError::NotPresent) => filter_of("", VARIABLE),
        Err(VarError::NotUnicode(text)) => Err(refused(&text.display().to_string(), VARIABLE)),
    }
}

/// Whether logs on stderr are in colour: on a terminal, unless `NO_COLOR` is set to something.
#[must_use]
pub fn in_colour() -> bool {
    let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !no_color && io::stderr().is_terminal()
}

/// The filter that a text asks for; `origin` is where it stands, for people.
///
/// # Errors
///
/// Wrong usage when a part of it makes no sense.
pub fn filter_of<F: FromStr>(text: &str, origin: &str) -> Result<F, Failure> {
    let parts = text.split(',').map(str::trim);
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    for part in &parts {
        // Filters take a mistyped level for a target of which everything is wanted, and then log
        // nothing else.
        let is_word = !part.contains(['=', '[']);
        if is_word && part.parse::<LevelFilter>().is_err() || part.parse::<F>().is_err() {
            return Err(refused(part, origin));
        }
    }
    // Put together again because filters take a space for a part of the target.
    let text = parts.join(",");
    let text = if text.is_empty() { DEFAULT } else { &text };
    text.parse().map_err(|_| refused(text, origin))
}

fn refused(part: &str, origin: &str) -> Failure {
    Failure::usage(
        format!("'{part}' in {origin} is neither a level nor TARGET=LEVEL"),
        "use off, error, warn, info, debug or trace, for all or for one target, separated by \
         commas: info,culvert_node=debug",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_levels() {
        // Takes everything, as filters take nearly everything.
        let parsed = |text| filter_of::<String>(text, VARIABLE).map_err(|failure| failure.message);
        for text in [
            "off",
            "INFO",
            "3",
            "info,culvert_node=debug",
            "[link]",
            "a[b]=trace",
        ] {
            assert_eq!(parsed(text).as_deref(), Ok(text));
        }
        for text in ["", " ", ","] {
            assert_eq!(parsed(text).as_deref(), Ok(DEFAULT), "{text:?}");
        }
        assert_eq!(parsed(" warn , a=debug ").as_deref(), Ok("warn,a=debug"));
        for text in ["debg", "info,everything", "culvert_node", "info debug", "6"] {
            let refused = parsed(text).expect_err(text);
            let last = text.rsplit(',').next().expect("a part");
            assert!(refused.starts_with(&format!("'{last}' ")), "{refused}");
        }
    }

    #[test]
    fn what_the_filter_refuses_is_named() {
        let refused = filter_of::<LevelFilter>("info,a=loud", VARIABLE).expect_err("no level");
        assert!(
            refused.is_usage() && refused.message.contains("'a=loud'"),
            "{refused}"
        );
        assert!(refused.hint.contains("debug"));
    }
}
