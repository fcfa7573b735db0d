//! The status page in a real browser, at real nodes with traffic: that it shows what their answers say,
//! on a desk and on a phone, that it loads nothing from elsewhere, and that it lives through the end of a node.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use culvert_tests::browser::{Browser, Screen};
use culvert_tests::chain::Relay;
use culvert_tests::http::{self, Answer};
use culvert_tests::net::{connect, echo, eventually, free_address};
use culvert_tests::process::{Process, Spec};
use culvert_tests::service::Service;
use culvert_tests::{PATIENCE, alone, bins};
use serde_json::{Value, json};
use tempfile::TempDir;

const DESK: Screen = Screen {
    width: 1280,
    height: 900,
    dark: false,
};
const PHONE: Screen = Screen {
    width: 360,
    height: 780,
    dark: false,
};

/// A running node of an edge, with its management over TCP.
struct Node {
    process: Process,
    name: &'static str,
    at: SocketAddr,
    token: String,
    home: TempDir,
}

impl Node {
    fn create(name: &'static str) -> Self {
        let home = tempfile::Builder::new()
            .prefix("culvert-home-")
            .tempdir()
            .expect("a state directory");
        let at = free_address();
        let process = Self::run(home.path(), name, at);
        let mut node = Self {
            process,
            name,
            at,
            token: String::new(),
            home,
        };
        node.await_life();
        let file = node.home.path().join("nodes").join(name).join("token");
        let token = fs::read_to_string(&file).expect("the token of the node");
        node.token = token.trim().to_owned();
        node
    }

    fn run(home: &Path, name: &str, at: SocketAddr) -> Process {
        Spec::new(bins::edge())
            .env("CULVERT_HOME", home)
            .args(["node", "create", name, "--foreground", "--http"])
            .arg(at.to_string())
            .start("edge")
    }

    fn await_life(&self) {
        eventually("the node serves its management", PATIENCE, || {
            let stream = culvert_tests::net::try_connect(self.at, PATIENCE);
            stream.map(drop).map_err(|error| error.kind())
        });
    }

    fn restart(&mut self) {
        self.process = Self::run(self.home.path(), self.name, self.at);
        self.await_life();
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let token = format!("Bearer {}", self.token);
        let headers = [("Authorization", token.as_str())];
        http::send(self.at, method, path, &headers, body, PATIENCE)
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, None);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    fn make(&self, kind: &str, spec: &Value) -> Value {
        let answer = self.ask("POST", &format!("/v1/self/{kind}"), Some(spec));
        assert_eq!(answer.status, 201, "{kind}: {}", answer.body);
        answer.json()
    }

    fn identifier(&self) -> String {
        let node = self.get("/v1/self");
        node["identifier"].as_str().expect("an identifier").into()
    }

    fn await_up(&self, path: &str) {
        eventually(path, PATIENCE, || {
            let view = self.get(path);
            if view["state"] == "up" {
                Ok(())
            } else {
                Err(view)
            }
        });
    }
}

/// A database side, a client side, and clients that send all the time.
struct World {
    relay: Relay,
    outlets: Node,
    inlets: Node,
    denied: SocketAddr,
    stop: Arc<AtomicBool>,
    traffic: Vec<JoinHandle<()>>,
    _service: Service,
}

impl World {
    fn start(relay: Relay) -> Self {
        let service = Service::echo();
        let (outlets, inlets) = (Node::create("database"), Node::create("client"));
        let at = relay.address.to_string();
        for (name, allowed) in [("orders", &inlets), ("secret", &outlets)] {
            let allow = format!("(= subject.identifier \"{}\")", allowed.identifier());
            let to = service.address().to_string();
            outlets.make(
                "tcp-outlets",
                &json!({ "name": name, "to": to, "allow": allow }),
            );
        }
        outlets.make("relays", &json!({ "name": "db", "at": at }));
        outlets.await_up("/v1/self/relays/db");
        let peer = outlets.identifier();
        let inlet = |name: &str| {
            let spec = json!({ "name": name, "from": "127.0.0.1:0", "via": "db", "to": name, "at": at, "authorized": peer });
            let made = inlets.make("tcp-inlets", &spec);
            inlets.await_up(&format!("/v1/self/tcp-inlets/{name}"));
            let address = made["bind-address"].as_str().expect("an address");
            address.parse().expect("an address")
        };
        let (orders, denied) = (inlet("orders"), inlet("secret"));
        let stop = Arc::new(AtomicBool::new(false));
        let traffic = (0..3).map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut stream = connect(orders);
                while !stop.load(Ordering::Relaxed) && echo(&mut stream, &[7; 20_000]).is_ok() {
                    thread::sleep(Duration::from_millis(20));
                }
            })
        });
        Self {
            traffic: traffic.collect(),
            relay,
            outlets,
            inlets,
            denied,
            stop,
            _service: service,
        }
    }

    /// Has the outlets' policy deny somebody.
    fn be_denied(&self) {
        let mut stream = connect(self.denied);
        let _ = stream.write_all(b"let me in");
        let (bytes, _) = culvert_tests::net::drain(&mut stream, PATIENCE);
        assert!(bytes.is_empty(), "got through");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.traffic.drain(..) {
            let _ = client.join();
        }
    }
}

