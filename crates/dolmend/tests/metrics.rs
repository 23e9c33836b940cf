//! The counters for Prometheus.

mod common;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use common::{Client, Program, dolmend};

/// A server, its port for players, and that of its metrics.
fn server() -> (Program, SocketAddr, SocketAddr, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("my.conf");
    std::fs::write(&file, "port : 127.0.0.1:0\nmetrics : 127.0.0.1:0\n").expect("written");
    let mut program = Program::start(dolmend(&["-f"]).arg(&file));
    program.stdin = None;
    let log = program.stderr.wait_for("/metrics\n");
    let after = |prefix: &str, end: &str| -> SocketAddr {
        let address = log.lines().find_map(|line| line.strip_prefix(prefix)?.strip_suffix(end));
        address.expect("it is reported").parse().expect("an address")
    };
    let (players, metrics) = (after("listening ", " telnet"), after("metrics   http://", "/metrics"));
    (program, players, metrics, folder)
}

/// The reply to a request, to the end of the connection.
fn reply(address: SocketAddr, parts: &[&str]) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_nodelay(true).expect("connected");
    for part in parts {
        stream.write_all(part.as_bytes()).expect("it reads");
    }
    read_to_end(stream)
}

fn read_to_end(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(common::DEADLINE)).expect("connected");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("it ends in order");
    String::from_utf8(reply).expect("text")
}

fn value(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
}

#[test]
fn the_counters_are_served_and_count() {
    let (_program, players, metrics, _folder) = server();
    let mut ann = Client::connect(players);
    ann.expect("shall we call you? ");
    ann.send("Ann\r\n");
    ann.expect("for what you can do.\r\n");
    let text = reply(metrics, &["GET /met", "rics HTTP/1.1\r\nHost: x\r\n", "\r\n"]);
    let (head, body) = text.split_once("\r\n\r\n").expect("a header and a body");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    assert_eq!(value(body, "dolmend_users"), 1);
    assert_eq!(value(body, "dolmend_accepted_total"), 1);
    assert_eq!(value(body, "dolmend_lines_total"), 1);
    assert_eq!(value(body, "dolmend_limit_reached_total{limit=\"throttled\"}"), 0);
    assert!(value(body, "dolmend_reactor_kernel_calls_total") > 0);
    for line in body.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split([' ', '{']).next().expect("a name");
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        assert!(body.contains(&format!("# TYPE {name} {kind}\n")), "{line}");
    }
}

#[test]
fn other_requests_are_refused_and_bounded() {
    let (_program, _, metrics, _folder) = server();
    assert!(reply(metrics, &["GET / HTTP/1.1\r\n\r\n"]).starts_with("HTTP/1.1 404 "));
    assert!(reply(metrics, &["DELETE /metrics HTTP/1.1\r\n\r\n"]).starts_with("HTTP/1.1 405 "));
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(9000));
    assert!(reply(metrics, &[&long]).starts_with("HTTP/1.1 431 "));
}

#[test]
fn silent_clients_are_ended_and_do_not_keep_others_out() {
    let (_program, _, metrics, _folder) = server();
    let mut silent: Vec<Client> = (0..40).map(|_| Client::connect(metrics)).collect();
    // The first ones hold all places until their time is over; the others are closed immediately.
    silent.iter_mut().for_each(Client::expect_gone);
    assert!(reply(metrics, &["GET /metrics HTTP/1.0\r\n\r\n"]).starts_with("HTTP/1.1 200 "));
}
