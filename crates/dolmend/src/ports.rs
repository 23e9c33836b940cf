//! Opens the configured ports.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::{PortKind, PortOptions, PortSpec};

/// Connections that may wait to be accepted: all players who return immediately after a restart.
const BACKLOG: i32 = 1024;

/// An open port that is not served yet.
#[derive(Debug)]
pub struct OpenPort {
    /// The listening socket.
    pub listener: TcpListener,
    /// The address; the port is the real one if 0 was configured.
    pub address: SocketAddr,
    /// The protocol on this port.
    pub kind: PortKind,
    /// What is different on this port.
    pub options: PortOptions,
}

/// A port that could not be opened.
#[derive(Debug)]
pub struct PortError {
    /// The port.
    pub port: PortSpec,
    /// The system's reason.
    pub error: io::Error,
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: ", self.port.address)?;
        match self.error.kind() {
            io::ErrorKind::AddrInUse => f.write_str("address already in use; is another dolmend running?"),
            // Also where another program shares the port with any other program.
            io::ErrorKind::PermissionDenied if cfg!(windows) => {
                write!(f, "{}; another program uses the port, or the system has reserved it", self.error)
            }
            io::ErrorKind::PermissionDenied => {
                write!(f, "{}; ports below 1024 are for the administrator", self.error)
            }
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "{}; it is not an address of this machine", self.error)
            }
            _ if is_absent(&self.port, &self.error) => {
                write!(f, "{}; this machine has no IPv6", self.error)
            }
            _ => write!(f, "{}", self.error),
        }
    }
}

impl std::error::Error for PortError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Opens every port, or none of them: when one fails, the others are closed again, and all failures are returned.
///
/// If `lenient`, an IPv6 port that fails because this machine has no IPv6 is skipped, and returned in the second list.
pub fn open(ports: &[PortSpec], lenient: bool) -> Result<(Vec<OpenPort>, Vec<PortError>), Vec<PortError>> {
    open_by(open_one, ports, lenient)
}

