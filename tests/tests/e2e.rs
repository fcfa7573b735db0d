//! Real data through the whole way: inlet edge, relay, outlet edge, in front of real PostgreSQL.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use culvert_tests::chain::{Chain, Relay};
use culvert_tests::net::{self, Pattern};
use culvert_tests::postgres::{self, Postgres};
use culvert_tests::service::Service;
use culvert_tests::taps::tapped;
use culvert_tests::{PATIENCE, alone};
use sha2::{Digest, Sha256};

/// Length of a row of the bulk table: 1 KiB in text form, newline included.
const ROW: usize = 1024;
/// Rows of the bulk table: 256 MiB in all.
const ROWS: usize = 256 * 1024;

fn started() -> (Postgres, Chain) {
    let postgres = Postgres::start();
    let chain = Chain::start(postgres.address());
    (postgres, chain)
}

#[test]
fn psql_queries() {
    let _turn = alone();
    let (postgres, chain) = started();
    assert_eq!(postgres::sql(chain.address(), "select 6 * 7"), "42");

    // What one side writes the other reads.
    postgres::sql(chain.address(), "create table t (n int, s text)");
    postgres::sql(
        chain.address(),
        "insert into t select n, md5(n::text) from generate_series(1, 10000) n",
    );
    let sum = "select count(*), sum(n), md5(string_agg(s, '' order by n)) from t";
    assert_eq!(postgres::sql(chain.address(), sum), postgres.sql(sum));

    // A result of many megabytes in one answer, and a question of one megabyte.
    let wide = postgres::sql(chain.address(), "select repeat('x', 8 * 1024 * 1024)");
    assert_eq!(wide.len(), 8 * 1024 * 1024);
    let question = format!("select length('{}')", "y".repeat(1024 * 1024));
    let file = tempfile::NamedTempFile::new().expect("file");
    fs::write(file.path(), question).expect("write a file");
    let length = postgres::psql(chain.address())
        .arg("-f")
        .arg(file.path())
        .run();
    assert_eq!(length.trim(), "1048576");

    // An error is the server's own, and the connection ends as psql wants it to.
    let failed = postgres::try_sql(chain.address(), "select no_such_column", PATIENCE);
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("no_such_column"));

    // A notification arrives while the client only waits.
    let script = "listen news; select pg_notify('news', 'hello'); select 1;";
    let out = postgres::psql(chain.address()).args(["-c", script]).run();
    assert!(out.contains("news"), "{out}");
}

#[test]
fn pgbench_reads_and_writes() {
    let _turn = alone();
    let (postgres, chain) = started();
    postgres::pgbench(postgres.address())
        .args(["-i", "-q", "-s", "2"])
        .run();
    for mode in [&["-S"][..], &["-N"], &[]] {
        let out = postgres::pgbench(chain.address())
            .args(["-c", "8", "-j", "2", "-t", "200", "-n"])
            .args(mode)
            .run();
        assert!(
            out.contains("actually processed: 1600/1600"),
            "{mode:?}: {out}"
        );
    }
    let balances = "select (select sum(abalance) from pgbench_accounts) \
                    = (select sum(delta) from pgbench_history)";
    assert_eq!(postgres.sql(balances), "t");
}

#[test]
fn two_hundred_sessions_at_once() {
    let _turn = alone();
    let (postgres, chain) = started();
    postgres::pgbench(postgres.address())
        .args(["-i", "-q"])
        .run();
    let out = postgres::pgbench(chain.address())
        .args(["-S", "-c", "200", "-j", "2", "-t", "20", "-n"])
        .run();
    assert!(out.contains("actually processed: 4000/4000"), "{out}");
    // They were there at the same time, and all are gone again.
    net::eventually("sessions end", PATIENCE, || {
        let left = postgres
            .sql("select count(*) - 1 from pg_stat_activity where backend_type = 'client backend'");
        if left == "0" { Ok(()) } else { Err(left) }
    });
}

/// Rows of lower-case hexadecimal text, each of them [`ROW`] bytes with its newline.
struct Rows {
    pattern: Pattern,
    hash: Sha256,
}

impl Rows {
    fn new() -> Self {
        Self {
            pattern: Pattern::new(2),
            hash: Sha256::new(),
        }
    }

    fn write(&mut self, out: &mut impl Write, rows: usize) -> io::Result<()> {
        let mut random = [0; ROW / 2];
        let mut text = Vec::with_capacity(ROW * rows);
        for _ in 0..rows {
            self.pattern.fill(&mut random);
            text.extend_from_slice(hex::encode(random).as_bytes());
            text.truncate(text.len() - 1);
            text.push(b'\n');
        }
        self.hash.update(&text);
        out.write_all(&text)
    }
}

