//! The server's standard streams are non-blocking, as some parents leave them (node, ssh, erl), and the reader is slow.

mod common;

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Child, Stdio};

use common::{Client, Output, dolmend, with_default_signals};

/// A pipe with little room: its read end and its write end.
#[cfg(unix)]
mod pipe {
    use super::File;
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

    pub fn new() -> (File, File) {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        fcntl_setpipe_size(&writer, 4096).expect("a size");
        (reader.into(), writer.into())
    }

    pub fn set_non_blocking(end: &File) {
        let flags = fcntl_getfl(end).expect("flags");
        fcntl_setfl(end, flags | OFlags::NONBLOCK).expect("flags");
    }
}

#[cfg(windows)]
mod pipe {
    use super::File;
    use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _};
    use std::ptr::{null, null_mut};
    use windows_sys::Win32::System::Pipes::{CreatePipe, PIPE_NOWAIT, SetNamedPipeHandleState};

    pub fn new() -> (File, File) {
        let (mut reader, mut writer) = (null_mut(), null_mut());
        // SAFETY: both places are writable, and the handles stored there are owned by no other code.
        unsafe {
            assert_ne!(CreatePipe(&mut reader, &mut writer, null(), 4096), 0, "a pipe");
            (File::from_raw_handle(reader), File::from_raw_handle(writer))
        }
    }

    pub fn set_non_blocking(end: &File) {
        // SAFETY: the handle is open, and the mode is read during the call only.
        let done = unsafe { SetNamedPipeHandleState(end.as_raw_handle(), &PIPE_NOWAIT, null(), null()) };
        assert_ne!(done, 0, "{}", std::io::Error::last_os_error());
    }
}

/// An output of the server that is not read yet.
fn output() -> (File, Stdio) {
    let (reader, writer) = pipe::new();
    pipe::set_non_blocking(&writer);
    (reader, writer.into())
}

/// A server that ends with the test.
struct Running(Child);