fn open_by(
    open_one: impl Fn(PortSpec) -> io::Result<OpenPort>,
    ports: &[PortSpec],
    lenient: bool,
) -> Result<(Vec<OpenPort>, Vec<PortError>), Vec<PortError>> {
    let (mut opened, mut left_out, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for &port in ports {
        match open_one(port) {
            Ok(port) => opened.push(port),
            Err(error) if lenient && is_absent(&port, &error) => left_out.push(PortError { port, error }),
            Err(error) => failed.push(PortError { port, error }),
        }
    }
    // A machine with none of the addresses cannot be served.
    if opened.is_empty() {
        failed.append(&mut left_out);
    }
    if failed.is_empty() { Ok((opened, left_out)) } else { Err(failed) }
}

fn open_one(port: PortSpec) -> io::Result<OpenPort> {
    let socket = Socket::new(Domain::for_address(port.address), Type::STREAM, Some(Protocol::TCP))?;
    if port.address.is_ipv6() {
        // So that 0.0.0.0:4000 and [::]:4000 can be open at the same time on every system.
        socket.set_only_v6(true)?;
    }
    // A restart must not wait until the system has forgotten old connections. On Windows that needs no option, and this
    // one would let a second server take over a port in use; another option prevents that.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(windows)]
    dolmen::set_exclusive_address_use(&socket)?;
    socket.bind(&port.address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    let address = listener.local_addr()?;
    Ok(OpenPort { listener, address, kind: port.kind, options: port.options })
}

/// Whether the reason is that this machine has no IPv6: the system does not know the protocol, or even the loopback
/// address is missing.
fn is_absent(port: &PortSpec, error: &io::Error) -> bool {
    /// "Address family not supported", and the same for protocols.
    #[cfg(target_os = "linux")]
    const UNSUPPORTED: [i32; 2] = [97, 93];
    #[cfg(windows)]
    const UNSUPPORTED: [i32; 2] = [10047, 10043];
    #[cfg(not(any(target_os = "linux", windows)))]
    const UNSUPPORTED: [i32; 2] = [47, 43];

    port.address.is_ipv6()
        && (error.raw_os_error().is_some_and(|code| UNSUPPORTED.contains(&code))
            || (error.kind() == io::ErrorKind::AddrNotAvailable && port.address.ip().is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> PortSpec {
        text.parse().expect("a good port")
    }

    #[test]
    fn the_real_port_number_is_reported() {
        let (opened, _) = open(&[spec("127.0.0.1:0:ascii")], false).expect("it opens");
        assert_ne!(opened[0].address.port(), 0);
        assert_eq!(opened[0].kind, PortKind::Ascii);
    }

    /// On other systems no program can.
    #[cfg(windows)]
    #[test]
    fn another_program_cannot_take_over_a_port_that_is_open() {
        let (taken, _) = open(&[spec("127.0.0.1:0")], false).expect("it opens");
        let intruder = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        intruder.set_reuse_address(true).expect("any program may set it");
        let bound = intruder.bind(&taken[0].address.into());
        let kind = bound.expect_err("the port is ours").kind();
        assert!(matches!(kind, io::ErrorKind::PermissionDenied | io::ErrorKind::AddrInUse), "{kind}");
    }

    #[test]
    fn one_that_fails_closes_the_others_and_all_failures_are_reported() {
        let (taken, _) = open(&[spec("127.0.0.1:0")], false).expect("it opens");
        let free = {
            let (opened, _) = open(&[spec("127.0.0.1:0")], false).expect("it opens");
            opened[0].address
        };
        let ports = [spec(&free.to_string()), spec(&taken[0].address.to_string()), spec("192.0.2.1:0")];
        let failed = open(&ports, false).expect_err("two cannot be opened");
        let reported: Vec<String> = failed.iter().map(ToString::to_string).collect();
        assert_eq!(reported.len(), 2, "{reported:?}");
        assert_eq!(
            reported[0],
            format!(
                "cannot listen on {}: address already in use; is another dolmend running?",
                taken[0].address
            )
        );
        assert!(
            reported[1].contains("192.0.2.1:0") && reported[1].contains("not an address of this machine"),
            "{reported:?}"
        );
        open(&[spec(&free.to_string())], false).expect("the first was closed again");
    }

    #[test]
    fn only_a_lack_of_ipv6_is_forgiven_and_only_where_nobody_asked() {
        let absent = io::Error::from(io::ErrorKind::AddrNotAvailable);
        assert!(is_absent(&spec("[::1]:4000"), &absent));
        assert!(!is_absent(&spec("127.0.0.1:4000"), &absent));
        assert!(!is_absent(&spec("[2001:db8::1]:4000"), &absent));
        assert!(!is_absent(&spec("[::1]:4000"), &io::Error::from(io::ErrorKind::AddrInUse)));
        let (taken, _) = open(&[spec("127.0.0.1:0")], false).expect("it opens");
        assert!(open(&[spec("127.0.0.1:0"), spec(&taken[0].address.to_string())], true).is_err());
    }

    #[test]
    fn a_machine_without_ipv6_is_served_on_ipv4_and_one_without_either_is_not() {
        let without_ipv6 = |port: PortSpec| match port.address.is_ipv6() {
            true => Err(io::Error::from(io::ErrorKind::AddrNotAvailable)),
            false => open_one(port),
        };
        let both = [spec("127.0.0.1:0"), spec("[::1]:0")];
        let (opened, left_out) = open_by(without_ipv6, &both, true).expect("one opens");
        assert_eq!((opened.len(), left_out.len()), (1, 1));
        assert!(left_out[0].to_string().starts_with("cannot listen on [::1]:0: "), "{}", left_out[0]);
        assert_eq!(open_by(without_ipv6, &both, false).expect_err("it was asked for").len(), 1);
        assert_eq!(open_by(without_ipv6, &both[1..], true).expect_err("nothing is left").len(), 1);
    }

    #[test]
    fn all_addresses_of_both_protocols_can_stand_side_by_side() {
        let Ok((six, _)) = open(&[spec("[::]:0")], false) else { return };
        let port = six[0].address.port();
        let beside = open(&[spec(&format!("0.0.0.0:{port}"))], false);
        assert!(beside.is_ok(), "{beside:?}");
    }
}
