//! What the operator of an authority does on its machine, whether it runs or not.

use culvert_crypto::Identifier;
use culvert_node::random_bytes;
use culvert_node::store::database::Database;
use culvert_proto::authority::{AddMember, CreateToken, OneTimeCode};
use culvert_proto::ticket::Ticket;
use serde_json::{Value, json};

use super::args::{MemberCommand, TicketArgs, TicketCommand, WhichArgs};
use super::refused::Refused;
use super::rules::Rules;
use super::store::{self, Issued, Member};
use crate::commands::now_s;
use crate::duration::roughly;
use crate::failure::Failure;
use crate::output::Output;
use crate::store::{Store, Stored};

/// An authority of this machine.
struct Local {
    stored: Stored,
    db: Database,
    rules: Rules,
}

impl Local {
    fn open(store: &Store, which: &WhichArgs) -> Result<Self, Failure> {
        let stored = store.load(&which.identity)?;
        let rules = Rules {
            authority: stored.identifier(),
            trust_context: None,
            enforce_admin_checks: false,
        };
        let db = Database::open(store.home())?;
        Ok(Self { stored, db, rules })
    }

    fn id(&self) -> Identifier {
        self.rules.authority
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Store(error) => error.into(),
            Refused::Full("tickets") => {
                Self::new(refused, "those that ended are forgotten after 30 days")
            }
            Refused::Attributes(_) | Refused::Useless => Self::usage(refused, ""),
            other => Self::new(other, ""),
        }
    }
}

/// Runs a command about members.
///
/// # Errors
///
/// What the store or the rules say.
pub fn member(store: &Store, command: &MemberCommand, output: Output) -> Result<(), Failure> {
    match command {
        MemberCommand::Add {
            identifier,
            attributes,
            which,
        } => {
            let wanted = AddMember {
                member: *identifier,
                attributes: attributes.attributes()?,
            };
            let Local { db, rules, .. } = &mut Local::open(store, which)?;
            let authority = rules.authority;
            rules.transact(db, |db| rules.add(db, &authority, &wanted, now_s()))?;
            show(&mut Local::open(store, which)?, identifier, output)
        }
        MemberCommand::List { which } => {
            let mut local = Local::open(store, which)?;
            let (id, mut all) = (local.id(), Vec::new());
            local.db.with("read", |db| {
                store::each_member(db, &id, |member| {
                    output.say(line(&member));
                    all.push(describe(&member));
                    true
                })
            })?;
            output.emit(&Value::Array(all));
            Ok(())
        }
        MemberCommand::Show { identifier, which } => {
            show(&mut Local::open(store, which)?, identifier, output)
        }
        MemberCommand::Delete { identifier, which } => {
            let mut local = Local::open(store, which)?;
            let id = local.id();
            let removed = local
                .db
                .with("write", |db| store::remove_member(db, &id, identifier))?;
            if !removed {
                return Err(no_member(identifier));
            }
            output.print(
                format!("deleted {identifier}"),
                &json!({ "deleted": identifier.to_string() }),
            );
            Ok(())
        }
    }
}

fn no_member(identifier: &Identifier) -> Failure {
    Failure::new(
        format!("{identifier} is not a member"),
        "see `culvert-edge authority member list`",
    )
}

fn show(local: &mut Local, who: &Identifier, output: Output) -> Result<(), Failure> {
    let id = local.id();
    let found = local.db.with("read", |db| store::member(db, &id, who))?;
    let member = found.ok_or_else(|| no_member(who))?;
    output.print(line(&member), &describe(&member));
    Ok(())
}

fn line(member: &Member) -> String {
    let mut text = member.identifier.to_string();
    if member.pre_trusted {
        text.push_str("  pre-trusted");
    }
    for (name, value) in &member.attributes {
        text.push_str(&format!("  {name}={value}"));
    }
    text
}

fn describe(member: &Member) -> Value {
    json!({
        "identifier": member.identifier.to_string(),
        "attributes": member.attributes,
        "added_by": member.added_by.to_string(),
        "added_at": member.added_at,
        "pre_trusted": member.pre_trusted,
    })
}

