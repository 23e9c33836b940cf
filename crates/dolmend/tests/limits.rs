//! Limits: of users and addresses, commands and bytes, time, and waiting output.

mod common;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use common::{Client, DEADLINE, Server};
use socket2::{Domain, Socket, Type};

/// A client from this address of the machine.
fn connect_from(last: u8, to: SocketAddr) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into())
        .expect("an address of this machine");
    socket.connect(&to.into()).expect("the server accepts");
    Client::over(socket.into())
}

/// A player who has entered a name.
fn log_on(mut client: Client, name: &str) -> Client {
    client.expect("shall we call you? ");
    client.send(&format!("{name}\r\n"));
    client.expect("for what you can do.\r\n");
    client
}

/// The time from a line sent to its answer.
fn answer_time(player: &mut Client, number: usize) -> Duration {
    let sent = Instant::now();
    player.send(&format!("tell nobody{number} x\r\n"));
    player.expect(&format!("called nobody{number}.\r\n"));
    sent.elapsed()
}

#[test]
fn one_user_too_many_is_told_so_and_a_place_that_gets_free_is_given_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::configured(&folder, "max users : 2\n");
    let mut ann = server.player("Ann");
    let _bob = server.player("Bob");
    let mut third = server.connect();
    // The client may have sent something already: that must not cost it the reply.
    third.send("Cid\r\nsay hi\r\n");
    assert_eq!(third.expect_end(), "The place is full. Please try again later.\r\n");
    ann.send("quit\r\n");
    ann.expect_end();
    let mut fourth = server.player("Dan");
    fourth.send("who\r\n");
    fourth.expect("  Bob\r\n  Dan (you)\r\n");
}

#[test]
fn many_refused_connections_do_no_harm() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::configured(&folder, "max users : 1\n");
    let mut ann = server.player("Ann");
    // More than the server has connections for that are closing: the others get the text without one.
    let mut crowd: Vec<Client> = (0..300).map(|_| server.connect()).collect();
    ann.send("say alone\r\n");
    ann.expect("You say: alone\r\n");
    // A connection that still waits to be accepted would take Ann's place.
    let informed = crowd.iter_mut().filter_map(|client| {
        client.expect_gone();
        (client.unread == b"The place is full. Please try again later.\r\n").then_some(())
    });
    let informed = informed.count();
    assert_eq!(informed, 300, "not all were told why");
    // They stay connected, and a place that becomes free can still be taken.
    ann.send("quit\r\n");
    ann.expect_end();
    server.player("Bob");
}

/// [D4] Silent connections hold no place for long, and take none from another address.
#[test]
fn an_address_gets_its_share_of_places_and_another_one_gets_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::limited(&folder, "no limits : none\nmax users per address : 3\nlogin timeout : 2\n");
    let address = server.addresses[0];
    let mut silent: Vec<Client> = (0..3).map(|_| connect_from(1, address)).collect();
    silent.iter_mut().for_each(|client| drop(client.expect("shall we call you? ")));
    let told = connect_from(1, address).expect_end();
    assert_eq!(told, "Too many players are here from your address. Please try again later.\r\n");
    let mut other = log_on(connect_from(2, address), "Ann");
    for client in &mut silent {
        assert_eq!(client.expect_end(), "\r\nYou took too long to log on. Good-bye.\r\n");
    }
    // Those who gave a name stay, and the places are free again.
    log_on(connect_from(1, address), "Bob");
    other.send("say still here\r\n");
    other.expect("You say: still here\r\n");
    server.program.stderr.wait_for("max users per address reached");
    server.program.stderr.wait_for("no name in time");
}

/// [D4] A thousand at a time; Wine takes more than ten milliseconds for each.
#[test]
fn a_flood_of_connections_from_one_address_delays_no_newcomer_from_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::limited(&folder, "no limits : none\nlogin timeout : 10\n");
    let address = server.addresses[0];
    const FLOOD: usize = if cfg!(windows) { 250 } else { 1000 };
    let mut flood: Vec<Client> = (0..FLOOD).map(|_| connect_from(1, address)).collect();
    let begun = Instant::now();
    let mut ann = log_on(connect_from(2, address), "Ann");
    assert!(begun.elapsed() < DEADLINE / 3, "{:?}", begun.elapsed());
    // Fifty have a place, until they are to have a name. The others are told why, whatever the reason is.
    let refused = flood.iter_mut().filter_map(|client| {
        client.expect_gone();
        String::from_utf8_lossy(&client.unread).contains("our address").then_some(())
    });
    assert_eq!(refused.count(), FLOOD - 50);
    ann.send("who\r\n");
    ann.expect("One is here:\r\n");
    let log = server.program.stderr.wait_for("max users per address reached");
    assert!(log.lines().filter(|line| line.contains("refused: ")).count() <= 2, "{log}");
}

