//! A real Chromium without a screen, driven over WebDriver: what tests of pages look with.
//!
//! The browser resolves no names, so that it reaches this machine only. It ends with the value that stands
//! for it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use std::{fs, thread};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::PATIENCE;
use crate::http;
use crate::net::eventually;
use crate::process::{Process, Spec};

/// How long one command may take: a browser starts slowly on a busy machine.
const COMMAND: Duration = Duration::from_secs(90);

/// Flags of Chromium: no screen, no sandbox (tests may run as root), nothing of its own on the network.
const FLAGS: [&str; 11] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

/// A running browser with one page.
pub struct Browser {
    driver: SocketAddr,
    session: String,
    _process: Process,
    _profile: TempDir,
}

/// What a person prefers, and looks with.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Whether dark colours are preferred.
    pub dark: bool,
}

impl Browser {
    /// Starts a browser.
    ///
    /// # Panics
    /// When Chromium or its driver cannot be started; the message says what is missing.
    pub fn start() -> Self {
        let profile = tempfile::Builder::new()
            .prefix("culvert-browser-")
            .tempdir()
            .expect("a directory for the browser");
        let process = Spec::new("chromedriver")
            .arg("--port=0")
            .start("chromedriver (Debian package chromium-driver)");
        let started = "was started successfully on port ";
        let line = process.expect("its port", PATIENCE, |event| {
            event.json["line"]
                .as_str()
                .is_some_and(|line| line.contains(started))
        });
        let port = line.text("line").split(started).nth(1).expect("a port");
        let port: u16 = port.trim_end_matches('.').parse().expect("a port");
        let driver = SocketAddr::from(([127, 0, 0, 1], port));
        let mut flags: Vec<String> = FLAGS.map(str::to_owned).into();
        flags.push(format!("--user-data-dir={}", profile.path().display()));
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            "goog:chromeOptions": { "args": flags },
        }}});
        let session = command(driver, "POST", "/session", Some(&wanted));
        let session = session["sessionId"].as_str().expect("a session").to_owned();
        let browser = Self {
            driver,
            session,
            _process: process,
            _profile: profile,
        };
        // What it starts with is a page of its own.
        browser.open("about:blank");
        browser.asked_for();
        browser
    }

    fn command(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let path = format!("/session/{}{path}", self.session);
        command(self.driver, method, &path, body)
    }

    /// Sets what the page is looked at with.
    pub fn look(&self, screen: Screen) {
        let (width, height) = (screen.width, screen.height);
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.developer("Emulation.setDeviceMetricsOverride", &metrics);
        let theme = if screen.dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
        self.developer("Emulation.setEmulatedMedia", &features);
    }

    fn developer(&self, name: &str, parameters: &Value) -> Value {
        let body = json!({ "cmd": name, "params": parameters });
        self.command("POST", "/goog/cdp/execute", Some(&body))
    }

    /// Goes to an address and waits until the page is loaded.
    pub fn open(&self, url: &str) {
        self.command("POST", "/url", Some(&json!({ "url": url })));
    }

    /// Runs the body of a function in the page and returns what it gives.
    pub fn run(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        self.command("POST", "/execute/sync", Some(&body))
    }

    /// Waits until a script gives something that is true, and returns it.
    ///
    /// # Panics
    /// When it does not within [`PATIENCE`].
    pub fn until(&self, what: &str, script: &str) -> Value {
        let (found, _) = eventually(what, PATIENCE, || match self.run(script) {
            Value::Null | Value::Bool(false) => {
                thread::sleep(Duration::from_millis(90));
                Err(self.run("return document.body.innerText.slice(0, 2000)"))
            }
            found => Ok(found),
        });
        found
    }

    /// Text of the first element that a selector finds.
    ///
    /// # Panics
    /// When there is none.
    pub fn text(&self, selector: &str) -> String {
        let script = format!(
            "return document.querySelector({}).innerText",
            json!(selector)
        );
        let text = self.run(&script);
        text.as_str()
            .unwrap_or_else(|| panic!("{selector}: {text}"))
            .to_owned()
    }

    /// Types into a field, key by key.
    pub fn type_into(&self, selector: &str, text: &str) {
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = self.command("POST", "/element", Some(&wanted));
        let element = found.as_object().and_then(|found| found.values().next());
        let element = element.and_then(Value::as_str).expect("an element");
        let path = format!("/element/{element}/value");
        self.command("POST", &path, Some(&json!({ "text": text })));
    }

    /// What the page wrote to its console, or the browser about it, since the last call: `[level, text]`.
    pub fn console(&self) -> Vec<(String, String)> {
        let entries = self.command("POST", "/se/log", Some(&json!({ "type": "browser" })));
        let entry = |entry: &Value| {
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            (text("level"), text("message"))
        };
        entries
            .as_array()
            .expect("a log")
            .iter()
            .map(entry)
            .collect()
    }

    /// Addresses that the page has asked for since the last call.
    pub fn asked_for(&self) -> Vec<String> {
        let wanted = json!({ "type": "performance" });
        let entries = self.command("POST", "/se/log", Some(&wanted));
        let url = |entry: &Value| {
            let message: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let message = &message["message"];
            (message["method"] == "Network.requestWillBeSent").then(|| {
                message["params"]["request"]["url"]
                    .as_str()
                    .map(str::to_owned)
            })?
        };
        entries
            .as_array()
            .expect("a log")
            .iter()
            .filter_map(url)
            .collect()
    }

    /// Writes a picture of what is seen, as PNG.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn screenshot(&self, file: &Path) {
        let shot = self.developer("Page.captureScreenshot", &json!({ "format": "png" }));
        let png = from_base64(shot["data"].as_str().expect("a picture"));
        fs::write(file, png).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser; the driver's process is ended by its id. A panic here would hide another.
        let path = format!("/session/{}", self.session);
        let driver = self.driver;
        let ended = thread::spawn(move || command(driver, "DELETE", &path, None)).join();
        assert!(
            ended.is_ok() || thread::panicking(),
            "the browser did not end"
        );
    }
}

fn command(driver: SocketAddr, method: &str, path: &str, body: Option<&Value>) -> Value {
    let answer = http::send(driver, method, path, &[], body, COMMAND);
    let json = answer.json();
    assert_eq!(
        answer.status, 200,
        "WebDriver {method} {path}: {}",
        json["value"]["message"]
    );
    json["value"].clone()
}

fn from_base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.trim_end_matches('=').bytes().map(digit).collect();
    digits
        .chunks(4)
        .flat_map(|four| {
            let bits = four
                .iter()
                .fold(0u32, |bits, digit| bits << 6 | u32::from(*digit));
            let bits = bits << (6 * (4 - four.len()));
            bits.to_be_bytes()[1..four.len()].to_vec()
        })
        .collect()
}
