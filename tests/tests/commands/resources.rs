//! What nodes have: created, listed, shown, deleted.

use culvert_tests::chain::Relay;
use culvert_tests::net::free_address;
use culvert_tests::service::Service;
use culvert_tests::transcript::Machine;

#[test]
fn outlets() {
    let mut machine = Machine::new();
    machine.run("node create");
    machine.run("tcp-outlet create --to 127.0.0.1:5432 --allow web");
    machine.json("tcp-outlet create --to 5432 --allow web");
    machine.fails(5, "tcp-outlet create --to 5433");
    machine.run("tcp-outlet create two --to localhost:5433 --allow web");
    machine.run("tcp-outlet list --at default");
    machine.run("tcp-outlet delete two --yes");
    machine.fails(2, "tcp-outlet create --to nowhere");
    machine.fails(2, "tcp-outlet create three --to 1 --allow 'and and'");
    machine.both("policy list");
    machine.both("service list");
    machine.both("worker list");
    machine.both("secure-channel-listener list");
    machine.both("secure-channel-listener show api");
    machine.fails(4, "secure-channel-listener show none");
    machine.both("tcp-outlet list");
    machine.both("tcp-outlet show outlet");
    machine.fails(4, "tcp-outlet show nothing");
    machine.json("tcp-outlet delete outlet --yes");
    machine.both("tcp-outlet list");
    machine.fails(4, "tcp-outlet delete outlet -y");
    machine.check("tcp-outlet");
}

#[test]
fn relays_and_inlets() {
    let relay = Relay::start(&[]);
    let service = Service::echo();
    let mut machine = Machine::new();
    let at = relay.address.to_string();
    let nowhere = free_address().to_string();
    let port = free_address().port().to_string();
    machine.hide(&at, "<relay>");
    machine.hide(&nowhere, "<nowhere>");
    machine.hide(&port, "<port>");
    machine.hide(service.address(), "<service>");
    machine.run("node create");
    machine.run(&format!("relay create db --at {at}"));
    machine.json(&format!("relay create db --at {at}"));
    machine.json(&format!("relay create lost --at {nowhere} --timeout 500ms"));
    machine.both("relay show db");
    machine.fails(5, &format!("relay create db --at {nowhere}"));
    machine.run(&format!(
        "tcp-outlet create --to {} --allow '(= 1 1)'",
        service.address()
    ));
    machine.run(&format!(
        "tcp-inlet create --via db --relay {at} --from {port} --allow '(= 1 1)'"
    ));
    machine.json(&format!(
        "tcp-inlet create --via db --relay {at} --from {port} --allow '(= 1 1)'"
    ));
    machine.both("tcp-inlet list");
    machine.both("tcp-inlet show");
    let taken = service.address().port();
    machine.fails(
        5,
        &format!("tcp-inlet create other --via db --relay {at} --from {taken} --allow '(= 1 1)'"),
    );
    machine.fails(2, "tcp-inlet create --from 1");
    machine.json("tcp-inlet delete db -y");
    machine.both("tcp-inlet list");
    machine.json("relay delete lost -y");
    machine.run("relay delete --all -y");
    machine.both("relay list");
    machine.check("relay-and-inlet");
}

#[test]
fn ways_to_other_nodes() {
    let mut machine = Machine::new();
    let at = free_address();
    machine.hide(at, "<listener>");
    machine.hide(format!("/ip4/{}/tcp/{}", at.ip(), at.port()), "<route>");
    machine.hide(format!("{}-{}", at.ip(), at.port()), "<name>");
    machine.run(&format!("node create far --tcp-listener-address {at}"));
    machine.run("node create near");
    machine.run("node default near");
    machine.both("tcp-listener list --at far");
    machine.both(&format!("tcp-listener show {at} --at far"));
    let taken = Service::echo();
    machine.hide(taken.address(), "<taken>");
    machine.fails(5, &format!("tcp-listener create {}", taken.address()));
    machine.run(&format!("tcp-connection create --to {at}"));
    machine.both("tcp-connection list");
    machine.both("tcp-connection show");
    let to = format!("/ip4/{}/tcp/{}/service/api", at.ip(), at.port());
    let route = machine.run(&format!("secure-channel create way --to {to}"));
    assert_eq!(route, "/secure-channel/way");
    let again = machine.json(&format!("secure-channel create way --to {to}"));
    assert_eq!(again["route"], "/secure-channel/way");
    machine.both("secure-channel list");
    machine.both("secure-channel show way");
    machine.json("secure-channel delete way -y");
    machine.json("tcp-connection delete --all -y");
    machine.json(&format!("tcp-listener delete {at} --at far -y"));
    machine.both("tcp-listener list --at far");
    machine.both("events --no-follow");
    machine.fails(2, "reload");
    machine.check("ways-to-other-nodes");
}
