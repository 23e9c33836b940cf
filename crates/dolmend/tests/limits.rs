//! Limits: of users, and of waiting output.

mod common;

use common::{Client, Server};

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
    // More than get the message at a time: the server may close those above without a message.
    let mut crowd: Vec<Client> = (0..300).map(|_| server.connect()).collect();
    ann.send("say alone\r\n");
    ann.expect("You say: alone\r\n");
    // A connection that still waits to be accepted would take Ann's place.
    let informed = crowd.iter_mut().filter_map(|client| {
        client.expect_gone();
        (client.unread == b"The place is full. Please try again later.\r\n").then_some(())
    });
    let informed = informed.count();
    assert!((200..300).contains(&informed), "{informed} of 300 were told why");
    // They stay connected, and a place that becomes free can still be taken.
    ann.send("quit\r\n");
    ann.expect_end();
    server.player("Bob");
}

#[test]
fn a_user_who_does_not_read_is_disconnected_without_effect_on_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::configured(&folder, "output limit : 16384\n");
    let mut ann = server.player("Ann");

    // A small receive window, so that the system does not take megabytes for the reader.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("it can be set");
    socket.connect(&server.addresses[0].into()).expect("the server accepts");
    let mut unresponsive = Client::over(socket.into());
    unresponsive.send("Deaf\r\n");
    ann.expect("Deaf has arrived.\r\n");

    let shout = "x".repeat(4000);
    let mut heard = String::new();
    let mut shouts = 0;
    while !heard.contains("Deaf has left.") {
        assert!(shouts < 20_000, "80 MB were kept for a player who does not read");
        shouts += 1;
        ann.send(&format!("say {shout}\r\n"));
        heard = ann.expect(&format!("You say: {shout}\r\n"));
    }
    server.program.stderr.wait_for("output limit reached");
    unresponsive.expect_gone();
    ann.send("who\r\n");
    ann.expect("One is here:\r\n  Ann (you)\r\n");
}