#[test]
fn an_address_that_connects_too_often_has_to_wait() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::limited(&folder, "no limits : none\naccept rate : 1 burst 2\n");
    let address = server.addresses[0];
    let _two = [connect_from(1, address), connect_from(1, address)];
    let told = connect_from(1, address).expect_end();
    assert_eq!(told, "Your address connects too often. Please try again in a moment.\r\n");
    log_on(connect_from(2, address), "Ann");
}

/// [D4, D5] Each ends at its first bytes, also byte by byte, and the log says what it was, once.
#[test]
fn strangers_are_ended_at_their_first_line() {
    let server = Server::start();
    let mut ann = server.player("Ann");
    let form = "POST / HTTP/1.1\r\nContent-Type: text/plain\r\n\r\nEve\r\nsay I am a web page\r\n";
    for stranger in [
        form.as_bytes(),
        b"GET / HTTP/1.0\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"SSH-2.0-x\r\n",
        b"\x03\x00\x00\x13",
    ] {
        let mut whole = server.connect();
        whole.send_bytes(stranger);
        whole.expect_gone();
        let mut cut = server.connect();
        // The server may end it before its last byte.
        let _ = stranger.chunks(1).try_for_each(|byte| cut.stream.write_all(byte));
        cut.expect_gone();
    }
    ann.send("who\r\n");
    let before = ann.expect("One is here:\r\n  Ann (you)\r\n");
    assert_eq!(before, "", "no stranger has played");
    let log = server.program.stderr.wait_for("not a player: RDP");
    assert_eq!(log.matches("not a player: HTTP").count(), 1, "{log}");
    assert!(log.contains("not a player: TLS") && log.contains("not a player: SSH"), "{log}");
}

#[test]
fn a_player_who_is_idle_is_disconnected_and_one_who_types_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::configured(&folder, "idle timeout : 2\nlogin timeout : 1\n");
    let mut ann = server.player("Ann");
    let mut bob = server.player("Bob");
    let begun = Instant::now();
    // Until Bob is gone, Ann is never silent for long.
    let mut heard = String::new();
    for number in 0.. {
        assert!(begun.elapsed() < DEADLINE, "Bob stays");
        answer_time(&mut ann, number);
        bob.stream.set_read_timeout(Some(Duration::from_millis(100))).expect("it stands");
        let mut buffer = [0; 1000];
        match std::io::Read::read(&mut bob.stream, &mut buffer) {
            Ok(0) => break,
            Ok(length) => heard += &String::from_utf8_lossy(&buffer[..length]),
            Err(_) => {}
        }
    }
    assert!(heard.ends_with("\r\nYou were idle for too long. Good-bye.\r\n"), "{heard}");
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    ann.send("who\r\n");
    ann.expect("One is here:\r\n");
}

