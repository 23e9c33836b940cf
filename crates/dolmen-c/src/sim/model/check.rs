//! The checks of each event, and of everything that must have been reported when nothing more happens.

use dolmen::raw::Readiness;
use dolmen::sim::Found;

use super::super::buffers::{byte_behind, bytes_of};
use super::*;
use crate::sockets::events as flags;

/// How much may be held for a registration that has not asked for it, in buffers of the reactor.
const MOST_HELD: usize = 4;

fn interest_of(events: c_int) -> Readiness {
    let readable = if events & EVENT_READ != 0 { Readiness::READABLE } else { Readiness::NONE };
    let writable = if events & EVENT_WRITE != 0 { Readiness::WRITABLE } else { Readiness::NONE };
    readable | writable
}

impl<P: System> Run<'_, P> {
    pub(super) fn check_event(&mut self, event: &io_event_t) -> Check {
        match Context::of(event.context) {
            Some(Context::Socket(number)) => {
                let live = self.registrations.get(number).is_some_and(|registration| registration.live);
                self.check(Oracle::Stale, live, || format!("{event:?} of a removed registration"))?;
                if !live {
                    return Ok(());
                }
                self.registrations[number].reported += 1;
                if P::COMPLETION { self.completion(number, event)? } else { self.readiness(number, event)? }
            }
            Some(Context::Console(number)) => self.console_event(number, event)?,
            Some(Context::Timer(number)) => self.timer_event(number, event)?,
            Some(Context::Post(number)) => {
                let expected = self.others.posts.borrow_mut().pop_front();
                let right = expected == Some(number)
                    && event.event_type == EVENT_POST
                    && event.buffer.addr() == number;
                self.check(Oracle::Posts, right, || format!("{event:?} came, post {expected:?} was next"))?;
                return Ok(());
            }
            None => self.fail(Oracle::Stale, || format!("{event:?} has a context that was never given"))?,
        }
        if event.buffer.is_null() {
            return Ok(());
        }
        // The zero byte behind the bytes is in the library's buffers only.
        let own = self.filled.iter().any(|posted| posted.pointer() == event.buffer);
        if !own {
            let zero = byte_behind(event);
            self.check(Oracle::Buffers, zero == 0, || format!("{zero} is behind the bytes"))?;
        }
        let len = usize::try_from(event.bytes_transferred).expect("a number of bytes") + usize::from(!own);
        let shared = self.held.hold(event, len);
        self.check(Oracle::Buffers, !shared, || "two events of one wait share a buffer".into())
    }

    /// The part of a registration's interest for which it is ready now.
    pub(super) fn ready(&self, number: usize) -> Readiness {
        let registration = &self.registrations[number];
        if !self.machine.is_open(registration.object) {
            return Readiness::NONE;
        }
        self.machine.ready(registration.object, interest_of(registration.interest))
    }

    fn readiness(&mut self, number: usize, event: &io_event_t) -> Check {
        let registration = &self.registrations[number];
        let (fd, interest) = (registration.fd, registration.interest);
        let ready = flags(self.ready(number));
        let kind = event.event_type;
        let closed = self.machine.object(fd) != Some(registration.object);
        if closed && kind == EVENT_ERROR && registration.modified {
            // The interest of a closed socket cannot be changed. That is reported once, and nothing more is due.
            let registration = &mut self.registrations[number];
            (registration.modified, registration.failed) = (false, true);
            return Ok(());
        }
        // Those of a listener that accepts come accepted.
        let read = self.registrations[number].accepts && self.is_extended && kind & EVENT_READ != 0;
        self.check(Oracle::Order, !read, || format!("{fd} was reported, and the library accepts"))?;
        let asked = interest != 0 && kind & !(interest | EVENT_ERROR | EVENT_CLOSE) == 0;
        self.check(Oracle::Order, asked, || format!("{fd} asks for {interest:#x}, {kind:#x} was reported"))?;
        // The same listener may be registered twice, and the library has accepted by the other registration since.
        let object = self.registrations[number].object;
        let may_be_accepted = matches!(object, Object::Listener(_))
            && self.registrations.iter().any(|other| other.live && other.accepts && other.object == object);
        self.check(Oracle::Stale, kind != 0 && (kind & !ready == 0 || may_be_accepted), || {
            format!("{fd} was reported to be {kind:#x} and is {ready:#x}")
        })?;
        let nothing = event.buffer.is_null() && event.bytes_transferred == 0;
        self.check(Oracle::Order, nothing, || format!("{event:?} brings something"))
    }

    fn completion(&mut self, number: usize, event: &io_event_t) -> Check {
        let Some(link) = self.registrations[number].link() else {
            let right = event.event_type & !(EVENT_READ | EVENT_ERROR | EVENT_CLOSE) == 0
                && event.event_type != 0
                && event.buffer.is_null();
            return self.check(Oracle::Order, right, || format!("{event:?} of a listener"));
        };
        match event.event_type {
            EVENT_READ => self.received(number, link, event),
            EVENT_WRITE if event.bytes_transferred == 0 => {
                let asked = std::mem::replace(&mut self.registrations[number].room_asked, false);
                // The end of a closed number's socket may come as this.
                let open = self.machine.is_open(Object::Link(link));
                self.check(Oracle::Order, asked || !open, || "room to write that was not asked for".into())
            }
            EVENT_WRITE => {
                let registration = &mut self.registrations[number];
                let (posted, sent) = (registration.writes.pop_front(), self.machine.link(link).sent);
                let bytes = event.bytes_transferred as usize;
                let right = posted.is_some_and(|(end, len)| len == bytes && end <= sent);
                self.check(Oracle::Order, right, || {
                    format!("a write of {bytes} bytes was reported after {sent}, {posted:?} is next")
                })
            }
            EVENT_CLOSE | EVENT_ERROR => self.ended(number, link, event),
            _ => self.fail(Oracle::Order, || format!("{event:?} of a connection")),
        }
    }

    fn received(&mut self, number: usize, link: usize, event: &io_event_t) -> Check {
        let addr = event.buffer.addr();
        let bytes = if event.buffer.is_null() { Vec::new() } else { bytes_of(event) };
        let mine = |posted: &Posted| posted.contains(addr);
        let elsewhere = self.registrations.iter().enumerate().any(|(at, registration)| {
            at != number && registration.live && registration.posted.iter().any(mine)
        });
        self.check(Oracle::Buffers, !elsewhere, || "the bytes are in another's buffer".into())?;
        let registration = &mut self.registrations[number];
        let last = registration.posted.pop();
        let into_last =
            last.as_ref().is_some_and(|last| last.pointer().addr() == addr && bytes.len() <= last.len());
        let into_older =
            registration.posted.iter().any(mine) || (!into_last && last.as_ref().is_some_and(mine));
        // With this event the caller gets all of them back.
        let older: Vec<Posted> = registration.posted.drain(..).collect();
        self.filled.extend(older);
        self.filled.extend(last);
        let (from, ended) = (registration.received, registration.ended);
        let asked = std::mem::replace(&mut registration.asked, false);
        registration.received += bytes.len() as u64;
        self.check(Oracle::Buffers, !into_older, || "the bytes are in a buffer that was replaced".into())?;
        self.check(Oracle::Order, !bytes.is_empty() && !ended, || {
            format!("{} bytes, ended: {ended}", bytes.len())
        })?;
        self.check(Oracle::Stream, bytes == stream_bytes(link, false, from, bytes.len()), || {
            format!("link {link} received something else at {from}")
        })?;
        // The end is reported behind all bytes that arrived before it, asked for or not.
        let state = self.machine.link(link);
        let over = state.fin || state.reset.is_some() || state.shut || state.closed;
        self.check(Oracle::Order, asked || over, || "received without a request".into())
    }

    fn ended(&mut self, number: usize, link: usize, event: &io_event_t) -> Check {
        let registration = &mut self.registrations[number];
        let twice = std::mem::replace(&mut registration.ended, true);
        let (received, asked, sends) =
            (registration.received, registration.asked, !registration.writes.is_empty());
        // A closed number's socket ends without its peer's doing.
        let open = self.machine.is_open(registration.object);
        let state = self.machine.link(link);
        self.check(Oracle::Order, !twice, || "the end was reported twice".into())?;
        self.check(Oracle::Order, event.buffer.is_null() && event.bytes_transferred == 0, || {
            "the end brings something".into()
        })?;
        let cause = match event.event_type {
            EVENT_CLOSE => state.fin || state.reset.is_some() || state.shut || !open,
            _ => !open,
        };
        self.check(Oracle::Order, cause, || format!("{:#x} without a cause", event.event_type))?;
        // After a failed send a caller that has not asked has the linger time to do so.
        let lingered = !asked && sends && state.reset.is_some();
        let whole =
            received == state.written || lingered || state.reset == Some(false) || state.shut || !open;
        self.check(Oracle::Stream, whole, || {
            format!("link {link} ended after {received} of {} bytes", state.written)
        })
    }

    fn timer_event(&mut self, number: usize, event: &io_event_t) -> Check {
        let now_ns = self.machine.now_ns();
        let timer = &mut self.timers[number];
        let live = timer.live;
        let deadline_ns = timer.deadline_ns;
        let missed = event.bytes_transferred as u64;
        timer.live &= timer.period_ns != 0;
        timer.deadline_ns += timer.period_ns * (missed + 1);
        let last_ns = timer.deadline_ns - timer.period_ns;
        let right = event.event_type == EVENT_TIMER && event.buffer.is_null();
        self.check(Oracle::Stale, live && right, || format!("{event:?} of timer {number}, live: {live}"))?;
        self.check(Oracle::Time, now_ns >= deadline_ns && now_ns >= last_ns, || {
            format!("a timer for {deadline_ns} went off at {now_ns}, {missed} missed")
        })
    }

    /// Bounds the bytes held and undelivered for each connection, and the bytes delivered after a failed send.
    pub(super) fn check_bounds(&mut self) -> Check {
        let (now_ns, lacks_memory) = (self.machine.now_ns(), self.machine.lacks_memory());
        for at in 0..self.registrations.len() {
            let registration = &mut self.registrations[at];
            let (true, true, Some(link)) = (P::COMPLETION, registration.live, registration.link()) else {
                continue;
            };
            let state = self.machine.link(link);
            let unsent = registration.writes.back().is_some_and(|&(end, _)| end > state.sent);
            let fails = state.shut && unsent && !lacks_memory;
            // A receive in flight at that time may bring a buffer's worth, and so may the last one.
            let most = state.written + 2 * self.buffer_bytes as u64;
            registration.failing.observe(fails, now_ns, most);
            let (received, most) = (registration.received, registration.failing.most);
            self.check(Oracle::Bounds, most.is_none_or(|most| received <= most), || {
                format!("{received} bytes of link {link} came, and a send had failed after {most:?}")
            })?;
            let held = (state.read - received) as usize;
            let most = MOST_HELD * self.buffer_bytes;
            self.check(Oracle::Bounds, held <= most, || {
                format!("{held} bytes of link {link} are held, at most {most} may be")
            })?;
        }
        Ok(())
    }

    /// Nothing more happens by itself: is something unreported? `healed`: and the caller has handled all reports.
    pub(super) fn check_nothing_due(&mut self, healed: bool) -> Check {
        for number in 0..self.registrations.len() {
            if self.registrations[number].live {
                if P::COMPLETION { self.completion_due(number, healed)? } else { self.readiness_due(number)? }
            }
        }
        self.check_console_due()?;
        let late = self.timers.iter().any(|timer| timer.live);
        self.check(Oracle::Time, !late, || "a timer never went off".into())?;
        let posts = self.others.posts.borrow().len();
        self.check(Oracle::Posts, posts == 0, || format!("{posts} posts never came"))?;
        self.check(Oracle::Posts, !self.others.woken.get(), || "a wakeup was lost".into())?;
        Ok(())
    }

    fn readiness_due(&self, number: usize) -> Check {
        let ready = self.ready(number);
        let registration = &self.registrations[number];
        // The library accepts by the number, and cannot if that was closed or stands for another socket.
        let cannot_accept =
            registration.accepts && self.machine.object(registration.fd) != Some(registration.object);
        self.check(Oracle::Liveness, ready.is_empty() || registration.failed || cannot_accept, || {
            format!("{} is {ready:?} and was not reported", self.registrations[number].fd)
        })
    }

    fn completion_due(&self, number: usize, healed: bool) -> Check {
        let registration = &self.registrations[number];
        let (fd, object) = (registration.fd, registration.object);
        if !self.machine.is_open(object) {
            return Ok(());
        }
        let Some(link) = registration.link() else {
            let waiting = self.machine.ready(object, Readiness::READABLE);
            return self.check(Oracle::Liveness, waiting.is_empty(), || {
                format!("listener {fd} has connections waiting")
            });
        };
        let state = self.machine.link(link);
        let found = self.machine.peek(link);
        if !registration.ended && registration.asked {
            self.check(
                Oracle::Liveness,
                found == Found::Nothing && registration.received == state.read,
                || {
                    format!(
                        "{fd} has asked, and there is {found:?}, {} of {}",
                        registration.received, state.read
                    )
                },
            )?;
        }
        // By then every registration that may ask has asked, and the end of the others was reported.
        self.check(Oracle::Liveness, !healed || registration.ended || registration.asked, || {
            format!("{fd} may not ask for more, and its end was not reported")
        })?;
        let over = registration.ended || state.reset.is_some() || state.shut;
        let room = self.machine.ready(object, Readiness::WRITABLE);
        self.check(Oracle::Liveness, over || registration.writes.is_empty() || room.is_empty(), || {
            format!("{fd} has writes that were not reported: {:?}", registration.writes)
        })?;
        self.check(Oracle::Liveness, !registration.room_asked || room.is_empty(), || {
            format!("{fd} has room to write, and it was not reported")
        })
    }
}
