//! Streams of events, and the end of a server.

use culvert_manage::client::Client;
use culvert_manage::events::Events;
use culvert_manage::http::{Place, Server};
use serde_json::json;

use super::routes;

#[test]
fn events_reach_who_follows_until_the_server_ends() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("api.sock");
    let events = Events::new();
    let places = vec![Place::Unix(path.clone())];
    let server = Server::start(places, routes(&events)).expect("a server");
    let client = Client::unix(&path).expect("a client");
    let mut lines = client.lines("/v1/events").expect("a stream");
    assert_eq!(lines.next(), Some(Ok(json!({ "event": "hello" }))));
    for n in 0..100 {
        events.publish(&json!({ "event": "up", "n": n }));
    }
    for n in 0..100 {
        assert_eq!(lines.next(), Some(Ok(json!({ "event": "up", "n": n }))));
    }
    let refused = client.lines("/v1/nothing").expect_err("no such path");
    assert!(refused.message.contains("/v1/nothing"), "{refused}");

    // Another request over the same client, meanwhile.
    client.request("GET", "/v1/self", None).expect("an answer");
    server.stop();
    assert!(lines.all(|line| line.is_err()), "nothing more comes");
}

#[test]
fn others_may_use_the_control_thread() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("api.sock");
    let places = vec![Place::Unix(path)];
    let server = Server::start(places, routes(&Events::new())).expect("a server");
    let (told, telling) = std::sync::mpsc::channel();
    server.spawn(async move {
        let thread = std::thread::current().name().map(str::to_owned);
        let _ = told.send(thread);
        std::future::pending::<()>().await;
    });
    let thread = telling.recv_timeout(super::PATIENCE).expect("it runs");
    assert_eq!(thread.as_deref(), Some("control"));
    // Ends although something still runs there.
    drop(server);
    assert!(telling.recv().is_err(), "it is gone");
}
