//! PostgreSQL behind every contender.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use culvert_tests::PATIENCE;
use culvert_tests::postgres::{self, Postgres};

use super::Run;
use crate::contender::Contender;
use crate::load::{Figures, Meter, Outcome};

const SECTION: &str = "PostgreSQL";

/// Name of the work of `pgbench -S`.
pub fn select_name(clients: u32) -> String {
    format!("pgbench -S, {clients} clients")
}

pub(super) fn postgres(run: &mut Run<'_>) {
    if !Postgres::is_installed() {
        run.report
            .leave_out("PostgreSQL: not installed here (Debian: postgresql)".to_owned());
        return;
    }
    let server = Postgres::start();
    let scale = run.quick_or("10", "1");
    let init = postgres::pgbench(server.address()).args(["-i", "-q", "-s", scale]);
    init.run();
    let kinds = run.settings.kinds().into_iter();
    let contenders: Vec<_> = kinds
        .map(|kind| kind.start(run.settings, server.address()))
        .collect();
    // pgbench knows whole seconds, or a number of transactions of each client.
    let seconds = run.settings.seconds.ceil().to_string();
    let long = run.quick_or(["-T", &seconds], ["-t", "20"]);
    for clients in [1, 8, 64] {
        let name = select_name(clients);
        run.rounds(SECTION, &name, &contenders, |contender| {
            pgbench(contender, "-S", clients, long)
        });
    }
    let clients = 8;
    let name = format!("pgbench TPC-B, {clients} clients");
    run.rounds(SECTION, &name, &contenders, |contender| {
        pgbench(contender, "-btpcb-like", clients, long)
    });
    copies(run, &server, &contenders);
}

fn copies(run: &mut Run<'_>, server: &Postgres, contenders: &[Contender]) {
    let rows: u64 = run.quick_or(400_000, 10_000);
    let line = "repeat(md5(n::text), 8)";
    server.sql(&format!(
        "CREATE TABLE copied AS SELECT n, {line} AS text FROM generate_series(1, {rows}) n"
    ));
    server.sql("CREATE TABLE copies (n int, text text)");
    let directory = tempfile::tempdir().expect("directory");
    let [original, file] = ["original", "copy"].map(|name| directory.path().join(name));
    let [from, to] = [&original, &file].map(|file| file.to_str().expect("a path of UTF-8"));
    let sum = "SELECT sum(hashtext(text)::bigint) FROM";
    let expected = server.sql(&format!("{sum} copied"));
    postgres::psql(server.address())
        .args(["-c", &format!("\\copy copied TO '{from}'")])
        .run();
    let wanted = content(&original);
    assert_eq!(wanted.0, rows, "rows of the table");
    run.rounds(SECTION, "COPY TO", contenders, |contender| {
        let command = format!("\\copy copied TO '{to}'");
        let figures = copy(contender, &command, || {
            fs::metadata(&file).map_or(0, |file| file.len())
        })?;
        assert_eq!(content(&file), wanted, "{}: other rows", contender.name());
        Ok(figures)
    });
    let length = fs::metadata(&original).map_or(0, |file| file.len());
    run.rounds(SECTION, "COPY FROM", contenders, |contender| {
        server.sql("TRUNCATE copies");
        let figures = copy(contender, &format!("\\copy copies FROM '{from}'"), || {
            length
        })?;
        let arrived = server.sql(&format!("{sum} copies"));
        assert_eq!(
            arrived,
            expected,
            "{}: other rows arrived",
            contender.name()
        );
        Ok(figures)
    });
}

/// How many lines a file has, and what they are, in any order: that of a table is not fixed.
fn content(file: &Path) -> (u64, u64) {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().fold((0, 0), |(count, sum), line| {
        let mut hasher = DefaultHasher::new();
        line.hash(&mut hasher);
        (count + 1, sum.wrapping_add(hasher.finish()))
    })
}

/// Runs a command of psql that moves as many bytes as `length` says then.
fn copy(contender: &Contender, command: &str, length: impl FnOnce() -> u64) -> Outcome<Figures> {
    let meter = Meter::start(contender);
    let output = postgres::psql(contender.address)
        .args(["-c", command])
        .output(PATIENCE);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let megabytes = length() as f64 / 1e6;
    let (took, used) = meter.stop(megabytes / 1e3, "ms per GB", 1e3);
    let mut figures = vec![("MB/s".to_owned(), megabytes / took)];
    figures.extend(used);
    Ok(figures)
}

/// Runs a script of pgbench.
fn pgbench(contender: &Contender, script: &str, clients: u32, long: [&str; 2]) -> Outcome<Figures> {
    let meter = Meter::start(contender);
    let output = postgres::pgbench(contender.address)
        .args(["-n", script, "-c", &clients.to_string()])
        .args(["-j", &clients.min(2).to_string()])
        .args(long)
        .output(PATIENCE * 10);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("pgbench: {text}{errors}"));
    }
    let figure = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        // Some have what was wanted behind a slash.
        let number = line.and_then(|rest| rest.split([' ', '/']).next());
        number
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("no `{name}` in: {text}"))
    };
    let count = figure("number of transactions actually processed: ");
    let (_, used) = meter.stop(count, "us each", 1e6);
    let mut figures = vec![
        (TPS.to_owned(), figure("tps = ")),
        ("mean latency ms".to_owned(), figure("latency average = ")),
    ];
    figures.extend(used);
    Ok(figures)
}

/// Name of the figure of transactions in a second.
pub const TPS: &str = "tps";
