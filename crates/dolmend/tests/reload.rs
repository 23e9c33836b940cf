//! Another configuration while players are connected, by `SIGHUP` and by the console's command.

mod common;

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use common::{Client, Program, dolmend};

/// A server with a configuration file and a console.
struct Configured {
    folder: tempfile::TempDir,
    program: Program,
}

impl Configured {
    fn start(text: &str) -> Configured {
        let folder = tempfile::tempdir().expect("a folder");
        let file = write(folder.path(), "my.conf", text);
        let mut command = dolmend(&["-c", "-f"]);
        command.arg(file);
        let program = Program::start(&mut command);
        program.stderr.wait_for("console   type 'help'");
        Configured { folder, program }
    }

    /// The addresses reported so far, at the start and by reloads.
    fn addresses(&self) -> Vec<SocketAddr> {
        let log = self.program.stderr.wait_for("listening ");
        let all = log.lines().filter_map(|line| line.strip_prefix("listening "));
        all.map(|line| line.split(' ').next().expect("an address").parse().expect("an address")).collect()
    }

    /// Changes the file, has it read, and returns the answer up to `end`.
    fn reload(&mut self, text: &str, end: &str) -> String {
        write(self.folder.path(), "my.conf", text);
        let before = self.program.stdout.so_far().len();
        self.program.type_in("reload\n");
        self.program.stdout.wait_for_after(before, end)
    }
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("the file is written");
    path
}

/// A player who has entered a name, and what was shown before.
fn player(address: SocketAddr, name: &str) -> (Client, String) {
    let mut client = Client::connect(address);
    let greeting = client.expect("shall we call you? ");
    client.send(&format!("{name}\r\n"));
    client.expect("for what you can do.\r\n");
    (client, greeting)
}

#[test]
fn limits_texts_and_ports_change_and_players_stay() {
    let mut server = Configured::start("port : 127.0.0.1:0\nmud name : Old\n");
    let first = server.addresses()[0];
    let (mut ann, greeting) = player(first, "Ann");
    assert!(greeting.contains("Welcome to Old!"), "{greeting}");

    write(server.folder.path(), "motd.txt", "Mind the step.\n");
    let answer = server.reload(
        &format!(
            "port : {first}\nport : [::1]:0:ascii\nmud name : New\nmotd file : motd.txt\nmax users : 2\n"
        ),
        " ascii\n",
    );
    assert!(answer.contains("mud name: New (was Old)\n"), "{answer}");
    assert!(answer.contains("max users: 2 (was 1000)\n"), "{answer}");
    let second = answer.lines().find_map(|line| line.strip_prefix("listening [::1]:"));
    let second = second.and_then(|rest| rest.strip_suffix(" ascii")).expect("the new port is reported");
    let second: SocketAddr = format!("[::1]:{second}").parse().expect("an address");

    let (mut bob, greeting) = player(second, "Bob");
    assert!(greeting.contains("Welcome to New!") && greeting.contains("Mind the step."), "{greeting}");
    ann.expect("Bob has arrived.\r\n");
    assert!(Client::connect(second).expect_end().contains("full"), "the new limit is in force");

    // The first port is closed, and those who came through it stay.
    server.reload("port : [::1]:0:ascii\nmud name : New\n", "max users: 1000");
    let started = std::time::Instant::now();
    while TcpStream::connect(first).is_ok() {
        assert!(started.elapsed() < common::DEADLINE, "it is not closed");
    }
    ann.send("say still here\r\n");
    bob.expect("Ann says: still here\r\n");
}

