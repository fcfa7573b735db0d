//! Work for a relay alone.

use super::{Named, Run, progress};
use crate::load::messages::{self, Pace, Ready, messages};
use crate::load::{Figures, MIB, Outcome};
use crate::relays::Kind;
use crate::usage::resident;

const SECTION: &str = "Relay alone";

impl Named for Ready {
    fn name(&self) -> &'static str {
        self.relay.kind.name()
    }
}

impl Named for Kind {
    fn name(&self) -> &'static str {
        Self::name(*self)
    }
}

/// Bytes of payload of the messages.
pub const SIZES: [usize; 3] = [64, 1500, 65_536];
/// Numbers of links that they go over.
pub const LINKS: [usize; 3] = [2, 100, 2000];

/// Messages a second when each is sent by itself.
const RATE: f64 = 10_000.0;

/// Name of the work of messages as fast as they go.
pub fn full_name(size: usize, links: usize) -> String {
    format!("{size} B messages, {links} links")
}

/// Name of the work of messages that are sent one by one.
pub fn each_name(size: usize, links: usize) -> String {
    format!("{size} B messages, {links} links, {RATE} a second one by one")
}

fn kinds(run: &Run<'_>) -> Vec<Kind> {
    let mut kinds = Kind::ALL.to_vec();
    kinds.retain(|kind| run.settings.wants(kind.name()) && kind.missing(run.settings).is_none());
    kinds
}

pub(super) fn relay(run: &mut Run<'_>) {
    let kinds = kinds(run);
    let relays: Vec<_> = kinds
        .iter()
        .map(|kind| Ready::start(*kind, run.settings))
        .collect();
    let time = run.time();
    for links in run.quick_or(LINKS, [2, 10, 20]) {
        for size in SIZES {
            run.rounds(SECTION, &full_name(size, links), &relays, |relay| {
                messages(relay, links / 2, size, Pace::Full, time)
            });
        }
        run.rounds(SECTION, &each_name(64, links), &relays, |relay| {
            messages(relay, links / 2, 64, Pace::Each(RATE), time)
        });
    }
    drop(relays);
    growth(run, &kinds);
    idle(run, &kinds);
}

/// Numbers of names that are registered while messages go through one more.
pub const FORWARDERS: [usize; 3] = [10, 1000, 100_000];

/// Name of the work of messages beside many names.
pub fn growth_name(forwarders: usize) -> String {
    format!("64 B messages, 100 links, {forwarders} forwarders more")
}

/// The same work with more and more names; each number of them is a contender of its own in each round.
fn growth(run: &mut Run<'_>, kinds: &[Kind]) {
    let mut kinds = kinds.to_vec();
    kinds.retain(|kind| matches!(kind, Kind::OneThread | Kind::Culvert));
    let time = run.time();
    let mut held = Vec::new();
    for count in run.quick_or(FORWARDERS, [10, 20, 50]) {
        let name = growth_name(count);
        let left = run.left(&name, &[&name], &kinds);
        if !left.is_empty() {
            progress(&format!("{SECTION}: registering {count} names"));
        }
        for kind in left {
            let relay = Ready::start(*kind, run.settings);
            let names = messages::hold(relay.relay.address, count);
            held.push((count, relay, names.expect("names of the relay")));
        }
    }
    for round in 0..run.settings.rounds {
        for n in 0..held.len() {
            let (count, relay, _) = &held[(round + n) % held.len()];
            let figures = messages(relay, 50, 64, Pace::Full, time);
            let figures = figures.expect("messages beside many names");
            run.add(SECTION, &growth_name(*count), relay, figures);
        }
    }
    run.save();
}

/// Name of the work of links without messages.
pub fn idle_name(links: usize) -> String {
    format!("{links} idle links")
}

fn idle(run: &mut Run<'_>, kinds: &[Kind]) {
    // One that does not route has two connections for each.
    let kinds: Vec<_> = kinds.iter().copied().filter(|kind| kind.routes()).collect();
    let links = run.quick_or(10_000, 100);
    let settings = run.settings;
    run.rounds(SECTION, &idle_name(links), &kinds, |kind| {
        let ready = Ready::start(*kind, settings);
        idle_links(&ready, links)
    });
}

fn idle_links(ready: &Ready, links: usize) -> Outcome<Figures> {
    let memory = || resident(&ready.relay.processes)[0].1 as f64;
    let before = memory();
    let wires: Vec<_> = (0..links)
        .map(|_| culvert_tests::wire::Wire::open(ready.relay.address))
        .collect();
    let after = memory();
    drop(wires);
    Ok(vec![
        (
            super::idle::EACH.to_owned(),
            (after - before) / links as f64 / 1024.0,
        ),
        (super::idle::WHOLE.to_owned(), after / MIB),
    ])
}