/// [D6] A paste of 8 MB slows down only the one who pastes, and cuts no one.
#[test]
fn a_flood_of_commands_is_the_flooders_problem() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::limited(&folder, "output limit : 16384\n");
    let mut victim = server.player("Victim");
    let mut ann = server.player("Ann");
    let (paster, teller) = (server.player("Paster"), server.player("Teller"));
    let flood = |client: &Client, line: String| {
        let mut stream = client.stream.try_clone().expect("it stands");
        // As much as the system takes: the server does not read most of it, and the end of the test closes it.
        std::thread::spawn(move || {
            (0..8 << 20).step_by(line.len()).try_for_each(|_| stream.write_all(line.as_bytes()))
        })
    };
    let begun = Instant::now();
    flood(&paster, format!("say {}\r\n", "x".repeat(1000)));
    flood(&teller, format!("tell Victim {}\r\n", "y".repeat(60)));
    victim.expect("Teller tells you: ");
    // Ann goes on at the rate of a player, and is answered as if nothing had happened.
    let mut slowest = Duration::ZERO;
    for number in 0..15 {
        slowest = slowest.max(answer_time(&mut ann, number));
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    // The victim has heard no more than the rates allow, and both are still there.
    victim.send("tell nobody x\r\n");
    let heard = victim.expect("Nobody here is called nobody.\r\n");
    let seconds = begun.elapsed().as_secs_f64();
    let lines = heard.matches(" tells you: ").count() + heard.matches("Paster says: ").count();
    assert!(lines as f64 <= 2.0 * (20.0 + 10.0 * (seconds + 1.0)), "{lines} in {seconds} s");
    ann.send("who\r\n");
    ann.expect("4 are here:\r\n");
    server.program.stderr.wait_for("sends more than the command rate");
    for flooder in [paster, teller] {
        let _ = flooder.stream.shutdown(std::net::Shutdown::Both);
    }
}

/// Bytes without a line end are limited too: the server reads the rest later.
#[test]
fn bytes_without_a_line_end_have_a_budget() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::limited(&folder, "command bytes : 4096\n");
    let mut ann = server.player("Ann");
    let begun = Instant::now();
    ann.send(&"x".repeat(12_000));
    ann.send("\r\n");
    ann.expect("characters were cut off.\r\n");
    // All but the burst and the last piece have to wait.
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
}

/// [D7] An answer that is longer than the output limit is sent as it is read.
#[test]
fn a_long_answer_is_sent_whole_and_the_limit_is_for_those_who_do_not_read() {
    const PLAYERS: usize = 750;
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::configured(&folder, "output limit : 16384\n");
    let name = |number: usize| {
        let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
        format!("Longname{}{}{}", letter(number / 676), letter(number / 26), letter(number))
    };
    // Others arrive while they do not read: what they hear of that must not fill their queues.
    let mut players: Vec<Client> = Vec::new();
    for number in 0..PLAYERS {
        players.push(log_on(server.connect(), &name(number)));
    }
    let mut asker = players.pop().expect("the last one");
    asker.send(&"who\r\n".repeat(20));
    for _ in 0..20 {
        let list = asker.expect(&format!("  {} (you)\r\n", name(PLAYERS - 1)));
        assert_eq!(list.matches("  Longname").count(), PLAYERS - 1);
    }
    asker.send("say done\r\n");
    asker.expect("You say: done\r\n");
}

/// A header in version 2, for a player from 192.0.2.`last`.
fn header(last: u8) -> Vec<u8> {
    let begin = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
    [&begin[..], &[192, 0, 2, last, 127, 0, 0, 1, 0xc3, 0x50, 0x0f, 0xa0]].concat()
}

#[test]
fn a_trusted_proxy_names_the_player_and_the_limits_are_that_players() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::limited(&folder, "trusted proxies : 127.0.0.9\nmax users per address : 1\n");
    let (address, log) = (server.addresses[0], server.program.stderr.clone());
    let mut ann = connect_from(9, address);
    ann.send_one_by_one(&header(1));
    let mut ann = log_on(ann, "Ann");
    log.wait_for("peer=192.0.2.1:50000");
    // The header and the first line in one segment, in the other version.
    let mut bob = connect_from(9, address);
    bob.send("PROXY TCP4 192.0.2.2 127.0.0.1 50000 4000\r\nBob\r\n");
    bob.expect("for what you can do.\r\n");
    let mut second = connect_from(9, address);
    second.send_bytes(&header(1));
    second.expect("Too many players are here from your address.");
    second.expect_gone();
    // A health check, which has no address, is exempt.
    for _ in 0..3 {
        let mut check = connect_from(9, address);
        check.send("PROXY UNKNOWN\r\n");
        check.expect("shall we call you? ");
    }
    ann.send("who\r\n");
    ann.expect("2 are here:\r\n");
}

