//! Trace contexts of streams: what the logs of both ends of a portal are joined by.
//!
//! Off unless [`Shard::trace_streams`] is called. An inlet then gives each stream a random trace id, and
//! writes it into the tracing field of the opening message (`protocol/01-transport.md` 3.4), in the form
//! of W3C `traceparent`. Relays pass it on as it is. An outlet that traces logs the id it was given. It
//! travels in clear, and says nothing but that these messages belong together.
//!
//! ```text
//! {"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
//!                 version, trace id, id of the span at the inlet, flags: sampled
//! ```

use std::collections::BTreeMap;
use std::fmt;

use crate::random;

/// Longest tracing field that is read.
const LONGEST: usize = 1024;
/// Length of a `traceparent` of version 00.
const PARENT: usize = 55;

/// The trace that a stream belongs to. Shown as its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    trace: [u8; 16],
    span: [u8; 8],
}

impl Trace {
    /// A new one.
    pub(crate) fn random() -> Self {
        Self {
            trace: random::bytes(),
            span: random::bytes(),
        }
    }

    /// Reads a tracing field; none if it names no trace.
    pub(crate) fn parse(field: &str) -> Option<Self> {
        if !(PARENT..=LONGEST).contains(&field.len()) {
            return None;
        }
        let keys: BTreeMap<String, String> = serde_json::from_str(field).ok()?;
        let parent = keys.get("traceparent")?;
        let mut parts = parent.split('-');
        let version = parts.next()?;
        let (trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
        // Later versions may append something.
        let is_known = version == "00" && parent.len() == PARENT;
        if version.len() != 2
            || version == "ff"
            || flags.len() != 2
            || !(is_known || version != "00")
        {
            return None;
        }
        let is_lower = |text: &str| !text.bytes().any(|byte| byte.is_ascii_uppercase());
        let mut read = Self {
            trace: [0; 16],
            span: [0; 8],
        };
        hex::decode_to_slice(trace, &mut read.trace).ok()?;
        hex::decode_to_slice(span, &mut read.span).ok()?;
        let is_valid = read.trace != [0; 16] && read.span != [0; 8];
        (is_valid && is_lower(trace) && is_lower(span)).then_some(read)
    }

    /// As the text of a tracing field.
    pub(crate) fn field(self) -> String {
        let span = hex::encode(self.span);
        format!("{{\"traceparent\":\"00-{self}-{span}-01\"}}")
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.trace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let trace = Trace::random();
        assert_eq!(Trace::parse(&trace.field()), Some(trace));
        assert!(trace.field().contains(&trace.to_string()));
    }

    #[test]
    fn only_valid_contexts_count() {
        let read = |parent: &str| Trace::parse(&format!("{{\"traceparent\":\"{parent}\"}}"));
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let known = read(&format!("00-{trace}-{span}-00")).unwrap();
        assert_eq!(known.to_string(), trace);
        // With what Ockam adds, and as a later version may have it.
        let more = format!("{{\"tracestate\":\"\",\"traceparent\":\"00-{trace}-{span}-01\"}}");
        assert_eq!(Trace::parse(&more), Some(known));
        assert_eq!(read(&format!("01-{trace}-{span}-01-more")), Some(known));
        let upper = trace.to_uppercase();
        for wrong in [
            "".to_owned(),
            format!("00-{trace}-{span}"),
            format!("00-{trace}-{span}-01-more"),
            format!("ff-{trace}-{span}-01"),
            format!("00-{upper}-{span}-01"),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{span}-{trace}-01"),
        ] {
            assert_eq!(read(&wrong), None, "{wrong}");
        }
        for wrong in ["", "{}", "[]", "{\"traceparent\":7}", "traceparent"] {
            assert_eq!(Trace::parse(wrong), None, "{wrong}");
        }
        assert_eq!(
            Trace::parse(&format!("{}{}", " ".repeat(LONGEST), more)),
            None
        );
    }
}
