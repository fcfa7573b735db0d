//! Two ends through a simulated network.

use crate::nat::{KINDS, Kind};
use crate::reference::Reference;
use crate::support::setup;
use crate::world::{Accept, End, Weather, World};
use culvert_proto::puncture::{Failure, Phase, Puncture};

fn our_initiator() -> End {
    End::Ours(Box::new(Puncture::initiator(setup("i"), 0).unwrap()))
}

fn our_responder() -> Accept {
    Box::new(|initiate, now_ms| {
        let puncture = Puncture::responder(setup("r"), initiate, now_ms);
        puncture.ok().map(Box::new).map(End::Ours)
    })
}

fn ours(kinds: [Kind; 2], seed: u32) -> World {
    World::new(our_initiator(), our_responder(), kinds, seed)
}

fn phase(world: &World, node: usize) -> Phase {
    match &world.nodes[node].end {
        Some(End::Ours(puncture)) => puncture.phase(),
        _ => panic!("not ours"),
    }
}

fn are_open(world: &World) -> [bool; 2] {
    [0, 1].map(|node| world.nodes[node].end.as_ref().is_some_and(End::is_open))
}

/// Whether the two kinds let anything through: a symmetric one only where the other side does not
/// look at ports.
fn can_open(kinds: [Kind; 2]) -> bool {
    let looks_at_ports = |kind| matches!(kind, Kind::PortRestricted | Kind::Symmetric);
    match kinds {
        [Kind::Symmetric, other] | [other, Kind::Symmetric] => !looks_at_ports(other),
        _ => true,
    }
}

fn all_kinds() -> impl Iterator<Item = [Kind; 2]> {
    KINDS.into_iter().flat_map(|a| KINDS.map(|b| [a, b]))
}

#[test]
fn every_pair_of_nats() {
    for kinds in all_kinds() {
        let mut world = ours(kinds, 1);
        world.run(60_000);
        if !can_open(kinds) {
            let failed = Phase::Failed(Failure::NotOpened);
            assert_eq!([0, 1].map(|n| phase(&world, n)), [failed; 2], "{kinds:?}");
            // It is over for good, after a bounded number of datagrams.
            let sent = [0, 1].map(|n| world.nodes[n].sent);
            assert!(sent.iter().all(|sent| (40..100).contains(sent)), "{sent:?}");
            world.run(120_000);
            assert_eq!(sent, [0, 1].map(|n| world.nodes[n].sent));
            continue;
        }
        assert_eq!(are_open(&world), [true; 2], "{kinds:?}");
        // Asking, telling and a few trips, not a second. The first Ping of a symmetric responder
        // comes before its initiator can tell whose it is.
        let most_ms = match kinds[1] {
            Kind::Symmetric => 350,
            _ => 100,
        };
        for node in &world.nodes {
            let opened_ms = node.opened_ms.unwrap();
            assert!(opened_ms < most_ms, "{kinds:?} {opened_ms}");
        }
        for from in [0, 1] {
            let payload = vec![0x55 + from as u8; 3_000];
            let transmit = world.nodes[from]
                .end
                .as_ref()
                .unwrap()
                .wrap(&payload)
                .unwrap();
            world.send(from, &transmit);
            world.run(world.now_ms + 10);
            assert_eq!(world.nodes[1 - from].delivered, [payload], "{kinds:?}");
        }
    }
}

/// Beside an end that behaves as the reference, both ways round.
#[test]
fn every_pair_of_nats_with_the_reference() {
    let accept = || -> Accept {
        Box::new(|initiate, _| Some(End::Reference(Reference::responder("r", initiate))))
    };
    for kinds in all_kinds() {
        for we_initiate in [true, false] {
            let mut world = match we_initiate {
                true => World::new(our_initiator(), accept(), kinds, 1),
                false => {
                    let theirs = End::Reference(Reference::initiator("i"));
                    World::new(theirs, our_responder(), kinds, 1)
                }
            };
            world.run(30_000);
            let we = usize::from(!we_initiate);
            // It pings only the port that it was told. If that is of a symmetric NAT, only the
            // rendezvous may use it, and we do not take what comes the other way for a path.
            let expected = can_open(kinds) && kinds[we] != Kind::Symmetric;
            let open = are_open(&world);
            assert_eq!(open, [expected; 2], "{kinds:?} {we_initiate}");
            if open == [true; 2] {
                for (from, to) in [(0, 1), (1, 0)] {
                    let transmit = world.nodes[from]
                        .end
                        .as_ref()
                        .unwrap()
                        .wrap(b"hello")
                        .unwrap();
                    world.send(from, &transmit);
                    world.run(world.now_ms + 10);
                    assert_eq!(world.nodes[to].delivered, [b"hello"]);
                }
            }
        }
    }
}

