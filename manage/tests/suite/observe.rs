//! Probes and metrics of a real node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use culvert_manage::observe::Observed;
use culvert_node::limits::Limits;
use culvert_node::node::{Node, NodeConfig};
use culvert_node::shard::Shard;
use serde_json::json;

use super::{address, ask};

#[test]
fn probes_say_what_a_node_lacks() {
    let config = NodeConfig {
        shards: 2,
        listen: None,
        limits: Limits::default(),
    };
    let node = Node::start(&config, |_| {}).expect("a node");
    let works = Arc::new(AtomicBool::new(false));
    let check = Arc::clone(&works);
    let observed = Observed::new(&node).with_checks(move || {
        let found = match check.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err("no relay answers".to_owned()),
        };
        vec![("relay db".to_owned(), found)]
    });
    let server = observed
        .serve(([127, 0, 0, 1], 0).into())
        .expect("a server");
    let at = address(&server);
    let get = |path: &str| ask(at, &format!("GET {path}"), &[], "");

    let (status, text) = get("/metrics");
    let text = text.as_str().expect("text");
    assert_eq!(status, 200);
    assert!(text.contains("\nculvert_links 0\n"), "{text}");
    assert!(text.contains("\nculvert_build_info{version="), "{text}");
    assert_eq!(get("/live"), (200, json!("ok\n")));
    let shards = json!({ "what": "shards", "ready": true });
    let missing = json!({ "what": "relay db", "ready": false, "reason": "no relay answers" });
    let expected = json!({ "ready": false, "checks": [shards, missing] });
    assert_eq!(get("/ready"), (503, expected));
    works.store(true, Ordering::Relaxed);
    let there = json!({ "what": "relay db", "ready": true });
    let expected = json!({ "ready": true, "checks": [shards, there] });
    assert_eq!(get("/ready"), (200, expected));

    // A shard that hangs, here for as long as this test wants it to.
    let (go_on, hang) = std::sync::mpsc::channel::<()>();
    let hanging = move |_: &Shard| while hang.recv().is_ok() {};
    node.on_shard(1, hanging).expect("told");
    let (status, answer) = get("/live");
    assert_eq!((status, &answer["kind"]), (503, &json!("unavailable")));
    assert_eq!(get("/ready").1["checks"][0]["ready"], false);
    drop(go_on);
    node.shutdown();
    assert_eq!(get("/live").0, 503, "a node that ended");
}