#[test]
fn no_header_from_a_trusted_proxy_and_a_header_from_anyone_else_are_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::limited(&folder, "trusted proxies : 127.0.0.9\n");
    let (address, log) = (server.addresses[0], server.program.stderr.clone());
    let mut silent = connect_from(9, address);
    let mut without = connect_from(9, address);
    without.send("Ann\r\n");
    without.expect_gone();
    assert_eq!(without.unread, b"");
    log.wait_for("no PROXY header");
    for spoof in [&header(7)[..], b"PROXY TCP4 192.0.2.7 127.0.0.1 50000 4000\r\n"] {
        let mut spoofer = connect_from(1, address);
        spoofer.send_bytes(spoof);
        spoofer.expect_gone();
    }
    let logged = log.wait_for("PROXY header from a peer that is not trusted");
    assert!(!logged.contains("192.0.2.7"), "{logged}");
    // One that never sends a header is ended as well, and Ann is not delayed.
    log_on(connect_from(1, address), "Ann");
    silent.expect_gone();
    assert_eq!(silent.unread, b"");
}

#[test]
fn a_port_may_do_without_headers() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("test.conf");
    std::fs::write(&file, "trusted proxies : 127.0.0.0/8\nport : 127.0.0.1:0:ascii proxy=off\n")
        .expect("written");
    let server = Server::with(&["-f", file.to_str().expect("a plain path")], 1);
    server.player("Ann");
}

/// A NOP is for clients that speak telnet; a plain one would show it.
#[test]
fn a_silent_telnet_client_gets_a_nop_and_a_plain_one_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::configured(&folder, "keepalive : 1\n");
    let mut plain = server.player("Ann");
    let mut telnet = server.connect();
    telnet.send_bytes(b"\xff\xfc\x18");
    for _ in 0..2 {
        telnet.expect_bytes(b"\xff\xf1");
    }
    plain.send("who\r\n");
    let heard = plain.expect_bytes(b"One is here:\r\n");
    assert!(!heard.windows(2).any(|pair| pair == b"\xff\xf1"), "{heard:02x?}");
}

/// Compression was agreed, and the client says nothing about its terminal: the deadline for that is the server's only work.
#[test]
fn a_client_that_agrees_and_falls_silent_costs_the_others_nothing() {
    let mut server = Server::with(&["-c", "-p", "127.0.0.1:0"], 1);
    let mut silent = server.connect();
    silent.send_bytes(b"\xff\xfb\x18\xff\xfd\x56");
    // When the time is over, compression begins.
    silent.expect_bytes(b"\xff\xfa\x56\xff\xf0");
    let mut ann = server.player("Ann");
    answer_time(&mut ann, 1);
    let mut waits = || {
        let before = server.program.stdout.so_far().len();
        server.program.type_in("stats\n");
        let stats = server.program.stdout.wait_for_after(before, "left_out=");
        let waits = stats.lines().find_map(|line| line.strip_prefix("waits="));
        waits.expect("a counter").parse::<u64>().expect("a number")
    };
    let before = waits();
    ann.stream.set_read_timeout(Some(Duration::from_secs(1))).expect("it stands");
    assert!(std::io::Read::read(&mut ann.stream, &mut [0; 10]).is_err(), "nothing happens");
    let waited = waits() - before;
    assert!(waited < 50, "{waited} waits in a second");
}

