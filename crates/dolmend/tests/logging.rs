//! The lines of the log, as an operator finds them.

mod common;

use common::{Client, Program, Server, dolmend};

#[test]
fn each_line_about_a_player_has_the_name_the_connection_and_the_peer() {
    let mut server = Server::with(&["-c", "-p", "127.0.0.1:0"], 1);
    let ann = server.player("Ann");
    let peer = ann.stream.local_addr().expect("connected");
    drop(ann);
    server.program.type_in("kick nobody\n");
    let log = server.program.stderr.wait_for("departed");
    for what in ["logged on", "departed"] {
        let line = log.lines().find(|line| line.contains(what)).expect("it is logged");
        assert!(line.contains("user=#1 name=Ann conn=") && line.contains(&format!("peer={peer}")), "{line}");
    }
    server.program.stderr.wait_for("dolmend::operator: operator command=\"kick nobody\"\n");
}

#[test]
fn a_program_can_read_every_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("my.conf");
    std::fs::write(&file, "port : 127.0.0.1:0\nlog format : json\n").expect("written");
    let mut program = Program::start(dolmend(&["-c", "-f"]).arg(&file));
    program.type_in("say \"quoted\" \\ \u{1b}[2J\nshutdown\n");
    program.stdin = None;
    assert_eq!(program.wait().code(), Some(0));
    let log = program.stderr.wait_for_end();
    let lines: Vec<&str> = log.lines().skip(3).collect();
    assert!(lines.len() >= 3, "{log}");
    for line in &lines {
        assert!(line.starts_with("{\"time\":\"2") && line.ends_with('}'), "{line}");
        assert!(line.contains("\",\"level\":\"INFO\",\"target\":\"dolmend"), "{line}");
        assert!(!line.contains(char::is_control), "{line}");
    }
    assert!(log.contains(r#""message":"operator","command":"say \"quoted\" \\"#), "{log}");
}

/// The lines about their limits are fewer: three of one address have one in a minute. What is missing then is in the last lines.
#[test]
fn the_end_of_each_player_is_logged() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("my.conf");
    std::fs::write(&file, "idle timeout : 1\n").expect("written");
    let file = file.to_str().expect("a plain path");
    let mut server = Server::with(&["-c", "-f", file, "-p", "127.0.0.1:0"], 1);
    let mut players: Vec<Client> = ["Ann", "Bob", "Cid"].iter().map(|name| server.player(name)).collect();
    players.iter_mut().for_each(|player| drop(player.expect_end()));
    drop(players);
    server.program.type_in("shutdown\n");
    assert_eq!(server.program.wait().code(), Some(0));
    let log = server.program.stderr.wait_for_end();
    for name in ["Ann", "Bob", "Cid"] {
        let ends =
            log.lines().filter(|line| line.contains(" departed ") && line.contains(&format!("name={name}")));
        assert_eq!(ends.count(), 1, "{name}: {log}");
    }
    assert_eq!(log.matches(" disconnected: idle for too long ").count(), 1, "{log}");
    assert!(log.lines().any(|line| line.contains("more of: ") && line.contains("unlogged=2")), "{log}");
}

#[test]
fn a_flood_of_connections_is_no_flood_of_lines() {
    const CONNECTIONS: usize = 3000;
    let mut server = Server::with(&["-c", "-p", "127.0.0.1:0"], 1);
    for _ in 0..CONNECTIONS {
        drop(std::net::TcpStream::connect(server.addresses[0]).expect("it listens"));
    }
    // The queue of connections is in order: this one is after all others.
    let _last = server.player("Last");
    server.program.type_in("shutdown\n");
    drop(_last);
    assert_eq!(server.program.wait().code(), Some(0));
    let log = server.program.stderr.wait_for_end();
    let connected = log.matches(": connected ").count();
    assert!((200..1000).contains(&connected), "{connected} lines");
    let left_out: usize = log
        .lines()
        .filter(|line| line.contains("::connections: more lines of the same kind were left out"))
        .filter_map(|line| line.split("left_out=").nth(1)?.split(' ').next()?.parse::<usize>().ok())
        .sum();
    assert!(left_out + connected >= CONNECTIONS, "{left_out} are counted, {connected} written");
    assert!(log.contains("shutting down"), "what matters is not left out");
}

#[cfg(unix)]
#[test]
fn a_configuration_without_end_is_refused() {
    for (file, reason) in [
        ("/dev/zero", "it is a pipe or a device, and not a file"),
        ("/dev/stdin", "it is a pipe or a device"),
        ("/", "it is a folder"),
    ] {
        let mut program = Program::start(&mut dolmend(&["-f", file]));
        assert_eq!(program.wait().code(), Some(2));
        let said = program.stderr.wait_for_end();
        assert!(said.starts_with(&format!("{file}: cannot be read: {reason}")), "{said}");
    }
}
