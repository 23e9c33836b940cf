//! Sources alone: each over a context with the simulated kernel, without an engine or a table.

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::rc::Rc;

use super::config::Config;
use super::connection::Connection;
use super::context::Context;
use super::listener::Listener;
use super::poll::Poll;
use super::registration::Served;
use super::watch::Watch;
use crate::kernel::operation::OpKind;
use crate::kernel::readiness::Readiness;
use crate::kernel::sim::Sim;
use crate::kernel::sim::files::SimFile;
use crate::kernel::sim::world::{self, Faults, SharedWorld, SimHandle, SimListener, SimStream, World};
use crate::kernel::submitter::{Completion, Started};
use crate::kernel::{Close, Kernel, Outcome};
use crate::record::Record;
use crate::token::{Key, Token};

const KEY: Key = Key { slot: 7, generation: NonZeroU32::MIN };
const ENDED: Served = Served::Ended { silent: true };

/// A machine that does nothing by itself, and a context over its kernel.
fn context() -> (Context<Sim>, SharedWorld) {
    let mut world = World::new(0);
    world.faults = Faults::default();
    world.coarse = false;
    let world = Rc::new(RefCell::new(world));
    let config = Config { max_events: 8, buffer_bytes: 64, high_water_bytes: 100, ..Config::DEFAULT };
    (Context::over(Sim::over(&world), config), world)
}

fn completions(cx: &mut Context<Sim>) -> Vec<Completion<Sim>> {
    let mut completions = Vec::new();
    cx.submitter.wait(8, Some(0), |completion| completions.push(completion)).expect("wait");
    completions
}

fn connection(cx: &mut Context<Sim>, world: &SharedWorld) -> (Connection<Sim>, usize) {
    let link = world::connect(world, 1_000);
    let Ok(source) = cx.submitter.kernel().add_stream(SimStream::open(world, link)) else {
        panic!("the kernel takes any stream")
    };
    (Connection::new(source, Token(1)), link)
}

#[test]
fn sends_list_a_connection_once_and_leave_together() {
    let (mut cx, world) = context();
    let (mut connection, link) = connection(&mut cx, &world);
    for text in ["one ", "two ", "three"] {
        connection.send(&mut cx, KEY, text.as_bytes()).expect("there is room");
    }
    assert_eq!(cx.run_queue.len(), 1);
    assert!(world.borrow().links[link].outbound.bytes.is_empty(), "nothing is sent before it is served");
    assert_eq!(connection.serve(&mut cx, KEY), Served::Alive);
    for completion in completions(&mut cx) {
        assert_eq!(completion.kind, OpKind::Send, "the peer has sent nothing");
        connection.send_completed(&mut cx, KEY, completion);
    }
    assert_eq!(Vec::from(world.borrow().links[link].outbound.bytes.clone()), b"one two three");
    assert_eq!((connection.queued_bytes(), cx.stats.queued_bytes), (0, 0));

    assert!(connection.remove(&mut cx, KEY) && !connection.remove(&mut cx, KEY));
    assert_eq!(connection.serve(&mut cx, KEY), Served::Alive, "its receive is pending [hc01]");
    for completion in completions(&mut cx) {
        connection.receive_completed(&mut cx, KEY, completion);
    }
    assert_eq!(connection.serve(&mut cx, KEY), ENDED);
    connection.finish(&mut cx, KEY);
    assert!(cx.outbox.is_empty(), "no `Closed` after a removal");
    assert_eq!(world.borrow().open_descriptors(), 0);
}

#[test]
fn bytes_wait_in_a_connection_that_is_paused_before_their_delivery() {
    let (mut cx, world) = context();
    let (mut connection, link) = connection(&mut cx, &world);
    world.borrow_mut().links[link].inbound.write(b"hello");
    assert_eq!(connection.serve(&mut cx, KEY), Served::Alive);
    for completion in completions(&mut cx) {
        connection.receive_completed(&mut cx, KEY, completion);
    }
    let Some(Record::Received { buffer, .. }) = cx.outbox.pop_front() else { panic!("bytes have arrived") };
    connection.pause();
    assert!(connection.deliver(&mut cx, KEY, buffer).is_none());
    connection.resume(&mut cx, KEY);
    assert_eq!(connection.serve(&mut cx, KEY), Served::Alive);
    let Some(Record::Received { buffer, .. }) = cx.outbox.pop_front() else { panic!("they come back") };
    let buffer = connection.deliver(&mut cx, KEY, buffer).expect("it is not paused");
    assert_eq!(buffer.as_slice(), b"hello");
    drop(buffer);
    connection.abort(&mut cx, KEY);
    while connection.serve(&mut cx, KEY) == Served::Alive {
        for completion in completions(&mut cx) {
            connection.receive_completed(&mut cx, KEY, completion);
        }
    }
    connection.finish(&mut cx, KEY);
    assert!(matches!(cx.outbox.pop_front(), Some(Record::Closed { token: Token(1), .. })));
}