/// Runs a command about tickets.
///
/// # Errors
///
/// What the store or the rules say.
pub fn ticket(store: &Store, command: &TicketCommand, output: Output) -> Result<(), Failure> {
    match command {
        TicketCommand::Create { ticket, which } => create(store, which, ticket, output),
        TicketCommand::List { which } => {
            let mut local = Local::open(store, which)?;
            let (id, now) = (local.id(), now_s());
            let all = local.db.with("read", |db| store::tickets(db, &id))?;
            for ticket in &all {
                output.say(ticket_line(ticket, now));
            }
            let all = all.iter().map(|ticket| describe_ticket(ticket, now));
            output.emit(&all.collect());
            Ok(())
        }
        TicketCommand::Revoke { reference, which } => {
            let mut local = Local::open(store, which)?;
            let id = local.id();
            let revoked = local
                .db
                .with("write", |db| store::revoke_ticket(db, &id, reference))?;
            if !revoked {
                return Err(Failure::new(
                    format!("there is no ticket '{reference}'"),
                    "see `culvert-edge authority ticket list`",
                ));
            }
            output.print(
                format!("revoked {reference}"),
                &json!({ "revoked": reference }),
            );
            Ok(())
        }
    }
}

fn create(
    store: &Store,
    which: &WhichArgs,
    args: &TicketArgs,
    output: Output,
) -> Result<(), Failure> {
    let wanted = CreateToken {
        attributes: args.attributes.attributes()?,
        ttl_secs: Some(args.expires_in.as_secs()),
        ttl_count: Some(args.usage_count),
    };
    let Local { stored, db, rules } = &mut Local::open(store, which)?;
    let id = rules.authority;
    let found = db.with("read", |db| store::described(db, &id))?;
    let described = found.ok_or_else(|| {
        Failure::new(
            format!(
                "no authority has run as the identity '{}' yet",
                which.identity
            ),
            "run `culvert-edge authority create` first: tickets say where it is",
        )
    })?;
    let random = random_bytes();
    let (code, issued) =
        rules.transact(db, |db| rules.create(db, &id, &wanted, now_s(), random))?;
    let unreadable = |error: String| {
        let message = format!("what tickets say cannot be read: {error}");
        Failure::new(message, "run `culvert-edge authority create` again")
    };
    let route = |text: &str| {
        let parsed = text.parse();
        parsed.map_err(|error| unreadable(format!("{text}: {error}")))
    };
    let project = culvert_crypto::identity::Identity::verify(&described.project_history, None)
        .map_err(|error| unreadable(error.to_string()))?;
    let ticket = text(&Ticket {
        code: OneTimeCode { bytes: code.bytes },
        project_id: super::project_id(&described.project_route),
        project_route: route(&described.project_route)?,
        project_identifier: Some(project.identifier()),
        project_name: described.project_name,
        project_history: described.project_history,
        authority_history: stored.identity.history().to_vec(),
        authority_route: route(&described.route)?,
    })?;
    let mut shown = describe_ticket(&issued, now_s());
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("ticket".into(), ticket.clone().into());
    }
    output.print(&ticket, &shown);
    tracing::info!(
        reference = issued.reference,
        uses = issued.uses_left,
        "made a ticket, good for {}: redeem it with `culvert-edge project enroll TICKET`",
        roughly(args.expires_in.as_secs())
    );
    Ok(())
}

/// A ticket as it is given to people: the hex form.
///
/// # Errors
///
/// When it could not be read back.
pub fn text(ticket: &Ticket) -> Result<String, Failure> {
    ticket.reveal_hex().map_err(|error| {
        let message = format!("the ticket cannot be written: {error}");
        Failure::new(message, "check the name and the route of the project")
    })
}

fn ticket_line(ticket: &Issued, now_s: u64) -> String {
    let state = ticket.state(now_s).name();
    let mut text = format!(
        "{}  {state}  uses left: {}",
        ticket.reference, ticket.uses_left
    );
    if ticket.expires_at > now_s {
        let left = roughly(ticket.expires_at - now_s);
        text.push_str(&format!("  expires in {left}"));
    }
    for (name, value) in &ticket.attributes {
        text.push_str(&format!("  {name}={value}"));
    }
    text
}

fn describe_ticket(ticket: &Issued, now_s: u64) -> Value {
    json!({
        "reference": ticket.reference,
        "state": ticket.state(now_s).name(),
        "attributes": ticket.attributes,
        "issued_by": ticket.issued_by.to_string(),
        "created_at": ticket.created_at,
        "expires_at": ticket.expires_at,
        "uses_left": ticket.uses_left,
    })
}
