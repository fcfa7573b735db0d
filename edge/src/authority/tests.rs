//! The rules of an authority against a real database, with a clock and random numbers of the tests.

use std::collections::BTreeMap;

use culvert_crypto::Identifier;
use culvert_node::store::database::Database;
use culvert_proto::authority::{
    AddMember, Command, CreateToken, ENROLLER, MemberAttributes, MemberIds, MemberList,
    OneTimeCode, ROLE, TRUST_CONTEXT,
};
use culvert_proto::identity::decode_exact;
use culvert_proto::request::Status;
use tempfile::TempDir;

use super::refused::Refused;
use super::rules::{DEFAULT_LIFETIME, Issue, Rules};
use super::store::{self, Member, TicketState};

const NOW: u64 = 1_700_000_000;
const AUTHORITY: Identifier = Identifier([1; 32]);
const ADMIN: Identifier = Identifier([2; 32]);
const ENROLLER_ID: Identifier = Identifier([3; 32]);
const MEMBER: Identifier = Identifier([4; 32]);
const STRANGER: Identifier = Identifier([5; 32]);

/// Says what a credential would say.
struct Spoken;

impl Issue for Spoken {
    fn issue(
        &mut self,
        subject: &Identifier,
        attributes: &MemberAttributes,
        _now_s: u64,
    ) -> Result<Vec<u8>, String> {
        match *subject == ENROLLER_ID {
            true => Err("no key".into()),
            false => Ok(serde_json::to_vec(attributes).expect("JSON")),
        }
    }
}

struct Case {
    rules: Rules,
    db: Database,
    now: u64,
    draws: u8,
    _home: TempDir,
}

fn attributes(pairs: &[(&str, &str)]) -> MemberAttributes {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect()
}

fn enroller() -> MemberAttributes {
    attributes(&[(ROLE, ENROLLER)])
}

/// An authority with a pre-trusted admin, a later enroller and a member.
fn case(enforce_admin_checks: bool) -> Case {
    let home = tempfile::tempdir().expect("a directory");
    let mut db = Database::open(home.path()).expect("a database");
    let member = |identifier, attributes, pre_trusted| Member {
        identifier,
        attributes,
        added_by: AUTHORITY,
        added_at: NOW,
        pre_trusted,
    };
    let filled = db.with("fill", |db| {
        store::set_pre_trusted(db, &AUTHORITY, &[member(ADMIN, enroller(), true)])?;
        store::put_member(db, &AUTHORITY, &member(ENROLLER_ID, enroller(), false))?;
        let web = attributes(&[("component", "web")]);
        store::put_member(db, &AUTHORITY, &member(MEMBER, web, false))
    });
    filled.expect("members");
    Case {
        rules: Rules {
            authority: AUTHORITY,
            trust_context: Some("p".into()),
            enforce_admin_checks,
        },
        db,
        now: NOW,
        draws: 0,
        _home: home,
    }
}

impl Case {
    fn ask(&mut self, caller: Identifier, command: &Command) -> Result<Option<Vec<u8>>, Refused> {
        self.draws += 1;
        let random = [self.draws; 48];
        let Self { rules, db, now, .. } = self;
        rules.answer(db, &mut Spoken, &caller, command, *now, random)
    }

    fn refused(&mut self, caller: Identifier, command: &Command) -> Refused {
        self.ask(caller, command).expect_err("refused")
    }

    fn ticket(&mut self, wanted: CreateToken) -> OneTimeCode {
        let body = self
            .ask(ADMIN, &Command::CreateToken(wanted))
            .expect("a ticket");
        decode_exact(&body.expect("a body")).expect("a code")
    }

    fn member(&mut self, who: Identifier) -> Option<Member> {
        let found = self
            .db
            .with("read", |db| store::member(db, &AUTHORITY, &who));
        found.expect("read")
    }

    fn redeem(&mut self, who: Identifier, code: &OneTimeCode) -> Result<(), Refused> {
        self.ask(who, &Command::Redeem(code.clone())).map(drop)
    }
}

fn add(member: Identifier, attributes: MemberAttributes) -> Command {
    Command::Add(AddMember { member, attributes })
}

fn someone(n: u8) -> Identifier {
    Identifier([100 + n; 32])
}

