//! Projects this machine is enrolled with, and the credentials it got there.

use culvert_crypto::Identifier;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::StoreError;
use super::database::Database;

/// Where and who a project and its authority are, and as whom this machine is enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Name on this machine.
    pub name: String,
    /// Its own id: the first service of its route.
    pub id: String,
    /// Multiaddr of the project's node: usually the relay.
    pub route: String,
    /// Encoded change history of the project's node.
    pub change_history: Vec<u8>,
    /// Who says what its members may do.
    pub authority: Identifier,
    /// Encoded change history of the authority, verified when it was stored.
    pub authority_history: Vec<u8>,
    /// Multiaddr of the authority's channel listener.
    pub authority_route: String,
    /// Name of the identity on this machine that is a member.
    pub identity: String,
}

/// A credential of an identity of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCredential {
    /// Encoded credential with the attestation of the key that signed it.
    pub encoded: Vec<u8>,
    /// UNIX seconds; this second included.
    pub expires_at: u64,
}

/// Columns of a [`Project`], in the order of [`project`].
const PROJECT: &str =
    "name, id, route, change_history, authority, authority_history, authority_route, identity";

impl Database {
    /// Stores a project; replaces the one of this name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn save_project(&mut self, project: &Project) -> Result<(), StoreError> {
        self.with("write", |db| save_project(db, project))
    }

    /// The project of this name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn project(&mut self, name: &str) -> Result<Option<Project>, StoreError> {
        let select = format!("SELECT {PROJECT} FROM project WHERE name = ?1");
        self.with("read", |db| {
            db.query_row(&select, [name], project).optional()
        })
    }

    /// All projects, by name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn projects(&mut self) -> Result<Vec<Project>, StoreError> {
        let select = format!("SELECT {PROJECT} FROM project ORDER BY name");
        self.with("read", |db| {
            db.prepare(&select)?.query_map([], project)?.collect()
        })
    }

    /// Forgets a project, and the credentials of its authority that no other project needs. False if
    /// there is none of this name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn delete_project(&mut self, name: &str) -> Result<bool, StoreError> {
        let unneeded = "DELETE FROM credential
            WHERE issuer IN (SELECT authority FROM project WHERE name = ?1)
              AND issuer NOT IN (SELECT authority FROM project WHERE name <> ?1)";
        self.with("write", |db| {
            let work = db.transaction()?;
            work.execute(unneeded, [name])?;
            let deleted = work.execute("DELETE FROM project WHERE name = ?1", [name])?;
            work.commit()?;
            Ok(deleted > 0)
        })
    }

    /// Stores a credential; replaces the one of the same subject and issuer, so that of several
    /// authorities each keeps its own.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn save_credential(
        &mut self,
        subject: &Identifier,
        issuer: &Identifier,
        credential: &StoredCredential,
    ) -> Result<(), StoreError> {
        self.with("write", |db| {
            save_credential(db, subject, issuer, credential)
        })
    }

    /// Stores a project and the credential that its authority gave `subject`: both or neither.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn save_enrollment(
        &mut self,
        enrolled: &Project,
        subject: &Identifier,
        credential: &StoredCredential,
    ) -> Result<(), StoreError> {
        self.with("write", |db| {
            let work = db.transaction()?;
            save_project(&work, enrolled)?;
            save_credential(&work, subject, &enrolled.authority, credential)?;
            work.commit()
        })
    }

    /// All credentials that are kept, with whom they are about and who issued them.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn credentials(
        &mut self,
    ) -> Result<Vec<(Identifier, Identifier, StoredCredential)>, StoreError> {
        let select = "SELECT subject, issuer, credential, expires_at FROM credential
            ORDER BY subject, issuer";
        self.with("read", |db| {
            let found = |row: &Row<'_>| {
                let kept = StoredCredential {
                    encoded: row.get(2)?,
                    expires_at: row.get(3)?,
                };
                Ok((identifier(row, 0)?, identifier(row, 1)?, kept))
            };
            db.prepare(select)?.query_map([], found)?.collect()
        })
    }

    /// The credential that `issuer` gave `subject`, whether it is still valid or not.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn credential(
        &mut self,
        subject: &Identifier,
        issuer: &Identifier,
    ) -> Result<Option<StoredCredential>, StoreError> {
        let select =
            "SELECT credential, expires_at FROM credential WHERE subject = ?1 AND issuer = ?2";
        self.with("read", |db| {
            let found = |row: &Row<'_>| {
                Ok(StoredCredential {
                    encoded: row.get(0)?,
                    expires_at: row.get(1)?,
                })
            };
            db.query_row(select, params![subject.0, issuer.0], found)
                .optional()
        })
    }
}

