//! The operator at a real terminal, on Linux and (see `console_rig`) under Wine.
#![cfg(target_os = "linux")]

mod common;
#[path = "../../dolmen/tests/console_rig/mod.rs"]
mod rig;

use std::net::SocketAddr;
use std::process::Stdio;

use common::Client;
use rig::{Terminal, wine};

/// A server at a terminal, and its address. Logs are left out if they would make the screen differ each time.
fn server(logs: bool) -> (Terminal, SocketAddr) {
    let mut command = rig::program("", "dolmend");
    command.args(["-p", "127.0.0.1:0", "-f", common::UNHURRIED_FILE]);
    let terminal = Terminal::start_with(&mut command, |command| {
        if !logs {
            // A log that is not on the terminal does not concern the console.
            command.stderr(Stdio::piped());
        }
    });
    let mut terminal = terminal;
    let address = if logs {
        let rows = terminal.until("the prompt", |rows| rows.iter().any(|row| row.trim_end() == ">"));
        rows.iter().find_map(|row| listening(row)).expect("it listens")
    } else {
        let log = common::Output::of(terminal.child.stderr.take().expect("a pipe"));
        let log = log.wait_for("console   type 'help'");
        log.lines().find_map(listening).expect("it listens")
    };
    (terminal, address)
}

fn listening(line: &str) -> Option<SocketAddr> {
    let address = line.trim().strip_prefix("listening ")?.strip_suffix(" telnet")?;
    Some(address.parse().expect("an address"))
}

fn player(address: SocketAddr, name: &str) -> Client {
    let mut client = Client::connect(address);
    client.expect("shall we call you? ");
    client.send(&format!("{name}\r\n"));
    client.expect("for what you can do.\r\n");
    client
}

#[test]
fn players_are_seen_above_the_command_being_typed() {
    let (mut terminal, address) = server(false);
    terminal.shows(&["> "]);
    let mut ann = player(address, "Ann");
    terminal.shows(&["Ann has arrived.", "> "]);
    terminal.type_in("say good e");
    terminal.shows(&["Ann has arrived.", "> say good e"]);
    ann.send("say anybody here?\r\n");
    terminal.shows(&["Ann has arrived.", "Ann says: anybody here?", "> say good e"]);
    terminal.type_in("vening\r");
    ann.expect("The operator says: good evening\r\n");
    terminal.shows(&[
        "Ann has arrived.",
        "Ann says: anybody here?",
        "> say good evening",
        "Told one user.",
        "> ",
    ]);
    terminal.type_in("shutdown\r");
    assert!(ann.expect_end().ends_with("The server is shutting down. Good-bye.\r\n"));
    drop(ann);
    assert_eq!(terminal.wait().to_string(), "exit status: 0");
}

#[test]
fn a_password_is_chosen_and_asked_for_without_being_shown() {
    let (terminal, _) = server(false);
    terminal.shows(&["> "]);
    terminal.type_in("passwd\r");
    terminal.shows(&["> passwd", "New password (nothing for none):"]);
    terminal.type_in("open sesame\r");
    terminal.shows(&["> passwd", "New password (nothing for none):", "The same again:"]);
    terminal.type_in("open sesame\r");
    let chosen = ["> passwd", "New password (nothing for none):", "The same again:", "The password is set."];
    terminal.shows(&[&chosen[..], &["> "]].concat());
    terminal.type_in("quit\r");
    terminal
        .shows(&[&chosen[..], &["> quit", "The console is locked.", "Press Enter to come back."]].concat());
    terminal.type_in("\r");
    terminal.until("the question", |rows| rows.iter().any(|row| row.trim_end() == "Password:"));
    terminal.type_in("wrong\r");
    terminal.until("the answer", |rows| rows.iter().any(|row| row.contains("not the password")));
    // The right one is refused as well, until the time is over.
    let started = std::time::Instant::now();
    let mut tries = 0;
    while !terminal.raw().contains("Welcome back") {
        terminal.type_in("open sesame\r");
        tries += 1;
        while terminal.raw().matches("Too early").count() < tries && !terminal.raw().contains("Welcome back")
        {
            assert!(started.elapsed() < common::DEADLINE, "no reply to try {tries}");
            std::thread::yield_now();
        }
    }
    assert!(tries > 1, "the first try was too early");
    terminal.until("the welcome and the prompt", |rows| {
        rows.windows(2).any(|rows| rows[0].starts_with("Welcome back") && rows[1].trim_end() == ">")
    });
    terminal.type_in("users\r");
    terminal.until("the answer", |rows| {
        let rows: Vec<&str> = rows.iter().map(|row| row.trim_end()).collect();
        rows.windows(3).any(|rows| rows == ["> users", "Nobody is connected.", ">"])
    });
    assert!(!terminal.raw().contains("sesame"));
}

