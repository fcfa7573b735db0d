//! State directories that a node cannot use, or not now: each is said clearly, and nothing is half done.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use culvert_node::store::database::Database;
use culvert_tests::process::{Process, Spec};
use culvert_tests::{PATIENCE, bins};
use serde_json::{Value, json};

/// Makes a node in a state directory.
fn prepare(home: &Path) {
    let spec = json!({ "name": "n", "shards": 1 }).to_string();
    let mut database = Database::open(home).expect("a database");
    database.save_node("n", &spec, true).expect("stored");
}

fn node(home: &Path) -> Spec {
    Spec::new(bins::edge())
        .args(["node-child", "n"])
        .env("CULVERT_HOME", home)
}

fn started(home: &Path) -> Process {
    let process = node(home).start("node");
    process.expect("ready", PATIENCE, |event| event.json["ready"] == true);
    process
}

/// Exit status, message and hint of a node that does not start.
fn refused(spec: Spec) -> (i32, String, String) {
    let output = spec.output(PATIENCE);
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().expect("an answer");
    let answer: Value = serde_json::from_str(line).expect("JSON");
    let member = |name: &str| answer["problem"][name].as_str().expect("text").to_owned();
    let status = output.status.code().expect("an exit status");
    (status, member("message"), member("hint"))
}

fn ask(home: &Path, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let socket = home.join("nodes/n/api.sock");
    let mut stream = UnixStream::connect(socket).expect("connect to the node");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let head = format!(
        "{method} /v1/self/{path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status").parse();
    let body = serde_json::from_str(body).unwrap_or_default();
    (status.expect("a number"), body)
}

fn relay(name: &str) -> Value {
    json!({ "name": name, "at": "127.0.0.1:1" })
}

#[test]
fn a_database_that_is_none_is_named() {
    let home = tempfile::tempdir().expect("a directory");
    fs::write(home.path().join("culvert.db"), [7; 8192]).expect("written");
    let (status, message, hint) = refused(node(home.path()));
    assert_eq!(status, 1, "{message}");
    assert!(
        message.contains("culvert.db") && message.contains("not a database"),
        "{message}"
    );
    assert!(hint.contains("culvert-edge restore"), "{hint}");
}

#[test]
fn a_damaged_database_is_not_used() {
    let home = tempfile::tempdir().expect("a directory");
    prepare(home.path());
    let file = home.path().join("culvert.db");
    let mut bytes = fs::read(&file).expect("read");
    // Everything but the header, the tables of what there is and the nodes.
    let page = 4096;
    let nodes = bytes.windows(9).position(|text| text == b"{\"name\":\"");
    let nodes = nodes.map_or(0, |at| at / page);
    for (number, page) in bytes.chunks_mut(page).enumerate().skip(1) {
        if number != nodes {
            page.fill(0x55);
        }
    }
    fs::write(&file, bytes).expect("written");
    let (status, message, hint) = refused(node(home.path()));
    assert_eq!(status, 1, "{message}");
    assert!(message.contains("culvert.db"), "{message}");
    assert!(hint.contains("backup"), "{hint}");
}

/// What the messages about a damaged database tell people to do works then, too.
#[test]
fn a_damaged_database_is_replaced_by_a_backup() {
    let home = tempfile::tempdir().expect("a directory");
    prepare(home.path());
    let run = |arguments: &[&str], status: i32| {
        let done = Spec::new(bins::edge())
            .args(arguments)
            .env("CULVERT_HOME", home.path())
            .output(PATIENCE);
        assert_eq!(done.status.code(), Some(status), "{arguments:?}: {done:?}");
        String::from_utf8_lossy(&done.stderr).into_owned()
    };
    let damage = || fs::write(home.path().join("culvert.db"), [7; 40_000]).expect("written");
    let copy = tempfile::tempdir().expect("a directory");
    let copy = copy.path().join("copy");
    let copy = copy.to_str().expect("a path");
    run(&["identity", "create", "kept"], 0);
    run(&["backup", copy], 0);
    let mut first = started(home.path());
    damage();
    run(&["restore", copy], 5);
    let said = run(&["restore", copy, "--force"], 5);
    assert!(said.contains(&format!("process {}", first.id())), "{said}");
    run(&["reset", "--yes"], 5);
    first.kill();
    run(&["policy", "list"], 1);
    run(&["restore", copy, "--force"], 0);
    run(&["identity", "show", "kept"], 0);
    assert!(started(home.path()).terminate().success());
    damage();
    run(&["reset", "--yes"], 0);
    run(&["identity", "show", "kept"], 4);
}

#[test]
fn a_later_version_is_left_alone() {
    let home = tempfile::tempdir().expect("a directory");
    prepare(home.path());
    let mut database = Database::open(home.path()).expect("a database");
    let later = database.with("write", |db| db.pragma_update(None, "user_version", 1000));
    later.expect("written");
    drop(database);
    let (status, message, hint) = refused(node(home.path()));
    assert_eq!(status, 1, "{message}");
    assert!(message.contains("later version"), "{message}");
    assert!(hint.contains("use that version"), "{hint}");
}

#[test]
fn a_second_process_is_told_of_the_first() {
    let home = tempfile::tempdir().expect("a directory");
    prepare(home.path());
    let first = started(home.path());
    let (status, message, hint) = refused(node(home.path()));
    assert_eq!(status, 5, "{message}");
    assert!(
        message.contains(&format!("process {}", first.id())),
        "{message}"
    );
    assert!(hint.contains("node stop n"), "{hint}");
    // The first is as it was.
    assert_eq!(ask(home.path(), "GET", "status", None).0, 200);
    assert!(first.terminate().success());
}