#[test]
fn a_bad_configuration_changes_nothing_and_says_why() {
    let taken = common::Server::start();
    let mut server = Configured::start("port : 127.0.0.1:0\nmud name : Old\n");
    let address = server.addresses()[0];
    let (mut ann, _) = player(address, "Ann");
    let port_in_use =
        format!("port : {address}\nport : {}\nmud name : New\nlog file : new.log\n", taken.addresses[0]);
    let metrics_in_use =
        format!("port : 127.0.0.1:0\nmud name : New\nlog file : new.log\nmetrics : {}\n", taken.addresses[0]);
    for (text, reason) in [
        ("mud name : New\nmax user : 5\n", "my.conf:2: unknown key 'max user'; did you mean 'max users'?\n"),
        (port_in_use.as_str(), "address already in use"),
        (metrics_in_use.as_str(), "address already in use"),
    ] {
        let answer = server.reload(text, reason);
        assert!(
            answer.contains("Nothing has changed, because the new configuration is refused:\n"),
            "{answer}"
        );
        let (_, greeting) = player(address, "Bob");
        assert!(greeting.contains("Welcome to Old!"), "{greeting}");
        ann.expect("Bob has left.\r\n");
    }
    assert!(!server.folder.path().join("new.log").exists(), "it was made");
    let log = server.program.stderr.wait_for("not reloaded: ");
    assert!(log.contains("ERROR"), "{log}");
}

#[test]
fn what_needs_a_restart_is_said_and_the_rest_is_done() {
    let mut server = Configured::start("port : 127.0.0.1:0\n");
    let text = "port : 127.0.0.1:0\noutput limit : 20000\nmccp : off\n";
    for _ in 0..2 {
        // Said each time, as it is true each time.
        let answer = server.reload(text, "is 20000 then\n");
        assert!(
            answer.contains("output limit: stays 262144 until a restart, and is 20000 then\n"),
            "{answer}"
        );
    }
}

#[test]
fn a_port_that_stays_may_change_its_kind_and_an_overlapping_one_takes_two_steps() {
    let mut server = Configured::start("port : 127.0.0.1:0\nport : 127.0.0.1:0\n");
    let [first, second] = server.addresses()[..] else { panic!("two ports") };
    let (mut ann, _) = player(first, "Ann");
    server.reload(&format!("port : {first}:ascii\nport : {second}\n"), "port: ");
    // Byte 255 has no special meaning there.
    let mut raw = Client::connect(first);
    raw.send_bytes(b"\xff\xfd\x01");
    let (mut bob, _) = player(second, "Bob");
    ann.expect("Bob has arrived.\r\n");
    let wider = format!("port : {}\nport : {second}\n", first.port());
    let answer =
        server.reload(&wider, "put another port in its place, such as 'port : 127.0.0.1:0', and reload;");
    assert!(answer.contains("Nothing has changed"), "{answer}");
    // On Windows a player who came by a port keeps its address in use.
    drop((ann, raw));
    bob.expect("Ann has left.\r\n");
    server.reload("port : 127.0.0.1:0\n", "listening 127.0.0.1:");
    let answer = server.reload(&wider, "listening 0.0.0.0:");
    assert!(!answer.contains("refused"), "{answer}");
    let (_cid, _) = player(SocketAddr::from(([127, 0, 0, 1], first.port())), "Cid");
    bob.expect("Cid has arrived.\r\n");
}

/// The port that the system has chosen is not in the configuration.
#[test]
fn a_port_of_the_systems_choice_may_change_its_kind_too() {
    let mut server = Configured::start("port : 127.0.0.1:0\nport : 127.0.0.1:0:ascii\n");
    let [first, second] = server.addresses()[..] else { panic!("two ports") };
    let greeting = |address: SocketAddr| Client::connect(address).expect_bytes(b"Welcome");
    assert!(greeting(first).starts_with(b"\xff") && greeting(second).is_empty());
    server.reload("port : 127.0.0.1:0:ascii\nport : 127.0.0.1:0:ascii\n", "port: ");
    assert!(greeting(first).is_empty(), "it has its new kind");
    // The one that has not changed stays as it is, and is not taken for the one that is wanted no longer.
    server.reload("port : 127.0.0.1:0\nport : 127.0.0.1:0:ascii\n", "port: ");
    let is_ascii = [greeting(first), greeting(second)].map(|greeting| greeting.is_empty());
    assert_eq!(is_ascii.iter().filter(|is| **is).count(), 1);
    assert_eq!(server.addresses().len(), 2, "none was opened anew");
}

