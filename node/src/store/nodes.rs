//! Nodes of this machine and what they are to have, so that they have it after a restart.
//!
//! What is said about them is JSON that is not looked into here.

use culvert_proto::policy::{Policy, Scope};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::StoreError;
use super::database::Database;

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredNode {
    /// Name on this machine.
    pub name: String,
    /// What it is started with, as JSON.
    pub spec: String,
    /// Whether it is the one that is meant where none is named. One is, as long as there are any.
    pub is_default: bool,
    /// Whether it is to run, as far as people said.
    pub wanted: bool,
}

/// Something that a node is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceKey<'a> {
    /// Name of the node.
    pub node: &'a str,
    /// `tcp-inlet`, `tcp-outlet`, ...
    pub kind: &'a str,
    /// Name among those of its kind.
    pub name: &'a str,
}

/// Kinds whose names are those of policies.
const GUARDED: &str = "('tcp-inlet', 'tcp-outlet')";

impl Database {
    /// Stores a node; replaces what was said about the one of this name. The first is the default.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn save_node(&mut self, name: &str, spec: &str, wanted: bool) -> Result<(), StoreError> {
        let save = "INSERT INTO node (name, spec, is_default, wanted)
            VALUES (?1, ?2, NOT EXISTS (SELECT 1 FROM node), ?3)
            ON CONFLICT (name) DO UPDATE SET spec = ?2, wanted = ?3";
        self.with("write", |db| db.execute(save, params![name, spec, wanted]))
            .map(drop)
    }

    /// The node of this name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn node(&mut self, name: &str) -> Result<Option<StoredNode>, StoreError> {
        let select = "SELECT name, spec, is_default, wanted FROM node WHERE name = ?1";
        self.with("read", |db| db.query_row(select, [name], node).optional())
    }

    /// All nodes, by name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn nodes(&mut self) -> Result<Vec<StoredNode>, StoreError> {
        let select = "SELECT name, spec, is_default, wanted FROM node ORDER BY name";
        self.with("read", |db| {
            db.prepare(select)?.query_map([], node)?.collect()
        })
    }

    /// Makes a node the default. False if there is none of this name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn set_default_node(&mut self, name: &str) -> Result<bool, StoreError> {
        self.with("write", |db| {
            let work = db.transaction()?;
            let count = "SELECT count(*) FROM node WHERE name = ?1";
            let found: u32 = work.query_row(count, [name], |row| row.get(0))?;
            if found > 0 {
                work.execute("UPDATE node SET is_default = (name = ?1)", [name])?;
            }
            work.commit()?;
            Ok(found > 0)
        })
    }

    /// Says whether a node is to run.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn set_node_wanted(&mut self, name: &str, wanted: bool) -> Result<(), StoreError> {
        let update = "UPDATE node SET wanted = ?2 WHERE name = ?1 AND wanted <> ?2";
        self.with("write", |db| db.execute(update, params![name, wanted]))
            .map(drop)
    }

    /// Forgets a node, all it was to have, and the policies that only those resources had. The default
    /// passes to the first of the others. False if there is none of this name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn delete_node(&mut self, name: &str) -> Result<bool, StoreError> {
        self.with("write", |db| {
            let work = db.transaction()?;
            let guarded: Vec<(String, String)> = work
                .prepare(&format!(
                    "SELECT kind, name FROM resource WHERE node = ?1 AND kind IN {GUARDED}"
                ))?
                .query_map([name], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            work.execute("DELETE FROM resource WHERE node = ?1", [name])?;
            for (kind, resource) in &guarded {
                let (node, name) = (name, resource.as_str());
                forget_policy(&work, ResourceKey { node, kind, name })?;
            }
            let deleted = work.execute("DELETE FROM node WHERE name = ?1", [name])?;
            let next = "UPDATE node SET is_default = 1
                WHERE name = (SELECT min(name) FROM node)
                  AND NOT EXISTS (SELECT 1 FROM node WHERE is_default)";
            work.execute(next, [])?;
            work.commit()?;
            Ok(deleted > 0)
        })
    }

    /// Names and JSON of what a node is to have of a kind, by name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn resources(
        &mut self,
        node: &str,
        kind: &str,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let select = "SELECT name, spec FROM resource WHERE node = ?1 AND kind = ?2 ORDER BY name";
        self.with("read", |db| {
            db.prepare(select)?
                .query_map([node, kind], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
    }

    /// Stores what a node is to have, in place of what it had under this name, with the policy that
    /// comes with it: both or neither. Without one the policy of its name goes if it `had_policy`,
    /// unless a resource of this name needs it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn save_resource(
        &mut self,
        key: ResourceKey<'_>,
        spec: &str,
        policy: Option<&Policy>,
        had_policy: bool,
    ) -> Result<(), StoreError> {
        self.with("write", |db| {
            let work = db.transaction()?;
            let save = "INSERT OR REPLACE INTO resource (node, kind, name, spec)
                VALUES (?1, ?2, ?3, ?4)";
            work.execute(save, params![key.node, key.kind, key.name, spec])?;
            if let Some(policy) = policy {
                let save = "INSERT OR REPLACE INTO policy (scope, resource, expression)
                    VALUES ('name', ?1, ?2)";
                work.execute(save, params![key.name, policy.canonical()])?;
            } else if had_policy {
                forget_policy(&work, key)?;
            }
            work.commit()
        })
    }

    /// Forgets what a node was to have; `with_policy` also the policy of its name, unless a resource
    /// of this name is left. False if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn delete_resource(
        &mut self,
        key: ResourceKey<'_>,
        with_policy: bool,
    ) -> Result<bool, StoreError> {
        self.with("write", |db| {
            let work = db.transaction()?;
            let delete = "DELETE FROM resource WHERE node = ?1 AND kind = ?2 AND name = ?3";
            let deleted = work.execute(delete, params![key.node, key.kind, key.name])?;
            if with_policy && deleted > 0 {
                forget_policy(&work, key)?;
            }
            work.commit()?;
            Ok(deleted > 0)
        })
    }

    /// Sets the policy of a resource to this text, or deletes it: what an undone change leaves.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn put_back_policy(&mut self, scope: &Scope, text: Option<&str>) -> Result<(), StoreError> {
        let Some(text) = text else {
            return self.delete_policy(scope).map(drop);
        };
        let Scope::Name(name) = scope else {
            return Ok(());
        };
        let save = "INSERT OR REPLACE INTO policy (scope, resource, expression)
            VALUES ('name', ?1, ?2)";
        self.with("write", |db| db.execute(save, [name.as_str(), text]))
            .map(drop)
    }

    /// Looks the whole file over; what is wrong with it, if anything is.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`] when it cannot even be read.
    pub fn check_integrity(&mut self) -> Result<Option<String>, StoreError> {
        let found: Vec<String> = self.with("check", |db| {
            db.prepare("PRAGMA integrity_check(10)")?
                .query_map([], |row| row.get(0))?
                .collect()
        })?;
        Ok((found != ["ok"]).then(|| found.join("; ")))
    }
}