#[test]
fn bad_networks_delay_but_do_not_prevent() {
    let weather = Weather {
        lost: 30,
        repeated: 20,
        slowest_ms: 200,
    };
    let pairs = [
        [Kind::None, Kind::None],
        [Kind::PortRestricted, Kind::PortRestricted],
        [Kind::Symmetric, Kind::Restricted],
        [Kind::FullCone, Kind::Symmetric],
    ];
    for seed in 0..50 {
        for kinds in pairs {
            let mut world = ours(kinds, seed);
            world.weather = weather;
            world.run(13_000);
            let opened = [0, 1].map(|n| world.nodes[n].opened_ms.is_some());
            assert_eq!(opened, [true; 2], "{kinds:?}, seed {seed}");
        }
    }
}

#[test]
fn open_paths_stay_open_and_deliver_at_most_once() {
    for seed in 0..20 {
        let mut world = ours([Kind::PortRestricted, Kind::Restricted], seed);
        world.weather = Weather {
            lost: 10,
            repeated: 10,
            slowest_ms: 100,
        };
        world.run(10_000);
        let mut sent = 0;
        // Two minutes, while the NATs forget after five seconds.
        while world.now_ms < 130_000 {
            let payload = (sent as u32).to_be_bytes().repeat(400);
            for from in [0, 1] {
                let transmit = world.nodes[from].end.as_ref().unwrap().wrap(&payload);
                world.send(from, &transmit.expect("it stays open"));
            }
            sent += 1;
            world.run(world.now_ms + 700);
        }
        for node in &world.nodes {
            let mut distinct = node.delivered.clone();
            distinct.sort();
            distinct.dedup();
            assert_eq!(distinct.len(), node.delivered.len(), "delivered twice");
            assert!(distinct.iter().all(|payload| payload.len() == 1_600));
            // Messages of eight datagrams, of which nine in ten arrive.
            assert!(distinct.len() * 4 > sent, "{} of {sent}", distinct.len());
        }
    }
}

#[test]
fn a_path_that_falls_silent_is_closed_by_both() {
    let mut world = ours([Kind::FullCone, Kind::PortRestricted], 3);
    world.run(5_500);
    assert_eq!(are_open(&world), [true; 2]);
    world.weather.lost = 100;
    world.run(14_000);
    assert_eq!(are_open(&world), [true; 2], "not yet");
    world.run(15_600);
    let silent = Phase::Failed(Failure::Silent);
    assert_eq!([0, 1].map(|n| phase(&world, n)), [silent; 2]);
    let sent = [0, 1].map(|n| world.nodes[n].sent);
    world.weather.lost = 0;
    world.run(60_000);
    assert_eq!([0, 1].map(|n| phase(&world, n)), [silent; 2]);
    assert_eq!([0, 1].map(|n| world.nodes[n].sent), sent);
}

/// The NAT of one side starts again and maps the socket to another port.
#[test]
fn a_path_follows_a_nat_that_starts_again() {
    for (other, survives) in [
        (Kind::None, true),
        (Kind::FullCone, true),
        (Kind::Restricted, true),
        (Kind::PortRestricted, false),
    ] {
        for restarted in [0, 1] {
            let mut kinds = [other; 2];
            kinds[restarted] = Kind::PortRestricted;
            let mut world = ours(kinds, 5);
            world.run(5_500);
            assert_eq!(are_open(&world), [true; 2]);
            world.nodes[restarted].nat.restart();
            world.run(30_000);
            assert_eq!(are_open(&world), [survives; 2], "{kinds:?}");
            if survives {
                assert_eq!(world.nodes[1 - restarted].paths.len(), 2, "{kinds:?}");
                assert_eq!(world.nodes[restarted].paths.len(), 1, "{kinds:?}");
            }
        }
    }
}

#[test]
fn who_does_not_answer_is_named() {
    let mut world = ours([Kind::FullCone; 2], 1);
    world.rendezvous_is_up = false;
    world.run(2_999);
    assert_eq!(phase(&world, 0), Phase::Locating);
    world.run(3_000);
    assert_eq!(phase(&world, 0), Phase::Failed(Failure::NoRendezvous));
    assert_eq!(world.nodes[0].sent, 12);

    let mut world = ours([Kind::FullCone; 2], 1);
    world.relay_is_up = false;
    world.run(10_001);
    assert_eq!(phase(&world, 0), Phase::Negotiating);
    world.run(10_002);
    assert_eq!(phase(&world, 0), Phase::Failed(Failure::NoAcknowledge));

    // The responder's rendezvous is down: it stays silent.
    let mut world = ours([Kind::FullCone; 2], 1);
    world.run(10);
    world.rendezvous_is_up = false;
    world.run(60_000);
    assert_eq!(phase(&world, 0), Phase::Failed(Failure::NoAcknowledge));
    assert_eq!(phase(&world, 1), Phase::Failed(Failure::NoRendezvous));
}