/// Opens the page of a node and shows it the token.
fn open(browser: &Browser, at: SocketAddr, token: &str) {
    browser.open(&format!("http://{at}/"));
    browser.until(
        "the form for the token",
        "return !document.querySelector('#token-form').hidden",
    );
    browser.type_into("#token", token);
    browser.run("document.querySelector('#token-form').requestSubmit()");
    await_state(browser, "Live");
}

fn await_state(browser: &Browser, state: &str) {
    let script = format!("return document.querySelector('#contact').innerText === '{state}'");
    browser.until(state, &script);
}

/// What a tile shows.
fn tile(browser: &Browser, name: &str) -> String {
    browser.text(&format!("[data-tile=\"{name}\"] .value"))
}

/// Waits until tiles show what an answer says.
fn tiles_agree(browser: &Browser, wanted: &[(&str, &str)], now: impl Fn() -> Value) {
    eventually("tiles show the numbers of the answer", PATIENCE, || {
        let history = now();
        let shown: Vec<String> = wanted.iter().map(|(name, _)| tile(browser, name)).collect();
        let said: Vec<String> = wanted
            .iter()
            .map(|(_, name)| history["now"][*name].to_string())
            .collect();
        if shown == said {
            Ok(())
        } else {
            Err((shown, said))
        }
    });
}

/// Every plot that is shown has points, for so many plots. Streams need not be opened every second.
fn plots_have_points(browser: &Browser, plots: usize) {
    let script = format!(
        "const points = [...document.querySelectorAll('figure.plot:not([hidden])')].map((plot) => {{
            const least = plot.querySelector('h3').innerText === 'Opening streams' ? 2 : 3;
            const drawn = (line) => (line.getAttribute('d').match(/[MLh]/g) ?? []).length >= least;
            return [...plot.querySelectorAll('path.line')].every(drawn);
         }});
         return points.length === {plots} && points.every(Boolean)"
    );
    browser.until("points in each plot", &script);
}

/// Looks at the page in all ways people do and keeps pictures; nothing is wider than the screen.
fn pictures(browser: &Browser, name: &str) {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("status-page");
    fs::create_dir_all(&directory).expect("a directory for pictures");
    for (screen, what) in [(DESK, "desk"), (PHONE, "phone")] {
        for dark in [false, true] {
            let screen = Screen { dark, ..screen };
            browser.look(screen);
            let width = "return document.documentElement.scrollWidth";
            assert_eq!(
                browser.run(width),
                json!(screen.width),
                "{name}, {what}: scrolls sideways"
            );
            let height = browser.run("return document.documentElement.scrollHeight");
            let height = height.as_u64().expect("a height").min(6000) as u32;
            browser.look(Screen { height, ..screen });
            // Plots are drawn anew for the width.
            browser.until("plots as wide as the screen",
                "return [...document.querySelectorAll('figure.plot:not([hidden]) svg')].every((plot) => plot.viewBox.baseVal.width === plot.clientWidth)");
            let colours = if dark { "dark" } else { "light" };
            browser.screenshot(&directory.join(format!("{name}-{what}-{colours}.png")));
        }
    }
    browser.look(DESK);
}

/// The page asked this node and nobody else, and nothing was wrong with it.
fn clean(browser: &Browser, at: SocketAddr) {
    let own = format!("http://{at}/");
    let strange: Vec<String> = browser
        .asked_for()
        .into_iter()
        .filter(|url| !url.starts_with(&own))
        .collect();
    assert!(strange.is_empty(), "asked for {strange:?}");
    // Being told that a token is needed is how it starts.
    let wrong: Vec<_> = browser
        .console()
        .into_iter()
        .filter(|(_, text)| !text.contains("401 (Unauthorized)"))
        .collect();
    assert!(wrong.is_empty(), "console: {wrong:?}");
}

/// One denial by a policy is there with its reason, and reasons that never occurred only on demand.
fn shows_what_was_denied(browser: &Browser, node: &Node) {
    let denied = browser.text("#denials tbody tr");
    let said = &node.get("/v1/self/denials")[0];
    assert!(denied.contains("secret"), "{denied}");
    assert!(
        denied.contains(said["reason"].as_str().expect("a reason")),
        "{denied}"
    );
    let reasons = "return [...document.querySelectorAll('#refused tbody tr')].map((row) => [row.cells[0].innerText, row.cells[4].innerText])";
    assert_eq!(browser.run(reasons), json!([["policy denied", "1"]]));
    browser.run("document.querySelector('#all-refused').click()");
    browser.until(
        "reasons that did not occur",
        "return document.querySelectorAll('#refused tbody tr').length > 20",
    );
    browser.run("document.querySelector('#all-refused').click()");
}

