//! Policies of the nodes that use this state directory.
//!
//! Specification: `protocol/20-policies.md` 6 and 7.

use culvert_proto::policy::{Mode, Policy, PolicySet, ResourceType, Scope};
use rusqlite::{OptionalExtension, Row};

use super::StoreError;
use super::database::Database;

/// How scopes are stored.
const NAME: &str = "name";
const TYPE: &str = "type";

impl Database {
    /// Stores a policy as its canonical text. Whether it replaced another one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn set_policy(&mut self, scope: &Scope, policy: &Policy) -> Result<bool, StoreError> {
        let replaced = self.policy(scope)?.is_some();
        let (kind, resource) = columns(scope);
        let insert = "INSERT OR REPLACE INTO policy (scope, resource, expression)
            VALUES (?1, ?2, ?3)";
        self.with("write", |db| {
            db.execute(insert, (kind, resource, policy.canonical()))
        })?;
        Ok(replaced)
    }

    /// The canonical text of a policy.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn policy(&mut self, scope: &Scope) -> Result<Option<String>, StoreError> {
        let select = "SELECT expression FROM policy WHERE scope = ?1 AND resource = ?2";
        self.with("read", |db| {
            db.query_row(select, columns(scope), |row| row.get(0))
                .optional()
        })
    }

    /// The canonical texts of all policies: those of names first, in the order of the resources.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn policies(&mut self) -> Result<Vec<(Scope, String)>, StoreError> {
        let select = "SELECT scope, resource, expression FROM policy ORDER BY scope, resource";
        let entry = |row: &Row<'_>| Ok((scope(row)?, row.get(2)?));
        self.with("read", |db| {
            db.prepare(select)?.query_map([], entry)?.collect()
        })
    }

    /// All policies, ready to decide. One that cannot be read denies.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn policy_set(&mut self) -> Result<PolicySet, StoreError> {
        let mut set = PolicySet::default();
        for (scope, text) in self.policies()? {
            set.set(scope, Policy::parse(&text, Mode::Strict));
        }
        Ok(set)
    }

    /// Deletes a policy. False if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn delete_policy(&mut self, scope: &Scope) -> Result<bool, StoreError> {
        let delete = "DELETE FROM policy WHERE scope = ?1 AND resource = ?2";
        let deleted = self.with("write", |db| db.execute(delete, columns(scope)))?;
        Ok(deleted > 0)
    }
}

fn columns(scope: &Scope) -> (&'static str, &str) {
    match scope {
        Scope::Name(name) => (NAME, name),
        Scope::Type(kind) => (TYPE, kind.as_str()),
    }
}

/// The scope in the first two columns. The table holds no other words in the first one.
fn scope(row: &Row<'_>) -> rusqlite::Result<Scope> {
    let (kind, resource): (String, String) = (row.get(0)?, row.get(1)?);
    Ok(if kind == NAME {
        Scope::Name(resource)
    } else {
        Scope::Type(ResourceType::from(resource.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use culvert_proto::identity::Identifier;
    use culvert_proto::policy::{Credential, Denial, Environment};

    use super::*;

    fn policy(text: &str) -> Policy {
        Policy::parse(text, Mode::Strict).expect(text)
    }

    #[test]
    fn policies_are_kept_and_decide() {
        let home = tempfile::tempdir().expect("a directory");
        let mut database = Database::open(home.path()).expect("a database");
        let (name, kind) = (
            Scope::Name("db".into()),
            Scope::Type(ResourceType::TcpOutlet),
        );
        let everybody = policy("(= 1 1)");
        assert!(!database.set_policy(&kind, &everybody).expect("set"));
        assert!(!database.set_policy(&name, &policy("web")).expect("set"));
        assert!(database.set_policy(&name, &policy("dba")).expect("set"));
        drop(database);

        let mut database = Database::open(home.path()).expect("the same database");
        let canonical = "(= subject.dba \"true\")".to_owned();
        let listed = database.policies().expect("listed");
        let expected = [
            (name.clone(), canonical.clone()),
            (kind.clone(), "(= 1 1)".into()),
        ];
        assert_eq!(listed, expected);
        assert_eq!(database.policy(&name).expect("read"), Some(canonical));

        let subject = Identifier([1; 32]);
        let decide = |database: &mut Database, name: &str, kind: ResourceType| {
            let environment = Environment::new(name, &subject, Credential::Missing);
            let set = database.policy_set().expect("a set");
            set.decide(name, &kind, &environment)
        };
        let missing = Err(Denial::Missing("subject.dba".into()));
        let outlet = ResourceType::TcpOutlet;
        assert_eq!(decide(&mut database, "db", outlet.clone()), missing);
        assert_eq!(decide(&mut database, "other", outlet.clone()), Ok(()));
        let relay = ResourceType::Relay;
        let none = Err(Denial::NoPolicy);
        assert_eq!(decide(&mut database, "other", relay), none);

        // What somebody else wrote into the table denies, and hides nothing.
        let spoil = "UPDATE policy SET expression = '(and' WHERE scope = 'name'";
        let spoilt = database.with("write", |db| db.execute(spoil, []));
        assert_eq!(spoilt.expect("changed"), 1);
        let decided = decide(&mut database, "db", outlet.clone());
        assert!(matches!(decided, Err(Denial::Unreadable(_))), "{decided:?}");
        assert_eq!(decide(&mut database, "other", outlet.clone()), Ok(()));

        assert!(database.delete_policy(&name).expect("deleted"));
        assert!(!database.delete_policy(&name).expect("nothing to delete"));
        assert_eq!(decide(&mut database, "db", outlet), Ok(()));
        assert!(database.delete_policy(&kind).expect("deleted"));
        assert_eq!(database.policies().expect("listed"), []);
    }
}
