//! Enrollment tickets.

use culvert_proto::limits::{MAX_PROJECT_NAME, MAX_TICKET};
use culvert_proto::ticket::{Ticket, TicketError, project_id};

/// A text that is a ticket can be written in all three forms and read back, unless it is one of those
/// that only JSON can say: without the project's identifier, with another id than its route has, or with
/// routes that the normal form would take apart.
pub fn ticket(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let Ok(ticket) = Ticket::parse(text) else {
        return;
    };
    assert!(text.trim().len() <= MAX_TICKET && ticket.project_name.len() <= MAX_PROJECT_NAME);
    assert!(!ticket.project_history.is_empty() && !ticket.authority_history.is_empty());
    let forms = [ticket.reveal(), ticket.reveal_hex(), ticket.reveal_json()];
    for form in forms {
        match form {
            Ok(form) if form.len() <= MAX_TICKET => {
                assert_eq!(Ticket::parse(&form).as_ref(), Ok(&ticket));
            }
            Ok(_) | Err(TicketError::Separator(_)) => {}
            Err(TicketError::Identifier) => assert_eq!(ticket.project_identifier, None),
            Err(TicketError::NoProjectId) => {
                let id = ticket.project_id.as_str();
                assert_ne!(project_id(&ticket.project_route), Some(id));
            }
            Err(error) => panic!("{error}: {ticket:?}"),
        }
    }
    // Whether it can be believed is decided without trouble, too.
    let _ = culvert_crypto::ticket::verify(&ticket);
}
