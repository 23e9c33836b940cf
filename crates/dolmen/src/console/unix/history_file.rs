//! The file in which the history is kept, one line of it a line.
//!
//! The file is read when it is named, and written by a thread, because a disk may make its writers wait. Two programs may
//! keep their lines in one file: each holds a lock while it writes. When the file has twice as many lines as the history,
//! or is long, a new file with the newest lines takes its place; the other program notices before it writes again.
//!
//! open(2), flock(2), rename(2).

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

use super::super::LONGEST_LINE_BYTES;
use super::super::editor::{MOST_HISTORY_BYTES, MOST_HISTORY_LINES as MOST_LINES};
use crate::kernel::thread;

/// What the operator typed is for the operator only.
const MODE: u32 = 0o600;
/// How much of a file is read, from its end, and how long it may become.
const MOST_BYTES: u64 = 4 << 20;
/// How often the file may be replaced by others while one line is written.
const MOST_REPLACED: usize = 10;
/// How many lines may wait to be written.
const MOST_WAITING: usize = MOST_LINES;
/// How long an end waits for a disk that does not take the last lines.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// A file that gets the lines of the history.
pub(super) struct HistoryFile {
    /// Until the end.
    lines: Option<SyncSender<String>>,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
}

impl HistoryFile {
    /// Opens or creates the file, and reads its lines.
    pub(super) fn open(path: &Path) -> io::Result<(HistoryFile, Vec<String>)> {
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
    /// How many lines it had, as far as they were counted, when it was this long.
    count: usize,
    length: u64,
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
        Ok(KeptLines { path: path.canonicalize()?, file, count: 0, length: 0 })
    }

    /// The newest lines, oldest first: as many as the history keeps. Counts them anew.
    fn read(&mut self) -> io::Result<Vec<String>> {
        self.length = self.file.metadata()?.len();
        let start = self.length.saturating_sub(MOST_BYTES);
        self.file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        (&self.file).take(MOST_BYTES).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        // The first may lack its beginning.
        let lines = text.split('\n').skip(usize::from(start > 0));
        let mut lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        self.count = lines.len();
        lines.retain(|line| line.len() <= LONGEST_LINE_BYTES);
        let mut room = MOST_HISTORY_BYTES;
        let newest = lines.iter().rev().take(MOST_LINES).map_while(|line| {
            room = room.checked_sub(line.len())?;
            Some((*line).to_owned())
        });
        let mut newest: Vec<String> = newest.collect();
        newest.reverse();
        Ok(newest)
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        let appended = self.lock().and_then(|()| self.append_locked(line));
        // The lock of a file that was replaced ended when it was closed.
        flock(&self.file, libc::LOCK_UN)?;
        appended
    }

    fn append_locked(&mut self, line: &str) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if length != self.length {
            // Another program has written to it.
            self.read()?;
        }
        let mut last = [b'\n'];
        if length > 0 {
            self.file.read_exact_at(&mut last, length - 1)?;
        }
        // The last line of a program that ended in mid-line, or of an editor, has no end.
        let line_end = if last == *b"\n" { "" } else { "\n" };
        let text = format!("{line_end}{line}\n");
        self.file.write_all(text.as_bytes())?;
        self.count += 1;
        self.length = length + text.len() as u64;
        if self.count >= 2 * MOST_LINES || self.length > MOST_BYTES {
            self.leave_out_old_lines()?;
        }
        Ok(())
    }

    /// Locks the file that has the name now. Another program may have replaced the one that is open.
    fn lock(&mut self) -> io::Result<()> {
        for _ in 0..MOST_REPLACED {
            flock(&self.file, libc::LOCK_EX)?;
            let open = self.file.metadata()?;
            match std::fs::metadata(&self.path) {
                Ok(named) if (named.dev(), named.ino()) == (open.dev(), open.ino()) => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            self.file = open_file(&self.path)?;
            (self.count, self.length) = (0, 0);
        }
        Err(io::Error::new(io::ErrorKind::WouldBlock, "other programs replace the history all the time"))
    }

    /// Replaces the file by one with the newest lines, in one step: a program that ends here leaves one of the two.
    fn leave_out_old_lines(&mut self) -> io::Result<()> {
        let lines = self.read()?;
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{}", std::process::id()));
        let new = PathBuf::from(name);
        let text = lines.join("\n") + "\n";
        let mut file = create_file(&new)?;
        let written = file
            .set_permissions(Permissions::from_mode(MODE))
            .and_then(|()| file.write_all(text.as_bytes()))
            .and_then(|()| std::fs::rename(&new, &self.path));
        if written.is_err() {
            let _ = std::fs::remove_file(&new);
        }
        written?;
        // A program that waits for the lock of the old file finds another one under its name.
        self.file = file;
        (self.count, self.length) = (lines.len(), text.len() as u64);
        Ok(())
    }
}