#[test]
fn an_edge_shows_what_it_has_and_does() {
    let _turn = alone();
    let world = World::start(Relay::start(&[]));
    let node = &world.outlets;
    world.be_denied();
    let browser = Browser::start();
    browser.look(DESK);

    // The page comes without the token and shows nothing until it has the right one.
    browser.open(&format!("http://{}/", node.at));
    await_state(&browser, "Token needed");
    browser.type_into("#token", "a-token-that-somebody-made-up-by-hand");
    browser.run("document.querySelector('#token-form').requestSubmit()");
    browser.until(
        "that the token is wrong",
        "return !document.querySelector('#token-wrong').hidden",
    );
    assert_eq!(
        browser.run("return document.querySelector('#content').hidden"),
        true
    );
    open(&browser, node.at, &node.token);

    let view = node.get("/v1/self");
    assert_eq!(browser.text("#name"), "database");
    let shown = browser.run("return document.querySelector('#about [data-copy]').dataset.copy");
    assert_eq!(shown, view["identifier"]);
    assert!(
        browser
            .text("#about")
            .contains(view["version"].as_str().expect("a version"))
    );
    assert_eq!(browser.text("#health-title"), "Ready");
    let now = || node.get("/v1/history");
    tiles_agree(
        &browser,
        &[
            ("Streams", "streams"),
            ("Channels", "channels"),
            ("Links", "links"),
        ],
        now,
    );
    assert_eq!(tile(&browser, "Streams"), "3");

    let rows = "return [...document.querySelectorAll('#resources tbody tr')].map((row) => row.cells[0].innerText + ' ' + row.cells[2].innerText.trim())";
    assert_eq!(
        browser.run(rows),
        json!(["orders up", "secret up", "db up"])
    );
    let peers = "return [...document.querySelectorAll('#peers [data-copy]')].map((peer) => peer.dataset.copy).sort()";
    let mut known = [world.inlets.identifier(), world.relay.identifier.clone()];
    known.sort();
    assert_eq!(browser.run(peers), json!(known));

    shows_what_was_denied(&browser, node);
    plots_have_points(&browser, 6);
    // With the keyboard: the newest step, then the one before.
    let pressed = "const plot = document.querySelector('.plot svg');
        plot.focus();
        plot.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft' }));
        return [...document.querySelectorAll('figure.plot:not([hidden]) .when')].map((when) => when.innerText)";
    let times = browser.run(pressed);
    let times = times.as_array().expect("times");
    assert!(
        times.iter().all(|time| *time == times[0] && *time != ""),
        "{times:?}"
    );
    browser.run("document.activeElement.blur()");
    pictures(&browser, "edge");
    browser.run("document.querySelector('[name=range][value=\"4h\"]').click()");
    browser.until("hours", "return [...document.querySelectorAll('.plot .tick')].some((tick) => /:00$/.test(tick.textContent))");
    clean(&browser, node.at);
}

#[test]
fn a_relay_shows_who_holds_which_name() {
    let _turn = alone();
    let at = free_address();
    let world = World::start(Relay::start(&["--manage", &at.to_string()]));
    let token = fs::read_to_string(world.relay.home().join("relay.token")).expect("the token");
    let browser = Browser::start();
    browser.look(DESK);
    open(&browser, at, token.trim());
    let bearer = format!("Bearer {}", token.trim());
    let get = |path: &str| {
        let headers = [("Authorization", bearer.as_str())];
        http::send(at, "GET", path, &headers, None, PATIENCE).json()
    };

    let view = get("/v1/self");
    let wanted: Vec<Value> = view["forwarders"]
        .as_array()
        .expect("forwarders")
        .iter()
        .map(|one| json!([one["name"], one["identity"], one["links"].to_string()]))
        .collect();
    assert_eq!(wanted[0][1], world.outlets.identifier());
    let rows = "return [...document.querySelectorAll('#forwarders tbody tr')].map((row) =>
        [row.cells[0].innerText, row.querySelector('[data-copy]').dataset.copy, row.cells[2].innerText])";
    assert_eq!(browser.run(rows), json!(wanted));
    let numbers = [
        ("Forwarders", "forwarders"),
        ("Channels", "channels"),
        ("Links", "links"),
    ];
    tiles_agree(&browser, &numbers, || get("/v1/history"));
    plots_have_points(&browser, 6);
    // A relay has no streams of its own, and no inlets.
    for missing in ["[data-tile=Streams]", "#resources:not([hidden])"] {
        let script = format!("return document.querySelector('{missing}') === null");
        assert_eq!(browser.run(&script), true, "{missing} is shown");
    }
    pictures(&browser, "relay");
    clean(&browser, at);
}

#[test]
fn a_page_lives_through_the_end_of_its_node() {
    let _turn = alone();
    let mut node = Node::create("alone");
    let browser = Browser::start();
    browser.look(PHONE);
    open(&browser, node.at, &node.token);
    node.process.kill();
    await_state(&browser, "No answer");
    assert!(browser.text("#away").contains("it cannot be reached"));
    assert_eq!(browser.text("#name"), "alone");
    let width = browser.run("return document.documentElement.scrollWidth");
    assert_eq!(width, json!(PHONE.width));
    node.restart();
    await_state(&browser, "Live");
    assert_eq!(
        browser.run("return document.querySelector('#away').hidden"),
        true
    );
}