/// A locked console, and the time when it was.
fn locked() -> (Terminal, SocketAddr) {
    let (terminal, address) = server(false);
    terminal.shows(&["> "]);
    terminal.type_in("lock\r");
    terminal.until("the advice", |rows| rows.iter().any(|row| row.starts_with("Choose a password first")));
    terminal.type_in("passwd\rsecret\rsecret\r");
    terminal.until("the answer", |rows| rows.iter().any(|row| row.starts_with("The password is set")));
    terminal.type_in("lock\r");
    terminal.until("the lock", |rows| rows.iter().any(|row| row.starts_with("The console is locked.")));
    (terminal, address)
}

#[test]
fn a_locked_console_is_stopped_by_no_key() {
    if wine() {
        return;
    }
    let (mut terminal, address) = locked();
    // Ctrl-C, Ctrl-\, Ctrl-Z, Ctrl-D.
    terminal.type_in("\x03\x1c\x1a\x04");
    terminal.until("the refusal", |rows| {
        rows.iter().filter(|row| row.starts_with("The console is locked.")).count() == 3
    });
    // It is still served.
    let mut ann = player(address, "Ann");
    terminal.type_in("shutdown\r");
    terminal.until("the question", |rows| rows.iter().any(|row| row.trim_end() == "Password:"));
    ann.send("say still here\r\n");
    ann.expect("You say: still here\r\n");
    assert!(!terminal.raw().contains("Ann says"), "she is not seen");
    terminal.type_in("secret\r");
    terminal.until("the welcome", |rows| rows.iter().any(|row| row.starts_with("Welcome back")));
    terminal.type_in("\x03");
    ann.expect("Good-bye.");
    drop(ann);
    assert_eq!(terminal.wait().code(), Some(0));
}

