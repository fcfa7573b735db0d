//! Vaults in AWS KMS, beside a server of its protocol that is not ours: that of the Python package moto,
//! started by `moto_kms.py`.
//!
//! Run by `./check test-kms`, which builds the program with the feature `aws-kms`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};

use culvert_crypto::identity::Identity;
use culvert_crypto::vault::KeyType;
use serde_json::{Value, json};
use tempfile::TempDir;

const REGION: &str = "eu-central-1";

/// A server that speaks the protocol of AWS KMS, with no keys at first.
struct Moto {
    process: Child,
    address: SocketAddr,
}

impl Moto {
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/moto_kms.py");
        let mut process = Command::new("python3")
            .arg(script)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // What it starts itself ends with it.
            .process_group(0)
            .spawn()
            .expect("python3");
        // It picks the port itself: one that was free a moment ago may be another test's by now.
        let stdout = process.stdout.take().expect("a pipe");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let port: u16 = line
            .trim()
            .parse()
            .expect("a port: python3 needs moto, `pip install 'moto[server]'`");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { process, address }
    }

    /// Calls an operation by hand.
    fn call(&self, operation: &str, body: &Value) -> Value {
        let body = body.to_string();
        let mut stream = TcpStream::connect(self.address).expect("connect");
        write!(
            stream,
            "POST / HTTP/1.0\r\nHost: kms.{REGION}.amazonaws.com\r\nConnection: close\r\n\
             Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: TrentService.{operation}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/kms/aws4_request, \
             SignedHeaders=host, Signature=0\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    fn describe(&self, key: &str) -> Value {
        self.call("DescribeKey", &json!({ "KeyId": key }))["KeyMetadata"].clone()
    }

    /// All keys that are not about to be deleted.
    fn keys(&self) -> Vec<String> {
        let keys = self.call("ListKeys", &json!({}));
        let keys = keys["Keys"].as_array().expect("keys").iter();
        keys.map(|key| key["KeyId"].as_str().expect("an id").to_owned())
            .filter(|id| self.describe(id)["KeyState"] == "Enabled")
            .collect()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let group = i32::try_from(self.process.id()).ok();
        if let Some(group) = group.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.process.wait();
    }
}

