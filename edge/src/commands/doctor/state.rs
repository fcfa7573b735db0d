//! The state directory: who may read it, whether it is whole, and the nodes in it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use culvert_node::store::database::Database;
use culvert_node::store::nodes::StoredNode;
use culvert_proto::policy::{Mode, Policy};
use rustix::process::geteuid;
use serde_json::Value;

use super::Findings;
use crate::commands::node::look;
use crate::commands::resource::cell;
use crate::failure::Failure;
use crate::policy::lint;
use crate::store::Store;

/// Whether there is anything to look at.
pub(super) fn directory(store: &Store, found: &mut Findings) -> bool {
    let home = store.home();
    let what = "state directory";
    let shown = home.display();
    let data = match fs::metadata(home) {
        Ok(data) => data,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let message = format!("{shown} does not exist: nothing was made yet");
            let hint = "`culvert-edge project enroll TICKET` or `culvert-edge node create`";
            found.notice(what, message, hint);
            return false;
        }
        Err(error) => {
            let hint = "name another one with --home, or use the user it belongs to";
            found.wrong(what, format!("{shown} cannot be used: {error}"), hint);
            return false;
        }
    };
    let mode = data.permissions().mode() & 0o777;
    if data.uid() != geteuid().as_raw() {
        let hint = "run this as the user that the nodes run as";
        found.notice(
            what,
            format!("{shown} belongs to user {}", data.uid()),
            hint,
        );
    } else if mode & 0o077 != 0 {
        let message = format!("{shown} has mode {mode:04o}: others may look into it");
        found.wrong(what, message, format!("run `chmod 700 {shown}`"));
    } else {
        found.fine(what, format!("{shown} is for its owner only"));
    }
    for part in ["identities", "vaults"] {
        secrets(&home.join(part), found);
    }
    true
}

/// Files with secrets that others may read.
fn secrets(directory: &Path, found: &mut Findings) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        let mode = entry.metadata().map_or(0, |data| data.permissions().mode());
        if mode & 0o077 != 0 {
            let shown = entry.path().display().to_string();
            let message = format!("{shown} has mode {:04o} and holds secrets", mode & 0o777);
            found.wrong("secrets", message, format!("run `chmod 600 {shown}`"));
        }
    }
}

pub(super) fn database(store: &Store, found: &mut Findings) {
    let checked = Database::open(store.home()).and_then(|mut db| db.check_integrity());
    match checked {
        Ok(None) => found.fine("database", "whole"),
        Ok(Some(what)) => {
            let hint = "restore a backup with `culvert-edge restore`";
            found.wrong("database", format!("it is damaged: {what}"), hint);
        }
        Err(error) => found.failed("database", error),
    }
}

pub(super) fn identities(store: &Store, found: &mut Findings) {
    let names = match store.names() {
        Ok(names) => names,
        Err(error) => return found.failed("identities", error),
    };
    for name in names {
        let what = format!("identity {name}");
        let opened = store.entry(&name).map_err(Failure::from).and_then(|entry| {
            let with = match entry.vault() {
                Some(vault) => store.vault_header(vault)?.with,
                None => None,
            };
            // Nobody is asked for a passphrase here.
            match with.is_none_or(|with| store.given() == Some(with)) {
                true => {
                    store.load(&name)?.endpoint()?;
                    Ok(Some(entry.identifier()))
                }
                false => Ok(None),
            }
        });
        match opened {
            Ok(Some(identifier)) => found.fine(what, identifier),
            Ok(None) => found.notice(
                what,
                "its vault is encrypted and was not opened",
                "pass --passphrase-file or --key-file to have it tried",
            ),
            Err(failure) => found.failed(what, failure),
        }
    }
}

pub(super) fn policies(store: &Store, found: &mut Findings) {
    let policies = Database::open(store.home()).and_then(|mut db| db.policies());
    let policies = match policies {
        Ok(policies) => policies,
        Err(error) => return found.failed("policies", error),
    };
    for (scope, text) in &policies {
        let what = format!("policy of {scope}");
        let policy = match Policy::parse(text, Mode::Strict) {
            Ok(policy) => policy,
            Err(error) => {
                let hint = "set it again with `culvert-edge policy create`";
                found.wrong(
                    what,
                    format!("it cannot be read, and lets nobody in: {error}"),
                    hint,
                );
                continue;
            }
        };
        let warnings = lint::warnings(&policy, scope);
        for warning in &warnings {
            found.notice(&what, warning, "see `culvert-edge policy check --explain`");
        }
        if text.trim() == "false" {
            let hint = "set another one with `culvert-edge policy create`, if that is not meant";
            found.notice(&what, "it lets nobody in", hint);
        } else if warnings.is_empty() {
            found.fine(what, text);
        }
    }
}

pub(super) fn nodes(store: &Store, found: &mut Findings) {
    let nodes = Database::open(store.home()).and_then(|mut db| db.nodes());
    let nodes = match nodes {
        Ok(nodes) => nodes,
        Err(error) => return found.failed("nodes", error),
    };
    for node in &nodes {
        match look(store, node) {
            Ok(view) => of_node(node, &view, found),
            Err(failure) => found.failed(format!("node {}", node.name), failure),
        }
    }
}

fn of_node(node: &StoredNode, view: &Value, found: &mut Findings) {
    let what = format!("node {}", node.name);
    let start = format!("start it with `culvert-edge node start {}`", node.name);
    match (cell(view, "state").as_str(), node.wanted) {
        ("running", _) => found.fine(&what, format!("runs as process {}", cell(view, "pid"))),
        ("stopped", true) => found.wrong(&what, "it is to run, and does not", start),
        ("stopped", false) => return found.fine(&what, "it was stopped"),
        (state, _) => {
            let hint = format!("see its log: `culvert-edge node logs {} -n 50`", node.name);
            return found.wrong(&what, format!("it is {state}"), hint);
        }
    }
    for kind in [
        "relays",
        "tcp-inlets",
        "tcp-outlets",
        "secure-channels",
        "tcp-connections",
    ] {
        for resource in view[kind].as_array().into_iter().flatten() {
            of_resource(&what, kind.trim_end_matches('s'), resource, found);
        }
    }
}

fn of_resource(node: &str, kind: &str, resource: &Value, found: &mut Findings) {
    let what = format!("{node}, {kind} {}", cell(resource, "name"));
    if cell(resource, "state") == "down" {
        let hint = match kind {
            "tcp-listener" => "end what uses the address, or delete the listener",
            _ => {
                "it is tried again: see that what it leads to runs, that its address is right, and that no \
                 firewall is in between"
            }
        };
        found.wrong(&what, format!("down: {}", cell(resource, "reason")), hint);
    }
    if cell(resource, "policy") == "false" || cell(resource, "policy").starts_with("nobody") {
        let hint = format!(
            "allow somebody: `culvert-edge policy create --resource {} EXPRESSION`",
            cell(resource, "name")
        );
        found.wrong(what, "nobody can use it", hint);
    }
}
