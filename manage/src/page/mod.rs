//! The status page: a few files inside the program, which show in a browser what the routes of the
//! management listener say.
//!
//! | path | what |
//! |---|---|
//! | `/` | the page |
//! | `/page/style.css`, `/page/icon.svg` | how it looks |
//! | `/page/main.js` and those it imports | asks `/v1/self`, `/v1/self/inspect`, `/v1/self/denials`, `/v1/self/events`, `/v1/history` and `/ready`, and shows the answers |
//!
//! The files say nothing of the node, so they are served to everybody; what they ask for takes the token. The
//! browser is told to load nothing else and to run nothing inline.

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

/// What the browser may load for the page, and from where.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

/// What no page needs here.
const PERMISSIONS: &str = "camera=(), geolocation=(), microphone=(), payment=(), usb=()";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// Path, kind and content of each file.
const FILES: [(&str, &str, &str); 9] = [
    ("/", HTML, include_str!("index.html")),
    ("/page/style.css", CSS, include_str!("style.css")),
    ("/page/icon.svg", IMAGE, include_str!("icon.svg")),
    ("/page/main.js", SCRIPT, include_str!("main.js")),
    ("/page/data.js", SCRIPT, include_str!("data.js")),
    ("/page/dom.js", SCRIPT, include_str!("dom.js")),
    ("/page/plot.js", SCRIPT, include_str!("plot.js")),
    ("/page/text.js", SCRIPT, include_str!("text.js")),
    ("/page/views.js", SCRIPT, include_str!("views.js")),
];

/// The routes of the page.
pub fn router() -> Router {
    FILES
        .into_iter()
        .fold(Router::new(), |router, (path, kind, content)| {
            router.route(path, get(move || async move { file(kind, content) }))
        })
}

fn file(kind: &'static str, content: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_FRAME_OPTIONS, "DENY"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // Another version of the program has other files.
        (CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)));
    (headers, content).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    fn get_file(path: &str) -> (Response<()>, String) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let request = Request::get(path).body(Body::empty()).expect("a request");
            let answer = router().oneshot(request).await.expect("an answer");
            let (head, body) = answer.into_parts();
            let body = body.collect().await.expect("a body").to_bytes();
            let text = String::from_utf8(body.to_vec()).expect("text");
            (Response::from_parts(head, ()), text)
        })
    }

    #[test]
    fn every_file_comes_with_its_kind_and_the_policy() {
        for (path, kind, content) in FILES {
            let (answer, text) = get_file(path);
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            assert_eq!(text, content, "{path}");
            let header = |name| answer.headers()[name].to_str().expect("text");
            assert_eq!(header("content-type"), kind, "{path}");
            assert_eq!(header("x-content-type-options"), "nosniff");
            assert_eq!(header("x-frame-options"), "DENY");
            assert!(header("content-security-policy").starts_with("default-src 'none'"));
            assert!(!header("content-security-policy").contains("unsafe"));
            assert!(!answer.headers().contains_key("set-cookie"));
        }
    }

    #[test]
    fn files_name_only_each_other() {
        for (path, _, content) in FILES {
            // Names of XML namespaces are never asked for.
            let text = content.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("http:"), "{path}");
            assert!(!text.contains("https:"), "{path}");
            assert!(!text.contains("url("), "{path}");
            assert!(!text.contains("innerHTML"), "{path}");
            for import in text.lines().filter(|line| line.starts_with("import ")) {
                let from = import.split('"').nth(1).expect("a file");
                let from = from.replace("./", "/page/");
                assert!(
                    FILES.iter().any(|(path, ..)| *path == from),
                    "{path} imports {from}"
                );
            }
        }
    }

    #[test]
    fn nothing_is_inline() {
        let page = FILES[0].2;
        assert_eq!(page.matches("<script").count(), 1);
        assert!(page.contains("<script type=\"module\" src=\"/page/main.js\"></script>"));
        assert!(!page.contains("<style") && !page.contains("style="));
        let is_handler = |word: &str| word.starts_with("on") && word.contains('=');
        assert!(!page.split_whitespace().any(is_handler));
    }
}
