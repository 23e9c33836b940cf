//! The command line and the configuration, as a user sees them.

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::{Client, Program, Server, dolmend};

/// Runs to the end: exit status, standard output, standard error.
fn run(mut command: Command) -> (i32, String, String) {
    let mut program = Program::start(&mut command);
    program.stdin = None;
    let status = program.wait().code().expect("an exit status");
    (status, program.stdout.wait_for_end(), program.stderr.wait_for_end())
}

fn file(folder: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("my.conf");
    std::fs::write(&path, text).expect("the file is written");
    path
}

#[test]
fn help_and_version_go_to_standard_output() {
    let (status, out, err) = run(dolmend(&["--help"]));
    assert_eq!((status, err.as_str()), (0, ""));
    for part in ["--file <FILE>", "[ADDR:]PORT[:KIND]", "Examples:", "Exit status:"] {
        assert!(out.contains(part), "{out}");
    }
    let (status, out, _) = run(dolmend(&["-V"]));
    assert_eq!((status, out.trim()), (0, concat!("dolmend ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_usage_error_is_exit_2() {
    for arguments in [&["--frobnicate"][..], &["-p", "70000"], &["-p", "4000:bin"], &["--trace", "9"]] {
        let (status, out, err) = run(dolmend(arguments));
        assert_eq!((status, out.as_str()), (2, ""), "{arguments:?}");
        assert!(err.starts_with("error: "), "{err}");
    }
    let (status, _, err) = run(dolmend(&["-p", "4000", "-p", "4000:ascii"]));
    assert_eq!((status, err.trim()), (2, "dolmend: --port: 0.0.0.0:4000 is given twice; keep one of them"));
}

#[test]
fn a_bad_configuration_is_refused_whole_with_every_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(&folder, "port : 127.0.0.1:0\nmax user : 5\nline length : ten\n");
    let shown = path.display();
    for extra in [&[][..], &["--check-config"], &["--print-config"]] {
        let mut command = dolmend(&["-f"]);
        command.arg(&path).args(extra);
        let (status, out, err) = run(command);
        assert_eq!((status, out.as_str()), (2, ""), "{extra:?}");
        let lines: Vec<&str> = err.lines().collect();
        assert_eq!(
            lines,
            [
                format!("{shown}:2: unknown key 'max user'; did you mean 'max users'?"),
                format!(
                    "{shown}:3: line length: 'ten' is not a number; it is a whole number from 80 to 65536"
                ),
            ]
        );
    }
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let (status, _, err) = run(dolmend(&["-f", "no-such.conf"]));
    assert_eq!(status, 2);
    assert!(err.starts_with("no-such.conf: cannot be read: "), "{err}");
}

#[test]
fn a_good_configuration_is_said_to_be_good() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(&folder, "Port 4000:telnet\n");
    let mut command = dolmend(&["--check-config", "-f"]);
    command.arg(&path);
    assert_eq!(run(command), (0, format!("{}: ok\n", path.display()), String::new()));
    assert_eq!(run(dolmend(&["--check-config"])), (0, "built-in dolmend.conf: ok\n".into(), String::new()));
}

#[test]
fn a_check_refuses_what_a_start_refuses_and_neither_makes_anything() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("bans.txt"), "nonsense\n").expect("the file is written");
    let path =
        file(&folder, "port : 127.0.0.1:0\nlog file : my.log\nban list : bans.txt\nstate folder : my.conf\n");
    for extra in [&["--check-config"][..], &[]] {
        let mut command = dolmend(&["-f"]);
        command.arg(&path).args(extra);
        let (status, out, err) = run(command);
        assert_eq!((status, out.as_str()), (2, ""), "{err}");
        let lines: Vec<&str> = err.lines().collect();
        assert_eq!(lines.len(), 2, "{err}");
        assert!(lines[0].starts_with(&format!("{}:3: ban list: ", path.display())), "{err}");
        assert!(lines[0].contains("bans.txt:1: this is not a network; "), "{err}");
        assert!(lines[1].starts_with(&format!("{}:4: state folder: ", path.display())), "{err}");
    }
    assert_eq!(std::fs::read_dir(&folder).expect("it is there").count(), 2);
}

