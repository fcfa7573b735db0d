//! The captured portal sessions: what the service and the client did in each, to do it again.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use culvert_tests::PATIENCE;
use culvert_tests::net::{self, drain};
use culvert_tests::service::Service;

/// One connection through a portal.
pub struct Scenario {
    /// Name of the captured session.
    pub session: &'static str,
    /// What the service does with a connection.
    pub service: fn(TcpStream),
    /// What the client does.
    pub client: fn(TcpStream),
    /// What both ends were told.
    pub told: &'static [&'static str],
}

impl Scenario {
    /// Starts the service.
    pub fn service(&self) -> Service {
        let serve = self.service;
        Service::start(move |stream, _| serve(stream))
    }
}

/// All that both kinds of inlets and outlets do alike.
pub const ALIKE: [Scenario; 5] = [
    Scenario {
        session: "portal_client_close",
        service: answer,
        client: |mut stream| {
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("send");
            let mut back = [0; 23];
            stream.read_exact(&mut back).expect("an answer");
            assert_eq!(&back, b"echo:GET / HTTP/1.0\r\n\r\n");
        },
        told: &[],
    },
    Scenario {
        session: "portal_half_close",
        service: |mut stream| {
            let _ = stream.read_to_end(&mut Vec::new());
            let _ = stream.write_all(b"too late");
        },
        client: |mut stream| {
            stream.write_all(b"question").expect("send");
            // Not in one piece with the end.
            std::thread::sleep(std::time::Duration::from_millis(100));
            stream.shutdown(Shutdown::Write).expect("half close");
            drain(&mut stream, PATIENCE);
        },
        told: &[],
    },
    Scenario {
        session: "portal_server_first",
        service: |mut stream| {
            let _ = stream.write_all(b"220 hello\n");
            let _ = stream.read(&mut [0]);
        },
        client: |mut stream| {
            let mut banner = [0; 10];
            stream.read_exact(&mut banner).expect("a banner");
            assert_eq!(&banner, b"220 hello\n");
        },
        told: &[],
    },
    Scenario {
        session: "portal_target_close",
        service: |mut stream| {
            let _ = stream.read_exact(&mut [0; 6]);
        },
        client: |mut stream| {
            stream.write_all(b"close\n").expect("send");
            let (bytes, end) = drain(&mut stream, PATIENCE);
            assert_eq!((bytes, end), (Vec::new(), net::End::Closed));
        },
        told: &[],
    },
    Scenario {
        session: "portal_skip_handshake",
        service: answer,
        client: |mut stream| {
            stream.write_all(b"GET").expect("send");
            let mut back = [0; 8];
            stream.read_exact(&mut back).expect("an answer");
            assert_eq!(&back, b"echo:GET");
        },
        told: &["--skip-handshake"],
    },
];

/// A client resets its connection.
pub const CLIENT_RESET: Scenario = Scenario {
    session: "portal_client_reset",
    service: answer,
    client: |mut stream| {
        stream.write_all(b"abc").expect("send");
        let mut back = [0; 8];
        stream.read_exact(&mut back).expect("an answer");
        net::reset(stream);
    },
    told: &[],
};

/// Sends back what it gets, with a word in front.
fn answer(mut stream: TcpStream) {
    let mut chunk = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut chunk) {
        let answer = [b"echo:", &chunk[..n]].concat();
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}
