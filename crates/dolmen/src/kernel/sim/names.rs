//! Names in the simulated world. What is found is a function of what is looked up.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::rng::Rng;
use super::workers::SimJob;
use super::world::World;
use crate::kernel::names::{Lookup, Query, Resolver};

impl SimJob for Lookup {
    const LONGEST_NS: [u64; 2] = [2_000_000, 50_000_000];

    type Note = Arc<Query>;

    fn rng(world: &mut World) -> &mut Rng {
        &mut world.names
    }

    fn is_refused(world: &World) -> bool {
        world.threads_exhausted
    }

    fn begin(&self, world: &mut World) -> Arc<Query> {
        world.names_in_progress += 1;
        Arc::clone(&self.query)
    }

    fn end(query: Arc<Query>, world: &mut World, wanted: bool) {
        world.names_in_progress -= 1;
        // A connection's look-up brings no event by itself.
        match &*query {
            Query::Addresses { host, port } if host.starts_with('c') => {
                world.resolved_ns.insert(*port, world.now_ns);
            }
            _ if wanted => {
                world.answered_ns.get_or_insert(world.now_ns);
            }
            _ => {}
        }
    }
}

/// The hosts of the simulated world: "h" and a number. Every fourth has no address, and the others have up to three.
/// Those to connect to are "c" and the number of their addresses.
pub(crate) struct SimNames;

/// The addresses of a host to connect to.
pub(crate) fn addresses_of(count: u8, port: u16) -> impl Iterator<Item = SocketAddr> {
    // The first family has two of three, so that the other one runs out first.
    (0..count).map(move |at| match at % 3 {
        1 => SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, at.into()], port)),
        _ => SocketAddr::from(([127, 0, 2, at], port)),
    })
}

impl Resolver for SimNames {
    fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Some(count) = host.strip_prefix('c').and_then(|count| count.parse().ok()) {
            return Ok(addresses_of(count, port).collect());
        }
        let number = host.strip_prefix('h').and_then(|number| number.parse::<u8>().ok());
        let number =
            number.filter(|number| number % 4 != 0).ok_or_else(|| io::Error::other("no such host"))?;
        Ok((0..=number % 3).map(|at| SocketAddr::from(([10, 0, at, number], port))).collect())
    }

    fn name(&self, ip: IpAddr) -> io::Result<String> {
        match ip {
            // Of these names some have no address, and some have others.
            IpAddr::V4(ip) => Ok(format!("h{}", ip.octets()[3])),
            IpAddr::V6(_) => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }
}