#[test]
fn only_members_get_credentials_and_only_enrollers_manage() {
    let mut case = case(false);
    let credential = case.ask(MEMBER, &Command::Issue).expect("a credential");
    let said: BTreeMap<String, String> =
        serde_json::from_slice(&credential.expect("a body")).expect("JSON");
    assert_eq!(
        said,
        attributes(&[("component", "web"), (TRUST_CONTEXT, "p")])
    );
    assert!(matches!(
        case.refused(STRANGER, &Command::Issue),
        Refused::NotMember
    ));
    let failed = case.refused(ENROLLER_ID, &Command::Issue);
    assert_eq!(failed.status(), Status::InternalServerError);

    for command in [
        Command::CreateToken(CreateToken::default()),
        add(STRANGER, MemberAttributes::new()),
        Command::ListIds,
        Command::List,
        Command::Show(MEMBER),
        Command::RemoveAll,
        Command::Remove(MEMBER),
    ] {
        for caller in [STRANGER, MEMBER] {
            let refused = case.refused(caller, &command);
            assert!(
                matches!(refused, Refused::NotEnroller(who) if who == caller),
                "{command:?}"
            );
            assert_eq!(refused.status(), Status::Forbidden);
        }
    }
    assert_eq!(case.member(STRANGER), None);
}

#[test]
fn a_ticket_is_good_for_its_uses_and_its_time() {
    let mut case = case(false);
    let wanted = CreateToken {
        attributes: attributes(&[("component", "db")]),
        ttl_secs: None,
        ttl_count: Some(2),
    };
    let code = case.ticket(wanted);
    case.now += DEFAULT_LIFETIME - 1;
    case.redeem(someone(1), &code).expect("the first");
    // Who is a member already uses nothing up.
    assert!(matches!(
        case.redeem(someone(1), &code),
        Err(Refused::AlreadyMember)
    ));
    case.redeem(someone(2), &code).expect("the second");
    assert!(matches!(
        case.redeem(someone(3), &code),
        Err(Refused::UsedTicket)
    ));
    let member = case.member(someone(1)).expect("a member");
    assert_eq!(member.attributes, attributes(&[("component", "db")]));
    assert_eq!((member.added_by, member.pre_trusted), (ADMIN, false));

    let code = case.ticket(CreateToken::default());
    case.now += DEFAULT_LIFETIME;
    assert!(matches!(
        case.redeem(someone(4), &code),
        Err(Refused::ExpiredTicket)
    ));
    let unknown = OneTimeCode { bytes: [77; 32] };
    let refused = case.redeem(someone(4), &unknown).expect_err("refused");
    assert_eq!(refused.to_string(), "Unknown enrollment token");
    assert_eq!(case.member(someone(4)), None);

    let code = case.ticket(CreateToken::default());
    let all = case
        .db
        .with("read", |db| store::tickets(db, &AUTHORITY))
        .expect("tickets");
    let states: Vec<TicketState> = all.iter().map(|ticket| ticket.state(case.now)).collect();
    assert_eq!(
        states,
        [TicketState::Used, TicketState::Expired, TicketState::Open]
    );
    let last = all.last().expect("a ticket").reference.clone();
    let revoked = case
        .db
        .with("write", |db| store::revoke_ticket(db, &AUTHORITY, &last));
    assert!(revoked.expect("revoked"));
    assert!(matches!(
        case.redeem(someone(4), &code),
        Err(Refused::RevokedTicket)
    ));

    // Long after their end they are forgotten.
    case.now += 40 * 24 * 3600;
    case.ticket(CreateToken::default());
    let all = case
        .db
        .with("read", |db| store::tickets(db, &AUTHORITY))
        .expect("tickets");
    assert_eq!(all.len(), 1);
    assert!(matches!(
        case.redeem(someone(4), &code),
        Err(Refused::UnknownTicket)
    ));
}

#[test]
fn a_redeem_that_fails_uses_nothing_up() {
    let mut case = case(false);
    let code = case.ticket(CreateToken::default());
    let spoil = "CREATE TRIGGER spoil BEFORE INSERT ON member BEGIN SELECT RAISE(ABORT, 'x'); END";
    case.db
        .with("spoil", |db| db.execute_batch(spoil))
        .expect("spoilt");
    let failed = case.redeem(STRANGER, &code).expect_err("failed");
    assert!(matches!(failed, Refused::Store(_)));
    assert_eq!(failed.status(), Status::InternalServerError);
    assert!(
        !failed.to_string().contains("culvert.db"),
        "nothing of the inside is told"
    );
    case.db
        .with("mend", |db| db.execute_batch("DROP TRIGGER spoil"))
        .expect("mended");
    case.redeem(STRANGER, &code)
        .expect("the ticket is still good");
}