/// The program, with credentials that are good for moto.
struct Program {
    home: TempDir,
    endpoint: String,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

impl Program {
    fn new(moto: &Moto) -> Self {
        Self {
            home: tempfile::tempdir().expect("directory"),
            endpoint: format!("http://{}", moto.address),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_culvert-edge"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .env("CULVERT_HOME", self.home.path().join("home"))
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", REGION)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("run")
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
        text(&output.stdout).trim().to_owned()
    }

    fn fails(&self, arguments: &[&str], expected: &[&str]) {
        let output = self.run(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        for part in expected {
            assert!(said.contains(part), "{arguments:?}: {said}");
        }
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--output", "json"]].concat();
        serde_json::from_str(&self.ok(&arguments)).expect("JSON")
    }

    /// Ids of the keys in the vault.
    fn keys(&self) -> Vec<String> {
        let shown = self.json(&["vault", "show", "--name", "k"]);
        let keys = shown["keys"].as_array().expect("keys");
        let id = |key: &Value| key["key"].as_str().expect("an id").to_owned();
        keys.iter().map(id).collect()
    }

    fn identity(&self, name: &str) -> Identity {
        let history = self.ok(&["identity", "export", name]);
        Identity::verify(&hex::decode(history).expect("digits"), None).expect("a valid history")
    }
}

const CREATE: [&str; 5] = ["vault", "create", "--name", "k", "--kms"];

#[test]
fn an_identity_lives_in_kms() {
    let moto = Moto::start();
    let program = Program::new(&moto);
    program.ok(&CREATE);
    assert!(moto.keys().is_empty());
    let create = ["identity", "create", "--name", "x", "--vault", "k"];
    let identifier = program.ok(&create);
    let identity = program.identity("x");
    assert_eq!(identity.identifier().to_string(), identifier);
    assert_eq!(KeyType::of(&identity.latest().key), KeyType::P256);
    let [first] = &program.keys()[..] else {
        panic!("one key was expected")
    };
    let described = moto.describe(first);
    assert_eq!(described["KeySpec"], "ECC_NIST_P256", "{described}");
    assert_eq!(described["KeyUsage"], "SIGN_VERIFY");
    assert_eq!(described["KeyState"], "Enabled");
    assert_ne!(described["MultiRegion"], true);

    assert_eq!(
        program.ok(&["identity", "rotate", "--name", "x"]),
        identifier
    );
    let rotated = program.identity("x");
    assert_eq!(rotated.change_hashes().len(), 2);
    let [second] = &program.keys()[..] else {
        panic!("one key was expected")
    };
    assert_ne!(first, second);
    assert_eq!(moto.describe(first)["KeyState"], "PendingDeletion");
    assert_eq!(moto.describe(second)["KeyState"], "Enabled");

    let delete = ["vault", "delete", "--name", "k"];
    program.fails(&delete, &["used by 'x'", "--force"]);
    program.fails(
        &[&delete[..], &["--key", second]].concat(),
        &["used by 'x'"],
    );
    assert_eq!(moto.describe(second)["KeyState"], "Enabled");
    program.ok(&["identity", "delete", "--name", "x", "--yes"]);
    assert_eq!(moto.describe(second)["KeyState"], "PendingDeletion");
    assert!(program.keys().is_empty());
    program.ok(&delete);
}

#[test]
fn keys_that_exist_are_used_if_they_fit() {
    let moto = Moto::start();
    let program = Program::new(&moto);
    let new = |spec: &str, usage: &str| {
        let body = json!({ "KeySpec": spec, "KeyUsage": usage });
        let made = moto.call("CreateKey", &body)["KeyMetadata"]["KeyId"].clone();
        made.as_str().expect("an id").to_owned()
    };
    let good = new("ECC_NIST_P256", "SIGN_VERIFY");
    for (spec, usage) in [
        ("RSA_2048", "SIGN_VERIFY"),
        ("ECC_NIST_P384", "SIGN_VERIFY"),
        ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
    ] {
        let bad = new(spec, usage);
        program.fails(&[&CREATE[..], &["--kms-key", &bad]].concat(), &["AWS KMS"]);
    }
    let nothing = "00000000-0000-0000-0000-000000000000";
    let missing = [&CREATE[..], &["--kms-key", nothing]].concat();
    program.fails(&missing, &["GetPublicKey", "check region and account"]);
    assert_eq!(program.ok(&["vault", "list"]), "NAME  KEYS");

    program.ok(&[&CREATE[..], &["--kms-key", &good]].concat());
    let keys = program.keys();
    assert_eq!(keys.len(), 1);
    assert!(keys[0].ends_with(&good), "{keys:?}");
    let create = ["identity", "create", "--name", "x", "--vault", "k"];
    program.ok(&[&create[..], &["--key", &keys[0]]].concat());
    program.identity("x");
    assert_eq!(program.keys(), keys);
    let ed25519 = ["--type", "ed25519"];
    let create = ["identity", "create", "--name", "y", "--vault", "k"];
    program.fails(
        &[&create[..], &ed25519].concat(),
        &["Ed25519", "--type p256"],
    );
}

#[test]
fn the_file_of_a_vault_in_kms_is_encrypted_too() {
    let moto = Moto::start();
    let program = Program::new(&moto);
    let run = |arguments: &[&str], words: &str| {
        let mut command = program.command(arguments);
        command
            .env("CULVERT_PASSPHRASE", words)
            .output()
            .expect("run")
    };
    let region = ["--kms-region", "us-east-1", "--kms-multi-region"];
    assert!(
        run(&[&CREATE[..], &region].concat(), "right words")
            .status
            .success()
    );
    let create = ["identity", "create", "--name", "x", "--vault", "k"];
    let refused = run(&create, "wrong words");
    assert!(
        text(&refused.stderr).contains("does not open"),
        "{refused:?}"
    );
    assert!(run(&create, "right words").status.success());
    program.fails(
        &["identity", "rotate", "--name", "x"],
        &["CULVERT_PASSPHRASE"],
    );
    assert!(
        run(&["identity", "rotate", "--name", "x"], "right words")
            .status
            .success()
    );
    assert_eq!(program.identity("x").change_hashes().len(), 2);
    // Another region has other keys.
    assert!(moto.keys().is_empty());
    let shown = program.json(&["vault", "show", "--name", "k"]);
    assert_eq!(shown["service"]["multi_region"], true);
}

#[test]
fn what_goes_wrong_is_told_and_breaks_nothing() {
    let moto = Moto::start();
    let mut program = Program::new(&moto);
    program.ok(&CREATE);
    program.ok(&["identity", "create", "--name", "x", "--vault", "k"]);
    let before = program.identity("x");
    let keys = program.keys();

    // Somebody else deletes the key: it may be too late, or not.
    let id = json!({ "KeyId": keys[0] });
    moto.call("ScheduleKeyDeletion", &id);
    let rotate = ["identity", "rotate", "--name", "x"];
    program.fails(
        &rotate,
        &["KMSInvalidStateException", "cancel its deletion"],
    );
    assert_eq!(program.identity("x"), before);
    assert_eq!(program.keys(), keys);
    // The key that was made for the rotation is not left behind.
    assert!(moto.keys().is_empty());
    moto.call("CancelKeyDeletion", &id);
    moto.call("EnableKey", &id);

    // Nobody answers: what was there stays, and a portal starts all the same.
    let endpoint = std::mem::replace(&mut program.endpoint, "http://127.0.0.1:1".into());
    program.fails(&rotate, &["AWS KMS: CreateKey", "reaches AWS KMS"]);
    assert_eq!(program.identity("x"), before);
    assert_eq!(program.keys(), keys);
    let outlet = [
        "outlet",
        "--relay",
        "127.0.0.1:1",
        "--name",
        "db",
        "--to",
        "127.0.0.1:1",
    ];
    let outlet = [
        &outlet[..],
        &["--allow-any", "--identity", "x", "--shards", "1"],
    ]
    .concat();
    let mut portal = program.command(&outlet);
    let mut portal = portal
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("run");
    let mut said = [0; 9];
    let mut output = portal.stdout.take().expect("stdout");
    output.read_exact(&mut said).expect("it starts");
    assert_eq!(&said, b"outlet as");
    portal.kill().expect("kill");
    portal.wait().expect("wait");

    program.endpoint = endpoint;
    program.ok(&rotate);
    assert_ne!(program.identity("x"), before);
    assert_eq!(moto.keys(), program.keys());
}
