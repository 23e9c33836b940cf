//! The file in which the history is kept, one line of it a line.
//!
//! The file is read when it is named, and written by a thread, because a disk may make its writers wait. Each line is
//! appended in one write, so two programs may keep their lines in one file. When the file has twice as many lines as the
//! history, the older ones are left out.
//!
//! open(2), rename(2).

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

use super::super::LONGEST_LINE_BYTES;
use super::history::MOST_LINES;
use crate::kernel::thread;

/// What the operator typed is for the operator only.
const MODE: u32 = 0o600;
/// How much of a file is read, from its end.
const MOST_BYTES: u64 = 4 << 20;
/// How many lines may wait to be written.
const MOST_WAITING: usize = MOST_LINES;
/// How long an end waits for a disk that does not take the last lines.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// A file that gets the lines of the history.
pub(in super::super) struct HistoryFile {
    /// Until the end.
    lines: Option<SyncSender<String>>,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
}

impl HistoryFile {
    /// Opens or creates the file, and reads its lines.
    pub(in super::super) fn open(path: &Path) -> io::Result<(HistoryFile, Vec<String>)> {
        let mut file = KeptLines::open(path)?;
        let read = file.read()?;
        let (lines, written) = mpsc::sync_channel::<String>(MOST_WAITING);
        let (end, ended) = mpsc::channel::<()>();
        thread::spawn("console history", move || {
            let _end = end;
            for line in written {
                if let Err(error) = file.append(&line) {
                    tracing::warn!(target: "dolmen", %error, "a line of the console's history is not kept");
                }
            }
        })?;
        Ok((HistoryFile { lines: Some(lines), ended }, read))
    }

    /// Queues a line.
    pub(super) fn append(&self, line: &str) {
        // Full: the disk does not take what an operator types, and the history in memory has it.
        let _ = self.lines.as_ref().map(|lines| lines.try_send(line.to_owned()));
    }
}

impl Drop for HistoryFile {
    fn drop(&mut self) {
        self.lines = None;
        let _ = self.ended.recv_timeout(END_TIMEOUT);
    }
}

/// The file, for its reader and its only writer here.
struct KeptLines {
    path: PathBuf,
    file: File,
    /// How many lines it has, as far as they were counted.
    count: usize,
}

impl KeptLines {
    fn open(path: &Path) -> io::Result<KeptLines> {
        let file = open_file(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the history is not a regular file"));
        }
        // Not the caller's own file: then the owner decides.
        let _ = file.set_permissions(Permissions::from_mode(MODE));
        // The file behind a link is replaced, and not the link; the program may change its folder.
        Ok(KeptLines { path: path.canonicalize()?, file, count: 0 })
    }

    /// The newest lines, oldest first.
    fn read(&mut self) -> io::Result<Vec<String>> {
        let start = self.file.metadata()?.len().saturating_sub(MOST_BYTES);
        self.file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        (&self.file).take(MOST_BYTES).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        // The first may lack its beginning.
        let lines = text.split('\n').skip(usize::from(start > 0));
        let mut lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        self.count = lines.len();
        lines.retain(|line| line.len() <= LONGEST_LINE_BYTES);
        let newest = lines.split_off(lines.len().saturating_sub(MOST_LINES));
        if !bytes.is_empty() && !bytes.ends_with(b"\n") {
            self.file.write_all(b"\n")?;
        }
        Ok(newest.into_iter().map(str::to_owned).collect())
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(format!("{line}\n").as_bytes())?;
        self.count += 1;
        if self.count >= 2 * MOST_LINES {
            self.leave_out_old_lines()?;
        }
        Ok(())
    }

    /// Replaces the file by one with the newest lines, in one step: a program that ends here leaves one of the two.
    fn leave_out_old_lines(&mut self) -> io::Result<()> {
        let lines = self.read()?;
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{}", std::process::id()));
        let new = PathBuf::from(name);
        let written = open_file(&new)
            .and_then(|mut file| file.write_all((lines.join("\n") + "\n").as_bytes()))
            .and_then(|()| std::fs::rename(&new, &self.path));
        if written.is_err() {
            let _ = std::fs::remove_file(&new);
        }
        written?;
        self.file = open_file(&self.path)?;
        self.count = lines.len();
        Ok(())
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    // Without waiting for the other side of a pipe.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    OpenOptions::new().read(true).append(true).create(true).mode(MODE).custom_flags(flags).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file in the folder for temporary files, removed in the end.
    struct TemporaryFile(PathBuf);

    impl TemporaryFile {
        fn new(name: &str) -> TemporaryFile {
            let name = format!("dolmen-history-{name}-{}", std::process::id());
            TemporaryFile(std::env::temp_dir().join(name))
        }

        fn lines(&self) -> Vec<String> {
            let text = std::fs::read_to_string(&self.0).expect("it is there");
            text.lines().map(str::to_owned).collect()
        }
    }

    impl Drop for TemporaryFile {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn lines_are_kept_for_the_operator_only() {
        let path = TemporaryFile::new("kept");
        let (file, lines) = HistoryFile::open(&path.0).expect("a file");
        assert!(lines.is_empty());
        ["one", "zwei 🚀"].iter().for_each(|line| file.append(line));
        drop(file);
        let mode = std::fs::metadata(&path.0).expect("it is there").permissions().mode();
        assert_eq!((path.lines(), mode & 0o777), (vec!["one".into(), "zwei 🚀".into()], MODE));
        let (_file, lines) = HistoryFile::open(&path.0).expect("a file");
        assert_eq!(lines, ["one", "zwei 🚀"]);
    }

    #[test]
    fn a_file_of_others_is_taken_as_it_is_and_its_last_line_stays_whole() {
        let path = TemporaryFile::new("others");
        std::fs::write(&path.0, b"one\r\n\ncaf\xe9").expect("written");
        let (file, lines) = HistoryFile::open(&path.0).expect("a file");
        assert_eq!(lines, ["one\r", "caf\u{fffd}"]);
        file.append("two");
        drop(file);
        assert!(std::fs::read(&path.0).expect("it is there").ends_with(b"caf\xe9\ntwo\n"));
    }

    #[test]
    fn the_file_is_bounded() {
        let path = TemporaryFile::new("bounded");
        let mut file = KeptLines::open(&path.0).expect("a file");
        (0..2500).for_each(|number| file.append(&number.to_string()).expect("appended"));
        let lines = path.lines();
        assert_eq!((lines.len(), &*lines[0], &*lines[1499]), (1500, "1000", "2499"));
        let read = KeptLines::open(&path.0).expect("a file").read().expect("read");
        assert_eq!((read.len(), &*read[0]), (MOST_LINES, "1500"));
    }

    #[test]
    fn what_is_not_a_file_is_refused() {
        assert!(HistoryFile::open(Path::new("/dev/null")).is_err());
        assert!(HistoryFile::open(Path::new("/no such folder/history")).is_err());
    }
}
