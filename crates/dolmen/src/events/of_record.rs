//! How a [`Record`] becomes the caller's [`Event`].

use std::io;
use std::net::TcpStream;

use super::Event;
use crate::record::Record;

impl<'a> Event<'a> {
    /// The caller's view of a record. `None` for a stream that was taken, and for records that only the C library gets.
    pub(super) fn of(record: &'a mut Record<TcpStream>) -> Option<Event<'a>> {
        Some(match *record {
            Record::Accepted { listener, token, ref mut stream, peer } => {
                Event::Accepted { listener, token, stream: stream.take()?, peer }
            }
            Record::AcceptFailed { listener, token, code } => {
                Event::AcceptFailed { listener, token, error: io::Error::from_raw_os_error(code) }
            }
            Record::Received { conn, token, ref buffer } => {
                Event::Received { conn, token, data: buffer.as_slice() }
            }
            Record::Connected { conn, token, ref ends } => {
                let (local, peer) = (**ends).clone();
                Event::Connected { conn, token, local, peer }
            }
            Record::EndOfStream { conn, token } => Event::EndOfStream { conn, token },
            Record::Drained { conn, token } => Event::Drained { conn, token },
            Record::Closed { conn, token, ref reason } => {
                Event::Closed { conn, token, reason: reason.clone() }
            }
            Record::Released { conn, token, ref mut stream } => {
                Event::Released { conn, token, stream: stream.take()? }
            }
            Record::Ready { watch, token } => Event::Ready { watch, token },
            Record::Datagram { udp, token, from, ref buffer, truncated } => {
                Event::Datagram { udp, token, from, data: buffer.as_slice(), truncated }
            }
            Record::UdpFailed { udp, token, code } => {
                Event::UdpFailed { udp, token, error: io::Error::from_raw_os_error(code) }
            }
            Record::Timer { timer, token, missed, .. } => Event::Timer { timer, token, missed },
            Record::Posted { token, value } => Event::Posted { token, value },
            Record::Inbox { token, .. } => Event::Inbox { token },
            Record::Resolved { lookup, token, ref mut result } => {
                Event::Resolved { lookup, token, result: result.take()? }
            }
            Record::Named { lookup, token, ref mut result } => {
                Event::Named { lookup, token, result: result.take()? }
            }
            Record::FileRead { op, token, ref mut error, ref mut buffer } => {
                let buffer = buffer.take()?;
                let result = error.take().map_or(Ok(buffer.len()), Err);
                Event::FileRead { op, token, result, buffer }
            }
            Record::FileWritten { op, token, ref mut failed, ref mut buffer } => {
                let buffer = buffer.take()?;
                let (written, result) = match failed.take() {
                    Some(failed) => (failed.written, Err(failed.error)),
                    None => (buffer.len(), Ok(())),
                };
                Event::FileWritten { op, token, written, result, buffer }
            }
            Record::FileSent { op, conn, token, sent, ref mut error, .. } => {
                Event::FileSent { op, conn, token, sent, result: error.take().map_or(Ok(()), Err) }
            }
            Record::Woken => Event::Woken,
            Record::Console { token, ref input, .. } => Event::Console { token, input: input.as_event()? },
            Record::Polled { .. } | Record::Written { .. } | Record::Foreign { .. } => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::num::NonZeroU32;

    use super::*;
    use crate::address::Address;
    use crate::close_reason::CloseReason;
    use crate::console::{ConsoleInput, Input};
    use crate::kernel::buffer_pool::BufferPool;
    use crate::kernel::readiness::Readiness;
    use crate::removed::Removed;
    use crate::token::{ConnId, Key, ListenerId, LookupId, PollId, TimerId, Token, UdpId, WatchId};

    const TOKEN: Token = Token(7);
    const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4242);

    /// Each record, what the caller sees of it, and how its registration is removed. A post, a wake and a signal belong
    /// to no registration.
    #[test]
    fn each_record_becomes_its_event_until_its_registration_is_removed() {
        let key = Key { slot: 3, generation: NonZeroU32::MIN };
        let (conn, listener, watch) = (ConnId(key), ListenerId(key), WatchId(key));
        let (timer, poll, udp, token) = (TimerId(key), PollId(key), UdpId(key), TOKEN);
        let lookup = LookupId(key);
        let [buffer, datagram] = [(); 2].map(|()| {
            let mut buffer = BufferPool::new(1, 64).take();
            buffer.extend(b"hello");
            buffer
        });
        let code = 5;
        let error = io::Error::from_raw_os_error(code);
        let reason = CloseReason::Reset;
        let line = || Input::Line("look".into());
        type Remove<'a> = Option<&'a dyn Fn(&Removed)>;
        let of_conn: Remove<'_> = Some(&|removed| removed.mark_conn(conn));
        let of_lookup: Remove<'_> = Some(&|removed| removed.mark_lookup(lookup));
        let of_listener: Remove<'_> = Some(&|removed| removed.mark_listener(listener));
        let ends = (Address::from(PEER), Address::from(PEER));
        let of_udp: Remove<'_> = Some(&|removed| removed.mark_udp(udp));
        let table: [(Record<TcpStream>, String, Remove<'_>); 20] = [
            (
                Record::AcceptFailed { listener, token, code },
                format!("{:?}", Event::AcceptFailed { listener, token, error }),
                of_listener,
            ),
            (
                Record::Received { conn, token, buffer },
                format!("{:?}", Event::Received { conn, token, data: b"hello" }),
                of_conn,
            ),
            (
                Record::Connected { conn, token, ends: Box::new(ends.clone()) },
                format!("{:?}", Event::Connected { conn, token, local: ends.0, peer: ends.1 }),
                of_conn,
            ),
            (
                Record::EndOfStream { conn, token },
                format!("{:?}", Event::EndOfStream { conn, token }),
                of_conn,
            ),
            (Record::Drained { conn, token }, format!("{:?}", Event::Drained { conn, token }), of_conn),
            (
                Record::Closed { conn, token, reason: reason.clone() },
                format!("{:?}", Event::Closed { conn, token, reason }),
                of_conn,
            ),
            (
                Record::Ready { watch, token },
                format!("{:?}", Event::Ready { watch, token }),
                Some(&|removed| removed.mark_watch(watch)),
            ),
            (
                Record::Timer { timer, token, missed: 2, last: true },
                format!("{:?}", Event::Timer { timer, token, missed: 2 }),
                Some(&|removed| removed.mark_timer(timer)),
            ),
            (
                Record::Datagram { udp, token, from: PEER, buffer: datagram, truncated: true },
                format!("{:?}", Event::Datagram { udp, token, from: PEER, data: b"hello", truncated: true }),
                of_udp,
            ),
            (
                Record::UdpFailed { udp, token, code },
                format!("{:?}", Event::UdpFailed { udp, token, error: io::Error::from_raw_os_error(code) }),
                of_udp,
            ),
            (Record::Posted { token, value: 9 }, format!("{:?}", Event::Posted { token, value: 9 }), None),
            (
                Record::Resolved { lookup, token, result: Some(Ok(vec![PEER])) },
                format!("{:?}", Event::Resolved { lookup, token, result: Ok(vec![PEER]) }),
                of_lookup,
            ),
            (
                Record::Named { lookup, token, result: Some(Ok("mud.example".into())) },
                format!("{:?}", Event::Named { lookup, token, result: Ok("mud.example".into()) }),
                of_lookup,
            ),
            (Record::Woken, format!("{:?}", Event::Woken), None),
            (
                Record::Console { token, registration: 1, input: line() },
                format!("{:?}", Event::Console { token, input: ConsoleInput::Line("look") }),
                Some(&|removed| removed.mark_console(1)),
            ),
            (
                Record::Console { token, registration: 0, input: Input::Interrupt },
                format!("{:?}", Event::Console { token, input: ConsoleInput::Interrupt }),
                None,
            ),
            // These have no event.
            (Record::Console { token, registration: 1, input: Input::WindowChanged }, String::new(), None),
            (Record::Polled { poll, token, ready: Readiness::READABLE }, String::new(), None),
            (Record::Written { conn, token, bytes: 5 }, String::new(), None),
            (Record::Foreign { key: 5, bytes: 6, overlapped: 0 }, String::new(), None),
        ];
        for (mut record, expected, remove) in table {
            let removed = Removed::default();
            assert!(!record.is_stale(&removed), "{expected}");
            if let Some(remove) = remove {
                remove(&removed);
                assert!(record.is_stale(&removed), "{expected}");
            } else if !expected.is_empty() {
                removed.mark_console(u32::MAX);
                assert!(!record.is_stale(&removed), "{expected}");
            }
            let wakes = matches!(record, Record::Woken);
            let event = Event::of(&mut record);
            assert_eq!(event.as_ref().map(|event| format!("{event:?}")).unwrap_or_default(), expected);
            if let Some(event) = event {
                assert_eq!(event.token(), (!wakes).then_some(TOKEN), "{expected}");
            }
        }
    }

    #[test]
    fn a_stream_is_handed_out_once() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let stream = TcpStream::connect(server.local_addr().expect("an address")).expect("connect");
        let listener = ListenerId(Key { slot: 0, generation: NonZeroU32::MIN });
        let mut record = Record::Accepted { listener, token: TOKEN, stream: Some(stream), peer: PEER };
        let event = Event::of(&mut record).expect("the first time");
        assert_eq!(event.token(), Some(TOKEN));
        assert!(matches!(event, Event::Accepted { listener: of, peer: PEER, .. } if of == listener));
        assert!(Event::of(&mut record).is_none());
        let removed = Removed::default();
        removed.mark_listener(listener);
        assert!(record.is_stale(&removed));

        let stream = TcpStream::connect(server.local_addr().expect("an address")).expect("connect");
        let conn = ConnId(listener.0);
        let mut record = Record::Released { conn, token: TOKEN, stream: Some(stream) };
        let event = Event::of(&mut record).expect("the first time");
        assert_eq!(event.token(), Some(TOKEN));
        assert!(matches!(event, Event::Released { conn: of, .. } if of == conn));
        assert!(Event::of(&mut record).is_none());
        removed.mark_conn(conn);
        assert!(record.is_stale(&removed));
    }
}
