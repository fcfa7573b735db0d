//! What an authority does when it is asked, and for whom (`protocol/12-credentials.md` 11 to 13).
//!
//! Time and randomness are arguments. Each request is one transaction: what is refused, or fails,
//! changes nothing.

use culvert_crypto::Identifier;
use culvert_crypto::primitives::sha256;
use culvert_node::store::database::Database;
use culvert_proto::authority::{
    AddMember, AttributesEntry, Command, CreateToken, MemberAttributes, MemberIds, MemberList,
    OneTimeCode, TRUST_CONTEXT, check_attributes, is_enroller,
};
use culvert_proto::identity::encode;
use culvert_proto::limits::MAX_REQUEST;
use rusqlite::{Connection, TransactionBehavior};

use super::refused::{Failed, Refused};
use super::store::{self, Issued, Member, TicketState};

/// How long a ticket can be redeemed when nothing else is asked for, seconds.
pub(super) const DEFAULT_LIFETIME: u64 = 600;
/// How often.
pub(super) const DEFAULT_USES: u64 = 1;
/// Most members of an authority.
const MOST_MEMBERS: u64 = 100_000;
/// Most tickets of an authority that are remembered.
const MOST_TICKETS: u64 = 100_000;
/// SQLite has no larger numbers.
const LARGEST: u64 = i64::MAX as u64;

/// What a caller may do.
struct Caller {
    identifier: Identifier,
    enroller: bool,
    admin: bool,
}

/// Makes credentials: encoded, about a subject, with attributes.
pub(super) trait Issue {
    /// Issues one at this time, UNIX seconds.
    ///
    /// # Errors
    ///
    /// Why not, for the log.
    fn issue(
        &mut self,
        subject: &Identifier,
        attributes: &MemberAttributes,
        now_s: u64,
    ) -> Result<Vec<u8>, String>;
}

/// The rules of one authority.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// Who it is.
    pub(super) authority: Identifier,
    /// The id of the project that every credential names; none to leave it out.
    pub(super) trust_context: Option<String>,
    /// Whether only pre-trusted enrollers are admins; otherwise all enrollers are.
    pub(super) enforce_admin_checks: bool,
}

impl Rules {
    /// Does what a caller asks for, if it may. Gives the body of the answer, if there is one.
    ///
    /// # Errors
    ///
    /// [`Refused`]; nothing has changed then.
    pub(super) fn answer(
        &self,
        db: &mut Database,
        issuer: &mut dyn Issue,
        caller: &Identifier,
        command: &Command,
        now_s: u64,
        random: [u8; 48],
    ) -> Result<Option<Vec<u8>>, Refused> {
        if *command == Command::Issue {
            let attributes = self.transact(db, |db| self.credential(db, caller))?;
            return issuer
                .issue(caller, &attributes, now_s)
                .map(Some)
                .map_err(Refused::Issue);
        }
        self.transact(db, |db| self.act(db, caller, command, now_s, random))
    }

    /// Runs `work` in a transaction, which stays only if nothing was refused.
    ///
    /// # Errors
    ///
    /// [`Refused`].
    pub(super) fn transact<T>(
        &self,
        db: &mut Database,
        work: impl FnOnce(&Connection) -> Result<T, Failed>,
    ) -> Result<T, Refused> {
        let mut refused = None;
        let done = db.with("use", |db| {
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            match work(&transaction) {
                Ok(value) => transaction.commit().map(|()| Some(value)),
                Err(Failed::Sql(error)) => Err(error),
                Err(Failed::Refused(reason)) => {
                    refused = Some(reason);
                    Ok(None)
                }
            }
        });
        match (done, refused) {
            (Ok(Some(value)), _) => Ok(value),
            (_, Some(reason)) => Err(reason),
            (Err(error), None) => Err(Refused::Store(error)),
            (Ok(None), None) => Err(Refused::Busy),
        }
    }

