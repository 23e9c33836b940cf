//! The thread of a member: its reactor, and the loop around the [`Member`].

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use super::codec::Codec;
use super::counters::Counters;
use super::happening::Happening;
use super::member::{Limits, Member};
use super::notice::{Notice, Order};
use super::remote_members::MemberHandle;
use crate::drop_each::drop_each;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::kernel::Kernel;
use crate::kernel::mailbox::{Channel, Mailbox, Taken};
use crate::kernel::thread;
use crate::reactor::{Builder, Reactor};
use crate::record::{Batch, Record};
use crate::token::Token;

/// Of a member's connections and its timer.
pub(crate) const LINKS: Token = Token(0);
/// Of its orders.
pub(crate) const ORDERS: Token = Token(1);

/// How often a member tries again when the system refuses to wait, and the first pause before that.
const WAIT_RETRIES: u32 = 10;
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// What a member's thread begins with.
struct Start<C: Codec> {
    builder: Builder,
    limits: Limits,
    notices: Arc<Channel<Notice<C>>>,
    counters: Arc<Counters>,
}

/// What the thread has made: its end of the queue, and its mailbox.
type Ready<C> = (Arc<Channel<Order<TcpStream, C>>>, Arc<Mailbox>);

/// How long a member has to end before it is woken again.
const WAKE_AGAIN: Duration = Duration::from_millis(100);

/// A member's thread, seen from the game.
pub(super) struct MemberThread<C: Codec> {
    handle: JoinHandle<()>,
    mailbox: Arc<Mailbox>,
    /// Closed by the end of the thread.
    made: mpsc::Receiver<Result<Ready<C>, Error>>,
}

impl<C: Codec> MemberThread<C> {
    /// Waits for the end of a thread that has the order to end. It has reported its panic.
    ///
    /// If the system had no memory for the signal that comes with the order, nothing else would wake the member [p21].
    pub(super) fn join(self) {
        while let Err(mpsc::RecvTimeoutError::Timeout) = self.made.recv_timeout(WAKE_AGAIN) {
            self.mailbox.wake();
        }
        let _ = self.handle.join();
    }
}

/// Starts a member, whose notices wait in the game's mailbox and are reported with `token`.
pub(super) fn start<C: Codec>(
    number: usize,
    builder: &Builder,
    limits: Limits,
    game: Arc<Mailbox>,
    token: Token,
) -> Result<(MemberHandle<TcpStream, C>, MemberThread<C>), Error> {
    const ACTION: &str = "start a member of the crew";
    const PANIC_ADVICE: &str =
        "look for the panic's message on standard error; `Default` of `Codec::Shared` runs there first";
    let counters = Arc::new(Counters::default());
    let notices = Channel::new(game, limits.notices, token);
    let start = Start {
        builder: builder.clone(),
        limits,
        notices: Arc::clone(&notices),
        counters: Arc::clone(&counters),
    };
    let (report, made) = mpsc::channel();
    let handle = thread::spawn(&format!("dolmen-crew-{number}"), move || run(start, &report));
    let handle = handle.map_err(|error| Error::from_io(ErrorKind::Exhausted, ACTION, error))?;
    // It sends one, unless it panics.
    let ready: Result<Ready<C>, Error> = made.recv().unwrap_or_else(|_| {
        let why = io::Error::other("its thread has panicked");
        Err(Error::from_io(ErrorKind::Os, ACTION, why).advised(PANIC_ADVICE))
    });
    match ready {
        Ok((orders, mailbox)) => {
            let thread = MemberThread { handle, mailbox: Arc::clone(&mailbox), made };
            Ok((MemberHandle { orders, notices, mailbox, counters }, thread))
        }
        Err(error) => {
            // It has ended already.
            let _ = handle.join();
            Err(error)
        }
    }
}

fn run<C: Codec>(start: Start<C>, report: &mpsc::Sender<Result<Ready<C>, Error>>) {
    let Start { builder, limits, notices, counters } = start;
    let mut reactor = match builder.build() {
        Ok(reactor) => reactor,
        // The thread that started this one waits for the report.
        Err(error) => return drop(report.send(Err(error))),
    };
    reactor.engine.publish_to(counters.of_engine());
    // It makes what the codecs share, which is the caller's code. If that panics, no report comes.
    let mut member = Member::new(LINKS, limits, counters);
    let mailbox = reactor.engine.mailbox();
    // Orders are bounded by what each connection may have on its way.
    let orders = Channel::new(Arc::clone(&mailbox), usize::MAX, ORDERS);
    if report.send(Ok((Arc::clone(&orders), mailbox))).is_err() {
        return;
    }
    let most_events = builder.most_events();
    let mut taken = Taken::default();
    // What a panic leaves behind is not used any more but for the notices of before, which are whole.
    let served = catch_unwind(AssertUnwindSafe(|| {
        serve(&mut reactor, most_events, &mut taken, &mut member, &orders, &notices)
    }));
    // Not while a panic of a codec is under way.
    drop_each(taken.drain());
    let failure = match served {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(panic) => Some(text_of(&*panic)),
    };
    match failure {
        Some(text) => {
            tracing::error!(target: "dolmen", text, "a member of the crew has failed");
            report_failure(member, reactor, &notices, text);
        }
        None => {
            drop(reactor);
            member.drop_codecs();
        }
    }
    drop_each(orders.abandon().drain());
}