/// [D6] Twelve connections of one address, each within its own budget.
#[test]
fn players_of_one_address_have_a_budget_together_and_share_it() {
    const PLAYERS: usize = 12;
    const LINES: usize = 9;
    // Of the address: five times as much as each player has. The rate is less than a slow machine can do.
    const BURST: usize = 50;
    const RATE: usize = 10;
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::limited(&folder, "no limits : none\ncommand rate : 2\ncommand burst : 10\n");
    let address = server.addresses[0];
    let mut listener = log_on(connect_from(2, address), "Listener");
    let begun = Instant::now();
    let mut crowd: Vec<Client> = (b'a'..)
        .take(PLAYERS)
        .map(|letter| log_on(connect_from(1, address), &format!("Crowd{}", char::from(letter))))
        .collect();
    let mut other = log_on(connect_from(3, address), "Other");
    crowd.iter_mut().for_each(|client| client.send(&"say x\r\n".repeat(LINES)));
    let mut turns: Vec<char> = Vec::new();
    while turns.len() < LINES * PLAYERS {
        turns.extend(listener.expect(" says: x\r\n").chars().last());
        if turns.len() == BURST + RATE {
            // Another address has its own budget.
            assert!(answer_time(&mut other, 1) < Duration::from_secs(1));
        }
    }
    let count = |turns: &[char], letter| turns.iter().filter(|&&other| other == letter).count();
    // When everyone has had a turn, everyone's lines are there, and after the burst everyone waits. Until the next one is
    // done, turns alternate.
    let crowd = || ('a'..).take(PLAYERS);
    let all = (1..).find(|&length| crowd().all(|letter| turns[..length].contains(&letter))).expect("all");
    let all = all.max(BURST);
    let waiting: Vec<char> = crowd().filter(|&letter| count(&turns[..all], letter) < LINES).collect();
    // The first ones may be done before the last one's lines arrive, as far as the burst lasts: it is for five of them.
    assert!(waiting.len() >= PLAYERS / 2, "{waiting:?} in {}", turns.iter().collect::<String>());
    let is_done = |length: usize| waiting.iter().any(|&letter| count(&turns[..length], letter) == LINES);
    let done = (all..=turns.len()).find(|&length| is_done(length)).expect("all are done at the end");
    let shares: Vec<usize> = waiting.iter().map(|&letter| count(&turns[all..done], letter)).collect();
    let (least, most) = (shares.iter().min().expect("some"), shares.iter().max().expect("some"));
    assert!(most - least <= 2, "{shares:?} of {waiting:?} in {}", turns.iter().collect::<String>());
    let least = (PLAYERS * (LINES + 1) - BURST) as f64 / RATE as f64;
    assert!(begun.elapsed().as_secs_f64() >= least, "{:?} instead of {least} s", begun.elapsed());
}

/// The server itself stops reading in the middle of a message, for longer than a message may take.
#[test]
fn a_message_that_the_servers_own_pause_cuts_in_two_arrives() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::limited(&folder, "command rate : 1\ncommand burst : 2\n");
    let mut ann = server.connect();
    ann.send_bytes(b"\xff\xfd\xc9");
    let message = b"\xff\xfa\xc9Char.Login.Credentials {\"account\":\"Ann\",\"password\":\"hun";
    ann.send_bytes(&[&b"x\r\n".repeat(30)[..], message].concat());
    // In another segment, which is read when few lines are left, more than ten seconds later.
    ann.expect_bytes(b"There is no command 'x'");
    ann.send_bytes(b"ter2\"}\xff\xf0");
    let before = ann.expect_bytes(b"Char.Login.Result");
    assert!(common::find(&before, b"ter2").is_none(), "{}", String::from_utf8_lossy(&before));
}

/// What a client says by itself calls the world, as a command does.
#[test]
fn messages_of_a_client_cost_commands() {
    let server =
        Server::with(&["-f", concat!(env!("CARGO_MANIFEST_DIR"), "/dolmend.conf"), "-p", "127.0.0.1:0"], 1);
    let mut ann = log_on(server.connect(), "Ann");
    let begun = Instant::now();
    ann.send_bytes(&[&b"\xff\xfd\xc9"[..], &b"\xff\xfa\xc9A.B\xff\xf0".repeat(50)].concat());
    answer_time(&mut ann, 1);
    // Twenty at a time, and ten a second.
    assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
}