#[test]
fn keys_that_others_can_read_are_refused_and_the_rest_is_closed() {
    let home = tempfile::tempdir().expect("a directory");
    prepare(home.path());
    assert!(started(home.path()).terminate().success());
    let open = |path: &str, mode| {
        let path = home.path().join(path);
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("changed");
    };
    let mode = |path: &str| {
        let data = fs::metadata(home.path().join(path)).expect("data");
        data.permissions().mode() & 0o777
    };
    open("culvert.db", 0o644);
    open("nodes/n", 0o755);
    assert!(started(home.path()).terminate().success());
    assert_eq!((mode("culvert.db"), mode("nodes/n")), (0o600, 0o700));
    open("vaults/default.json", 0o644);
    let (status, message, hint) = refused(node(home.path()));
    assert_eq!(status, 1, "{message}");
    assert!(
        message.contains("vaults/default.json") && message.contains("0644"),
        "{message}"
    );
    assert!(hint.contains("chmod 600"), "{hint}");
}

/// A file system of one MiB; only root can make one.
struct Small(PathBuf);

impl Small {
    fn new() -> Option<Self> {
        let place = tempfile::tempdir().expect("a directory").keep();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m,mode=700", "culvert-test"]);
        let done = mount.arg(&place).output();
        let done = done.is_ok_and(|output| output.status.success());
        done.then_some(Self(place))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_full_disk_changes_nothing() {
    let Some(small) = Small::new() else { return };
    let home = small.0.as_path();
    prepare(home);
    let mut process = started(home);
    assert_eq!(ask(home, "POST", "relays", Some(relay("first"))).0, 201);
    // In ever smaller pieces, until there is room for nothing.
    let filler = home.join("filler");
    let mut file = fs::File::create(&filler).expect("a file");
    let mut size = 64 << 10;
    while size > 0 {
        match file.write_all(&vec![0; size]) {
            Ok(()) => {}
            Err(_) => size /= 2,
        }
    }
    // What the log of the database has room for is taken.
    let mut made = vec!["first".to_owned()];
    let problem = (0..500).find_map(|number| {
        let name = format!("r{number}");
        let (status, answer) = ask(home, "POST", "relays", Some(relay(&name)));
        match status {
            201 => made.push(name),
            _ => return Some((status, answer)),
        }
        None
    });
    let (status, problem) = problem.expect("the disk is full");
    assert_eq!(status, 500, "{problem}");
    let text = |name: &str| problem[name].as_str().expect("text").to_owned();
    assert!(text("message").contains("culvert.db"), "{problem}");
    assert!(text("hint").contains("make room"), "{problem}");
    let names = |home: &Path| -> Vec<String> {
        let (_, all) = ask(home, "GET", "relays", None);
        let all = all.as_array().expect("a list").clone();
        all.iter()
            .map(|one| one["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    made.sort();
    assert_eq!(names(home), made);
    drop(file);
    fs::remove_file(&filler).expect("room");
    assert_eq!(ask(home, "POST", "relays", Some(relay("last"))).0, 201);
    process.kill();
    let process = started(home);
    made.push("last".to_owned());
    made.sort();
    assert_eq!(names(home), made);
    assert!(process.terminate().success());
}

#[test]
fn what_cannot_be_made_leaves_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    prepare(home.path());
    let process = started(home.path());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = taken.local_addr().expect("its address").to_string();
    let inlet = |from: &str| {
        Some(json!({ "name": "in", "from": from, "via": "x", "at": "127.0.0.1:1", "allow": "web" }))
    };
    let (status, problem) = ask(home.path(), "POST", "tcp-inlets", inlet(&at));
    assert_eq!(status, 409, "{problem}");
    assert!(
        problem["hint"]
            .as_str()
            .expect("a hint")
            .contains("another one"),
        "{problem}"
    );
    assert_eq!(ask(home.path(), "GET", "tcp-inlets", None).1, json!([]));
    assert_eq!(ask(home.path(), "GET", "policies", None).1, json!([]));
    // An unreachable relay is no reason not to make it.
    let (status, made) = ask(home.path(), "POST", "tcp-inlets", inlet("127.0.0.1:0"));
    assert_eq!(status, 201, "{made}");
    let began = std::time::Instant::now();
    let down = loop {
        let (_, view) = ask(home.path(), "GET", "tcp-inlets/in", None);
        if view["state"] == "down" || began.elapsed() > PATIENCE {
            break view;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(
        down["reason"]
            .as_str()
            .expect("a reason")
            .contains("127.0.0.1:1"),
        "{down}"
    );
    assert!(down["retry-in-ms"].is_u64(), "{down}");
    // The same again changes nothing, another one of the name is refused.
    let (status, same) = ask(home.path(), "POST", "tcp-inlets", inlet("127.0.0.1:0"));
    assert_eq!((status, &same["from"]), (200, &made["from"]), "{same}");
    let mut other = inlet("127.0.0.1:0").expect("a spec");
    other["via"] = "y".into();
    assert_eq!(ask(home.path(), "POST", "tcp-inlets", Some(other)).0, 409);
    assert!(process.terminate().success());
}
