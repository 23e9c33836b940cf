//! Workers that look names up in the simulated world: other threads, whose steps are scheduled.
//!
//! They use the queue of the real threads. A look-up takes a moment, or much longer, and the reactor may cancel it, or be
//! dropped, in the meantime. What is found is a function of what is looked up.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::world::{SharedWorld, World};
use crate::kernel::names::jobs::{Jobs, MOST_WORKERS};
use crate::kernel::names::threads::Workers;
use crate::kernel::names::{Query, Resolver};
use crate::marks::{Mark, mark};

/// Not an owner of the world, which owns the steps that are still to come.
pub(super) struct SimWorkers(pub(super) Weak<std::cell::RefCell<World>>);

impl Workers for SimWorkers {
    fn start(&mut self, worker: usize, jobs: &Arc<Jobs>) -> io::Result<()> {
        let world = self.0.upgrade().expect("the machine outlives its kernels");
        if world.borrow().threads_exhausted {
            mark(Mark::ThreadRefused);
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        let jobs = Arc::clone(jobs);
        later(&world, 200_000, move |world, _| serve(world, worker, jobs));
        Ok(())
    }

    fn end(&mut self, _busy: [bool; MOST_WORKERS]) {}

    fn forget(&mut self) {}
}

/// Runs a step of another thread up to `most_ns` later.
fn later(world: &SharedWorld, most_ns: u64, act: impl FnOnce(&SharedWorld, u64) + 'static) {
    let weak = Rc::downgrade(world);
    let mut world = world.borrow_mut();
    let at_ns = world.now_ns + world.names.below(most_ns);
    world.schedule(at_ns, move |now_ns| {
        if let Some(world) = weak.upgrade() {
            act(&world, now_ns);
        }
    });
}

/// Takes the next job; when it is done, the one after it. A worker without a job ends.
fn serve(world: &SharedWorld, worker: usize, jobs: Arc<Jobs>) {
    let Some(job) = jobs.take_now(worker) else { return };
    let slow = world.borrow_mut().names.percent(15);
    world.borrow_mut().names_in_progress += 1;
    later(world, if slow { 50_000_000 } else { 2_000_000 }, move |world, now_ns| {
        world.borrow_mut().names_in_progress -= 1;
        let wanted = jobs.look_up(worker, &job);
        // A connection's look-up brings no event by itself.
        match &*job.query {
            Query::Addresses { host, port } if host.starts_with('c') => {
                world.borrow_mut().resolved_ns.insert(*port, now_ns);
            }
            _ if wanted => {
                world.borrow_mut().answered_ns.get_or_insert(now_ns);
            }
            _ => {}
        }
        serve(world, worker, jobs);
    });
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
