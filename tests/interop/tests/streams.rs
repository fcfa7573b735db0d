//! How single TCP connections end when one end of the portal, or both, is Ockam's.

mod common;

use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use common::chain::Chain;
use common::node::Kind;
use common::{for_each, mixed, open_becomes};
use culvert_tests::net::{
    self, End, connect, digest, drain, eventually, free_address, write_pattern,
};
use culvert_tests::service::Service;
use culvert_tests::{PATIENCE, alone};

const MIB: usize = 1 << 20;

#[test]
fn the_service_closes_after_its_data() {
    let _turn = alone();
    for_each(mixed(), |cast| {
        let service = Service::source(7, 4 * MIB);
        let chain = Chain::start(cast, service.address());
        for _ in 0..5 {
            let mut client = connect(chain.address);
            let (total, hash) = digest(&mut client).expect("all data, then the end");
            let expected = write_pattern(&mut std::io::sink(), 7, 4 * MIB).expect("hash");
            assert_eq!((total, hash), (4 * MIB as u64, expected));
        }
        open_becomes(&service, 0);
    });
}

#[test]
fn the_client_closes_after_its_data() {
    let _turn = alone();
    for_each(mixed(), |cast| {
        let service = Service::start(|mut stream, counters| {
            if let Ok((total, _)) = digest(&mut stream) {
                counters
                    .written
                    .fetch_add(total, std::sync::atomic::Ordering::SeqCst);
            }
        });
        let chain = Chain::start(cast, service.address());
        for _ in 0..5 {
            let mut client = connect(chain.address);
            write_pattern(&mut client, 1, 4 * MIB).expect("send");
        }
        eventually("all bytes arrive", PATIENCE, || match service.written() {
            total if total == 20 * MIB as u64 => Ok(()),
            total => Err(total),
        });
        open_becomes(&service, 0);
    });
}

/// Ockam has no half-close: the other direction ends too. What had been sent still arrives.
#[test]
fn half_closing_closes() {
    let _turn = alone();
    for_each(mixed(), |cast| {
        let (service, chain) = Chain::echoing(cast);
        let mut client = chain.client();
        client.shutdown(Shutdown::Write).expect("half close");
        let began = Instant::now();
        let (_, end) = drain(&mut client, PATIENCE);
        println!("the client sees {end:?} after {:?}", began.elapsed());
        assert_eq!(end, End::Closed);
        open_becomes(&service, 0);
    });
}

#[test]
fn a_client_resets() {
    let _turn = alone();
    for_each(mixed(), |cast| {
        let (service, chain) = Chain::echoing(cast);
        net::reset(chain.client());
        if cast.inlet == Kind::Culvert {
            open_becomes(&service, 0);
        } else {
            // Ockam's inlet tells nobody about a reset.
            thread::sleep(Duration::from_secs(1));
            println!("open at the service: {}", service.open());
        }
    });
}

#[test]
fn a_service_refuses() {
    let _turn = alone();
    for_each(mixed(), |cast| {
        let chain = Chain::start(cast, free_address());
        for _ in 0..3 {
            let mut client = connect(chain.address);
            let began = Instant::now();
            let (bytes, end) = drain(&mut client, Duration::from_secs(5));
            println!("the client sees {end:?} after {:?}", began.elapsed());
            assert!(bytes.is_empty());
            // Ockam's outlet tells nobody; then only the inlet's limit can end it.
            if cast.outlet == Kind::Culvert {
                assert_ne!(end, End::Open);
                assert!(began.elapsed() < Duration::from_secs(1));
            }
        }
    });
}

/// Connections that are silent for long stay.
#[test]
fn an_idle_connection_stays() {
    let _turn = alone();
    for_each(mixed(), |cast| {
        let (_service, chain) = Chain::echoing(cast);
        let mut client = chain.client();
        thread::sleep(Duration::from_secs(8));
        net::echo(&mut client, b"still there").expect("an echo");
    });
}