fn file_hash(path: &Path) -> (u64, [u8; 32]) {
    let mut file = File::open(path).expect("open a file");
    net::digest(&mut file).expect("read a file")
}

#[test]
fn copy_256_mib_each_way() {
    let _turn = alone();
    let (postgres, chain) = started();
    postgres.sql("create unlogged table bulk (line text)");
    let directory = tempfile::tempdir().expect("directory");
    let (up, down) = (directory.path().join("up"), directory.path().join("down"));

    let mut file = File::create(&up).expect("create a file");
    let mut rows = Rows::new();
    for _ in 0..ROWS / 256 {
        rows.write(&mut file, 256).expect("write a file");
    }
    let sent: [u8; 32] = rows.hash.finalize().into();
    let whole = ((ROW * ROWS) as u64, sent);
    assert_eq!(file_hash(&up), whole, "the file to send");

    let copy = |address, way: &str, file: &Path| {
        let command = format!("\\copy bulk {way} '{}'", file.display());
        let copied = postgres::psql(address)
            .args(["-c", &command])
            .output(5 * PATIENCE);
        let errors = String::from_utf8_lossy(&copied.stderr);
        assert!(copied.status.success(), "{command}: {errors}");
    };
    // Up through the chain, back over a direct connection; and down through the chain.
    copy(chain.address(), "from", &up);
    for (address, what) in [(postgres.address(), "up"), (chain.address(), "down")] {
        copy(address, "to", &down);
        assert_eq!(file_hash(&down), whole, "what arrived going {what}");
        fs::remove_file(&down).expect("remove a file");
    }
}

#[test]
fn a_query_can_be_cancelled() {
    let _turn = alone();
    let (postgres, chain) = started();
    // psql cancels over a second connection when it gets SIGINT.
    let psql = postgres::psql(chain.address())
        .args(["-c", "select 'started'", "-c", "select pg_sleep(600)"])
        .start("psql");
    net::eventually("the query runs", PATIENCE, || {
        let running = postgres.sql(
            "select count(*) from pg_stat_activity where query like 'select pg_sleep%' \
             and state = 'active'",
        );
        if running == "1" { Ok(()) } else { Err(running) }
    });
    psql.signal(rustix::process::Signal::INT);
    let mut psql = psql;
    assert_eq!(psql.exit_status().code(), Some(1));
    assert!(psql.log().contains("canceling statement"), "{}", psql.log());
}

#[test]
fn the_relay_carries_only_ciphertext() {
    let _turn = alone();
    let service = Service::echo();
    let mut taps = Vec::new();
    let chain = Chain::with_relay(Relay::start(&[]), service.address(), tapped(&mut taps));
    let marker = b"the quick brown fox jumps over the lazy dog";
    let mut text = marker.repeat(2000);
    let mut client = net::connect(chain.address());
    net::echo(&mut client, &text).expect("echo");
    text.truncate(16);

    for tap in &taps {
        let frames = tap.recorded();
        let carried: usize = frames.iter().map(|frame| frame.message.len()).sum();
        assert!(
            carried > 2 * 2000 * marker.len(),
            "the data went this way: {carried} bytes"
        );
        for frame in &frames {
            assert!(
                !frame
                    .message
                    .windows(text.len())
                    .any(|window| window == text),
                "plaintext on a leg of the relay"
            );
        }
    }
    // The largest ciphertext of the first leg leaves on the other leg as it came.
    let tail = |message: &[u8]| message[message.len() - 1024..].to_vec();
    let [first, second] = [0, 1].map(|i| {
        let frames = taps[i].recorded();
        let large = frames
            .into_iter()
            .filter(|frame| frame.message.len() > 4096);
        large.map(|frame| tail(&frame.message)).collect::<Vec<_>>()
    });
    assert!(!first.is_empty());
    assert!(
        first.iter().all(|payload| second.contains(payload)),
        "the relay changed a payload"
    );
}

#[test]
fn an_idle_connection_stays() {
    let _turn = alone();
    let service = Service::echo();
    let chain = Chain::start(service.address());
    let mut client = net::connect(chain.address());
    net::echo(&mut client, b"before").expect("echo");
    // Nothing to await: that nothing happens is what is tested.
    client
        .set_read_timeout(Some(Duration::from_secs(3)))
        .expect("limit");
    let error = client.read(&mut [0]).expect_err("nothing comes");
    assert!(net::is_timeout(&error), "{error}");
    client.set_read_timeout(Some(PATIENCE)).expect("limit");
    net::echo(&mut client, b"after").expect("echo");
}