    fn act(
        &self,
        db: &Connection,
        caller: &Identifier,
        command: &Command,
        now_s: u64,
        random: [u8; 48],
    ) -> Result<Option<Vec<u8>>, Failed> {
        if let Command::Redeem(code) = command {
            self.redeem(db, caller, code, now_s)?;
            return Ok(None);
        }
        let caller = self.classify(db, caller)?;
        if !caller.enroller {
            return Err(Refused::NotEnroller(caller.identifier).into());
        }
        match command {
            Command::CreateToken(wanted) => {
                caller.may_grant(&wanted.attributes)?;
                let (code, _) = self.create(db, &caller.identifier, wanted, now_s, random)?;
                Ok(Some(encode(&code)))
            }
            Command::Add(wanted) => {
                self.may_replace(db, &caller, wanted)?;
                self.add(db, &caller.identifier, wanted, now_s)
                    .map(|()| None)
            }
            Command::ListIds => {
                let mut all = MemberIds::new();
                self.list(db, |member| {
                    all.push(member.identifier);
                    34
                })?;
                Ok(Some(encode(&all)))
            }
            Command::List => {
                let mut all = MemberList::new();
                self.list(db, |member| {
                    let entry = entry(&member);
                    let length = 34 + encode(&entry).len();
                    all.insert(member.identifier, entry);
                    length
                })?;
                Ok(Some(encode(&all)))
            }
            Command::Show(who) => match store::member(db, &self.authority, who)? {
                Some(member) => Ok(Some(encode(&entry(&member)))),
                None => Err(Refused::NoSuchMember(*who).into()),
            },
            Command::RemoveAll => {
                let (me, admin) = (&caller.identifier, caller.admin);
                store::remove_members(db, &self.authority, me, admin)?;
                Ok(None)
            }
            Command::Remove(who) => self.remove(db, &caller, who).map(|()| None),
            Command::Issue | Command::Redeem(_) => Ok(None),
        }
    }

    fn classify(&self, db: &Connection, caller: &Identifier) -> Result<Caller, Failed> {
        let member = store::member(db, &self.authority, caller)?;
        let enroller = member.as_ref().is_some_and(Member::is_enroller);
        let trusted = member.is_some_and(|member| member.pre_trusted);
        Ok(Caller {
            identifier: *caller,
            enroller,
            admin: enroller && (trusted || !self.enforce_admin_checks),
        })
    }

    /// The attributes of the caller's credential.
    fn credential(&self, db: &Connection, caller: &Identifier) -> Result<MemberAttributes, Failed> {
        let member = store::member(db, &self.authority, caller)?.ok_or(Refused::NotMember)?;
        let context = self.trust_context.iter();
        let mut all: MemberAttributes = context
            .map(|id| (TRUST_CONTEXT.to_owned(), id.clone()))
            .collect();
        all.extend(member.attributes);
        Ok(all)
    }

    /// Makes a ticket on behalf of `issuer`, who may.
    pub(super) fn create(
        &self,
        db: &Connection,
        issuer: &Identifier,
        wanted: &CreateToken,
        now_s: u64,
        random: [u8; 48],
    ) -> Result<(OneTimeCode, Issued), Failed> {
        check_attributes(&wanted.attributes).map_err(Refused::Attributes)?;
        let lifetime = wanted.ttl_secs.unwrap_or(DEFAULT_LIFETIME);
        let uses = wanted.ttl_count.unwrap_or(DEFAULT_USES);
        if lifetime == 0 || uses == 0 {
            return Err(Refused::Useless.into());
        }
        store::forget_tickets(db, &self.authority, now_s)?;
        if store::count_tickets(db, &self.authority)? >= MOST_TICKETS {
            return Err(Refused::Full("tickets").into());
        }
        let (code, name) = random.split_at(32);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(code);
        let issued = Issued {
            reference: reference(name),
            attributes: wanted.attributes.clone(),
            issued_by: *issuer,
            created_at: now_s,
            expires_at: now_s.saturating_add(lifetime).min(LARGEST),
            uses_left: uses.min(LARGEST),
            revoked: false,
        };
        store::put_ticket(db, &self.authority, &sha256(&bytes), &issued)?;
        tracing::info!(reference = issued.reference, by = %issuer, "issued a ticket");
        Ok((OneTimeCode { bytes }, issued))
    }