/// Deletes the policy of a name that no other resource has.
fn forget_policy(db: &Connection, key: ResourceKey<'_>) -> rusqlite::Result<()> {
    let delete = format!(
        "DELETE FROM policy WHERE scope = 'name' AND resource = ?3
           AND NOT EXISTS (SELECT 1 FROM resource WHERE name = ?3 AND kind IN {GUARDED}
               AND NOT (node = ?1 AND kind = ?2))"
    );
    db.execute(&delete, params![key.node, key.kind, key.name])
        .map(drop)
}

fn node(row: &Row<'_>) -> rusqlite::Result<StoredNode> {
    Ok(StoredNode {
        name: row.get(0)?,
        spec: row.get(1)?,
        is_default: row.get(2)?,
        wanted: row.get(3)?,
    })
}

#[cfg(test)]
mod tests {
    use culvert_proto::policy::Mode;

    use super::*;

    fn key<'a>(node: &'a str, kind: &'a str, name: &'a str) -> ResourceKey<'a> {
        ResourceKey { node, kind, name }
    }

    #[test]
    fn there_is_always_a_default() {
        let home = tempfile::tempdir().expect("a directory");
        let mut database = Database::open(home.path()).expect("a database");
        for name in ["b", "a", "c"] {
            database.save_node(name, "{}", true).expect("stored");
        }
        let default = |database: &mut Database| -> Vec<String> {
            let all = database.nodes().expect("nodes").into_iter();
            all.filter(|node| node.is_default)
                .map(|node| node.name)
                .collect()
        };
        assert_eq!(default(&mut database), ["b"]);
        assert!(!database.set_default_node("d").expect("no such node"));
        assert_eq!(default(&mut database), ["b"]);
        assert!(database.set_default_node("c").expect("set"));
        // Saying it again changes nothing else.
        database.save_node("c", "{\"x\":1}", false).expect("stored");
        assert_eq!(default(&mut database), ["c"]);
        let c = database.node("c").expect("read").expect("a node");
        assert_eq!((c.spec.as_str(), c.wanted), ("{\"x\":1}", false));
        assert!(database.delete_node("c").expect("deleted"));
        assert!(!database.delete_node("c").expect("nothing to delete"));
        assert_eq!(default(&mut database), ["a"]);
    }

    #[test]
    fn resources_take_their_policies_along() {
        let home = tempfile::tempdir().expect("a directory");
        let mut database = Database::open(home.path()).expect("a database");
        let policy = Policy::parse("web", Mode::Strict).expect("a policy");
        for node in ["one", "two"] {
            database.save_node(node, "{}", true).expect("stored");
            let key = key(node, "tcp-outlet", "db");
            database
                .save_resource(key, "1", Some(&policy), false)
                .expect("stored");
        }
        let key = |node| key(node, "tcp-outlet", "db");
        database
            .save_resource(key("one"), "2", None, true)
            .expect("stored");
        let of = |database: &mut Database, node| database.resources(node, "tcp-outlet");
        let one = of(&mut database, "one").expect("read");
        assert_eq!(one, [("db".to_owned(), "2".to_owned())]);
        // The other node still has one of this name.
        assert!(database.delete_resource(key("one"), true).expect("deleted"));
        assert!(!database.delete_resource(key("one"), true).expect("none"));
        let scope = Scope::Name("db".into());
        assert!(database.policy(&scope).expect("read").is_some());
        assert!(database.delete_node("two").expect("deleted"));
        assert_eq!(database.policy(&scope).expect("read"), None);
        assert_eq!(of(&mut database, "two").expect("read"), []);
        assert_eq!(database.check_integrity().expect("checked"), None);
    }
}
