//! Members and tickets of an authority in the database of its state directory.
//!
//! All of this works inside a transaction of the caller, so that what belongs together happens
//! together or not at all.

use culvert_crypto::Identifier;
use culvert_node::store::projects::identifier;
use culvert_proto::authority::{ENROLLER, MemberAttributes, is_enroller};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

type Sql<T> = rusqlite::Result<T>;

/// How long tickets that have ended are remembered, to say how they ended: 30 days, seconds.
const REMEMBERED: u64 = 30 * 24 * 3600;

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Who.
    pub(super) identifier: Identifier,
    /// What its credentials say.
    pub(super) attributes: MemberAttributes,
    /// Who added it.
    pub(super) added_by: Identifier,
    /// UNIX seconds.
    pub(super) added_at: u64,
    /// Whether it comes from the operator's configuration.
    pub(super) pre_trusted: bool,
}

impl Member {
    /// Whether it may add members and issue tickets.
    #[must_use]
    pub(super) fn is_enroller(&self) -> bool {
        is_enroller(&self.attributes)
    }
}

/// A ticket, without its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Issued {
    /// What people call it; not secret.
    pub(super) reference: String,
    /// What the credentials of those who redeem it will say.
    pub(super) attributes: MemberAttributes,
    /// Who issued it.
    pub(super) issued_by: Identifier,
    /// UNIX seconds.
    pub(super) created_at: u64,
    /// UNIX seconds; this second not included.
    pub(super) expires_at: u64,
    /// How often it can still be redeemed.
    pub(super) uses_left: u64,
    /// Whether it was taken back.
    pub(super) revoked: bool,
}

/// Whether a ticket can be redeemed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TicketState {
    /// It can.
    Open,
    /// It was taken back.
    Revoked,
    /// It was used as often as it may be.
    Used,
    /// Its time has passed.
    Expired,
}

impl TicketState {
    /// For people and programs.
    #[must_use]
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Revoked => "revoked",
            Self::Used => "used",
            Self::Expired => "expired",
        }
    }
}

impl Issued {
    /// Whether it can be redeemed at this time, UNIX seconds.
    #[must_use]
    pub(super) fn state(&self, now_s: u64) -> TicketState {
        match () {
            () if self.revoked => TicketState::Revoked,
            () if self.uses_left == 0 => TicketState::Used,
            () if self.expires_at <= now_s => TicketState::Expired,
            () => TicketState::Open,
        }
    }
}

/// What the tickets of an authority say about its project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    /// Name of the project.
    pub(super) project_name: String,
    /// Multiaddr of the project's node.
    pub(super) project_route: String,
    /// Encoded change history of the project's node.
    pub(super) project_history: Vec<u8>,
    /// Multiaddr of the authority's channel listener.
    pub(super) route: String,
}

/// Stores what tickets say.
pub(super) fn describe(db: &Connection, authority: &Identifier, what: &Described) -> Sql<()> {
    let insert = "INSERT OR REPLACE INTO authority
        (identifier, project_name, project_route, project_history, route)
        VALUES (?1, ?2, ?3, ?4, ?5)";
    let values = params![
        authority.0,
        what.project_name,
        what.project_route,
        what.project_history,
        what.route
    ];
    db.execute(insert, values).map(drop)
}

/// What tickets say; nothing if the authority has never been started.
pub(super) fn described(db: &Connection, authority: &Identifier) -> Sql<Option<Described>> {
    let select = "SELECT project_name, project_route, project_history, route
        FROM authority WHERE identifier = ?1";
    let read = |row: &Row<'_>| {
        Ok(Described {
            project_name: row.get(0)?,
            project_route: row.get(1)?,
            project_history: row.get(2)?,
            route: row.get(3)?,
        })
    };
    db.query_row(select, [authority.0], read).optional()
}

const MEMBER: &str = "identifier, attributes, added_by, added_at, pre_trusted";

fn member_of(row: &Row<'_>) -> Sql<Member> {
    Ok(Member {
        identifier: identifier(row, 0)?,
        attributes: attributes(row, 1)?,
        added_by: identifier(row, 2)?,
        added_at: row.get(3)?,
        pre_trusted: row.get(4)?,
    })
}

