//! Host names and addresses: what is looked up, on threads that do nothing else.
//!
//! The system's own look-up blocks, for seconds when a server does not answer, and cannot be cancelled. So a few threads
//! of the reactor make these calls, those of a [pool](crate::kernel::pool). They are apart from the threads that read
//! files: names that are slow must not delay those [hc63].
//!
//! The system's functions read /etc/hosts and whatever else the system is set up to read. What is found in DNS is data
//! that strangers control: see [`confirmed_name`].
//!
//! Manual pages: getaddrinfo(3), getnameinfo(3). Microsoft Learn: "GetNameInfoW".

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

mod reverse;

use crate::kernel::pool::{Job, Threads};

/// The threads of a reactor that look names up. A look-up in progress when it is dropped is left behind: a server that does
/// not answer takes minutes.
pub(crate) fn threads() -> Threads {
    Threads::new("dolmen names", Duration::ZERO)
}

/// What to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Query {
    Addresses { host: String, port: u16 },
    Name(IpAddr),
}

/// What was found.
#[derive(Debug)]
pub(crate) enum Answer {
    /// At least one.
    Addresses(io::Result<Vec<SocketAddr>>),
    Name(io::Result<String>),
}

/// Looks names up, for as long as that takes. The system does; a test may replace it.
pub trait Resolver: Send + Sync {
    /// The addresses of a host, in order of preference.
    ///
    /// # Errors
    ///
    /// There are none, or none could be found out.
    fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;

    /// The name that is recorded for an address, not confirmed.
    ///
    /// # Errors
    ///
    /// There is none, or it could not be found out.
    fn name(&self, ip: IpAddr) -> io::Result<String>;
}

/// The system's look-up.
struct System;

impl Resolver for System {
    fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (host, port).to_socket_addrs().map(Iterator::collect)
    }

    fn name(&self, ip: IpAddr) -> io::Result<String> {
        reverse::name_of(ip)
    }
}

/// The resolver of a reactor.
#[derive(Clone)]
pub(crate) struct SharedResolver(pub(crate) Arc<dyn Resolver>);

impl SharedResolver {
    pub(crate) fn system() -> SharedResolver {
        SharedResolver(Arc::new(System))
    }
}

impl fmt::Debug for SharedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedResolver").finish_non_exhaustive()
    }
}

/// One look-up.
pub(crate) struct Lookup {
    pub(crate) query: Arc<Query>,
    pub(crate) resolver: SharedResolver,
}

impl Job for Lookup {
    type Done = Answer;

    fn run(self) -> Answer {
        // Only a resolver of a test's own panics, and it must not leave its worker busy for good.
        let looked_up = catch_unwind(AssertUnwindSafe(|| self.query.answer(&*self.resolver.0)));
        looked_up.unwrap_or_else(|_| self.query.failed(io::Error::other("the resolver has panicked")))
    }
}

impl Query {
    /// Looks it up. Blocks.
    pub(crate) fn answer(&self, resolver: &dyn Resolver) -> Answer {
        match self {
            Query::Addresses { host, port } => Answer::Addresses(some_addresses(resolver, host, *port)),
            Query::Name(ip) => Answer::Name(confirmed_name(resolver, *ip)),
        }
    }

    /// The answer if it could not be looked up at all.
    pub(crate) fn failed(&self, error: io::Error) -> Answer {
        match self {
            Query::Addresses { .. } => Answer::Addresses(Err(error)),
            Query::Name(_) => Answer::Name(Err(error)),
        }
    }
}

fn some_addresses(resolver: &dyn Resolver, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let addresses = resolver.addresses(host, port)?;
    match addresses.is_empty() {
        true => Err(no_address()),
        false => Ok(addresses),
    }
}

/// The error of a look-up that has found none.
pub(crate) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the host has no address")
}

/// The name of an address, if the address is one of that name's.
///
/// The owner of an address can record any name for it. Only the owner of the name can record that the address is the
/// name's, so a name that does not lead back is not returned.
fn confirmed_name(resolver: &dyn Resolver, ip: IpAddr) -> io::Result<String> {
    let mut name = resolver.name(ip)?;
    if name.ends_with('.') {
        name.pop();
    }
    if !is_plausible(&name) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the address has no valid name"));
    }
    let leads_back = |address: &SocketAddr| address.ip().to_canonical() == ip.to_canonical();
    match resolver.addresses(&name, 0).is_ok_and(|addresses| addresses.iter().any(leads_back)) {
        true => Ok(name),
        false => {
            Err(io::Error::new(io::ErrorKind::NotFound, "the name of the address does not lead back to it"))
        }
    }
}

/// Whether it may be the name of a host, and is safe to show at a terminal. Not an address, in any notation that the
/// system reads as one ("127.1", "0x7f000001"): that would always lead back.
fn is_plausible(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.starts_with(|first: char| first.is_ascii_digit())
        && (last.chars().all(|digit| digit.is_ascii_digit())
            || last.starts_with("0x")
            || last.starts_with("0X"));
    let is_text =
        !name.contains(|char: char| char.is_control() || char.is_whitespace() || char == ':' || char == '%');
    !last.is_empty() && !is_number && is_text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One record each way.
    struct Zone {
        name: &'static str,
        of_name: Vec<IpAddr>,
    }

    impl Resolver for Zone {
        fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            assert_eq!(host, self.name.trim_end_matches('.'));
            Ok(self.of_name.iter().map(|&ip| SocketAddr::new(ip, port)).collect())
        }

        fn name(&self, _: IpAddr) -> io::Result<String> {
            Ok(self.name.to_owned())
        }
    }

    fn name_of(ip: &str, name: &'static str, of_name: &[&str]) -> Result<String, io::ErrorKind> {
        let parse = |text: &str| text.parse::<IpAddr>().expect("an address");
        let zone = Zone { name, of_name: of_name.iter().copied().map(parse).collect() };
        match Query::Name(parse(ip)).answer(&zone) {
            Answer::Name(name) => name.map_err(|error| error.kind()),
            Answer::Addresses(_) => panic!("it was a name"),
        }
    }

    #[test]
    fn a_name_is_returned_only_if_it_leads_back_to_the_address() {
        let found = Ok("mud.example".to_owned());
        assert_eq!(name_of("192.0.2.7", "mud.example", &["2001:db8::7", "192.0.2.7"]), found);
        assert_eq!(name_of("::ffff:192.0.2.7", "mud.example.", &["192.0.2.7"]), found, "the same address");
        let none = Err(io::ErrorKind::NotFound);
        assert_eq!(name_of("192.0.2.7", "mud.example", &["192.0.2.8"]), none);
        assert_eq!(name_of("192.0.2.7", "mud.example", &[]), none);
    }

    #[test]
    fn an_address_as_text_and_a_control_sequence_are_not_names() {
        for name in [
            "192.0.2.7",
            "192.0.519",
            "0xc0000207",
            "3221225991",
            "a.0Xc0",
            "::7",
            "x\x1b[2J.example",
            "a b",
            "",
            ".",
        ] {
            assert_eq!(name_of("192.0.2.7", name, &["192.0.2.7"]), Err(io::ErrorKind::NotFound), "{name:?}");
        }
        for name in ["localhost", "4.3.example", "_x.1a", "xn--dlmen-jua.example"] {
            assert!(name_of("192.0.2.7", name, &["192.0.2.7"]).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_host_without_addresses_is_not_found() {
        let zone = Zone { name: "mud.example", of_name: Vec::new() };
        let query = Query::Addresses { host: "mud.example".to_owned(), port: 7 };
        let Answer::Addresses(Err(error)) = query.answer(&zone) else { panic!("there is none") };
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
