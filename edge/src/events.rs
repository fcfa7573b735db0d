//! What a running portal tells: events on stdout.

use culvert_crypto::Identifier;
use culvert_node::session::Event;
use serde_json::json;

use crate::output::Output;

/// Prints what a session reports, on a thread of its own; `next` waits for the next event.
pub fn report_events(
    next: impl Fn() -> Option<Event> + Send + 'static,
    name: String,
    identifier: Identifier,
    output: Output,
) {
    let own = identifier.to_string();
    let print = move |event| report_event(&event, &name, &own, output);
    let thread = std::thread::Builder::new().name("events".into());
    if let Err(error) = thread.spawn(move || std::iter::from_fn(next).for_each(print)) {
        tracing::error!(%error, "events will not be printed");
    }
}

fn report_event(event: &Event, name: &str, own: &str, output: Output) {
    match event {
        Event::Registered {
            address,
            relay,
            identity,
        } => {
            let by = identity.map(|identity| identity.to_string());
            let text = match &by {
                Some(by) => format!("registered as {name} ({address}) at {relay}, which is {by}"),
                None => format!("registered as {name} ({address}) at {relay}, in clear"),
            };
            let event = json!({
                "event": "registered",
                "name": name,
                "address": address,
                "relay": relay,
                "relay_identifier": by,
                "identifier": own,
            });
            output.print(text, &event);
        }
        Event::Up { peer } => {
            let peer = peer.map(|peer| peer.to_string());
            let text = match &peer {
                Some(peer) => format!("up: secure channel to {peer}"),
                None => "up, in clear".to_owned(),
            };
            output.print(text, &json!({ "event": "up", "peer": peer }));
        }
        Event::Direct { to } => {
            let to = to.to_string();
            let text = format!("direct: new streams go over UDP to {to}");
            output.print(text, &json!({ "event": "direct", "address": to }));
        }
        Event::Relayed { reason } => output.print(
            format!("relayed: {reason}"),
            &json!({ "event": "relayed", "reason": reason }),
        ),
        Event::Retry { .. } => {}
        // The log on stderr has it for people.
        Event::Down { reason, .. } => output.emit(&json!({ "event": "down", "reason": reason })),
    }
}