impl Running {
    fn start(arguments: &[&str], stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Running {
        let mut command = dolmend(arguments);
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        Running(with_default_signals(&mut command).spawn().expect("it starts"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn listening(log: &str) -> SocketAddr {
    let address = log.lines().find_map(|line| line.strip_prefix("listening ")?.strip_suffix(" telnet"));
    address.expect("it listens").parse().expect("an address")
}

/// A player who connects and leaves: the game goes on.
fn is_served(address: SocketAddr) {
    let mut player = Client::connect(address);
    player.expect("shall we call you? ");
    player.send("quit\r\n");
    player.expect_end();
}

#[test]
fn hc51_a_script_gets_all_of_its_replies() {
    const LINES: usize = 1500;
    let (replies, stdout) = output();
    let mut server = Running::start(&["-c", "-p", "127.0.0.1:0"], Stdio::piped(), stdout, Stdio::piped());
    let log = Output::of(server.0.stderr.take().expect("a pipe"));
    let mut script = server.0.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || {
        (0..LINES).for_each(|_| script.write_all(b"help\n").expect("it is read"));
        script.write_all(b"shutdown\n").expect("it is read");
        script
    });
    let address = listening(&log.wait_for("console   type 'help'"));
    // The output is not read for a while, and the game goes on.
    (0..20).for_each(|_| is_served(address));
    let replies = Output::of(replies).wait_for_end();
    assert_eq!(replies.matches("this list\n").count(), LINES);
    drop(writer.join().expect("all was written"));
    assert_eq!(server.0.wait().expect("it ends").code(), Some(0));
    let log = log.wait_for_end();
    assert!(!log.contains("WARN"), "{log}");
}

#[test]
fn hc51_every_log_line_is_written() {
    const PLAYERS: usize = 200;
    let (log, stderr) = output();
    let mut server = Running::start(&["-c", "-p", "127.0.0.1:0"], Stdio::piped(), Stdio::null(), stderr);
    let log = Late::of(log, 2);
    let address = listening(&log.begins);
    // More lines than there is room for, and they are not read.
    (0..PLAYERS).for_each(|_| is_served(address));
    let log = Output::of(log.rest);
    server.0.stdin.take().expect("a pipe").write_all(b"shutdown\n").expect("it is read");
    let log = log.wait_for_end();
    for what in [" connected ", " departed "] {
        assert_eq!(log.lines().filter(|line| line.contains(what)).count(), PLAYERS, "{what}:\n{log}");
    }
    assert_eq!(server.0.wait().expect("it ends").code(), Some(0));
}

/// The first lines of an output that is not read further yet.
struct Late {
    begins: String,
    rest: File,
}

impl Late {
    fn of(mut output: File, lines: usize) -> Late {
        use std::io::Read as _;
        let mut begins = Vec::new();
        while begins.iter().filter(|&&byte| byte == b'\n').count() < lines {
            let mut byte = [0];
            output.read_exact(&mut byte).expect("it says more");
            begins.push(byte[0]);
        }
        Late { begins: String::from_utf8(begins).expect("text"), rest: output }
    }
}

#[test]
fn hc51_what_the_command_line_asks_for_is_shown_whole() {
    for (arguments, stream, status) in [
        (&["--help"][..], "stdout", 0),
        (&["--print-config"], "stdout", 0),
        (&["--frobnicate"], "stderr", 2),
        (&["-f", "no such file"], "stderr", 2),
    ] {
        let expected = dolmend(arguments).stdin(Stdio::null()).output().expect("it runs");
        let expected = [expected.stdout, expected.stderr].concat();
        // Room for all bytes except the last: so there is no room for that one, whatever the speed of the reader.
        let (reader, writer) = pipe::new();
        let filler = vec![b'.'; 4097 - expected.len() % 4096];
        (&writer).write_all(&filler).expect("there is room");
        pipe::set_non_blocking(&writer);
        let (stdout, stderr) = match stream {
            "stdout" => (writer.into(), Stdio::null()),
            _ => (Stdio::null(), Stdio::from(writer)),
        };
        let mut program = Running::start(arguments, Stdio::null(), stdout, stderr);
        let shown = Output::of(reader).wait_for_end();
        assert_eq!(shown.trim_start_matches('.'), String::from_utf8_lossy(&expected), "{arguments:?}");
        assert_eq!(program.0.wait().expect("it ends").code(), Some(status), "{arguments:?}");
    }
}

/// An empty standard input is not at its end.
#[test]
fn hc51_a_script_from_a_non_blocking_pipe_is_read_to_its_end() {
    let (stdin, mut script) = pipe::new();
    pipe::set_non_blocking(&stdin);
    let mut server =
        Running::start(&["-c", "-p", "127.0.0.1:0"], stdin.into(), Stdio::piped(), Stdio::piped());
    let replies = Output::of(server.0.stdout.take().expect("a pipe"));
    let log = Output::of(server.0.stderr.take().expect("a pipe"));
    is_served(listening(&log.wait_for("console   type 'help'")));
    script.write_all(b"users\n").expect("it is read");
    replies.wait_for("Nobody is connected.\n");
    script.write_all(b"who").expect("it is read");
    drop(script);
    log.wait_for("the console input has ended");
    assert_eq!(replies.wait_for_end().matches("Nobody is connected.\n").count(), 2);
    assert_eq!(server.0.wait().expect("it ends").code(), Some(0));
}

/// A log file that has reached its limit (`ulimit -f`) loses lines, and the game goes on.
#[cfg(unix)]
#[test]
fn a_log_file_at_its_size_limit_does_not_end_the_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let server = dolmend(&["-c", "-p", "127.0.0.1:0"]);
    let mut command = std::process::Command::new("sh");
    // Eight blocks of 512 or 1024 bytes.
    command.args(["-c", "ulimit -f 8; exec \"$0\" \"$@\""]).arg(server.get_program()).args(server.get_args());
    let file = File::create(&log).expect("a file");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(file);
    let mut server = Running(with_default_signals(&mut command).spawn().expect("it starts"));
    let begins = loop {
        let text = std::fs::read_to_string(&log).expect("the log");
        if text.contains("console   type 'help'") {
            break text;
        }
        assert_eq!(server.0.try_wait().expect("its state"), None, "{text}");
        std::thread::yield_now();
    };
    // Two lines of the log each, of more than fifty bytes.
    (0..150).for_each(|_| is_served(listening(&begins)));
    let size = std::fs::metadata(&log).expect("the log").len();
    assert!(size <= 8 * 1024, "it is limited: {size}");
    server.0.stdin.take().expect("a pipe").write_all(b"shutdown\n").expect("it is read");
    assert_eq!(server.0.wait().expect("it ends").code(), Some(0));
}

/// Neither the replies nor the log are ever read, and both pipes are full: the end waits for a limited time only.
#[cfg(unix)]
#[test]
fn hc51_a_reader_that_never_reads_delays_the_end_and_does_not_prevent_it() {
    use rustix::process::{Pid, Signal, kill_process};
    let ((replies, stdout), (log, stderr)) = (output(), output());
    let mut server = Running::start(&["-c", "-p", "127.0.0.1:0"], Stdio::piped(), stdout, stderr);
    let log = Late::of(log, 2);
    let address = listening(&log.begins);
    server.0.stdin.as_mut().expect("a pipe").write_all(&b"help\n".repeat(100)).expect("it is read");
    (0..100).for_each(|_| is_served(address));
    kill_process(Pid::from_child(&server.0), Signal::TERM).expect("it can be signalled");
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || ended.send(server.0.wait()));
    let end = end.recv_timeout(common::DEADLINE).expect("it ends").expect("it is a child");
    assert_eq!(end.code(), Some(0));
    drop((replies, log.rest));
}