#[test]
fn a_listener_accepts_no_more_than_was_delivered() {
    let (mut cx, world) = context();
    let (listener, number) = SimListener::open(&world);
    let Ok(source) = cx.submitter.kernel().add_listener(listener) else { panic!("any listener") };
    let mut listener = Listener::new(source, Token(1));
    for _ in 0..2 * Sim::ACCEPTS {
        let link = world::connect(&world, 100);
        world.borrow_mut().listeners[number].backlog.push_back(link);
    }
    let turn = |listener: &mut Listener<Sim>, cx: &mut Context<Sim>| {
        assert_eq!(listener.serve(cx, KEY), Served::Alive);
        for completion in completions(cx) {
            listener.accept_completed(cx, KEY, completion);
        }
    };
    (0..3).for_each(|_| turn(&mut listener, &mut cx));
    assert_eq!(cx.outbox.len(), Sim::ACCEPTS, "the rest waits in the backlog");
    cx.outbox.clear();
    listener.delivered(&mut cx, KEY);
    (0..3).for_each(|_| turn(&mut listener, &mut cx));
    assert_eq!(cx.outbox.len(), 1);
    cx.outbox.clear();

    assert!(listener.remove(&mut cx, KEY));
    while listener.serve(&mut cx, KEY) == Served::Alive {
        for completion in completions(&mut cx) {
            listener.accept_completed(&mut cx, KEY, completion);
        }
    }
    listener.finish(&mut cx, KEY);
    assert!(cx.outbox.is_empty(), "a listener that is removed delivers nothing");
}

#[test]
fn a_watch_leaves_it_to_the_engine_what_its_readiness_means() {
    let (mut cx, world) = context();
    let (handle, number) = SimHandle::open(&world);
    let source = cx.submitter.kernel().add_handle(handle).expect("any handle");
    let mut watch = Watch::new(source, Token(1), false);
    world.borrow_mut().signalled[number] = true;
    let mut served = watch.start(&mut cx, KEY).expect("it can be waited for");
    for completion in completions(&mut cx) {
        served = watch.watch_completed(&mut cx, KEY, completion);
    }
    assert_eq!(served, Served::Fired);
    assert!(cx.outbox.is_empty());
    watch.report(&mut cx, KEY);
    assert!(matches!(cx.outbox.pop_front(), Some(Record::Ready { token: Token(1), .. })));

    watch.delivered(&mut cx, KEY);
    assert_eq!(watch.serve(&mut cx, KEY, true), Served::Alive);
    assert_eq!(cx.submitter.in_flight(), 0, "it is not armed while it is held");
    assert!(watch.remove(&mut cx, KEY));
    assert_eq!(watch.serve(&mut cx, KEY, false), ENDED);
    watch.finish(&mut cx);
}

#[test]
fn a_poll_whose_interest_was_withdrawn_delivers_nothing() {
    let (mut cx, world) = context();
    let link = world::connect(&world, 100);
    let socket = SimStream::open(&world, link);
    let source = cx.submitter.kernel().add_borrowed(socket.lend(), Readiness::READABLE).expect("any socket");
    let mut poll = Poll::new(source, Readiness::READABLE, false, Token(1));
    world.borrow_mut().links[link].inbound.write(b"x");
    assert_eq!(poll.serve(&mut cx, KEY), Served::Alive);
    for completion in completions(&mut cx) {
        poll.poll_completed(&mut cx, KEY, completion);
    }
    let Some(Record::Polled { ready, .. }) = cx.outbox.pop_front() else { panic!("it is readable") };
    poll.set_interest(&mut cx, Readiness::NONE).expect("set");
    assert!(poll.deliver(&mut cx, KEY, ready).is_empty());
    assert!(poll.remove(&mut cx));
    assert_eq!(poll.serve(&mut cx, KEY), ENDED);
    poll.finish(&mut cx);
    assert!(!cx.run_queue.is_empty(), "delivering has listed it, to be submitted again");
}

/// The only owner of a file is the transmission. The system reads it at every moment until the packet.
#[test]
fn a_file_stays_open_until_the_packet_of_its_transmission() {
    // The second leaks, as it has to, which AddressSanitizer would report.
    let cases: &[bool] = if cfg!(dolmen_asan) { &[false] } else { &[false, true] };
    for &is_given_up in cases {
        let (mut cx, world) = context();
        (world.borrow_mut().completion_style, world.borrow_mut().most_transmits) = (true, 1);
        let link = world::connect(&world, 10);
        let Ok(source) = cx.submitter.kernel().add_stream(SimStream::open(&world, link)) else {
            panic!("the kernel takes any stream")
        };
        let file = SimFile::new(vec![7; 100], 1);
        let is_open = file.is_open();
        let Started::Pending(_) = cx.submitter.transmit(&source, KEY.slot, file, 0, 100) else {
            panic!("the link is too short for all of it")
        };
        if is_given_up {
            // As after a teardown in which the kernel did not complete it: the system still has the number of the handle.
            drop(cx);
            assert!(is_open(), "it is leaked, as the operation is");
            continue;
        }
        assert!(is_open());
        let mut ended = Vec::new();
        while ended.is_empty() {
            world.borrow_mut().links[link].outbound.bytes.clear();
            ended = completions(&mut cx);
            assert_eq!(is_open(), ended.is_empty());
        }
        assert!(matches!(ended[0].result, Ok(Outcome::Sent(100))));
        cx.submitter.close(source, Close::Orderly);
    }
}