fn attributes(row: &Row<'_>, column: usize) -> Sql<MemberAttributes> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

fn json(attributes: &MemberAttributes) -> Sql<String> {
    serde_json::to_string(attributes)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// A member.
pub(super) fn member(
    db: &Connection,
    authority: &Identifier,
    who: &Identifier,
) -> Sql<Option<Member>> {
    let select = format!("SELECT {MEMBER} FROM member WHERE authority = ?1 AND identifier = ?2");
    db.prepare(&select)?
        .query_row(params![authority.0, who.0], member_of)
        .optional()
}

/// Hands each member to `each`, by identifier, until that says false.
pub(super) fn each_member(
    db: &Connection,
    authority: &Identifier,
    mut each: impl FnMut(Member) -> bool,
) -> Sql<()> {
    let select = format!("SELECT {MEMBER} FROM member WHERE authority = ?1 ORDER BY identifier");
    let mut select = db.prepare(&select)?;
    for member in select.query_map([authority.0], member_of)? {
        if !each(member?) {
            break;
        }
    }
    Ok(())
}

/// How many members there are.
pub(super) fn count_members(db: &Connection, authority: &Identifier) -> Sql<u64> {
    let select = "SELECT count(*) FROM member WHERE authority = ?1";
    db.query_row(select, [authority.0], |row| row.get(0))
}

/// Adds a member, or replaces what is known about it.
pub(super) fn put_member(db: &Connection, authority: &Identifier, member: &Member) -> Sql<()> {
    let insert = format!(
        "INSERT OR REPLACE INTO member (authority, {MEMBER}) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
    );
    db.prepare(&insert)?
        .execute(params![
            authority.0,
            member.identifier.0,
            json(&member.attributes)?,
            member.added_by.0,
            member.added_at,
            member.pre_trusted
        ])
        .map(drop)
}

/// Removes a member; false if there is none.
pub(super) fn remove_member(
    db: &Connection,
    authority: &Identifier,
    who: &Identifier,
) -> Sql<bool> {
    let delete = "DELETE FROM member WHERE authority = ?1 AND identifier = ?2";
    Ok(db.execute(delete, params![authority.0, who.0])? > 0)
}

/// Removes all members but `keep` and those of the configuration, and enrollers only if asked to.
pub(super) fn remove_members(
    db: &Connection,
    authority: &Identifier,
    keep: &Identifier,
    enrollers_too: bool,
) -> Sql<usize> {
    let delete = "DELETE FROM member
        WHERE authority = ?1 AND identifier <> ?2 AND pre_trusted = 0
          AND (?3 OR coalesce(attributes ->> '$.\"ockam-role\"', '') <> ?4)";
    db.execute(
        delete,
        params![authority.0, keep.0, enrollers_too, ENROLLER],
    )
}

/// Makes the members of the configuration those of before.
pub(super) fn set_pre_trusted(
    db: &Connection,
    authority: &Identifier,
    members: &[Member],
) -> Sql<()> {
    let delete = "DELETE FROM member WHERE authority = ?1 AND pre_trusted = 1";
    db.execute(delete, [authority.0])?;
    members
        .iter()
        .try_for_each(|member| put_member(db, authority, member))
}

const TICKET: &str = "reference, attributes, issued_by, created_at, expires_at, uses_left, revoked";

fn ticket_of(row: &Row<'_>) -> Sql<Issued> {
    Ok(Issued {
        reference: row.get(0)?,
        attributes: attributes(row, 1)?,
        issued_by: identifier(row, 2)?,
        created_at: row.get(3)?,
        expires_at: row.get(4)?,
        uses_left: row.get(5)?,
        revoked: row.get(6)?,
    })
}

/// Stores a ticket by the hash of its code.
pub(super) fn put_ticket(
    db: &Connection,
    authority: &Identifier,
    code_hash: &[u8; 32],
    ticket: &Issued,
) -> Sql<()> {
    let insert = format!(
        "INSERT INTO ticket (authority, code_hash, {TICKET})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
    );
    db.execute(
        &insert,
        params![
            authority.0,
            code_hash,
            ticket.reference,
            json(&ticket.attributes)?,
            ticket.issued_by.0,
            ticket.created_at,
            ticket.expires_at,
            ticket.uses_left,
            ticket.revoked
        ],
    )
    .map(drop)
}

/// The ticket whose code has this hash.
pub(super) fn ticket(
    db: &Connection,
    authority: &Identifier,
    code_hash: &[u8; 32],
) -> Sql<Option<Issued>> {
    let select = format!("SELECT {TICKET} FROM ticket WHERE authority = ?1 AND code_hash = ?2");
    db.prepare(&select)?
        .query_row(params![authority.0, code_hash], ticket_of)
        .optional()
}

/// Takes one use of a ticket away.
pub(super) fn use_ticket(db: &Connection, authority: &Identifier, reference: &str) -> Sql<()> {
    let update = "UPDATE ticket SET uses_left = uses_left - 1
        WHERE authority = ?1 AND reference = ?2 AND uses_left > 0";
    db.execute(update, params![authority.0, reference])
        .map(drop)
}

/// All tickets that are remembered, oldest first.
pub(super) fn tickets(db: &Connection, authority: &Identifier) -> Sql<Vec<Issued>> {
    let select =
        format!("SELECT {TICKET} FROM ticket WHERE authority = ?1 ORDER BY created_at, reference");
    db.prepare(&select)?
        .query_map([authority.0], ticket_of)?
        .collect()
}

/// How many tickets are remembered.
pub(super) fn count_tickets(db: &Connection, authority: &Identifier) -> Sql<u64> {
    let select = "SELECT count(*) FROM ticket WHERE authority = ?1";
    db.query_row(select, [authority.0], |row| row.get(0))
}

/// Takes a ticket back; nobody can redeem it any more. False if there is none.
pub(super) fn revoke_ticket(db: &Connection, authority: &Identifier, reference: &str) -> Sql<bool> {
    let update = "UPDATE ticket SET revoked = 1 WHERE authority = ?1 AND reference = ?2";
    Ok(db.execute(update, params![authority.0, reference])? > 0)
}

/// Forgets tickets that ended long ago.
pub(super) fn forget_tickets(db: &Connection, authority: &Identifier, now_s: u64) -> Sql<()> {
    let delete = "DELETE FROM ticket WHERE authority = ?1 AND
        (expires_at < ?2 OR ((revoked = 1 OR uses_left = 0) AND created_at < ?2))";
    let long_ago = now_s.saturating_sub(REMEMBERED);
    db.execute(delete, params![authority.0, long_ago]).map(drop)
}
