//! OpenSSH: `ssh -R` beside the service and `ssh -L` beside the client, at one private `sshd`. Each leg is
//! encrypted; the machine in the middle can read.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use culvert_tests::net::free_address;
use culvert_tests::process::{Process, Spec};
use tempfile::TempDir;

use super::{Reach, Started, program, until_listening};

pub(super) fn start(target: SocketAddr, reach: Reach<'_>) -> Started {
    let directory = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir()
        .expect("directory");
    for key in ["host", "client"] {
        Spec::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(directory.path().join(key))
            .run();
    }
    let server = free_address();
    let sshd = sshd(&directory, server);
    let (rendezvous, address) = (free_address(), free_address());
    let outlet = client(
        directory.path(),
        reach(server),
        ["-R", &format!("{rendezvous}:{target}")],
    );
    until_listening("ssh -R is up", rendezvous);
    let inlet = client(
        directory.path(),
        reach(server),
        ["-L", &format!("{address}:{rendezvous}")],
    );
    until_listening("ssh -L is up", address);
    let processes = vec![
        ("ssh -L", inlet.id()),
        ("sshd", sshd.id()),
        ("ssh -R", outlet.id()),
    ];
    (
        address,
        processes,
        Box::new((inlet, outlet, sshd, directory)),
    )
}

fn sshd(directory: &TempDir, listen: SocketAddr) -> Process {
    // Where it separates privileges; the package's own start-up would make it.
    let _ = fs::create_dir_all("/run/sshd");
    let at = |name: &str| directory.path().join(name);
    let text = format!(
        "ListenAddress {}\nPort {}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n\
         AllowTcpForwarding yes\nMaxStartups 1000\nLogLevel ERROR\n",
        listen.ip(),
        listen.port(),
        at("host").display(),
        at("client.pub").display(),
    );
    fs::write(at("sshd_config"), text).expect("write a configuration");
    let process = Spec::new(program("sshd").expect("sshd"))
        .args(["-D", "-e", "-f"])
        .arg(at("sshd_config"))
        .start("sshd");
    until_listening("sshd listens", listen);
    process
}

fn client(directory: &Path, server: SocketAddr, forward: [&str; 2]) -> Process {
    let user = Spec::new("id").arg("-un").run();
    Spec::new("ssh")
        .args(["-N", "-F", "none", "-i"])
        .arg(directory.join("client"))
        .args(["-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"])
        .args(["-o", "UserKnownHostsFile=/dev/null"])
        .args(["-o", "ExitOnForwardFailure=yes", "-o", "BatchMode=yes"])
        .args(forward)
        .args(["-p", &server.port().to_string()])
        .arg(format!("{}@{}", user.trim(), server.ip()))
        .start("ssh")
}
