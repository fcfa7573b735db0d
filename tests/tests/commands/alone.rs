//! Commands that need no node.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use culvert_tests::transcript::Machine;

#[test]
fn identities() {
    let mut machine = Machine::new();
    machine.fails(4, "identity show");
    machine.run("identity create");
    machine.json("identity create second");
    machine.fails(5, "identity create second");
    machine.both("identity list");
    machine.both("identity list --imported");
    machine.both("identity show second");
    machine.run("identity show -f");
    machine.both("identity default");
    machine.fails(2, "identity delete second");
    machine.run("identity delete second -y");
    machine.json("identity list");
    machine.check("identity");
}

#[test]
fn vaults() {
    let mut machine = Machine::new();
    machine.run("vault create safe");
    machine.fails(5, "vault create safe");
    machine.both("vault list");
    machine.both("vault show safe");
    machine.json("vault delete safe");
    machine.both("vault list");
    machine.fails(4, "vault show safe");
    machine.check("vault");
}

#[test]
fn policies() {
    let mut machine = Machine::new();
    machine.both("policy list");
    machine.run("policy create --resource-type tcp-outlet --expression '(= subject.postgres-inlet \"true\")'");
    machine.json("policy create --resource db --allow web");
    machine.json("policy create --resource db 'web and not trial'");
    machine.both("policy list");
    machine.both("policy list db");
    machine.both("policy show db");
    machine.both("policy show --resource-type tcp-outlet");
    machine.fails(2, "policy create --resource db --allow 'and and'");
    machine.fails(4, "policy list --at nowhere");
    machine.run("policy delete db -y");
    machine.fails(4, "policy delete --resource db");
    machine.fails(4, "policy show db");
    machine.check("policy");
}

#[test]
fn credentials() {
    let mut machine = Machine::new();
    machine.both("credential list");
    machine.run("identity create");
    machine.run("identity create boss");
    let me = machine.json("identity show");
    let me = me["identifier"].as_str().expect("identifier").to_owned();
    let boss = machine.run("identity export boss");
    let issue = format!("credential issue --as boss --for {me} -a role=web");
    let credential = machine.run(&issue);
    machine.json(&issue);
    machine.json(&format!("credential show {credential}"));
    machine.json(&format!(
        "credential verify {credential} --authority {boss}"
    ));
    machine.json(&format!("credential store {credential} --authority {boss}"));
    machine.json("credential list");
    machine.check("credential");
}

#[test]
fn without_a_node() {
    let mut machine = Machine::new();
    for noun in [
        "tcp-inlet",
        "tcp-outlet",
        "relay",
        "secure-channel",
        "tcp-listener",
    ] {
        machine.fails(4, &format!("{noun} list"));
    }
    machine.fails(4, "tcp-connection list --at other");
    machine.fails(4, "service list");
    machine.fails(4, "worker list");
    machine.fails(4, "message send hello --to /service/echo");
    machine.fails(4, "events");
    machine.fails(4, "reload");
    machine.fails(4, "node show other");
    machine.fails(4, "node start");
    machine.fails(4, "stop");
    machine.fails(4, "logs");
    machine.both("node list");
    machine.both("status");
    machine.fails(2, "enroll");
    machine.fails(2, "enroll 'no ticket'");
    machine.both("project list");
    machine.fails(4, "project show");
    machine.fails(4, "project information");
    machine.fails(4, "project ticket");
    machine.fails(4, "project-member list");
    machine.check("without-a-node");
}

#[test]
fn the_state_directory() {
    let mut machine = Machine::new();
    machine.run("identity create");
    machine.run("policy create --resource db --allow web");
    let (copy, other) = (machine.beside().join("copy"), machine.beside().join("none"));
    let (copy, other) = (copy.display().to_string(), other.display().to_string());
    let before = machine.json("identity show");
    machine.run(&format!("backup {copy}"));
    machine.fails(5, &format!("backup {copy}"));
    for entry in fs::read_dir(&copy).expect("a backup").flatten() {
        let mode = entry.metadata().expect("data").permissions().mode() & 0o077;
        assert_eq!(mode, 0, "{:?} is for its owner only", entry.path());
    }
    machine.fails(5, &format!("restore {copy}"));
    machine.fails(4, &format!("restore {other}"));
    machine.fails(2, "reset");
    machine.run("reset --yes");
    machine.both("status");
    machine.json(&format!("restore {copy}"));
    assert_eq!(machine.json("identity show"), before);
    machine.run("policy list");
    machine.run("identity create second");
    machine.run(&format!("restore --force {copy}"));
    machine.run("identity list");
    machine.fails(5, &format!("restore --force {copy}"));
    // A backup that is damaged is not taken.
    let damaged = machine.beside().join("copy/culvert.db");
    fs::write(&damaged, "SQLite format 3\0 but no more").expect("write");
    fs::remove_dir_all(machine.home().join("before-restore")).expect("remove");
    machine.exits(1, &format!("restore --force {copy}"));
    machine.run("identity list");
    machine.check("state-directory");
}

#[test]
fn shells_and_pages() {
    let mut machine = Machine::new();
    for (shell, part) in [
        ("bash", "_culvert__edge()"),
        ("zsh", "#compdef culvert-edge"),
        ("fish", "complete -c culvert-edge"),
    ] {
        let script = machine.run(&format!("completion {shell}"));
        assert!(
            script.contains(part) && script.contains("tcp-inlet"),
            "{shell}"
        );
    }
    assert!(machine.json("completion --shell bash")["script"].is_string());
    let pages = machine.beside().join("man1");
    machine.run(&format!("manpages --dir {}", pages.display()));
    for page in [
        "culvert-edge",
        "culvert-edge-tcp-inlet-create",
        "culvert-edge-node-stop",
    ] {
        let text = fs::read_to_string(pages.join(format!("{page}.1"))).expect(page);
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
    let said = machine.run("environment");
    for name in [
        "CULVERT_HOME",
        "CULVERT_PASSPHRASE",
        "ENROLLMENT_TICKET",
        "NO_COLOR",
    ] {
        assert!(said.contains(name), "{said}");
    }
    let all = machine.json("environment");
    let home = all.as_array().expect("a list").iter();
    let home = home.filter(|one| one["name"] == "CULVERT_HOME").count();
    assert_eq!(home, 1, "{all}");
}

#[test]
fn secrets_are_not_shown() {
    let machine = Machine::new();
    let output = culvert_tests::chain::Edge::command(&machine.home())
        .env("CULVERT_PASSPHRASE", "correct horse battery")
        .env("ENROLLMENT_TICKET", "a secret ticket")
        .arg("environment")
        .run();
    assert!(!output.contains("correct horse") && !output.contains("a secret ticket"));
    assert_eq!(output.matches("(set)").count(), 2, "{output}");
}
