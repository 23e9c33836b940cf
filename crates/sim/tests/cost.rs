//! The exact cost of an echoed message on the simulated kernel, in calls and allocations.
//!
//! On this machine sends succeed immediately, eight readiness listeners and a console are registered in addition to the
//! connections, and nothing else happens. So the figures depend on the engine alone, and are exact: these tests detect
//! a change that adds a call to a message.
#![cfg(dolmen_sim)]

use std::time::Duration;

use counting::{ALLOCATIONS, Counting};
use dolmen::sim::{Cost, Echo};

#[path = "../../dolmen/tests/common/counting.rs"]
mod counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROUNDS: u64 = 100;

fn cost(connections: usize, completion: bool, pool_size: usize) -> Cost {
    Echo::new(connections, completion, pool_size).rounds(ROUNDS)
}

/// A dequeue, a receive and a send.
#[test]
fn a_message_alone_costs_three_kernel_calls() {
    for completion in [true, false] {
        let cost = cost(1, completion, 256);
        assert_eq!(cost, Cost { messages: 100, kernel_calls: 300, waits: 100 });
    }
}

/// A receive and a send each, and a 64th of a dequeue: 2.016.
#[test]
fn in_a_batch_of_64_a_message_costs_two_kernel_calls_and_its_share_of_a_dequeue() {
    for completion in [true, false] {
        let cost = cost(64, completion, 256);
        assert_eq!(cost, Cost { messages: 6_400, kernel_calls: 6_400 * 2 + 100, waits: 100 });
    }
}

/// The cost of a turn depends on its events, and not on the number of registrations.
#[test]
fn idle_connections_cost_a_message_neither_a_call_nor_an_allocation() {
    for completion in [true, false] {
        // With enough buffers to lend one to each.
        let [alone, beside] = [0, 2_000].map(|idle| {
            let mut echo = Echo::beside(idle, 1, completion, 8_000);
            let before = ALLOCATIONS.get();
            let cost = echo.rounds(ROUNDS);
            assert_eq!(ALLOCATIONS.get() - before, 0, "beside {idle}");
            cost
        });
        assert_eq!(alone, beside);
    }
}

/// The cost of pinning no memory: a receive of zero bytes first, and the real one when there are bytes.
#[test]
fn without_a_buffer_to_lend_a_message_costs_one_call_more() {
    assert_eq!(cost(1, true, 0).kernel_calls, 400);
    assert_eq!(cost(64, true, 0).kernel_calls, 6_400 * 3 + 100);
    // A readiness kernel has no buffers to lend.
    assert_eq!(cost(1, false, 0).kernel_calls, 300);
}

/// Where waits are coarse a timer makes them exact. It is set once for each tick of an interval, and a tick is a dequeue.
#[test]
fn an_interval_of_ten_milliseconds_costs_a_message_nothing_and_a_tick_two_calls() {
    let mut echo = Echo::with_interval(1, Duration::from_millis(10));
    let mut calls = 0;
    for tick in 1..=10 {
        let cost = echo.rounds(50);
        let ticks = u64::from(tick > 1);
        assert_eq!((cost.kernel_calls, cost.waits), (150 + 2 * ticks, 50 + ticks), "before tick {tick}");
        calls += cost.kernel_calls;
        echo.pass(Duration::from_millis(10));
    }
    assert_eq!((echo.ticks(), calls), (9, 1_518));
}

#[test]
fn steady_state_allocates_nothing() {
    for connections in [1, 64] {
        for completion in [true, false] {
            let mut echo = Echo::new(connections, completion, 256);
            let before = ALLOCATIONS.get();
            let cost = echo.rounds(ROUNDS);
            let allocated = ALLOCATIONS.get() - before;
            assert_eq!(allocated, 0, "{connections} connections, {completion}, {cost:?}");
        }
    }
    assert!(ALLOCATIONS.get() > 100, "they are counted");
}
