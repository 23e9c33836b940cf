//! The wait alone, without an engine that polls again.

use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::thread::JoinHandleExt as _;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::submitter::{Completion, Submitter};
use super::*;

const LONG_NS: u64 = 20_000_000_000;

/// How often the handler has run.
static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn handler(_signal: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

/// Handles SIGUSR1 in such a way that interrupted calls are restarted where possible.
fn handle_signals() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        // SAFETY: all zeroes is a valid value of the structure, and the handler does nothing but count.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as extern "C" fn(libc::c_int) as usize;
            action.sa_flags = libc::SA_RESTART;
            assert_eq!(libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()), 0);
        }
    });
}

fn submitter() -> Submitter<Epoll> {
    let options = Options { max_packets: 8, skip_on_success: true, most_transmits: None };
    let pool = BufferPool::new(4, 4096);
    Submitter::new(Epoll::new(options).expect("a kernel"), options, pool)
}

fn wait(submitter: &mut Submitter<Epoll>, timeout_ns: Option<u64>) -> Vec<Completion<Epoll>> {
    let mut completions = Vec::new();
    submitter.wait(1, timeout_ns, |completion| completions.push(completion)).expect("a wait");
    completions
}

/// Runs `body` in a thread that receives signals again and again until it has ended.
fn with_repeated_signals(body: impl FnOnce() + Send + 'static) {
    handle_signals();
    let over = std::sync::Arc::new(AtomicBool::new(false));
    let ended = std::sync::Arc::clone(&over);
    let thread = thread::spawn(move || {
        body();
        ended.store(true, Ordering::SeqCst);
        // It must exist while it may still be sent a signal.
        thread::park_timeout(Duration::from_secs(20));
    });
    let start = Instant::now();
    while !over.load(Ordering::SeqCst) && !thread.is_finished() {
        assert!(start.elapsed() < Duration::from_secs(15), "no wait was ended by a signal");
        // SAFETY: the thread has not been joined, so its id is its own.
        unsafe { libc::pthread_kill(thread.as_pthread_t(), libc::SIGUSR1) };
        thread::yield_now();
    }
    thread.thread().unpark();
    thread.join().expect("its waits are ended");
}

#[test]
fn hc49_a_signal_handler_ends_a_wait_with_no_packets() {
    with_repeated_signals(|| {
        let mut submitter = submitter();
        for timeout_ns in [None, Some(LONG_NS), Some(LONG_NS + 1)] {
            let before = HANDLED.load(Ordering::SeqCst);
            assert_eq!(wait(&mut submitter, timeout_ns).len(), 0);
            assert_ne!(HANDLED.load(Ordering::SeqCst), before, "a handler has run");
        }
    });
}

/// A wait returns the rest of an earlier wait without waiting, and a signal can still end the next wait. It does not
/// return polls that are no longer ready, and these do not prevent a wait from waiting either.
#[cfg(any(feature = "c-api", dolmen_sim))]
#[test]
fn hc49_nothing_left_over_hides_a_signal_handler() {
    use crate::kernel::submitter::Started;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::net::UnixStream;
    with_repeated_signals(|| {
        let mut submitter = submitter();
        let mut pairs: Vec<_> = (0..3).map(|_| UnixStream::pair().expect("a pair")).collect();
        let mut polls = Vec::new();
        for (owner, (ours, peer)) in (0..).zip(&mut pairs) {
            std::io::Write::write_all(peer, b"x").expect("write");
            // SAFETY: it stays open for longer than it is registered.
            let socket = unsafe { crate::kernel::readiness::BorrowedSocket::from_raw(ours.as_raw_fd()) };
            let source = submitter.kernel().add_borrowed(socket, Readiness::READABLE).expect("add");
            let Started::Pending(poll) = submitter.poll(&source, owner, Readiness::READABLE) else {
                panic!("a poll is pending first")
            };
            polls.push((source, poll));
        }
        // It returns one of them; more were found, if nothing cut the call short.
        while wait(&mut submitter, Some(0)).is_empty() {}
        for (ours, _) in &mut pairs {
            std::io::Read::read_exact(ours, &mut [0]).expect("read");
        }
        let before = HANDLED.load(Ordering::SeqCst);
        assert_eq!(wait(&mut submitter, None).len(), 0, "they have been read");
        assert_ne!(HANDLED.load(Ordering::SeqCst), before, "a handler has run");
        // The packets of the cancelled ones are returned first, and then nothing is ready.
        for (source, poll) in &polls {
            submitter.cancel(source, *poll);
        }
        let mut cancelled = 0;
        while submitter.in_flight() > 0 {
            cancelled += wait(&mut submitter, None).len();
        }
        assert_eq!(cancelled, 2);
        let before = HANDLED.load(Ordering::SeqCst);
        assert_eq!(wait(&mut submitter, None).len(), 0);
        assert_ne!(HANDLED.load(Ordering::SeqCst), before, "a handler has run");
        for (source, _) in polls {
            submitter.close(source, Close::Release);
        }
    });
}

/// A loop outside has to register again, and sees that by the generation; the number may be the same.
#[test]
fn a_new_instance_has_another_generation_and_is_readable_by_itself() {
    fn is_readable(fd: RawFd) -> bool {
        let mut polled = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure, and ours.
        unsafe { libc::poll(&mut polled, 1, 0) > 0 }
    }
    let mut submitter = submitter();
    let signal = submitter.kernel().signal();
    for generation in 0..3 {
        assert_eq!(submitter.kernel().generation(), generation);
        wait(&mut submitter, Some(0));
        assert!(!is_readable(submitter.kernel().handle().as_raw_fd()));
        signal.notify().expect("a signal");
        assert!(is_readable(submitter.kernel().handle().as_raw_fd()));
        submitter.kernel().rebuild_epoll().expect("a new instance");
        assert!(is_readable(submitter.kernel().handle().as_raw_fd()), "the signal has not been taken");
        wait(&mut submitter, Some(0));
        assert!(!is_readable(submitter.kernel().handle().as_raw_fd()));
    }
}
