//! What is served at `/metrics`, looked at by Prometheus and its tools themselves (Debian's
//! `prometheus`).

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use culvert_tests::chain::Chain;
use culvert_tests::net::{connect, echo, eventually, free_address, try_connect};
use culvert_tests::process::Spec;
use culvert_tests::service::Service;
use culvert_tests::{PATIENCE, metrics};
use serde_json::Value;

/// A relay and two edges that have carried something.
fn used_chain(service: &Service) -> (Chain, [SocketAddr; 3]) {
    let chain = Chain::start(service.address());
    echo(&mut connect(chain.address()), b"hello").expect("an echo");
    let served = [
        chain.relay.metrics,
        chain.outlet.metrics,
        chain.inlet.metrics,
    ];
    (chain, served)
}

#[test]
fn names_and_units_are_as_promtool_wants_them() {
    let service = Service::echo();
    let (_chain, served) = used_chain(&service);
    for address in served {
        let text = metrics::text(address);
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool, of Debian's package prometheus");
        let mut input = promtool.stdin.take().expect("piped");
        input.write_all(text.as_bytes()).expect("written");
        drop(input);
        let output = promtool.wait_with_output().expect("promtool ends");
        let says = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && says.is_empty(), "{says}\n{text}");
        let samples = metrics::scrape(address);
        assert!(samples.has("culvert_build_info") && samples.has("process_cpu_seconds_total"));
        assert!(samples.get("process_resident_memory_bytes") > 1e6, "{text}");
    }
    // Opening was timed at both ends, and the relay opens nothing.
    let opened = |at| metrics::scrape(at).get("culvert_stream_open_seconds_count");
    assert_eq!(served.map(opened), [0.0, 1.0, 1.0]);
}

/// What Prometheus answers to a query: values by instance; an empty list while it cannot.
fn ask(prometheus: SocketAddr, query: &str) -> Vec<(String, f64)> {
    let answer = metrics::get(prometheus, &format!("/api/v1/query?query={query}"));
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let answer: Value = serde_json::from_str(body).unwrap_or_default();
    let rows = answer["data"]["result"].as_array().cloned();
    let row = |row: Value| {
        let instance = row["metric"]["instance"].as_str().unwrap_or_default();
        let value = row["value"][1].as_str()?.parse().ok()?;
        Some((instance.to_owned(), value))
    };
    rows.unwrap_or_default()
        .into_iter()
        .filter_map(row)
        .collect()
}

#[test]
fn a_real_prometheus_scrapes_relay_and_edges() {
    let service = Service::echo();
    let (chain, served) = used_chain(&service);
    let directory = tempfile::tempdir().expect("a directory");
    let targets = served.map(|at| format!("'{at}'")).join(", ");
    let config = format!(
        "global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: culvert\n    \
         static_configs:\n      - targets: [{targets}]\n"
    );
    let file = directory.path().join("prometheus.yml");
    fs::write(&file, config).expect("a configuration");
    let at = free_address();
    let _prometheus = Spec::new("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            directory.path().join("data").display()
        ))
        .arg(format!("--web.listen-address={at}"))
        .start("prometheus");
    eventually("Prometheus listens", PATIENCE, || {
        try_connect(at, PATIENCE).map_err(|error| error.to_string())
    });
    let await_rows = |query: &str, count: usize, is_so: fn(f64) -> bool| {
        let (rows, _) = eventually(query, PATIENCE, || {
            let rows = ask(at, query);
            let all = rows.iter().filter(|(_, value)| is_so(*value)).count() == count;
            if all { Ok(rows) } else { Err(rows) }
        });
        rows
    };
    await_rows("up", 3, |up| up == 1.0);
    // The edges have each opened a stream; the relay has passed on what they sent.
    let opened = await_rows("culvert_streams_opened_total", 2, |opened| opened == 1.0);
    let relay = chain.relay.metrics.to_string();
    assert!(opened.contains(&(relay, 0.0)), "{opened:?}");
    await_rows("culvert_messages_total", 3, |messages| messages > 0.0);
    // What an alert would be made of.
    let median = "histogram_quantile(0.5,sum(culvert_stream_open_seconds_bucket)by(le,instance))";
    await_rows(median, 2, |seconds| seconds > 0.0 && seconds <= 10.0);
    // It follows what happens.
    echo(&mut connect(chain.address()), b"again").expect("an echo");
    await_rows("culvert_streams_opened_total", 2, |opened| opened == 2.0);
}
