//! Who may ask for what.

use std::net::IpAddr;

use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, Method, Request};

use super::Token;
use crate::problem::{Kind, Problem};

/// What is served to everybody who reaches [`Gate::Figures`].
const FIGURES: [&str; 3] = ["/metrics", "/live", "/ready"];

/// What is served over TCP without the token: whether the process lives, and the status page, which
/// asks for the token before it asks for anything else.
const OPEN: [&str; 2] = ["/", "/live"];
/// Files of the status page.
const OPEN_BELOW: &str = "/page/";

/// What a place asks of those who come.
#[derive(Clone, Debug)]
pub(super) enum Gate {
    /// To be this user or root.
    User(u32),
    /// To show the token.
    Token {
        token: Token,
        /// Whether the header `Host` may say anything.
        any_host: bool,
    },
    /// Nothing, but there is little to have.
    Figures,
}

/// Who comes, as far as the socket says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    /// The user at the other end of a Unix socket.
    pub(super) uid: Option<u32>,
}

impl Gate {
    /// Lets a request in.
    ///
    /// # Errors
    ///
    /// Why not.
    pub(super) fn admit<B>(&self, caller: Caller, request: &Request<B>) -> Result<(), Problem> {
        let path = request.uri().path();
        match self {
            Self::User(own) if caller.uid == Some(*own) || caller.uid == Some(0) => Ok(()),
            Self::User(_) => Err(Problem::new(
                Kind::Denied,
                "this socket is for the user that the node runs as",
                "use that user, or root",
            )),
            Self::Figures if !FIGURES.contains(&path) => Err(Problem::not_found(
                format!("there are only figures at this address, and no {path}"),
                format!("ask for one of {}", FIGURES.join(", ")),
            )),
            Self::Figures => Ok(()),
            Self::Token { token, any_host } => {
                if !any_host && !is_local_name(request.headers()) {
                    return Err(Problem::new(
                        Kind::Denied,
                        "this address is not served under a name",
                        "use its IP address or localhost, or TLS",
                    ));
                }
                let is_open = OPEN.contains(&path) || path.starts_with(OPEN_BELOW);
                if is_open && matches!(*request.method(), Method::GET | Method::HEAD) {
                    return Ok(());
                }
                show(token, request.headers())
            }
        }
    }
}

/// Whether `Host` is what only somebody who means this machine sends: a page on another site whose
/// name leads here sends that name.
fn is_local_name(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

fn show(token: &Token, headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |message: &str| {
        let hint = "send the header `Authorization: Bearer TOKEN` with the token of this node";
        Err(Problem::new(Kind::Unauthenticated, message, hint))
    };
    let Some(shown) = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
    else {
        return refuse("a token is needed here");
    };
    let (scheme, shown) = shown.split_once(' ').unwrap_or((shown, ""));
    match scheme.eq_ignore_ascii_case("bearer") && token.matches(shown.trim()) {
        true => Ok(()),
        false => refuse("this is not the token of this node"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, value.parse().expect("a header"));
        is_local_name(&headers)
    }

    #[test]
    fn names_of_other_sites_are_told_from_addresses() {
        for good in [
            "127.0.0.1:80",
            "127.0.0.1",
            "[::1]:4000",
            "[::1]",
            "localhost:1",
            "LocalHost",
        ] {
            assert!(host(good), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:80",
            "127.0.0.1.evil.example",
            "localhost.evil",
            "",
        ] {
            assert!(!host(bad), "{bad}");
        }
        assert!(!is_local_name(&HeaderMap::new()));
    }
}