#[test]
fn a_check_refuses_ports_that_cannot_be_served_and_warns_of_what_is_hardly_meant() {
    let folder = tempfile::tempdir().expect("a folder");
    for (text, problem) in [
        (
            "port : 127.0.0.1:0\nport : 127.0.0.1:4000\nport : 4000\n",
            ":3: port: 127.0.0.1:4000 and 0.0.0.0:4000 ",
        ),
        ("port : 127.0.0.1:0:binary\n", ": port 127.0.0.1:0:binary: this game has no use for "),
    ] {
        let path = file(&folder, text);
        for extra in [&["--check-config"][..], &[]] {
            let mut command = dolmend(&["-f"]);
            command.arg(&path).args(extra);
            let (status, out, err) = run(command);
            assert_eq!((status, out.as_str()), (2, ""), "{err}");
            assert!(err.starts_with(&format!("{}{problem}", path.display())), "{err}");
        }
    }
    let path = file(&folder, "port : 127.0.0.1:0\ntrusted proxies : 0.0.0.0/0\n");
    let mut command = dolmend(&["--check-config", "-f"]);
    command.arg(&path);
    let (status, out, err) = run(command);
    assert_eq!((status, out), (0, format!("{}: ok\n", path.display())));
    assert!(err.starts_with(&format!("{}: warning: trusted proxies: 0.0.0.0/0 ", path.display())), "{err}");
    let mut server = Program::start(dolmend(&["-c", "-f"]).arg(&path));
    server.stderr.wait_for("trusted proxies: 0.0.0.0/0 is everyone");
    server.type_in("reload\n");
    server.stdout.wait_for("\nWarning: trusted proxies: 0.0.0.0/0 is everyone");
}

#[test]
fn a_check_reads_the_state_folder_as_a_start_does_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(&folder, "port : 127.0.0.1:0\nstate folder : .\n");
    let run_with = |extra: &[&str]| {
        let mut command = dolmend(&["-f"]);
        command.arg(&path).args(extra);
        run(command)
    };
    let bans = folder.path().join("bans.jsonl");
    std::fs::write(&bans, "{\"dolmend\":\"bans\",\"version\":99}\n").expect("written");
    for extra in [&["--check-config"][..], &[]] {
        let (status, out, err) = run_with(extra);
        assert_eq!((status, out.as_str()), (1, ""), "{err}");
        assert!(err.contains("bans.jsonl: a newer dolmend wrote this file"), "{err}");
    }
    std::fs::write(&bans, "{\"target\":{\"name\":\"Ann\"}}\nnonsense\nmore of it\n").expect("written");
    let (status, out, err) = run_with(&["--check-config"]);
    assert_eq!((status, out), (0, format!("{}: ok\n", path.display())));
    assert!(err.contains("bans.jsonl:2: this line cannot be read (2 of them in this file); "), "{err}");
    // Root may read everything.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&bans, std::fs::Permissions::from_mode(0o000)).expect("it is ours");
        if std::fs::read(&bans).is_err() {
            let (status, _, err) = run_with(&["--check-config"]);
            assert_eq!(status, 1, "{err}");
            assert!(err.contains("; give the file to the user who runs the server"), "{err}");
        }
    }
    // The configuration and the bans; on Windows also what the start has locked.
    let expected = if cfg!(windows) { 3 } else { 2 };
    assert_eq!(std::fs::read_dir(&folder).expect("it is there").count(), expected);
    // A file for the bad lines that a start could not write to.
    std::fs::create_dir(folder.path().join("bans.jsonl.unreadable")).expect("it can be made");
    for extra in [&["--check-config"][..], &[]] {
        let (status, _, err) = run_with(extra);
        assert!(status == 1 && err.contains("bans.jsonl.unreadable: "), "{status}: {err}");
    }
}

