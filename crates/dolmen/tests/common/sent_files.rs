//! Files to send, and the peers that receive them.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use crate::common::{DEADLINE, Rig};
use dolmen::{CloseReason, ConnId, Event, FileOpId, Token};

pub const FILE: Token = Token(4);

pub struct Temp(pub PathBuf);

impl Temp {
    pub fn with(bytes: &[u8]) -> (Temp, Arc<File>) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let temp =
            Temp(std::env::temp_dir().join(format!("dolmen-send-file-{}-{number}", std::process::id())));
        File::create(&temp.0).expect("a temporary file").write_all(bytes).expect("write");
        let file = OpenOptions::new().read(true).write(true).open(&temp.0).expect("open");
        (temp, Arc::new(file))
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at * 31 + at / 251) as u8).collect()
}

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
