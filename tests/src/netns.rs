//! Networks of their own: two hosts behind routers that translate addresses, and one in the open.
//!
//! ```text
//! near 10.1.0.2 -- near router -- 198.51.100.2 \
//!                                                 198.51.100.1 open
//!  far 10.2.0.2 --  far router -- 198.51.100.3 /
//! ```
//!
//! Each is a network namespace, made with Debian's `iproute2` and `nftables`. That takes root.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::Path;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::Spec;

/// Address of the host in the open.
pub const OPEN: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// One of the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// In the open, where a relay is.
    Open,
    /// Behind a router.
    Near,
    /// Behind another router.
    Far,
}

/// How a router chooses outside ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// The same as inside, for every destination.
    Kept,
    /// Another one for each destination.
    Random,
}

/// The networks; removed with all that is in them when this value is dropped.
pub struct Networks {
    prefix: String,
}

impl Networks {
    /// Makes them; none where that is not possible: without root, or one of the tools.
    ///
    /// # Panics
    /// When it should be possible and is not.
    pub fn new(ports: [Ports; 2]) -> Option<Self> {
        let has = |tool: &str| {
            ["/usr/sbin", "/sbin", "/usr/bin"]
                .iter()
                .any(|directory| Path::new(directory).join(tool).exists())
        };
        if !rustix::process::geteuid().is_root() || !has("ip") || !has("nft") {
            return None;
        }
        let networks = Self {
            prefix: format!("culvert-{}", std::process::id()),
        };
        // The first needs a kernel with namespaces, and the right to make some.
        let open = networks.name("open");
        let added = Spec::new("ip")
            .args(["netns", "add", &open])
            .output(crate::PATIENCE);
        if !added.status.success() {
            return None;
        }
        // Entering one takes more: mounts of its own, which not every container allows.
        let entered = Spec::new("ip")
            .args(["netns", "exec", &open, "nft", "list", "ruleset"])
            .output(crate::PATIENCE);
        if !entered.status.success() {
            return None;
        }
        networks.run("open", "ip link set lo up");
        networks.run("open", "ip link add wan type bridge");
        networks.run("open", &format!("ip address add {OPEN}/24 dev wan"));
        networks.run("open", "ip link set wan up");
        for (side, number, ports) in [("near", 1, ports[0]), ("far", 2, ports[1])] {
            networks.add_side(side, number, ports);
        }
        Some(networks)
    }

    fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.prefix)
    }

    fn add_side(&self, side: &str, number: u8, ports: Ports) {
        let router = format!("{side}-router");
        for part in [side, &router] {
            Spec::new("ip")
                .args(["netns", "add", &self.name(part)])
                .run();
            self.run(part, "ip link set lo up");
        }
        let (outside, inside) = (self.name(&router), self.name(side));
        self.run(
            "open",
            &format!("ip link add to-{side} type veth peer name wan netns {outside}"),
        );
        self.run("open", &format!("ip link set to-{side} master wan up"));
        let public = format!("198.51.100.{}", number + 1);
        self.run(&router, &format!("ip address add {public}/24 dev wan"));
        self.run(&router, "ip link set wan up");
        self.run(
            &router,
            &format!("ip link add lan type veth peer name lan netns {inside}"),
        );
        self.run(
            &router,
            &format!("ip address add 10.{number}.0.1/24 dev lan"),
        );
        self.run(&router, "ip link set lan up");
        self.run(side, &format!("ip address add 10.{number}.0.2/24 dev lan"));
        self.run(side, "ip link set lan up");
        self.run(side, &format!("ip route add default via 10.{number}.0.1"));
        self.run(&router, "echo 1 > /proc/sys/net/ipv4/ip_forward");
        let how = match ports {
            Ports::Kept => "",
            Ports::Random => "random,fully-random",
        };
        // Like every router for homes it answers nothing that it was not asked.
        self.run(
            &router,
            &format!(
                "nft 'table ip net {{
                    chain out {{
                        type nat hook postrouting priority srcnat;
                        oifname wan masquerade {how}
                    }}
                    chain in {{
                        type filter hook input priority filter;
                        iifname wan ct state new drop
                    }}
                    chain through {{
                        type filter hook forward priority filter;
                        iifname wan ct state new drop
                    }}
                }}'"
            ),
        );
    }

    /// Runs a line of shell in one of the namespaces.
    fn run(&self, part: &str, line: &str) -> String {
        Spec::new("ip")
            .args(["netns", "exec", &self.name(part), "sh", "-ec", line])
            .run()
    }

    /// Has the near router drop (`true`) all UDP between the two sides, or no longer.
    pub fn block_udp(&self, on: bool) {
        let line = match on {
            true => "nft insert rule ip net through udp dport 1-65535 drop",
            false => {
                "nft delete rule ip net through handle \
                 $(nft -a list chain ip net through | sed -n 's/.*udp.*# handle //p')"
            }
        };
        self.run("near-router", line);
    }

    fn part(host: Host) -> &'static str {
        match host {
            Host::Open => "open",
            Host::Near => "near",
            Host::Far => "far",
        }
    }

    /// A program to be run on a host.
    #[must_use]
    pub fn command(&self, host: Host, program: &Path) -> Spec {
        Spec::new("ip")
            .args(["netns", "exec", &self.name(Self::part(host))])
            .arg(program)
    }

    /// Does something on a host, for example connects: a socket keeps the network it was made in.
    pub fn on<T: Send>(&self, host: Host, what: impl FnOnce() -> T + Send) -> T {
        let path = Path::new("/run/netns").join(self.name(Self::part(host)));
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let network = File::open(&path).expect("a network namespace");
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(std::os::fd::AsFd::as_fd(&network), kind)
                    .expect("enter a network namespace");
                what()
            });
            thread.join().expect("what is done on a host")
        })
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for part in ["near", "far", "near-router", "far-router", "open"] {
            let spec = Spec::new("ip").args(["netns", "delete", &self.name(part)]);
            drop(spec.output(crate::PATIENCE));
        }
    }
}
