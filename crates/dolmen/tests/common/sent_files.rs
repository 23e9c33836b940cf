//! Connections on which files are sent, and the peers that receive them.

use std::io::Read;
use std::net::TcpStream;
use std::thread::{self, JoinHandle};

use crate::common::{DEADLINE, Rig};
use dolmen::{CloseReason, ConnId, Event, FileOpId, Token};

pub const FILE: Token = Token(4);

/// Reads to the end, in a thread.
pub fn read_all(mut peer: TcpStream) -> JoinHandle<std::io::Result<Vec<u8>>> {
    peer.set_read_timeout(Some(DEADLINE)).expect("timeout");
    thread::spawn(move || {
        let mut got = Vec::new();
        peer.read_to_end(&mut got).map(|_| got)
    })
}

#[track_caller]
pub fn until_sent(rig: &mut Rig, op: FileOpId) -> u64 {
    let mut count = 0;
    rig.until("end of the file", |_, event| {
        let Event::FileSent { op: of, token: FILE, sent, result, .. } = event else {
            // The peer may have seen the end already, and have responded.
            assert!(matches!(event, Event::EndOfStream { .. }), "{event:?}");
            return false;
        };
        result.expect("success");
        assert_eq!(of, op);
        count = sent;
        true
    });
    count
}

#[track_caller]
pub fn until_closed(rig: &mut Rig, conn: ConnId) -> CloseReason {
    let mut end = None;
    rig.until("end of the connection", |_, event| {
        if let Event::Closed { conn: of, reason, .. } = event {
            assert_eq!(of, conn);
            end = Some(reason);
        }
        end.is_some()
    });
    end.expect("it has ended")
}
