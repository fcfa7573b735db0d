//! The running node that a command is about.
//!
//! What a node owns is changed by its process alone, so commands ask that process, over the socket in
//! the node's directory.

use std::time::Duration;

use clap::Args;
use culvert_manage::client::Client;
use culvert_manage::problem::{Kind, Problem};
use culvert_node::store::database::Database;
use serde_json::Value;

use crate::daemon::lock;
use crate::failure::Failure;
use crate::store::{DEFAULT_NAME, Store};

/// Name of the socket in a node's directory.
const SOCKET: &str = "api.sock";

/// Which node a command is about.
#[derive(Debug, Args)]
pub struct AtArgs {
    /// Name of the node on this machine [default: the default node]
    #[arg(long, value_name = "NODE", value_parser = node_name)]
    pub at: Option<String>,
}

impl AtArgs {
    /// The node, which has to run.
    ///
    /// # Errors
    ///
    /// See [`Running::open`].
    pub fn open(&self, store: &Store) -> Result<Running, Failure> {
        Running::open(store, self.at.as_deref())
    }
}

/// The name of a node, also as Ockam writes it in routes: `/node/NAME`.
///
/// # Errors
///
/// What a name looks like.
pub fn node_name(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("/node/").unwrap_or(text);
    if name.contains(':') {
        return Err(
            "expected the name of a node of this machine; where a relay is goes in --relay".into(),
        );
    }
    match name.is_empty() || name.contains('/') {
        true => Err("expected the name of a node, see `culvert-edge node list`".into()),
        false => Ok(name.to_owned()),
    }
}

/// A node that runs, and its management API.
#[derive(Debug)]
pub struct Running {
    /// What it is called.
    pub name: String,
    client: Client,
}

impl Running {
    /// The node of this name, or the default one. Nothing is asked yet.
    ///
    /// # Errors
    ///
    /// Not found when there is no such node.
    pub fn open(store: &Store, name: Option<&str>) -> Result<Self, Failure> {
        let mut database = Database::open(store.home())?;
        let name = match name {
            Some(name) => name.to_owned(),
            None => default_name(&mut database)?,
        };
        if database.node(&name)?.is_none() {
            return Err(Failure::not_found(
                format!("there is no node '{name}'"),
                format!("make it with `culvert-edge node create {name}`"),
            ));
        }
        Self::known(store, name)
    }

    /// The node of this name, which is there.
    ///
    /// # Errors
    ///
    /// When the process is out of descriptors.
    pub fn known(store: &Store, name: String) -> Result<Self, Failure> {
        let client = Client::unix(lock::directory(store, &name)?.join(SOCKET))?;
        Ok(Self { name, client })
    }

    /// The same, which gives up after this time.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        let client = self.client.within(limit);
        Self { client, ..self }
    }

    /// Asks for something.
    ///
    /// # Errors
    ///
    /// What the node says; unavailable when it does not run.
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask("GET", path, None)
    }

    /// Asks for something to be made or done.
    ///
    /// # Errors
    ///
    /// As [`Self::get`].
    pub fn post(&self, path: &str, body: Value) -> Result<Value, Failure> {
        self.ask("POST", path, Some(body))
    }

    /// Asks for something to be deleted.
    ///
    /// # Errors
    ///
    /// As [`Self::get`].
    pub fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.ask("DELETE", path, None)
    }

    fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, Failure> {
        let answer = self.client.request(method, &full(path), body);
        answer.map_err(|problem| self.explained(problem))
    }

    /// The lines of a stream, each a JSON value.
    ///
    /// # Errors
    ///
    /// As [`Self::get`]; each line may be one too, when the stream breaks off.
    pub fn lines(
        &self,
        path: &str,
    ) -> Result<impl Iterator<Item = Result<Value, Failure>>, Failure> {
        let lines = self.client.lines(&full(path));
        let lines = lines.map_err(|problem| self.explained(problem))?;
        Ok(lines.map(|line| line.map_err(Failure::from)))
    }

    /// A refusal, with what to do where nobody listens at all.
    fn explained(&self, problem: Problem) -> Failure {
        match problem.kind {
            Kind::Unavailable if !self.answers() => self.not_running(),
            _ => problem.into(),
        }
    }

    /// Whether it runs and answers.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.client.request("GET", "/live", None).is_ok()
    }

    fn not_running(&self) -> Failure {
        let name = &self.name;
        Failure::unavailable(
            format!("node '{name}' is not running"),
            format!("start it with `culvert-edge node start {name}`"),
        )
    }
}

/// Name of the default node.
///
/// # Errors
///
/// What the store says.
pub fn default_name(database: &mut Database) -> Result<String, Failure> {
    let mut nodes = database.nodes()?.into_iter();
    let found = nodes.find(|node| node.is_default);
    Ok(found.map_or_else(|| DEFAULT_NAME.to_owned(), |node| node.name))
}

/// The path of a resource of the node that is asked.
fn full(path: &str) -> String {
    match path {
        "" => "/v1/self".to_owned(),
        _ => format!("/v1/self/{path}"),
    }
}

/// A name as one part of a path.
#[must_use]
pub fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nodes() {
        assert_eq!(node_name("db").as_deref(), Ok("db"));
        assert_eq!(node_name("/node/db").as_deref(), Ok("db"));
        for wrong in ["", "/node/", "/node/a/service/echo", "a/b"] {
            assert!(node_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn parts_of_paths() {
        assert_eq!(escaped("pg-1.a_b~"), "pg-1.a_b~");
        assert_eq!(escaped("[::1]:80/?#%"), "%5B%3A%3A1%5D%3A80%2F%3F%23%25");
    }
}