    fn redeem(
        &self,
        db: &Connection,
        caller: &Identifier,
        code: &OneTimeCode,
        now_s: u64,
    ) -> Result<(), Failed> {
        if store::member(db, &self.authority, caller)?.is_some() {
            return Err(Refused::AlreadyMember.into());
        }
        let issued = store::ticket(db, &self.authority, &sha256(&code.bytes))?
            .ok_or(Refused::UnknownTicket)?;
        match issued.state(now_s) {
            TicketState::Open => {}
            TicketState::Revoked => return Err(Refused::RevokedTicket.into()),
            TicketState::Used => return Err(Refused::UsedTicket.into()),
            TicketState::Expired => return Err(Refused::ExpiredTicket.into()),
        }
        self.room_for_member(db)?;
        store::use_ticket(db, &self.authority, &issued.reference)?;
        let member = Member {
            identifier: *caller,
            attributes: issued.attributes,
            added_by: issued.issued_by,
            added_at: now_s,
            pre_trusted: false,
        };
        store::put_member(db, &self.authority, &member)?;
        tracing::info!(member = %caller, reference = issued.reference, "enrolled a member");
        Ok(())
    }

    fn room_for_member(&self, db: &Connection) -> Result<(), Failed> {
        match store::count_members(db, &self.authority)? < MOST_MEMBERS {
            true => Ok(()),
            false => Err(Refused::Full("members").into()),
        }
    }

    /// Adds a member on behalf of `by`, who may, or replaces what is known about it.
    pub(super) fn add(
        &self,
        db: &Connection,
        by: &Identifier,
        wanted: &AddMember,
        now_s: u64,
    ) -> Result<(), Failed> {
        check_attributes(&wanted.attributes).map_err(Refused::Attributes)?;
        let existing = store::member(db, &self.authority, &wanted.member)?;
        if existing.is_none() {
            self.room_for_member(db)?;
        }
        let member = Member {
            identifier: wanted.member,
            attributes: wanted.attributes.clone(),
            added_by: *by,
            added_at: now_s,
            pre_trusted: existing.is_some_and(|member| member.pre_trusted),
        };
        store::put_member(db, &self.authority, &member)?;
        tracing::info!(member = %member.identifier, %by, "added a member");
        Ok(())
    }

    fn may_replace(
        &self,
        db: &Connection,
        caller: &Caller,
        wanted: &AddMember,
    ) -> Result<(), Failed> {
        caller.may_grant(&wanted.attributes)?;
        match store::member(db, &self.authority, &wanted.member)? {
            Some(member) if member.is_enroller() || member.pre_trusted => caller.is_admin(),
            _ => Ok(()),
        }
    }

    fn remove(&self, db: &Connection, caller: &Caller, who: &Identifier) -> Result<(), Failed> {
        let Some(member) = store::member(db, &self.authority, who)? else {
            return Ok(());
        };
        if member.pre_trusted {
            return Err(Refused::PreTrusted(*who).into());
        }
        if member.is_enroller() {
            caller.is_admin()?;
        }
        store::remove_member(db, &self.authority, who)?;
        tracing::info!(member = %who, by = %caller.identifier, "removed a member");
        Ok(())
    }

    /// Hands all members to `each`, which says how many bytes of the answer each takes.
    fn list(&self, db: &Connection, mut each: impl FnMut(Member) -> usize) -> Result<(), Failed> {
        let mut room = MAX_REQUEST - 64;
        let mut fits = true;
        store::each_member(db, &self.authority, |member| {
            let length = each(member);
            fits = length <= room;
            room = room.saturating_sub(length);
            fits
        })?;
        fits.then_some(())
            .ok_or_else(|| Refused::TooManyToList.into())
    }
}

impl Caller {
    fn is_admin(&self) -> Result<(), Failed> {
        match self.admin {
            true => Ok(()),
            false => Err(Refused::NotAdmin(self.identifier).into()),
        }
    }

    /// Only admins make enrollers.
    fn may_grant(&self, attributes: &MemberAttributes) -> Result<(), Failed> {
        match is_enroller(attributes) {
            true => self.is_admin(),
            false => Ok(()),
        }
    }
}

fn entry(member: &Member) -> AttributesEntry {
    AttributesEntry::of_member(&member.attributes, member.added_at, member.added_by)
}

/// Ten characters that tell tickets apart, out of random bytes.
fn reference(random: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let letters = random.iter().take(10);
    letters
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
        .collect()
}