/// Without waiting for the other side of a pipe.
const FLAGS: i32 = libc::O_NONBLOCK | libc::O_NOCTTY;

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(MODE);
    options
}

fn open_file(path: &Path) -> io::Result<File> {
    options().create(true).custom_flags(FLAGS).open(path)
}

/// Creates a file under a name that somebody else may have guessed: what is there is removed, and never written to.
fn create_file(path: &Path) -> io::Result<File> {
    let mut options = options();
    options.create_new(true).custom_flags(FLAGS | libc::O_NOFOLLOW);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(path)?;
            options.open(path)
        }
        file => file,
    }
}

fn flock(file: &File, operation: i32) -> io::Result<()> {
    loop {
        // SAFETY: the call takes no pointer, and the descriptor is open.
        if unsafe { libc::flock(file.as_raw_fd(), operation) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
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
    fn two_programs_keep_their_lines_in_one_file() {
        let path = TemporaryFile::new("shared");
        let mut files = [0, 1].map(|_| KeptLines::open(&path.0).expect("a file"));
        for number in 0..2500 {
            files[number % 2].append(&number.to_string()).expect("appended");
        }
        let lines = path.lines();
        let first = 2500 - lines.len();
        assert!((MOST_LINES..2 * MOST_LINES).contains(&lines.len()), "{}", lines.len());
        assert!(lines.into_iter().eq((first..2500).map(|number| number.to_string())), "a line is missing");
    }

    #[test]
    fn a_long_file_is_shortened() {
        let path = TemporaryFile::new("long");
        let mut file = KeptLines::open(&path.0).expect("a file");
        let line = "x".repeat(LONGEST_LINE_BYTES - 8);
        for number in 0..70 {
            file.append(&format!("{line}{number}")).expect("appended");
        }
        let lines = path.lines();
        assert!(
            lines.len() < 30 && lines.last().is_some_and(|last| last.ends_with("x69")),
            "{}",
            lines.len()
        );
    }

    #[test]
    fn a_link_under_the_new_files_name_is_not_followed() {
        let (path, victim) = (TemporaryFile::new("linked"), TemporaryFile::new("victim"));
        std::fs::write(&victim.0, b"precious").expect("written");
        let mut name = path.0.clone().into_os_string();
        name.push(format!(".{}", std::process::id()));
        std::os::unix::fs::symlink(&victim.0, &name).expect("a link");
        let mut file = KeptLines::open(&path.0).expect("a file");
        file.append("one").expect("appended");
        file.leave_out_old_lines().expect("replaced");
        assert_eq!((path.lines(), victim.lines()), (vec!["one".into()], vec!["precious".into()]));
        let metadata = std::fs::symlink_metadata(&path.0).expect("it is there");
        assert!(metadata.is_file() && metadata.permissions().mode() & 0o777 == MODE);
    }

    #[test]
    fn what_is_not_a_file_is_refused() {
        assert!(HistoryFile::open(Path::new("/dev/null")).is_err());
        assert!(HistoryFile::open(Path::new("/no such folder/history")).is_err());
    }
}
