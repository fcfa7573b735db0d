//! Whether what relays, outlets, inlets and channels say makes sense.

use culvert_crypto::trust::Trust;
use culvert_proto::multiaddr::MultiAddr;

use super::check::{Checker, Ports};
use super::section::Item;
use crate::endpoint::HostPort;
use crate::model::{ChannelSpec, InletSpec, OutletSpec, RelaySpec};
use crate::route;

impl Checker<'_> {
    pub(super) fn relay(&mut self, item: &Item<RelaySpec>) {
        let spec = &item.spec;
        self.name("relay", item, &spec.name);
        let registered = spec.relay_address.as_ref().unwrap_or(&spec.name);
        if let Err(why) = route::check_relay_name(registered) {
            let key = spec
                .relay_address
                .as_ref()
                .map_or("name", |_| "relay-address");
            self.wrong(item, key, why);
        }
        self.relay_at(item, spec.at.as_deref());
        self.identifiers(item, &spec.authorized);
        if spec.plain && spec.authorized.is_some() {
            let why =
                "in clear nobody can tell who the relay is; leave out 'plain' or 'authorized'";
            self.wrong(item, "authorized", why);
        }
    }

    /// Checks which relay is meant.
    fn relay_at<T>(&mut self, item: &Item<T>, at: Option<&str>) {
        match at {
            None if !self.known.has_project => {
                let message = format!(
                    "{}: it is not said which relay, and no project is known: give 'at', or a 'ticket'",
                    item.path
                );
                self.warn(item.place, message);
            }
            None => {}
            Some(text) if text.starts_with('/') => {
                if let Err(error) = text.parse::<MultiAddr>() {
                    self.wrong(item, "at", error);
                }
            }
            Some(text) => self.remote(item, "at", text),
        }
    }

    pub(super) fn outlet(&mut self, item: &Item<OutletSpec>) {
        let spec = &item.spec;
        self.name("tcp-outlet", item, &spec.name);
        match HostPort::parse_local(&spec.to) {
            Ok(HostPort { port: 0, .. }) => {
                self.wrong(item, "to", "port 0 is not a port one can connect to");
            }
            Ok(_) => {}
            Err(why) => self.wrong(item, "to", why),
        }
        if let Some(text) = &spec.allow {
            self.policy(item, text);
        }
    }

    pub(super) fn inlet(&mut self, item: &Item<InletSpec>, ports: &mut Ports) {
        let spec = &item.spec;
        self.name("tcp-inlet", item, &spec.name);
        let at = HostPort::parse_local(&spec.from);
        self.listen(
            at,
            &format!("{}.from", item.path),
            item.place("from"),
            ports,
        );
        self.identifiers(item, &spec.authorized);
        if let Some(text) = &spec.allow {
            self.policy(item, text);
        }
        match (&spec.via, &spec.to) {
            (None, None) => {
                let message = format!(
                    "{}: it does not say where it leads to: give 'via', the name that the outlet's side has at \
                     the relay, or 'to', a route",
                    item.path
                );
                self.refuse(item.place, message);
            }
            (None, Some(to)) => {
                if spec.at.is_some() {
                    self.wrong(item, "at", "it is the relay of 'via', which is missing");
                }
                self.route(item, to);
            }
            (Some(via), to) => {
                if let Err(why) = route::check_relay_name(via) {
                    self.wrong(item, "via", why);
                }
                self.relay_at(item, spec.at.as_deref());
                if let Some(Err(why)) = to.as_deref().map(route::outlet_name) {
                    self.wrong(item, "to", why);
                }
            }
        }
    }

    /// Warns of portals that nobody could use on this machine: it will not start them.
    pub(super) fn somebody(&mut self) {
        let known = self.known;
        let Some(stored) = known.machine.and_then(|machine| machine.policies.as_ref()) else {
            return;
        };
        let of_file: Vec<_> = known.policies.iter().map(|item| item.spec.key()).collect();
        let has = |key: String| of_file.contains(&key) || stored.contains(&key);
        let is_open =
            |kind: &str, name: &str| has(format!("type/{kind}")) || has(format!("resource/{name}"));
        for item in known.outlets {
            let spec = &item.spec;
            if spec.allow.is_none() && !is_open("tcp-outlet", &spec.name) {
                self.nobody(item, "'allow'");
            }
        }
        for item in known.inlets {
            let spec = &item.spec;
            let is_said = spec.allow.is_some() || spec.authorized.is_some();
            if !is_said && !is_open("tcp-inlet", &spec.name) {
                self.nobody(item, "'authorized' or 'allow'");
            }
        }
    }

    fn nobody<T>(&mut self, item: &Item<T>, keys: &str) {
        let message = format!(
            "{}: nobody could use it on this machine, which is not enrolled with a project: give {keys}, or a \
             'ticket'",
            item.path
        );
        self.warn(item.place, message);
    }

    /// Checks a route as far as that can be done without knowing what names stand for.
    fn route<T>(&mut self, item: &Item<T>, text: &str) {
        let named = ["/secure-channel/", "/project/", "/node/"];
        let Some(start) = named.iter().find(|start| text.starts_with(**start)) else {
            if let Err(error) = route::parse(text, &Trust::Anyone, false) {
                let hint = match error {
                    route::RouteError::InClear => "; add /secure/api in front of the outlet",
                    _ => "",
                };
                self.wrong(item, "to", format!("{error}{hint}"));
            }
            return;
        };
        let rest = text.get(start.len()..).unwrap_or_default();
        let (name, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if let ("/secure-channel/", true) = (*start, !self.has_channel(name)) {
            let message = format!("{}.to: this file has no secure channel '{name}'", item.path);
            self.warn(item.place("to"), message);
        }
        match (rest, rest.parse::<MultiAddr>()) {
            ("" | "/", _) => self.wrong(
                item,
                "to",
                "it must end with a service, for example /service/outlet",
            ),
            (_, Err(error)) => self.wrong(item, "to", error),
            _ => {}
        }
    }

    fn has_channel(&self, name: &str) -> bool {
        let mut channels = self.known.channels.iter();
        channels.any(|channel| channel.spec.name == name)
    }

    pub(super) fn channel(&mut self, item: &Item<ChannelSpec>) {
        self.name("secure-channel", item, &item.spec.name);
        self.identifiers(item, &item.spec.authorized);
        let to = item.spec.to.as_str();
        if to.starts_with("/secure-channel/") {
            return self.route(item, to);
        }
        if let Err(error) = to.parse::<MultiAddr>() {
            self.wrong(item, "to", error);
        }
    }
}
