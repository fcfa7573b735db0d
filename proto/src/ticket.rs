//! Enrollment tickets: where and who a project and its authority are, and a code that makes a
//! member of its bearer.
//!
//! Specification: `protocol/12-credentials.md` 14. One ticket has several texts:
//!
//! ```text
//! normal   route,identifier,name,code,history,authority's history,authority's route
//! hex      hexadecimal digits of the normal form
//! JSON     { "one_time_code": …, "project_route": { "id": …, "route": … }, … }
//! legacy   JSON { "one_time_code": …, "project": { "id": …, "access_route": …, … } }, or its digits
//! ```
//!
//! Histories are not verified here, see the ticket module of the crypto crate.

use serde::{Deserialize, Serialize};

use crate::authority::OneTimeCode;
use crate::identity::Identifier;
use crate::limits::{MAX_PROJECT_NAME, MAX_TICKET};
use crate::multiaddr::{MultiAddr, MultiAddrError, Part};

/// Why a text is not a ticket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Nothing at all.
    #[error("it is empty")]
    Empty,
    /// Longer than [`MAX_TICKET`].
    #[error("its {0} bytes are too many")]
    TooLong(usize),
    /// An odd number of hexadecimal digits.
    #[error("a part of it is missing: it has an odd number of hexadecimal digits")]
    OddDigits,
    /// Hexadecimal digits of something that is not text.
    #[error("its hexadecimal digits do not stand for text")]
    NotText,
    /// Not JSON, or not that of a ticket.
    #[error("it is not the JSON of a ticket (line {line}, column {column})")]
    Json {
        /// Where reading stopped.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// Fewer fields than a ticket has.
    #[error("it has {0} of the seven fields of a ticket")]
    Fields(usize),
    /// A member of the JSON form is not there.
    #[error("the member '{0}' is missing")]
    Missing(&'static str),
    /// A route is not one.
    #[error("the {field}: {error}")]
    Route {
        /// Whose route.
        field: &'static str,
        /// What is wrong with it.
        error: MultiAddrError,
    },
    /// A route that would be taken for something else in the normal form.
    #[error("the route {0} has a comma or white space")]
    Separator(MultiAddr),
    /// The project's route names no service, and so no project.
    #[error("the route of the project has no /service/ part, which would be the project's id")]
    NoProjectId,
    /// Not an identifier.
    #[error("the identifier of the project is not one: I and 64 hexadecimal digits")]
    Identifier,
    /// Not a code.
    #[error("the one-time code is not 64 hexadecimal digits")]
    Code,
    /// Not hexadecimal, or nothing.
    #[error("the {0} is not hexadecimal")]
    History(&'static str),
    /// Not usable as a name: in the normal form it could be taken for several fields.
    #[error("the name of the project is empty or too long, or has commas or control characters")]
    Name,
}

/// What a ticket says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Makes its bearer a member.
    pub code: OneTimeCode,
    /// The project's own id.
    pub project_id: String,
    /// The project's node: usually the relay.
    pub project_route: MultiAddr,
    /// Who that node is. Legacy tickets may leave it out.
    pub project_identifier: Option<Identifier>,
    /// What the project is called.
    pub project_name: String,
    /// Encoded change history of the project's node, not verified.
    pub project_history: Vec<u8>,
    /// Encoded change history of the authority, not verified.
    pub authority_history: Vec<u8>,
    /// The authority's channel listener.
    pub authority_route: MultiAddr,
}

/// The id of the project behind a route: the value of its first `service` part.
#[must_use]
pub fn project_id(route: &MultiAddr) -> Option<&str> {
    route.parts().iter().find_map(|part| match part {
        Part::Service(id) => Some(id.as_str()),
        _ => None,
    })
}

/// Whether a project may be called so.
///
/// # Errors
/// [`TicketError::Name`].
pub fn check_name(name: &str) -> Result<(), TicketError> {
    let is_name = (1..=MAX_PROJECT_NAME).contains(&name.len())
        && !name.chars().any(|c| c == ',' || c.is_control());
    is_name.then_some(()).ok_or(TicketError::Name)
}

/// The JSON form, and the legacy form with it.
#[derive(Serialize, Deserialize)]
struct Json {
    one_time_code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<JsonProject>,
    project_route: Option<JsonRoute>,
    project_identifier: Option<String>,
    project_name: Option<String>,
    project_change_history: Option<String>,
    authority_change_history: Option<String>,
    authority_route: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct JsonRoute {
    id: String,
    route: String,
}

/// The project of the legacy form, as far as it matters.
#[derive(Serialize, Deserialize)]
struct JsonProject {
    id: String,
    name: String,
    access_route: String,
    identity: Option<String>,
    authority_access_route: Option<String>,
    authority_identity: Option<String>,
    project_change_history: Option<String>,
}

/// The fields of a ticket as texts.
struct Fields<'a> {
    code: &'a str,
    id: Option<&'a str>,
    route: &'a str,
    identifier: Option<&'a str>,
    name: &'a str,
    history: &'a str,
    authority_history: &'a str,
    authority_route: &'a str,
}

impl Ticket {
    /// Reads a ticket in any of its forms; white space around it is ignored.
    ///
    /// # Errors
    /// [`TicketError`].
    pub fn parse(text: &str) -> Result<Self, TicketError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TicketError::Empty);
        }
        if text.len() > MAX_TICKET {
            return Err(TicketError::TooLong(text.len()));
        }
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Self::parse_plain(text);
        }
        let bytes = hex::decode(text).map_err(|_| TicketError::OddDigits)?;
        let text = str::from_utf8(&bytes).map_err(|_| TicketError::NotText)?;
        Self::parse_plain(text)
    }

    fn parse_plain(text: &str) -> Result<Self, TicketError> {
        if text.trim_start().starts_with('{') {
            return Self::parse_json(text);
        }
        let fields: Vec<&str> = text.splitn(8, ',').collect();
        let &[
            route,
            identifier,
            name,
            code,
            history,
            authority_history,
            authority_route,
            ..,
        ] = fields.as_slice()
        else {
            return Err(TicketError::Fields(fields.len()));
        };
        Self::from_fields(&Fields {
            code,
            id: None,
            route,
            identifier: Some(identifier),
            name,
            history,
            authority_history,
            authority_route,
        })
    }

    fn parse_json(text: &str) -> Result<Self, TicketError> {
        let json: Json = serde_json::from_str(text).map_err(|error| TicketError::Json {
            line: error.line(),
            column: error.column(),
        })?;
        fn present<'a, T>(field: &'a Option<T>, name: &'static str) -> Result<&'a T, TicketError> {
            field.as_ref().ok_or(TicketError::Missing(name))
        }
        if let Some(project) = &json.project {
            return Self::from_fields(&Fields {
                code: &json.one_time_code,
                id: Some(&project.id),
                route: &project.access_route,
                identifier: project.identity.as_deref(),
                name: &project.name,
                history: present(&project.project_change_history, "project_change_history")?,
                authority_history: present(&project.authority_identity, "authority_identity")?,
                authority_route: present(
                    &project.authority_access_route,
                    "authority_access_route",
                )?,
            });
        }
        let route = present(&json.project_route, "project_route")?;
        Self::from_fields(&Fields {
            code: &json.one_time_code,
            id: Some(&route.id),
            route: &route.route,
            identifier: Some(present(&json.project_identifier, "project_identifier")?),
            name: present(&json.project_name, "project_name")?,
            history: present(&json.project_change_history, "project_change_history")?,
            authority_history: present(&json.authority_change_history, "authority_change_history")?,
            authority_route: present(&json.authority_route, "authority_route")?,
        })
    }

    fn from_fields(fields: &Fields<'_>) -> Result<Self, TicketError> {
        let project_route = route("route of the project", fields.route)?;
        let id = fields.id.or_else(|| project_id(&project_route));
        let project_id = id.ok_or(TicketError::NoProjectId)?.to_owned();
        check_name(fields.name)?;
        let identifier = |text: &str| text.parse().map_err(|_| TicketError::Identifier);
        Ok(Self {
            code: fields.code.parse().map_err(|_| TicketError::Code)?,
            project_id,
            project_route,
            project_identifier: fields.identifier.map(identifier).transpose()?,
            project_name: fields.name.to_owned(),
            project_history: history("change history of the project", fields.history)?,
            authority_history: history(
                "change history of the authority",
                fields.authority_history,
            )?,
            authority_route: route("route of the authority", fields.authority_route)?,
        })
    }

    /// The normal form. Whoever sees it can enroll.
    ///
    /// # Errors
    /// [`TicketError::Name`], [`TicketError::Separator`], [`TicketError::Identifier`] when there is
    /// none, and [`TicketError::NoProjectId`] when the id is not that of the route: readers of this
    /// form could not tell them.
    pub fn reveal(&self) -> Result<String, TicketError> {
        check_name(&self.project_name)?;
        for route in [&self.project_route, &self.authority_route] {
            if route
                .to_string()
                .contains(|c: char| c == ',' || c.is_whitespace())
            {
                return Err(TicketError::Separator(route.clone()));
            }
        }
        if project_id(&self.project_route) != Some(self.project_id.as_str()) {
            return Err(TicketError::NoProjectId);
        }
        let identifier = self.project_identifier.ok_or(TicketError::Identifier)?;
        Ok(format!(
            "{},{identifier},{},{},{},{},{}",
            self.project_route,
            self.project_name,
            self.code.reveal(),
            hex::encode(&self.project_history),
            hex::encode(&self.authority_history),
            self.authority_route,
        ))
    }

    /// The hex form: one word that every shell passes on unchanged. Whoever sees it can enroll.
    ///
    /// # Errors
    /// As [`Ticket::reveal`].
    pub fn reveal_hex(&self) -> Result<String, TicketError> {
        self.reveal().map(hex::encode)
    }

    /// The JSON form. Whoever sees it can enroll.
    ///
    /// # Errors
    /// As [`Ticket::reveal`].
    pub fn reveal_json(&self) -> Result<String, TicketError> {
        self.reveal()?;
        let json = Json {
            one_time_code: self.code.reveal(),
            project: None,
            project_route: Some(JsonRoute {
                id: self.project_id.clone(),
                route: self.project_route.to_string(),
            }),
            project_identifier: self.project_identifier.map(|who| who.to_string()),
            project_name: Some(self.project_name.clone()),
            project_change_history: Some(hex::encode(&self.project_history)),
            authority_change_history: Some(hex::encode(&self.authority_history)),
            authority_route: Some(self.authority_route.to_string()),
        };
        serde_json::to_string(&json).map_err(|_| TicketError::Name)
    }
}

fn route(field: &'static str, text: &str) -> Result<MultiAddr, TicketError> {
    text.parse()
        .map_err(|error| TicketError::Route { field, error })
}

fn history(field: &'static str, text: &str) -> Result<Vec<u8>, TicketError> {
    match hex::decode(text) {
        Ok(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => Err(TicketError::History(field)),
    }
}