#[test]
fn the_log_shows_a_mapped_address_as_that_of_ipv4_and_ends_with_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(&folder, "port : 127.0.0.1:0\ntrusted proxies : 127.0.0.1\n");
    let mut server = Program::start(dolmend(&["-c", "-f"]).arg(&path));
    let log = server.stderr.wait_for(" telnet\n");
    let address = log.lines().find_map(|line| line.strip_prefix("listening ")?.strip_suffix(" telnet"));
    let mut ann = Client::connect(address.expect("it listens").parse().expect("an address"));
    ann.send("PROXY TCP6 ::ffff:192.0.2.7 ::1 50000 4000\r\n");
    ann.expect("shall we call you? ");
    server.stderr.wait_for(" peer=192.0.2.7:50000 ");
    server.type_in("users\n");
    server.stdout.wait_for(" from 192.0.2.7:50000 (telnet)\n");
    drop(ann);
    server.type_in("shutdown\n");
    assert_eq!(server.wait().code(), Some(0));
    let log = server.stderr.wait_for_end();
    assert!(log.lines().last().is_some_and(|line| line.ends_with(" ended")), "{log}");
}

#[test]
fn the_printed_configuration_is_the_one_in_force_and_reads_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(&folder, "mud name : Cave\nmax users : 7\n");
    let mut command = dolmend(&["--print-config", "-p", "[::1]:0:ascii", "--trace", "2", "-f"]);
    command.arg(&path);
    let (status, printed, err) = run(command);
    assert_eq!((status, err.as_str()), (0, ""));
    for line in ["port : [::1]:0:ascii", "mud name : Cave", "max users : 7", "trace io_reactor : 2"] {
        assert!(printed.lines().any(|other| other == line), "{printed}");
    }
    let mut command = dolmend(&["--print-config", "-f"]);
    command.arg(file(&folder, &printed));
    assert_eq!(run(command), (0, printed, String::new()));
}

#[test]
fn a_port_in_use_is_exit_1_and_nothing_listens() {
    let taken = Server::start();
    let address = taken.addresses[0].to_string();
    let (status, _, err) = run(dolmend(&["-p", "127.0.0.1:0", "-p", &address]));
    assert_eq!(status, 1);
    assert_eq!(
        err.trim(),
        format!("dolmend: cannot listen on {address}: address already in use; is another dolmend running?")
    );
    // Nothing else was touched either.
    let folder = tempfile::tempdir().expect("a folder");
    let text = "log file : my.log\nstate folder : state\n";
    for (text, port) in
        [(text.to_owned(), address.as_str()), (format!("{text}metrics : {address}\n"), "127.0.0.1:0")]
    {
        let mut command = dolmend(&["-p", port, "-f"]);
        command.arg(file(&folder, &text));
        let (status, _, err) = run(command);
        assert!(status == 1 && err.contains("address already in use"), "{err}");
        assert_eq!(std::fs::read_dir(&folder).expect("it is there").count(), 1, "{text}");
    }
}

#[test]
fn every_port_is_reported_with_its_kind() {
    let server = Server::with(&["-p", "127.0.0.1:0", "-p", "127.0.0.1:0:ascii", "-p", "0"], 3);
    let log = server.program.stderr.wait_for(" ascii\n");
    let lines: Vec<&str> = log.lines().filter(|line| line.starts_with("listening ")).collect();
    assert_eq!(
        lines,
        [
            format!("listening {} telnet", server.addresses[0]),
            format!("listening {} ascii", server.addresses[1]),
            format!("listening {} telnet", server.addresses[2]),
        ]
    );
    assert!(server.addresses[2].ip().is_unspecified());
    assert!(server.addresses.iter().all(|address| address.port() != 0));
}

#[test]
fn statistics_and_connections_are_logged() {
    let server = Server::with(&["-p", "127.0.0.1:0", "--stats", "1"], 1);
    let ann = server.player("Ann");
    let log = server.program.stderr.wait_for("stats uptime_s=");
    let peer = format!("peer={}", ann.stream.local_addr().expect("connected"));
    let connected = log.lines().find(|line| line.contains(" connected ")).expect("it is logged");
    assert!(connected.contains(&peer) && connected.contains("conn="), "{connected}");
}
