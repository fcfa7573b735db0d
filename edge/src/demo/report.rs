//! What the demo prints.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use super::Parts;
use super::capture::{Capture, Seen};
use super::measure::{Latency, Throughput};
use crate::output::Output;

/// Who takes part.
pub fn parts(parts: &Parts, output: Output) {
    let Parts {
        relay,
        relay_identifier,
        driver,
        outlet_identifier,
        inlet_identifier,
        service,
        ..
    } = parts;
    let text = format!(
        "\
culvert demo: a service that is reached through a relay that cannot read a byte

    client -> inlet edge ======> relay ======> outlet edge -> service

relay        {relay}
             {relay_identifier}  ({driver})
outlet edge  listens nowhere; registers the name \"{name}\" with the relay
             {outlet_identifier}
inlet edge   {inlet_identifier}
service      {service}, connected to by the outlet edge only
",
        name = super::NAME,
    );
    let event = json!({
        "event": "parts",
        "relay": {
            "address": relay.to_string(), "identifier": relay_identifier, "driver": driver,
        },
        "outlet_edge": { "identifier": outlet_identifier, "name": super::NAME },
        "inlet_edge": { "identifier": inlet_identifier },
        "service": service,
    });
    output.print(text, &event);
}

/// One request at three places.
pub fn captured(capture: &Capture, output: Output) {
    let leg = |seen: &Seen| json!({ "payload": hex::encode(&seen.payload), "route": seen.route });
    let event = json!({
        "event": "captured",
        "client": hex::encode(&capture.client),
        "inlet_to_relay": leg(&capture.inlet_leg),
        "relay_to_outlet": leg(&capture.outlet_leg),
        "payload_bytes": capture.payload_len,
        "messages": capture.messages,
        "plaintext_seen": false,
    });
    let text = format!(
        "\
One request, its first bytes at three places (both edges were connected through taps):

client -> inlet   {}
inlet -> relay    {}
relay -> outlet   {}

The relay passed on the {} bytes it got, unchanged: the number of the message (8 bytes), then
AES-256-GCM with keys that only the two edges have. It read where they go:
    from the inlet  {}
    to the outlet   {}
None of the {} messages on both legs holds a piece of the request or of its answer.
",
        dump(&capture.client),
        dump(&capture.inlet_leg.payload),
        dump(&capture.outlet_leg.payload),
        capture.payload_len,
        capture.inlet_leg.route,
        capture.outlet_leg.route,
        capture.messages,
    );
    output.print(text, &event);
}

/// Bytes as digits and as text.
fn dump(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let text: String = bytes
        .iter()
        .map(|byte| match byte {
            0x20..=0x7e => char::from(*byte),
            _ => '.',
        })
        .collect();
    format!("{}  |{text}|", digits.join(" "))
}

/// What was measured, over the whole way and beside it.
pub struct Measured {
    /// Through inlet, relay and outlet.
    pub through: (Option<Latency>, Option<Throughput>),
    /// From the client to the service itself.
    pub direct: (Option<Latency>, Option<Throughput>),
}

/// How fast it was.
pub fn measured(measured: &Measured, output: Output) {
    let micros = |time: Duration| time.as_micros() as u64;
    let figures = |(latency, throughput): (Option<Latency>, Option<Throughput>)| {
        json!({
            "latency": latency.map(|latency| json!({
                "requests": latency.requests,
                "median_us": micros(latency.median),
                "p99_us": micros(latency.p99),
            })),
            "throughput": throughput.map(|throughput| json!({
                "bytes": throughput.bytes,
                "seconds": throughput.time.as_secs_f64(),
                "mb_per_s": throughput.mb_per_s(),
            })),
        })
    };
    let event = json!({
        "event": "measured",
        "through": figures(measured.through),
        "direct": figures(measured.direct),
    });
    let mut text = String::from(
        "Measured without the taps, everything on this machine:\n\n\
         \x20                      latency of a small request     one large answer\n",
    );
    for (name, (latency, throughput)) in [
        ("through the relay", measured.through),
        ("direct", measured.direct),
    ] {
        let latency = latency.map_or_else(
            || "not measured".to_owned(),
            |it| format!("median {}, p99 {}", millis(it.median), millis(it.p99)),
        );
        let throughput = throughput.map_or_else(
            || "not measured".to_owned(),
            |it| {
                let (size, rate) = (it.bytes >> 20, it.mb_per_s());
                format!("{size} MiB at {rate:.0} MB/s")
            },
        );
        text.push_str(&format!("{name:<20}   {latency:<30} {throughput}\n"));
    }
    output.print(text, &event);
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// It can be used now.
pub fn ready(inlet: SocketAddr, is_http: bool, once: bool, output: Output) {
    let command = if is_http {
        format!("curl http://{inlet}/")
    } else {
        format!("psql -h {} -p {}", inlet.ip(), inlet.port())
    };
    let event = json!({ "event": "ready", "inlet": inlet.to_string(), "command": command });
    if once {
        return output.emit(&event);
    }
    let text = if is_http {
        format!("Try it:  {command}\nCtrl-C ends everything.")
    } else {
        format!(
            "Connect a client of the service to {inlet}, for example: {command}\n\
             Ctrl-C ends everything."
        )
    };
    output.print(text, &event);
}
