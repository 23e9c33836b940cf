//! Workers of a pool in the simulated world: other threads, whose steps are scheduled.
//!
//! They use the pool of the real threads. A call takes a moment, or much longer, and the reactor may cancel its job, or be
//! dropped, in the meantime.

use std::cell::RefCell;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::rng::Rng;
use super::world::{SharedWorld, World};
use crate::kernel::pool::{Job, Pool, Workers};
use crate::marks::{Mark, mark};

/// A job that the simulated world knows.
pub(super) trait SimJob: Job + 'static {
    /// The longest time that a call takes, and the longest of the slow ones, which are one in seven.
    const LONGEST_NS: [u64; 2];

    /// What is noted when it is done.
    type Note: 'static;

    /// The randomness of these jobs.
    fn rng(world: &mut World) -> &mut Rng;

    /// Whether the system has no room for a thread.
    fn is_refused(world: &World) -> bool;

    /// A worker begins the call.
    fn begin(&self, world: &mut World) -> Self::Note;

    /// The call has ended. `wanted`: the engine has not forgotten it.
    fn end(note: Self::Note, world: &mut World, wanted: bool);
}

/// Not an owner of the world, which owns the steps that are still to come.
pub(super) struct SimWorkers(pub(super) Weak<RefCell<World>>);

impl<J: SimJob> Workers<J> for SimWorkers {
    fn start(&mut self, worker: usize, pool: &Arc<Pool<J>>) -> io::Result<()> {
        let world = self.0.upgrade().expect("the machine outlives its kernels");
        if J::is_refused(&world.borrow()) {
            mark(Mark::ThreadRefused);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let pool = Arc::clone(pool);
        later::<J>(&world, 200_000, move |world| serve(world, worker, pool));
        Ok(())
    }

    fn end(&mut self, _: &Pool<J>) {}

    fn forget(&mut self) {}
}

/// Runs a step of another thread up to `longest_ns` later.
fn later<J: SimJob>(world: &SharedWorld, longest_ns: u64, act: impl FnOnce(&SharedWorld) + 'static) {
    let weak = Rc::downgrade(world);
    let mut world = world.borrow_mut();
    let at_ns = world.now_ns + J::rng(&mut world).below(longest_ns);
    world.schedule(at_ns, move |_| {
        if let Some(world) = weak.upgrade() {
            act(&world);
        }
    });
}

/// Takes the next job; when it is done, the one after it. A worker without a job ends.
fn serve<J: SimJob>(world: &SharedWorld, worker: usize, pool: Arc<Pool<J>>) {
    let Some(job) = pool.take_now(worker) else { return };
    let slow = J::rng(&mut world.borrow_mut()).percent(15);
    let note = job.begin(&mut world.borrow_mut());
    later::<J>(world, J::LONGEST_NS[usize::from(slow)], move |world| {
        let wanted = pool.finish(worker, job.run());
        J::end(note, &mut world.borrow_mut(), wanted);
        serve(world, worker, pool);
    });
}
