//! What a node acknowledged is there after it was killed, whenever that was.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use culvert_node::store::database::Database;
use culvert_tests::process::{Process, Spec};
use culvert_tests::{PATIENCE, bins};
use serde_json::{Value, json};

/// How often the node is killed.
const KILLS: u32 = 220;
/// Later than this no other round is begun: a machine on which that is not enough is told so.
const LONGEST: Duration = Duration::from_secs(300);
/// Longest time from the first change of a round to its end.
const ROUND_MS: u64 = 40;
/// Most of a kind at a time.
const MOST: u64 = 6;

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What the node is to have: kind and name, with what was answered.
type Known = BTreeMap<(&'static str, String), Value>;

/// A change that was asked for.
#[derive(Clone, Debug)]
enum Asked {
    Create(&'static str, String),
    Delete(&'static str, String),
}

const KINDS: [&str; 3] = ["tcp-inlets", "tcp-outlets", "relays"];

fn spec(kind: &str, name: &str) -> Value {
    match kind {
        "tcp-inlets" => json!({
            "name": name, "from": "127.0.0.1:0", "via": "x", "at": "127.0.0.1:1", "allow": "web",
        }),
        "tcp-outlets" => json!({ "name": name, "to": "127.0.0.1:1", "allow": "db" }),
        _ => json!({ "name": name, "at": "127.0.0.1:1" }),
    }
}

/// One request; nothing when the node is gone before it has answered.
fn ask(socket: &Path, method: &str, path: &str, body: Option<&Value>) -> Option<(u16, Value)> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let head = format!(
        "{method} /v1/self/{path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
    match status {
        204 => Some((status, Value::Null)),
        // Cut off by the end of the process.
        _ => Some((status, serde_json::from_str(body).ok()?)),
    }
}

struct Node {
    home: tempfile::TempDir,
    socket: PathBuf,
}

impl Node {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let spec = json!({ "name": "n", "shards": 1 }).to_string();
        let mut database = Database::open(home.path()).expect("a database");
        database.save_node("n", &spec, true).expect("stored");
        let socket = home.path().join("nodes/n/api.sock");
        Self { home, socket }
    }

    fn start(&self) -> Process {
        Spec::new(bins::edge())
            .args(["node-child", "n"])
            .env("CULVERT_HOME", self.home.path())
            .env("CULVERT_LOG", "warn")
            .start("node")
    }

    fn await_ready(&self, process: &Process) {
        process.expect("ready", PATIENCE, |event| event.json["ready"] == true);
    }

    /// What it has now, and the policies of names.
    fn has(&self) -> (Known, BTreeMap<String, String>) {
        let mut known = Known::new();
        for kind in KINDS {
            let (status, all) = ask(&self.socket, "GET", kind, None).expect("an answer");
            assert_eq!(status, 200, "{all}");
            for one in all.as_array().expect("a list") {
                let name = one["name"].as_str().expect("a name").to_owned();
                known.insert((kind, name), told(one));
            }
        }
        let (_, all) = ask(&self.socket, "GET", "policies", None).expect("an answer");
        let policies = all.as_array().expect("a list").iter().map(|policy| {
            let text = |name: &str| policy[name].as_str().unwrap_or_default().to_owned();
            (text("resource"), text("allow"))
        });
        (known, policies.collect())
    }

    /// Asks for changes until the node is gone; tells each that was acknowledged, and the last one, which
    /// was not.
    fn change(&self, numbers: &mut Numbers, known: &mut Known) -> Option<Asked> {
        loop {
            let kind = KINDS[numbers.below(3) as usize];
            let name = format!("r{}-{}", &kind[..5], numbers.below(MOST));
            match known.entry((kind, name.clone())) {
                Entry::Occupied(there) => {
                    let path = format!("{kind}/{name}");
                    match ask(&self.socket, "DELETE", &path, None) {
                        Some((status, _)) => assert_eq!(status, 204),
                        None => return Some(Asked::Delete(kind, name)),
                    }
                    there.remove();
                }
                Entry::Vacant(free) => {
                    match ask(&self.socket, "POST", kind, Some(&spec(kind, &name))) {
                        Some((status, made)) => {
                            assert_eq!(status, 201, "{made}");
                            free.insert(told(&made));
                        }
                        None => return Some(Asked::Create(kind, name)),
                    }
                }
            }
        }
    }
}

/// What is wanted of a resource, without how it is doing.
fn told(view: &Value) -> Value {
    let member = |name: &str| view.get(name).cloned().unwrap_or_default();
    json!([
        member("from"),
        member("to"),
        member("at"),
        member("via"),
        member("allow")
    ])
}

/// Whether what is there is what was acknowledged; what was not may be there or not, but whole.
fn compare(
    has: &Known,
    policies: &BTreeMap<String, String>,
    known: &mut Known,
    last: Option<&Asked>,
) {
    if let Some(Asked::Create(kind, name) | Asked::Delete(kind, name)) = last {
        let key = (*kind, name.clone());
        match has.get(&key) {
            Some(there) => known.insert(key, there.clone()),
            None => known.remove(&key),
        };
    }
    assert_eq!(has, known, "after {last:?}");
    let guarded = has.iter().filter(|((kind, _), _)| *kind != "relays");
    let wanted: BTreeMap<_, _> = guarded
        .map(|((_, name), told)| {
            (
                name.clone(),
                told[4].as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    assert_eq!(
        *policies, wanted,
        "policies come and go with what they are of, after {last:?}"
    );
}

#[test]
fn what_was_acknowledged_survives_any_kill() {
    let node = Node::new();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut known, mut last) = (Known::new(), None);
    let (began, mut kills, mut changes) = (Instant::now(), 0, 0);
    while kills < KILLS && began.elapsed() < LONGEST {
        let mut process = node.start();
        if kills % 8 == 7 {
            // While it starts.
            thread::sleep(Duration::from_millis(numbers.below(60)));
            process.kill();
            kills += 1;
            continue;
        }
        node.await_ready(&process);
        let (has, policies) = node.has();
        compare(&has, &policies, &mut known, last.as_ref());
        let moment = Duration::from_millis(numbers.below(ROUND_MS));
        let (kill, killed) = mpsc::channel::<()>();
        let killer = thread::spawn(move || {
            let _ = killed.recv_timeout(moment);
            process.kill();
        });
        let before = known.clone();
        last = node.change(&mut numbers, &mut known);
        changes += usize::from(before != known);
        drop(kill);
        killer.join().expect("the node was killed");
        kills += 1;
        let mut database = Database::open(node.home.path()).expect("the database");
        assert_eq!(database.check_integrity().expect("checked"), None);
    }
    let process = node.start();
    node.await_ready(&process);
    let (has, policies) = node.has();
    compare(&has, &policies, &mut known, last.as_ref());
    assert!(process.terminate().success());
    assert_eq!(
        kills, KILLS,
        "only {kills} kills in {LONGEST:?}: the machine is too slow"
    );
    assert!(changes > 10, "only {changes} rounds changed anything");
}