/// Serves until the order to stop, or until the crew is dropped, which ends it before the next call.
fn serve<C: Codec>(
    reactor: &mut Reactor,
    most_events: usize,
    taken: &mut Taken<Order<TcpStream, C>>,
    member: &mut Member<C>,
    orders: &Arc<Channel<Order<TcpStream, C>>>,
    notices: &Arc<Channel<Notice<C>>>,
) -> Result<(), Error> {
    let engine = &mut reactor.engine;
    let mut batch = Batch::with_capacity(most_events);
    let mut failures = 0;
    loop {
        // The system may be out of memory for a moment.
        if let Err(error) = engine.wait(&mut batch, None) {
            failures += 1;
            if failures > WAIT_RETRIES {
                return Err(error);
            }
            std::thread::sleep(RETRY_PAUSE * failures);
            continue;
        }
        failures = 0;
        if !turn(engine, &mut batch, taken, member, orders, notices, |stream| stream) {
            return Ok(());
        }
    }
}

/// Handles what a wait has found. Returns false after the order to stop, and when the crew has been dropped. `stream` makes
/// the stream of what has crossed.
pub(crate) fn turn<K: Kernel, S: Send + 'static, C: Codec>(
    engine: &mut Engine<K>,
    batch: &mut Batch<K::Stream>,
    taken: &mut Taken<Order<S, C>>,
    member: &mut Member<C>,
    orders: &Arc<Channel<Order<S, C>>>,
    notices: &Arc<Channel<Notice<C>>>,
    stream: impl Fn(S) -> K::Stream,
) -> bool {
    member.begin_turn(engine);
    for record in batch.drain() {
        if orders.is_abandoned() {
            return false;
        }
        if let Record::Inbox { token: ORDERS, .. } = record {
            orders.take(taken);
            while let Some(order) = taken.pop() {
                match order {
                    _ if orders.is_abandoned() => return false,
                    Order::Add(newcomer) => {
                        member.begin_round();
                        member.add(engine, newcomer.map(&stream));
                    }
                    Order::To(request) => {
                        member.begin_round();
                        member.request(engine, request);
                    }
                    Order::EndRound => member.end_round(),
                    Order::Stop => return false,
                }
            }
        } else if let Some(happening) = Happening::of_record(record) {
            member.handle(engine, happening);
        }
    }
    member.end_turn(engine, |waiting: &mut VecDeque<Notice<C>>| notices.put(waiting, false));
    true
}

/// Reports that a member has failed, behind the notices that it has left.
pub(crate) fn report_failure<E, C: Codec>(
    mut member: Member<C>,
    reactor: E,
    notices: &Arc<Channel<Notice<C>>>,
    text: String,
) {
    // The sockets are closed before the failure is reported to the game.
    let mut left = member.take_notices();
    drop(reactor);
    member.drop_codecs();
    // What they share is the caller's too.
    drop_each(std::iter::once(member));
    left.push_back(Notice::Failed(None, text));
    notices.put(&mut left, true);
}

/// What a panic says.
fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text").to_owned()
}

#[cfg(all(test, not(loom), not(dolmen_sim)))]
mod tests {
    use super::*;

    struct Silent;

    impl Codec for Silent {
        type Message = ();
        type Reply = ();
        type Shared = ();

        fn received(&mut self, _: &[u8], _: &mut crate::Link<'_, Self>) {}
        fn send(&mut self, (): (), _: &mut crate::Link<'_, Self>) {}
    }

    /// As when the system had no memory for the signal that comes with the order to end.
    #[test]
    fn p21_a_thread_that_no_signal_has_reached_is_woken_again() {
        let (report, made) = mpsc::channel::<Result<Ready<Silent>, Error>>();
        let (started, mailbox) = mpsc::channel();
        let handle = thread::spawn("dolmen-crew-0", move || {
            let _held_until_the_end = report;
            let mut reactor = Reactor::new().expect("a reactor");
            started.send(reactor.engine.mailbox()).expect("its mailbox is waited for");
            let mut batch = Batch::with_capacity(1);
            reactor.engine.wait(&mut batch, None).expect("wait");
        });
        let handle = handle.expect("a thread");
        let mailbox = mailbox.recv().expect("its mailbox");
        MemberThread { handle, mailbox, made }.join();
    }
}
