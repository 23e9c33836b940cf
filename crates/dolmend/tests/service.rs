//! The server as a systemd service: notifications, sockets that were passed, the journal, the units.
#![cfg(target_os = "linux")]

mod common;

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::os::linux::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Client, Program, dolmend, with_default_signals};
use rustix::process::{Pid, Signal, kill_process};

fn signal(program: &Program, signal: Signal) {
    let pid = Pid::from_raw(program.id() as i32).expect("a process");
    kill_process(pid, signal).expect("it can be signalled");
}

/// The service manager's end.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Manager {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("it is free");
        socket.set_read_timeout(Some(common::DEADLINE)).expect("a time");
        Manager { socket, path, _folder: folder }
    }

    /// The assignments of the next message.
    fn next(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("a message");
        let text = String::from_utf8(buffer[..length].to_vec()).expect("text");
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn the_service_manager_is_told_of_a_refused_reload_until_one_succeeds() {
    let (manager, folder) = (Manager::new(), tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("dolmend.conf");
    let write = |text: &str| std::fs::write(&path, text).expect("it can be written");
    write("port : 127.0.0.1:0\n");
    let name = path.to_str().expect("text");
    let mut program = Program::start(dolmend(&["-f", name]).env("NOTIFY_SOCKET", &manager.path));
    program.stdin = None;
    let ready = manager.next();
    assert!(ready[1].starts_with("STATUS=serving 127.0.0.1:"), "{ready:?}");
    write("port : 127.0.0.1:0\nmax users : many\n");
    signal(&program, Signal::HUP);
    assert_eq!(manager.next()[0], "RELOADING=1");
    let refused = manager.next();
    assert_eq!(refused[0], "READY=1");
    assert!(
        refused[1].starts_with("STATUS=reload refused: ") && refused[1].contains("; serving "),
        "{refused:?}"
    );
    write("port : 127.0.0.1:0\n");
    signal(&program, Signal::HUP);
    assert_eq!(manager.next()[0], "RELOADING=1");
    assert_eq!(manager.next(), ready);
    signal(&program, Signal::TERM);
    assert_eq!(program.wait().code(), Some(0));
}

#[test]
fn the_service_manager_is_told_of_each_state() {
    let manager = Manager::new();
    let mut program = Program::start(dolmend(&["-p", "127.0.0.1:0"]).env("NOTIFY_SOCKET", &manager.path));
    program.stdin = None;
    let log = program.stderr.wait_for(" telnet\n");
    let address = log.strip_prefix("listening ").and_then(|rest| rest.split(' ').next()).expect("an address");
    let ready = ["READY=1".to_owned(), format!("STATUS=serving {address}")];
    assert_eq!(manager.next(), ready);
    let player = Client::connect(address.parse().expect("an address"));

    signal(&program, Signal::HUP);
    let reloading = manager.next();
    assert_eq!(reloading[0], "RELOADING=1");
    let now: u64 = reloading[1].strip_prefix("MONOTONIC_USEC=").expect("the time").parse().expect("a number");
    assert!(now > 0);
    assert_eq!(manager.next(), ready);

    signal(&program, Signal::TERM);
    assert_eq!(manager.next(), ["STOPPING=1", "STATUS=telling the players"]);
    let waiting = manager.next().join("");
    assert!(waiting.starts_with("STATUS=Waiting for one connection to close, #1 127.0.0.1:"), "{waiting}");
    drop(player);
    assert_eq!(program.wait().code(), Some(0));
}

/// Starts the server with this socket as descriptor 3, as a service manager does.
fn activated(socket: &impl std::os::fd::AsFd, environment: &str, arguments: &[&str]) -> Program {
    let copy = rustix::io::dup(socket).expect("a descriptor");
    rustix::io::fcntl_setfd(&copy, rustix::io::FdFlags::empty()).expect("it is inherited");
    let script = format!("exec 3<&{}; {environment} exec \"$0\" \"$@\"", copy.as_raw_fd());
    // A plain sh may know descriptors of one digit only.
    let mut command = common::installed("bash", "bash");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_dolmend")]).args(arguments);
    let mut program = Program::start(&mut command);
    program.stdin = None;
    program
}

#[test]
fn sockets_that_were_passed_replace_the_configured_ports() {
    for (name, kind) in [("ascii", "ascii"), ("telnet", "telnet"), ("dolmend.socket", "telnet")] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        // It waits, as players do while a server restarts.
        let mut ann = Client::connect(address);
        let environment = format!("LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES={name}");
        let program = activated(&listener, &environment, &[]);
        let log = program.stderr.wait_for(&format!("listening {address} {kind}\n"));
        assert_eq!(log.matches("listening ").count(), 1, "{log}");
        ann.expect("shall we call you? ");
        // A reload leaves it alone.
        signal(&program, Signal::HUP);
        program.stderr.wait_for("reloaded: no key has changed");
        ann.send("Ann\r\n");
        ann.expect("for what you can do.\r\n");
        let said = program.stderr.so_far();
        assert_eq!(said.contains("which is not a kind of port"), name != kind, "{said}");
    }
}

#[test]
fn what_has_no_effect_beside_passed_sockets_is_said_at_the_start_and_at_each_reload() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let file = folder.path().join("my.conf");
    let shown = file.to_str().expect("a plain path");
    let write = |text: &str| std::fs::write(&file, text).expect("written");
    let environment = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=telnet";
    // The same port is what is meant.
    write(&format!("port : {address}\n"));
    let program = activated(&listener, environment, &["-f", shown]);
    let log = program.stderr.wait_for(" telnet\n");
    assert!(!log.contains("has no effect"), "{log}");
    write("port : 127.0.0.1:0\n");
    signal(&program, Signal::HUP);
    program.stderr.wait_for("'port' has no effect, because the ports were passed by the service manager");
    drop(program);
    let program = activated(&listener, environment, &["-f", shown]);
    program.stderr.wait_for("'port' has no effect");
    drop(program);
    let program = activated(&listener, environment, &["-p", "127.0.0.1:0"]);
    program.stderr.wait_for("--port has no effect");
}

