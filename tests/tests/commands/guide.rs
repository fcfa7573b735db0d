//! The guide for a private database, typed as a user of Ockam types it, with `culvert-edge` in place of
//! `ockam`: two machines that share nothing but a relay and an authority.

use culvert_tests::chain::{Edge, Relay};
use culvert_tests::postgres::{self, Postgres};
use culvert_tests::process::Process;
use culvert_tests::transcript::Machine;
use culvert_tests::{PATIENCE, alone, net};

/// The authority of a project, on a machine of its own.
fn authority(machine: &mut Machine, relay: &Relay) -> Process {
    let admin = machine.json("identity create admin");
    let trusted = format!(
        r#"{{"{}":{{"ockam-role":"enroller","ockam-relay":"*"}}}}"#,
        admin["identifier"].as_str().expect("identifier")
    );
    let authority = Edge::command(&machine.home())
        .args([
            "authority",
            "create",
            "--tcp-listener-address",
            "127.0.0.1:0",
        ])
        .args(["--relay", &relay.address.to_string(), "--output", "json"])
        .args(["--trusted-identities", &trusted])
        .start("authority");
    let listening = authority.event("listening");
    for (name, shown) in [("route", "<authority>"), ("project_route", "<project>")] {
        machine.hide(listening.text(name), shown);
    }
    // The administrator imports the project, as anybody can.
    let file = machine.beside().join("project.json");
    let project = serde_json::json!({
        "id": listening.text("project_id"),
        "name": listening.text("project"),
        "access_route": listening.text("project_route"),
        "project_change_history": listening.text("project_change_history"),
        "authority_access_route": listening.text("route"),
        "authority_identity": listening.text("change_history"),
    });
    std::fs::write(&file, project.to_string()).expect("write");
    machine.run(&format!(
        "project import --project-file {} --identity admin",
        file.display()
    ));
    machine.json("project information");
    authority
}

#[test]
fn the_private_database() {
    let _turn = alone();
    let relay = Relay::start(&[]);
    let database = Postgres::start();
    let mut admin = Machine::new();
    let _authority = authority(&mut admin, &relay);
    let for_database = admin.run(
        "project ticket --usage-count 1 --expires-in 10m --attribute postgres-outlet=true --relay postgres",
    );
    let for_client = admin
        .run("project ticket --usage-count 1 --expires-in 10m --attribute postgres-inlet=true");

    let mut server = Machine::new();
    server.hide(&for_database, "<ticket>");
    server.hide(relay.address, "<relay>");
    server.hide(relay.address.port(), "<relay-port>");
    server.hide(database.address(), "<database>");
    server.run(&format!("project enroll {for_database}"));
    server.run("node create");
    server.run("relay create postgres");
    server.run("policy create --resource-type tcp-outlet --expression '(= subject.postgres-inlet \"true\")'");
    server.run(&format!("tcp-outlet create --to {}", database.address()));

    let mut client = Machine::new();
    let port = net::free_address().port();
    client.hide(&for_client, "<ticket>");
    client.hide(relay.address, "<relay>");
    client.hide(relay.address.port(), "<relay-port>");
    client.hide(port, "<port>");
    client.run(&format!("enroll {for_client}"));
    client.run("node create");
    client.run("policy create --resource-type tcp-inlet --expression '(= subject.postgres-outlet \"true\")'");
    client.run(&format!(
        "tcp-inlet create --from 127.0.0.1:{port} --via postgres"
    ));

    let at = format!("127.0.0.1:{port}").parse().expect("an address");
    let answer = postgres::try_sql(at, "select 6 * 7", PATIENCE);
    let said = String::from_utf8_lossy(&answer.stdout).into_owned();
    assert!(answer.status.success() && said.contains("42"), "{said}");

    // Both keep what they have.
    for machine in [&mut server, &mut client] {
        machine.run("node stop");
        machine.run("node start");
    }
    net::eventually("the database answers again", PATIENCE, || {
        let again = postgres::try_sql(at, "select 6 * 7", PATIENCE);
        match again.status.success() {
            true => Ok(()),
            false => Err(again),
        }
    });
    server.both("project list");
    server.both("project show");
    server.both("relay list");
    server.both("tcp-outlet list");
    client.both("tcp-inlet list");
    admin.both("project-member list --enrollers");
    // These are in the order of identifiers, which differ from run to run.
    for (verb, lines) in [("list", 4), ("list-ids", 3)] {
        let listed = Edge::command(&admin.home());
        let listed = listed.args(["project-member", verb]).run();
        assert_eq!(listed.lines().count(), lines, "{listed}");
    }
    server.check("guide-server");
    client.check("guide-client");
    admin.check("guide-administrator");
}