#[test]
fn the_log_has_what_the_operator_does_and_no_password() {
    if wine() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (file, log) = (folder.path().join("my.conf"), folder.path().join("log"));
    std::fs::write(&file, "port : 127.0.0.1:0\nlog file : log\n").expect("written");
    let mut terminal = Terminal::start(rig::program("", "dolmend").arg("-f").arg(&file));
    terminal.until("the prompt", |rows| rows.iter().any(|row| row.trim_end() == ">"));
    terminal.type_in("passwd\rsecret\rsecret\rlock\r\x04\rwrong one\r");
    terminal.until("the answer", |rows| rows.iter().any(|row| row.contains("not the password")));
    let pid = rustix::process::Pid::from_child(&terminal.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it can be signalled");
    assert_eq!(terminal.wait().code(), Some(0));
    let log = std::fs::read_to_string(log).expect("it is there");
    for line in
        ["command=passwd", "command=lock", "the console is locked", "wrong password at the console wrong=1"]
    {
        assert!(log.contains(line), "no {line} in {log}");
    }
    assert!(!log.contains("secret") && !log.contains("wrong one"), "{log}");
    assert!(log.contains("Ctrl-D at the locked console") && !log.contains("input has ended"), "{log}");
    assert!(log.lines().last().is_some_and(|line| line.ends_with(" ended")), "{log}");
}

#[test]
fn an_end_says_what_it_waits_for_and_takes_no_commands() {
    let (mut terminal, address) = server(false);
    terminal.shows(&["> "]);
    let slow = player(address, "Slow");
    let peer = slow.stream.local_addr().expect("connected");
    terminal.type_in("shutdown\r");
    terminal.until("the report", |rows| {
        rows.join("").contains(&format!("Waiting for one connection to close, #1 Slow {peer}"))
    });
    terminal.type_in("users\r");
    terminal
        .until("the refusal", |rows| rows.iter().any(|row| row.starts_with("The server is shutting down;")));
    drop(slow);
    assert_eq!(terminal.wait().to_string(), "exit status: 0");
}

#[test]
fn nobody_is_seen_while_the_operator_is_away() {
    let (terminal, address) = server(false);
    // Text typed before the prompt appears is echoed by the terminal, without a prompt.
    terminal.shows(&["> "]);
    terminal.type_in("quit\r");
    terminal.shows(&["> quit", "Good-bye.", "Press Enter to come back."]);
    let mut ann = player(address, "Ann");
    ann.send("say hello?\r\n");
    ann.expect("You say: hello?\r\n");
    terminal.type_in("\r");
    terminal.shows(&[
        "> quit",
        "Good-bye.",
        "Press Enter to come back.",
        "Welcome back; type 'help' for what you can do.",
        "> ",
    ]);
}

#[test]
fn commands_are_completed() {
    if wine() {
        return;
    }
    let (terminal, _) = server(false);
    terminal.shows(&["> "]);
    terminal.type_in("sa\tgood evening\r");
    terminal.shows(&["> say good evening", "No one is connected.", "> "]);
    terminal.type_in("s\t\t");
    terminal.shows(&["> say good evening", "No one is connected.", "say       shutdown  stats", "> s"]);
    terminal.type_in("h\t\r");
    terminal.until("the end", |rows| rows.iter().any(|row| row.trim_end() == "> shutdown"));
}

#[test]
fn the_history_is_kept_where_the_configuration_says() {
    if wine() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("my.conf");
    std::fs::write(&file, "port : 127.0.0.1:0\nconsole history : typed\n").expect("written");
    let open = || {
        let terminal = Terminal::start(rig::program("", "dolmend").arg("-f").arg(&file));
        terminal.until("the prompt", |rows| rows.iter().any(|row| row.trim_end() == ">"));
        terminal
    };
    let mut first = open();
    first.type_in("stats\rshutdown\r");
    assert_eq!(first.wait().to_string(), "exit status: 0");
    let second = open();
    second.type_in("\x1b[A\x1b[A");
    second.until("the line", |rows| rows.iter().any(|row| row.trim_end() == "> stats"));
    assert_eq!(
        std::fs::read_to_string(folder.path().join("typed")).expect("it is kept"),
        "stats\nshutdown\n"
    );
}

#[test]
fn log_lines_tear_no_command_apart() {
    let (terminal, address) = server(true);
    terminal.until("the prompt", |rows| rows.iter().any(|row| row.trim_end() == ">"));
    terminal.type_in("say half a li");
    terminal.until("the command", |rows| rows.iter().any(|row| row.trim_end() == "> say half a li"));
    let mut ann = Client::connect(address);
    ann.expect("shall we call you? ");
    let is_log = |row: &String| row.contains("INFO") && row.contains("connected");
    terminal.until("a log line above the command", |rows| {
        let log = rows.iter().position(is_log);
        let command = rows.iter().position(|row| row.trim_end() == "> say half a li");
        log.is_some() && log < command
    });
    terminal.type_in("ne\r");
    ann.expect("The operator says: half a line\r\n");
}

#[test]
fn a_hushed_console_shows_no_players_and_counts_what_it_leaves_out() {
    let (terminal, address) = server(false);
    terminal.shows(&["> "]);
    terminal.type_in("hush\r");
    let hushed = ["> hush", "Hushed until 'hush off': players and the log, except warnings."];
    terminal.shows(&[&hushed[..], &["hushed> "]].concat());
    let mut ann = player(address, "Ann");
    ann.send("say hello?\r\n");
    ann.expect("You say: hello?\r\n");
    terminal.type_in("users\r");
    terminal.until("the answer", |rows| rows.iter().any(|row| row.starts_with("One is connected:")));
    terminal.type_in("hush off\r");
    terminal.until("the count, and the usual prompt", |rows| {
        let rows: Vec<&str> = rows.iter().map(|row| row.trim_end()).collect();
        rows.windows(3).any(|rows| rows == ["hushed> hush off", "… 2 lines left out", ">"])
    });
    ann.send("say hello!\r\n");
    terminal.until("her message", |rows| rows.iter().any(|row| row.trim_end() == "Ann says: hello!"));
}

/// The terminal shows nothing while a player talks, and then everything that waits: the answer is not behind all of it.
#[test]
fn an_answer_is_not_behind_what_players_said_while_the_terminal_was_slow() {
    const SAID: usize = 2_000;
    let (terminal, address) = server(false);
    terminal.shows(&["> "]);
    let mut ann = player(address, "Ann");
    let text = "what a long day it was ".repeat(10);
    terminal.unread(|| {
        // Each reply shows that the operator's console had its turn as well.
        for n in 0..SAID {
            ann.send(&format!("say {text} {n}\r\n"));
            ann.expect(&format!("{n}\r\n"));
        }
        terminal.type_in("users\r");
    });
    if wine() {
        // A console shows the last state of its screen, and not all that was on it.
        terminal.until("the answer", |rows| rows.iter().any(|row| row.starts_with("One is connected:")));
        return;
    }
    // What players said before the answer was typed may follow it, and move it off the screen.
    terminal.until_output("One is connected:");
    terminal.until_output("lines left out");
    let shown = terminal.raw();
    let answer = shown.find("One is connected:").expect("it was on the screen");
    // What may be unwritten, and as much again for the buffers of the system.
    assert!(answer < 2 * (64 << 10), "{answer} bytes are before the answer");
    let count = shown.split("… ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a number");
    let count: usize = count.replace(',', "").parse().expect("a number");
    assert_eq!(shown.matches("Ann says: ").count() + count, SAID);
}

#[test]
fn a_held_terminal_delays_the_end_for_a_while_and_the_second_request_not_at_all() {
    use rustix::process::{Pid, Signal, kill_process};
    if wine() {
        // The test cannot hold Wine's terminal from outside, nor send its program a signal.
        let (mut terminal, _) = server(false);
        terminal.type_in("shutdown\r");
        assert_eq!(terminal.wait().to_string(), "exit status: 0");
        return;
    }
    // The wait for a held terminal lasts two seconds. A busy machine may be as slow now and then, but not each time.
    let mut tries = 0;
    let mut too_slow = |took: std::time::Duration| {
        tries += 1;
        let is_slow = took > std::time::Duration::from_millis(1500);
        assert!(!is_slow || tries < 5, "{took:?}");
        is_slow
    };
    let stopped = |requests, code| {
        let (mut terminal, address) = server(false);
        let settings = terminal.before.clone();
        terminal.shows(&["> "]);
        terminal.type_in("\x13");
        // Not shown on the screen, so that the terminal is known to be held when the reply came.
        let _ann = player(address, "Ann");
        let pid = Pid::from_raw(terminal.child.id() as i32).expect("a process");
        let started = std::time::Instant::now();
        for request in 0..requests {
            kill_process(pid, Signal::TERM).expect("it can be signalled");
            // The first request has been handled when the ports are closed.
            while request == 0 && std::net::TcpStream::connect(address).is_ok() {
                std::thread::yield_now();
            }
        }
        assert_eq!(terminal.wait().code(), Some(code));
        let took = started.elapsed();
        assert_eq!(terminal.settings(), settings);
        took
    };
    stopped(1, 0);
    while too_slow(stopped(2, 1)) {}
}

#[test]
fn ctrl_c_stops_the_server_and_leaves_the_terminal_as_it_was() {
    if wine() {
        // There only the program itself can press Ctrl-C: the reactor's tests do that.
        let (mut terminal, _) = server(false);
        terminal.type_in("shutdown\r");
        assert_eq!(terminal.wait().to_string(), "exit status: 0");
        return;
    }
    let mut command = rig::program("", "dolmend");
    command.args(["-p", "127.0.0.1:0"]);
    let mut terminal = Terminal::start(&mut command);
    let settings = terminal.before.clone();
    terminal.until("the prompt", |rows| rows.iter().any(|row| row.trim_end() == ">"));
    terminal.type_in("passwd\r");
    terminal.until("the question", |rows| rows.iter().any(|row| row.starts_with("New password")));
    assert_ne!(terminal.settings(), settings);
    terminal.type_in("\x03");
    assert_eq!(terminal.wait().to_string(), "exit status: 0");
    assert_eq!(terminal.settings(), settings);
}

#[test]
fn hc52_ctrl_z_does_not_stop_a_server_that_cannot_be_continued() {
    let (terminal, address) = server(false);
    terminal.shows(&["> "]);
    if !wine() {
        // The server leads its session, as under `ssh -t host dolmend`.
        let server = rustix::process::Pid::from_child(&terminal.child);
        rustix::process::kill_process(server, rustix::process::Signal::TSTP).expect("it can be signalled");
        rig::goes_on(server);
    }
    // Under Wine the key means the end of input, with an Enter behind it.
    terminal.type_in("\x1a\r");
    let _ann = player(address, "Ann");
    terminal.until("her arrival", |rows| rows.iter().any(|row| row.trim_end() == "Ann has arrived."));
    terminal.type_in("say hello\r");
    terminal.until("the answer", |rows| rows.iter().any(|row| row.trim_end() == "Told one user."));
}