#[test]
fn sockets_for_others_and_descriptors_of_another_kind_are_not_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let program = activated(&listener, "LISTEN_PID=1 LISTEN_FDS=1", &["-p", "127.0.0.1:0"]);
    let log = program.stderr.wait_for("listening ");
    assert!(!log.contains(&address.to_string()), "{log}");

    let file = File::open("/dev/null").expect("it is there");
    let mut program = activated(&file, "LISTEN_PID=$$ LISTEN_FDS=1", &[]);
    assert_eq!(program.wait().code(), Some(1));
    assert_eq!(program.stderr.wait_for_end(), "dolmend: LISTEN_FDS: descriptor 3 is not a TCP socket\n");
}

#[test]
fn lines_for_the_journal_have_a_priority_and_no_time() {
    let folder = tempfile::tempdir().expect("a folder");
    for (is_journal, begins) in [(true, "<6>dolmend"), (false, "2")] {
        let path = folder.path().join(format!("{is_journal}"));
        let log = File::create(&path).expect("a file");
        let metadata = log.metadata().expect("a file");
        let inode = metadata.st_ino() + u64::from(!is_journal);
        let mut command = dolmend(&["-c", "-p", "127.0.0.1:0"]);
        command.env("JOURNAL_STREAM", format!("{}:{inode}", metadata.st_dev()));
        let ended = with_default_signals(&mut command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .status();
        assert!(ended.expect("it runs").success());
        let text = std::fs::read_to_string(&path).expect("it is there");
        let line =
            text.lines().find(|line| line.contains("the console input has ended")).expect("it is logged");
        assert!(line.starts_with(begins), "{line}");
    }
}

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging")
}

#[test]
fn the_units_are_what_systemd_takes() {
    let found = Command::new("systemd-analyze").arg("--version").output();
    if !found.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: there is no systemd-analyze; install it: apt-get install systemd");
        return;
    }
    // It looks for the program.
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["dolmend.service", "dolmend.socket"] {
        let unit = std::fs::read_to_string(packaging().join(name)).expect("it is there");
        let unit = unit.replace("/usr/local/bin/dolmend", env!("CARGO_BIN_EXE_dolmend"));
        std::fs::write(folder.path().join(name), unit).expect("written");
    }
    let mut command = Command::new("systemd-analyze");
    command.arg("verify").args(["dolmend.service", "dolmend.socket"].map(|name| folder.path().join(name)));
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}