/// Refused players behind a proxy, who do not close their connections: named by a header, and by telnet.
#[test]
fn refused_connections_behind_a_proxy_are_bounded() {
    const CROWD: usize = 300;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("test.conf");
    let text = "trusted proxies : 127.0.0.9\nmax users per address : 1\nmetrics : 127.0.0.1:0\n\
                port : 127.0.0.1:0\nport : 127.0.0.1:0:telnet proxy=off\n";
    std::fs::write(&file, text).expect("written");
    let server = Server::with(&["-f", file.to_str().expect("a plain path")], 2);
    let log = server.program.stderr.wait_for("/metrics\n");
    let metrics =
        log.lines().find_map(|line| line.strip_prefix("metrics   http://")?.strip_suffix("/metrics"));
    let metrics: SocketAddr = metrics.expect("it is reported").parse().expect("an address");
    let values = |names: [&str; 4]| {
        let mut client = Client::connect(metrics);
        client.send("GET /metrics HTTP/1.0\r\n\r\n");
        let text = client.expect_end();
        names.map(|name| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.expect("a counter").parse::<usize>().expect("a number")
        })
    };
    let mut ann = connect_from(9, server.addresses[0]);
    ann.send_bytes(&header(1));
    let mut ann = log_on(ann, "Ann");
    let by_telnet = b"\xff\xfb\x27\xff\xfa\x27\0\0IPADDRESS\x01192.0.2.1\xff\xf0";
    let (mut crowd, begun) = (Vec::new(), Instant::now());
    for (address, naming) in server.addresses.iter().zip([&header(1)[..], by_telnet]) {
        for _ in 0..CROWD {
            let mut client = connect_from(9, *address);
            client.send_bytes(naming);
            crowd.push(client);
        }
        loop {
            assert!(begun.elapsed() < DEADLINE, "not all have come");
            let [refused, accepted, users, leaving] = values([
                "dolmend_refused_total",
                "dolmend_accepted_total",
                "dolmend_users",
                "dolmend_leaving",
            ]);
            assert!(leaving <= 128, "{leaving} connections are closing");
            if (refused + accepted, users) == (1 + crowd.len(), 1) {
                break;
            }
        }
    }
    answer_time(&mut ann, 1);
}

/// The header and the first lines come in one piece, before the greeting has been sent.
#[test]
fn a_line_behind_a_header_answers_the_greeting() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::limited(&folder, "trusted proxies : 127.0.0.9\n");
    let mut ann = connect_from(9, server.addresses[0]);
    ann.send_bytes(&[&header(1)[..], b"Ann\r\ntell nobody x\r\n"].concat());
    let seen = ann.expect("called nobody.\r\n");
    assert_eq!(seen.matches("shall we call you?").count(), 1, "{seen}");
}

/// A header without an address leaves the player unnamed, and who sends telnet there may be the player.
#[test]
fn no_one_is_named_by_telnet_behind_a_header() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::limited(&folder, "trusted proxies : 127.0.0.9\n");
    let mut unnamed = connect_from(9, server.addresses[0]);
    unnamed.send("PROXY UNKNOWN\r\n");
    unnamed.send_bytes(b"\xff\xfb\x27");
    let before = unnamed.expect_bytes(b"\xff\xfe\x27");
    assert!(common::find(&before, b"\xff\xfd\x27").is_none(), "asked for the address: {before:02x?}");
}

#[test]
fn a_proxy_names_a_player_once_and_before_the_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("test.conf");
    let text = "trusted proxies : 127.0.0.0/8\nport : 127.0.0.1:0:telnet proxy=off\n";
    std::fs::write(&file, text).expect("written");
    let server = Server::with(&["-f", file.to_str().expect("a plain path")], 1);
    let log = server.program.stderr.clone();
    let claim = |last: u8| format!("\u{0}\u{0}IPADDRESS\u{1}192.0.2.{last}").into_bytes();
    let subnegotiation = |payload: &[u8]| [b"\xff\xfa\x27", payload, b"\xff\xf0"].concat();
    let question = subnegotiation(b"\x01\0IPADDRESS");

    let mut ann = server.connect();
    ann.send_bytes(b"\xff\xfb\x27");
    ann.expect_bytes(&question);
    ann.send_bytes(&subnegotiation(&claim(1)));
    log.wait_for("peer=192.0.2.1:0");
    // Neither another answer nor news is one to the question.
    ann.send_bytes(&subnegotiation(&claim(2)));
    ann.send_bytes(b"\xff\xfc\x27\xff\xfb\x27");
    ann.send_bytes(&subnegotiation(&claim(3)));
    ann.send("Ann\r\n");
    ann.expect("for what you can do.\r\n");

    let mut bob = server.connect();
    bob.send_bytes(b"\xff\xfb\x27");
    bob.expect_bytes(&question);
    bob.send("Bob\r\n");
    bob.expect("for what you can do.\r\n");
    bob.send_bytes(&subnegotiation(&claim(4)));
    let logged = log.wait_for("names the address of a player who is in already");
    answer_time(&mut ann, 1);
    answer_time(&mut bob, 2);
    assert_eq!(logged.matches("named by a proxy").count(), 1, "{logged}");
    assert!(!logged.contains("peer=192.0.2.4"), "{logged}");
}