#[test]
fn tickets_that_make_no_sense_are_not_made() {
    let mut case = case(false);
    for (ttl_secs, ttl_count) in [(Some(0), None), (None, Some(0))] {
        let wanted = CreateToken {
            attributes: MemberAttributes::new(),
            ttl_secs,
            ttl_count,
        };
        let refused = case.refused(ADMIN, &Command::CreateToken(wanted));
        assert_eq!(refused.status(), Status::BadRequest);
    }
    let forever = CreateToken {
        attributes: MemberAttributes::new(),
        ttl_secs: Some(u64::MAX),
        ttl_count: Some(u64::MAX),
    };
    let code = case.ticket(forever);
    case.now = u64::from(u32::MAX);
    case.redeem(STRANGER, &code).expect("a member");
    for name in ["identifier", "has_credential", "a b", ""] {
        let pairs = attributes(&[(name, "x")]);
        let wanted = CreateToken {
            attributes: pairs.clone(),
            ..CreateToken::default()
        };
        for command in [Command::CreateToken(wanted), add(someone(1), pairs)] {
            let refused = case.refused(ADMIN, &command);
            assert_eq!(refused.status(), Status::BadRequest, "{name}");
            assert!(refused.to_string().contains(name), "{refused}");
        }
    }
    assert_eq!(case.member(someone(1)), None);
}

#[test]
fn enrollers_that_are_no_admins_leave_the_powerful_alone() {
    let mut case = case(true);
    let web = || attributes(&[("component", "web")]);
    let token = CreateToken {
        attributes: enroller(),
        ..CreateToken::default()
    };
    for command in [
        Command::CreateToken(token.clone()),
        add(someone(1), enroller()),
        add(ADMIN, web()),
        add(ENROLLER_ID, web()),
        add(MEMBER, enroller()),
        Command::Remove(ENROLLER_ID),
    ] {
        let refused = case.refused(ENROLLER_ID, &command);
        assert!(
            matches!(refused, Refused::NotAdmin(_)),
            "{command:?}: {refused}"
        );
    }
    case.ask(ENROLLER_ID, &add(MEMBER, web()))
        .expect("a plain member");
    assert_eq!(case.member(MEMBER).expect("a member").added_by, ENROLLER_ID);
    let configured = case.refused(ADMIN, &Command::Remove(ADMIN));
    assert!(matches!(configured, Refused::PreTrusted(_)));

    case.ask(ENROLLER_ID, &Command::RemoveAll)
        .expect("those it may");
    assert!(case.member(MEMBER).is_none());
    assert!(case.member(ADMIN).is_some() && case.member(ENROLLER_ID).is_some());

    // Admins may, and the mark of the configuration stays.
    case.ask(ADMIN, &Command::CreateToken(token))
        .expect("a ticket");
    case.ask(ADMIN, &add(ADMIN, enroller())).expect("replaced");
    assert!(case.member(ADMIN).expect("a member").pre_trusted);
    case.ask(ADMIN, &add(someone(1), enroller()))
        .expect("added");
    case.ask(ADMIN, &Command::Remove(someone(1)))
        .expect("removed");
    case.ask(ADMIN, &Command::Remove(someone(1)))
        .expect("nobody to remove");
    case.ask(ADMIN, &Command::RemoveAll).expect("all others");
    assert!(case.member(ENROLLER_ID).is_none() && case.member(ADMIN).is_some());
}

#[test]
fn members_are_listed_and_shown() {
    let mut case = case(false);
    let body = case.ask(ENROLLER_ID, &Command::ListIds).expect("a list");
    let ids: MemberIds = decode_exact(&body.expect("a body")).expect("identifiers");
    assert_eq!(ids, [ADMIN, ENROLLER_ID, MEMBER]);
    let body = case.ask(ENROLLER_ID, &Command::List).expect("a list");
    let list: MemberList = decode_exact(&body.expect("a body")).expect("entries");
    let one = case
        .ask(ENROLLER_ID, &Command::Show(MEMBER))
        .expect("a member");
    let one = decode_exact(&one.expect("a body")).expect("an entry");
    assert_eq!(list.get(&MEMBER), Some(&one));
    assert_eq!(one.attested_by, Some(AUTHORITY));
    let missing = case.refused(ADMIN, &Command::Show(STRANGER));
    assert_eq!(missing.status(), Status::Forbidden);

    // More than fits into one answer.
    let long = attributes(&[("a", &"v".repeat(8000))]);
    for n in 100..240 {
        case.ask(ADMIN, &add(Identifier([n; 32]), long.clone()))
            .expect("added");
    }
    let refused = case.refused(ADMIN, &Command::List);
    assert!(matches!(refused, Refused::TooManyToList));
    case.ask(ADMIN, &Command::ListIds)
        .expect("identifiers still fit");
}