fn save_project(db: &Connection, project: &Project) -> rusqlite::Result<()> {
    let insert =
        format!("INSERT OR REPLACE INTO project ({PROJECT}) VALUES (?1,?2,?3,?4,?5,?6,?7,?8)");
    let values = params![
        project.name,
        project.id,
        project.route,
        project.change_history,
        project.authority.0,
        project.authority_history,
        project.authority_route,
        project.identity,
    ];
    db.execute(&insert, values).map(drop)
}

fn save_credential(
    db: &Connection,
    subject: &Identifier,
    issuer: &Identifier,
    credential: &StoredCredential,
) -> rusqlite::Result<()> {
    let insert = "INSERT OR REPLACE INTO credential (subject, issuer, credential, expires_at)
        VALUES (?1, ?2, ?3, ?4)";
    // SQLite has no numbers above this; nobody means a time so far away.
    let expires_at = credential.expires_at.min(i64::MAX as u64);
    db.execute(
        insert,
        params![subject.0, issuer.0, credential.encoded, expires_at],
    )
    .map(drop)
}

fn project(row: &Row<'_>) -> rusqlite::Result<Project> {
    Ok(Project {
        name: row.get(0)?,
        id: row.get(1)?,
        route: row.get(2)?,
        change_history: row.get(3)?,
        authority: identifier(row, 4)?,
        authority_history: row.get(5)?,
        authority_route: row.get(6)?,
        identity: row.get(7)?,
    })
}

/// Reads a column with an identifier.
///
/// # Errors
///
/// When it is something else.
pub fn identifier(row: &Row<'_>, column: usize) -> rusqlite::Result<Identifier> {
    let bytes: [u8; 32] = row.get(column)?;
    Ok(Identifier(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str, authority: u8) -> Project {
        Project {
            name: name.into(),
            id: "api".into(),
            route: "/ip4/127.0.0.1/tcp/4000/service/api".into(),
            change_history: vec![1, 2],
            authority: Identifier([authority; 32]),
            authority_history: vec![3, 4],
            authority_route: "/ip4/127.0.0.1/tcp/4001/service/api".into(),
            identity: "default".into(),
        }
    }

    fn credential(byte: u8) -> StoredCredential {
        StoredCredential {
            encoded: vec![byte; 5],
            expires_at: 1_700_000_000,
        }
    }

    #[test]
    fn projects_and_credentials_are_kept() {
        let home = tempfile::tempdir().expect("a directory");
        let mut database = Database::open(home.path()).expect("a database");
        let me = Identifier([9; 32]);
        for (name, authority) in [("two", 2), ("one", 1), ("also-one", 1)] {
            let project = sample(name, authority);
            let stored = database.save_enrollment(&project, &me, &credential(authority));
            stored.expect("stored");
            // Twice is as good as once.
            database.save_project(&project).expect("stored");
        }
        drop(database);
        let mut database = Database::open(home.path()).expect("the same database");
        let names = |database: &mut Database| -> Vec<String> {
            let all = database.projects().expect("projects");
            all.into_iter().map(|project| project.name).collect()
        };
        assert_eq!(names(&mut database), ["also-one", "one", "two"]);
        let two = database.project("two").expect("read");
        assert_eq!(two, Some(sample("two", 2)));
        assert_eq!(database.project("three").expect("read"), None);

        // A credential stays as long as a project needs it.
        let of = |database: &mut Database, authority| {
            let found = database.credential(&me, &Identifier([authority; 32]));
            found.expect("read")
        };
        assert!(database.delete_project("one").expect("deleted"));
        assert!(!database.delete_project("one").expect("nothing to delete"));
        assert_eq!(of(&mut database, 1), Some(credential(1)));
        assert!(database.delete_project("also-one").expect("deleted"));
        assert_eq!(of(&mut database, 1), None);
        assert_eq!(of(&mut database, 2), Some(credential(2)));
    }

    #[test]
    fn what_is_no_identifier_is_an_error() {
        let home = tempfile::tempdir().expect("a directory");
        let mut database = Database::open(home.path()).expect("a database");
        database.save_project(&sample("one", 1)).expect("stored");
        let spoil = "UPDATE project SET authority = x'0102'";
        let spoilt = database.with("write", |db| db.execute(spoil, []));
        assert_eq!(spoilt.expect("changed"), 1);
        let read = database.project("one");
        assert!(matches!(read, Err(StoreError::Database { .. })));
    }
}
