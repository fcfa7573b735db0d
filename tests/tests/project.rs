//! A project as its administrator and its members have it: through nodes that run, beside an authority
//! that is alive.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use culvert_tests::PATIENCE;
use culvert_tests::chain::{Edge, Relay};
use culvert_tests::net::{connect, echo, eventually};
use culvert_tests::process::{Process, Spec};
use culvert_tests::service::Service;
use culvert_tests::socket;
use culvert_tests::transcript::Machine;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A relay and the authority of a project.
struct Project {
    hub: TempDir,
    _relay: Relay,
    _authority: Process,
}

impl Project {
    fn start() -> Self {
        let (relay, hub) = (Relay::start(&[]), tempfile::tempdir().expect("a directory"));
        let authority = Edge::command(hub.path())
            .args(["authority", "create", "--listen", "127.0.0.1:0"])
            .args(["--relay", &relay.address.to_string(), "--output", "json"])
            .start("authority");
        authority.event("listening");
        Self {
            hub,
            _relay: relay,
            _authority: authority,
        }
    }

    /// A ticket that its own machine makes.
    fn ticket(&self, more: &[&str]) -> String {
        let made = Edge::command(self.hub.path());
        let made = made.args(["authority", "ticket", "create"]).args(more);
        made.run().trim().to_owned()
    }

    /// A machine with a node, whose identity may make members.
    fn administrator(&self) -> Machine {
        let mut machine = Machine::new();
        let ticket = self.ticket(&["--role", "enroller"]);
        machine.run(&format!("project enroll {ticket}"));
        machine.run("node create");
        machine
    }
}

/// Asks the default node of a machine.
fn ask(machine: &Machine, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let socket = machine.home().join("nodes/default/api.sock");
    socket::ask(&socket, method, &format!("/v1/self/{path}"), body.as_ref())
}