#[test]
fn a_log_file_that_was_moved_away_is_opened_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("dolmend.log");
    let text = format!("port : 127.0.0.1:0\nlog file : {}\n", log.display());
    let mut server = Configured::start(&text);
    server.program.type_in("say before\n");
    // A thread writes it.
    let started = std::time::Instant::now();
    while !std::fs::read_to_string(&log).is_ok_and(|text| text.contains("command=\"say before\"")) {
        assert!(started.elapsed() < common::DEADLINE, "it is not logged");
        std::thread::yield_now();
    }
    if cfg!(unix) {
        std::fs::rename(&log, folder.path().join("dolmend.log.1")).expect("moved");
    }
    server.reload(&text, "no key has changed");
    server.program.type_in("say after\nshutdown\n");
    server.program.stdin = None;
    assert_eq!(server.program.wait().code(), Some(0));
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("it is there");
    assert!(read("dolmend.log").contains("command=\"say after\""), "{}", read("dolmend.log"));
    if cfg!(unix) {
        assert!(read("dolmend.log.1").contains("command=\"say before\""));
        assert!(!read("dolmend.log").contains("command=\"say before\""));
    }
    assert!(!server.program.stderr.wait_for_end().contains("INFO"));
}

#[cfg(unix)]
#[test]
fn a_hang_up_reloads() {
    use rustix::process::{Pid, Signal, kill_process};
    let server = Configured::start("port : 127.0.0.1:0\nmud name : Old\n");
    let address = server.addresses()[0];
    let (mut ann, _) = player(address, "Ann");
    write(server.folder.path(), "my.conf", "port : 127.0.0.1:0\nmud name : New\n");
    let pid = Pid::from_raw(server.program.id() as i32).expect("a process");
    kill_process(pid, Signal::HUP).expect("it can be signalled");
    server.program.stderr.wait_for("reloaded: mud name: New (was Old)");
    let (_, greeting) = player(address, "Bob");
    assert!(greeting.contains("Welcome to New!"), "{greeting}");
    ann.expect("Bob has arrived.\r\n");
}

#[test]
fn an_announced_end_is_told_and_can_be_cancelled() {
    let mut server = Configured::start("port : 127.0.0.1:0\n");
    let (mut ann, _) = player(server.addresses()[0], "Ann");
    server.program.type_in("shutdown 2m\n");
    ann.expect("\r\nThe server shuts down in 2 minutes.\r\n");
    server.program.type_in("shutdown cancel\n");
    ann.expect("\r\nThe server does not shut down after all.\r\n");
    server.program.type_in("shutdown cancel\n");
    server.program.stdout.wait_for("No shutdown was announced.\n");
    server.program.type_in("shutdown 2\n");
    ann.expect("The server shuts down in 2 seconds.\r\n");
    ann.expect("The server shuts down in 1 second.\r\n");
    ann.expect("The server is shutting down. Good-bye.\r\n");
    drop(ann);
    assert_eq!(server.program.wait().code(), Some(0));
}

#[test]
fn the_level_of_the_log_changes_until_the_next_reload() {
    let text = "port : 127.0.0.1:0\n";
    let mut server = Configured::start(text);
    server.program.type_in("loglevel warn\n");
    server.program.stdout.wait_for("The log has warn and what is more important, until the next reload.\n");
    // Both stay, as a departure is a line with a name as well.
    let _quiet = player(server.addresses()[0], "Quiet");
    server.reload(text, "no key has changed");
    let _loud = player(server.addresses()[0], "Loud");
    let log = server.program.stderr.wait_for("name=Loud");
    assert!(!log.contains("Quiet"), "{log}");
}
