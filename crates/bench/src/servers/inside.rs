//! Scenarios within one program, so that no load generator is needed: posts from another thread, and timers.
//!
//! The contender's loop reports each delivery here. After the given time, the report prints its measurements and ends
//! the process, wherever the loop is. The format is that of `libuv.c`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::system;

/// Latencies between an event's time and its delivery, on the loop's thread.
struct Tally {
    latency: Histogram,
    started: Instant,
    cpu_before: f64,
    duration: Duration,
}

impl Tally {
    fn new(duration: Duration) -> Tally {
        let cpu_before = system::thread_cpu_seconds();
        Tally { latency: Histogram::new(), started: Instant::now(), cpu_before, duration }
    }

    fn record(&mut self, latency: Duration) {
        self.latency.record(latency.as_nanos() as u64);
        let elapsed = self.started.elapsed();
        if elapsed >= self.duration {
            let cpu_s = system::thread_cpu_seconds() - self.cpu_before;
            println!("done {} {} {cpu_s}", self.latency.count(), elapsed.as_secs_f64());
            self.latency.counts().for_each(|(ns, count)| println!("{ns} {count}"));
            std::process::exit(0);
        }
    }
}

/// Posts from a separate thread, each after the delivery of the one before and a pause, in which the loop has gone back
/// to sleep.
pub struct Posts {
    shared: Arc<Shared>,
    tally: Tally,
}

struct Shared {
    base: Instant,
    posted_at_ns: AtomicU64,
    posted: AtomicU64,
    delivered: AtomicU64,
}

const PAUSE: Duration = Duration::from_micros(20);

impl Posts {
    /// Starts the thread, on the processor given.
    pub fn start(duration: Duration, cpu: usize, mut post: impl FnMut() + Send + 'static) -> Posts {
        let [posted_at_ns, posted, delivered] = [const { AtomicU64::new(0) }; 3];
        let shared = Arc::new(Shared { base: Instant::now(), posted_at_ns, posted, delivered });
        let tally = Tally::new(duration);
        let posts = Posts { shared: Arc::clone(&shared), tally };
        std::thread::spawn(move || {
            // With one processor there is nothing to choose.
            let _ = system::pin(cpu);
            for number in 1.. {
                let paused = Instant::now();
                while paused.elapsed() < PAUSE {
                    std::hint::spin_loop();
                }
                let now = shared.base.elapsed().as_nanos() as u64;
                shared.posted_at_ns.store(now, Ordering::SeqCst);
                shared.posted.store(number, Ordering::SeqCst);
                post();
                while shared.delivered.load(Ordering::SeqCst) < number {
                    std::hint::spin_loop();
                }
            }
        });
        posts
    }

    /// The loop has received the post.
    pub fn delivered(&mut self) {
        let posted = self.shared.posted.load(Ordering::SeqCst);
        if posted == self.shared.delivered.load(Ordering::SeqCst) {
            return; // Woken without a post.
        }
        let now = self.shared.base.elapsed().as_nanos() as u64;
        let posted_at = self.shared.posted_at_ns.load(Ordering::SeqCst);
        self.tally.record(Duration::from_nanos(now - posted_at));
        self.shared.delivered.store(posted, Ordering::SeqCst);
    }
}

/// One-shot timers of up to a second that are set again as soon as they have fired.
pub struct Timers {
    pub count: usize,
    tally: Tally,
    state: u64,
}

impl Timers {
    pub fn new(duration: Duration, count: usize) -> Timers {
        Timers { count, tally: Tally::new(duration), state: 88_172_645_463_325_252 }
    }

    /// The duration of the next timer.
    pub fn delay(&mut self) -> Duration {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        Duration::from_millis(1 + self.state % 1000)
    }

    /// A timer with this deadline has fired.
    pub fn fired(&mut self, due: Instant) {
        self.tally.record(due.elapsed());
    }
}