/// The same; what it says has to come with this status.
fn told(machine: &Machine, status: u16, method: &str, path: &str, body: Option<Value>) -> Value {
    let (is, said) = ask(machine, method, path, body);
    assert_eq!(is, status, "{method} {path}: {said}");
    said
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

#[test]
fn members_come_and_go_through_the_api() {
    let project = Project::start();
    let admin = project.administrator();
    let wanted = json!({ "attributes": { "component": "web" } });
    let ticket = told(&admin, 201, "POST", "tickets", Some(wanted));
    assert_eq!(ticket["uses-left"], 1, "{ticket}");
    let ticket = json!({ "ticket": ticket["encoded"] });

    let mut client = Machine::new();
    client.run("node create");
    let enroll = |machine: &Machine, status| {
        let ticket = Some(ticket.clone());
        told(machine, status, "POST", "tickets/enroll", ticket)
    };
    let joined = enroll(&client, 201);
    assert_eq!(joined["attributes"]["component"], "web", "{joined}");
    assert_eq!(joined["was-member"], false, "{joined}");
    assert_eq!(enroll(&client, 200)["was-member"], true);
    let mut other = Machine::new();
    other.run("node create");
    assert_eq!(enroll(&other, 403)["kind"], "denied", "it has no uses left");
    assert_eq!(told(&other, 200, "GET", "projects", None), json!([]));
    let projects = told(&client, 200, "GET", "projects", None);
    assert_eq!(projects[0]["authority"], joined["identity"], "{projects}");
    let credentials = told(&client, 200, "GET", "credentials", None);
    assert_eq!(credentials[0]["valid"], true, "{credentials}");
    assert_eq!(credentials[0]["attributes"]["component"], "web");

    // Who is no enroller may do nothing of what follows.
    let me = text(&joined["identifier"]).to_owned();
    let one = format!("authority-members/{me}");
    let db = json!({ "attributes": { "component": "db" } });
    told(&client, 403, "GET", "authority-members", None);
    told(&client, 403, "POST", "tickets", Some(json!({})));
    told(&client, 403, "PUT", &one, Some(db.clone()));
    told(&client, 403, "DELETE", &one, None);

    let all = told(&admin, 200, "GET", "authority-members", None);
    let all = all.as_array().expect("a list");
    let found = all.iter().find(|member| member["identity"] == me.as_str());
    assert_eq!(found.expect("the member")["attributes"]["component"], "web");
    told(&admin, 200, "PUT", &one, Some(db));
    let shown = told(&admin, 200, "GET", &one, None);
    assert_eq!(shown["attributes"], json!({ "component": "db" }), "{shown}");
    // Its next credential says so.
    assert_eq!(enroll(&client, 200)["attributes"]["component"], "db");
    told(&admin, 204, "DELETE", &one, None);
    told(&admin, 404, "GET", &one, None);
    told(&admin, 404, "DELETE", &one, None);
    enroll(&client, 403);
}

#[test]
fn members_come_and_go_on_the_command_line() {
    let project = Project::start();
    let mut admin = project.administrator();
    let other = admin.json("identity create other");
    let other = text(&other["identifier"]).to_owned();
    let member = "project-member";
    admin.json(&format!("{member} add {other} -a component=web --relay db"));
    let listed = admin.json(&format!("{member} list"));
    let listed = listed.as_array().expect("a list");
    let found = listed
        .iter()
        .find(|one| one["identifier"] == other.as_str());
    let attributes = json!({ "component": "web", "ockam-relay": "db" });
    assert_eq!(found.expect("the member")["attributes"], attributes);
    let ids = admin.run(&format!("{member} list-ids"));
    assert!(ids.lines().any(|id| id == other), "{ids}");
    let shown = admin.run(&format!("{member} show {other}"));
    for expected in ["component=web", "Z ("] {
        assert!(shown.contains(expected), "{expected} in {shown}");
    }
    // Once more says something else.
    admin.run(&format!("{member} add {other} -a component=db"));
    let shown = admin.json(&format!("{member} show {other}"));
    assert_eq!(shown["attributes"], json!({ "component": "db" }));
    let deleted = admin.json(&format!("{member} delete {other} -y"));
    assert_eq!(deleted, json!({ "deleted": [other] }));
    admin.fails(4, &format!("{member} show {other}"));
    admin.fails(4, &format!("{member} delete {other} -y"));
    // Of all, enrollers stay: somebody has to let others in.
    admin.run(&format!("{member} add {other} -a component=db"));
    admin.run(&format!("{member} delete --all -y"));
    admin.fails(4, &format!("{member} show {other}"));
    let left = admin.json(&format!("{member} list"));
    assert_eq!(left, admin.json(&format!("{member} list --enrollers")));
    assert_eq!(left.as_array().map(Vec::len), Some(1), "{left}");
}

fn run(home: &Path, file: &Path) -> Spec {
    let command = Edge::command(home).args(["run", "--output", "json", "-f"]);
    command.arg(file)
}

fn ready(spec: Spec) -> Process {
    let process = spec.start("node");
    process.event("ready");
    process
}

fn inlet(home: &Path) -> SocketAddr {
    let (at, _) = eventually("the inlet is up", PATIENCE, || {
        let list = ["tcp-inlet", "list", "--at", "client", "--output", "json"];
        let said = Edge::command(home).args(list).run();
        let said: Value = serde_json::from_str(&said).expect("JSON");
        match said[0]["state"] == "up" {
            true => Ok(text(&said[0]["bind-address"]).parse()),
            false => Err(said),
        }
    });
    at.expect("an address")
}

#[test]
fn a_file_and_a_ticket_are_all_it_takes() {
    let (project, service) = (Project::start(), Service::echo());
    let home = || tempfile::tempdir().expect("a directory");
    let (server, client) = (home(), home());
    let file = |home: &TempDir, text: &str| {
        let path = home.path().join("edge.yaml");
        fs::write(&path, text).expect("write a file");
        path
    };
    let ticket = project.ticket(&["-a", "server=true", "--relay", "db"]);
    let of_server = format!(
        "name: server\nticket: {ticket}\nrelay: db\ntcp-outlet: {{to: '{}', allow: client}}\n",
        service.address()
    );
    let of_server = file(&server, &of_server);
    let outlet = ready(run(server.path(), &of_server));
    let of_client = "name: client\ntcp-inlet: {from: 0, via: db, allow: server}\n";
    let of_client = file(&client, of_client);
    let by_environment = project.ticket(&["-a", "client=true"]);
    let spec = run(client.path(), &of_client).env("ENROLLMENT_TICKET", by_environment);
    let _inlet = ready(spec);
    let mut stream = connect(inlet(client.path()));
    echo(&mut stream, b"a member to a member").expect("an echo");
    drop(stream);

    // A ticket that has no uses left is not needed again, and good for nobody else.
    assert!(outlet.terminate().success());
    let _outlet = ready(run(server.path(), &of_server));
    eventually("the service is reached again", PATIENCE, || {
        let mut stream = connect(inlet(client.path()));
        echo(&mut stream, b"after a restart")
    });
    let stranger = home();
    let refused = run(stranger.path(), &of_server).output(PATIENCE);
    assert!(!refused.status.success(), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("ticket_used"), "{said}");
    let nodes = Edge::command(stranger.path()).args(["node", "list", "--output", "json"]);
    assert_eq!(nodes.run().trim(), "[]");
}
