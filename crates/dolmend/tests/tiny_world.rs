//! The example of a game of one's own.

mod common;

use std::process::Command;

use common::{Client, Program};

#[test]
fn the_tiny_world_is_tiny_and_runs() {
    let source = include_str!("../examples/tiny_world.rs");
    assert!(source.lines().count() < 80);
    // Cargo builds the examples before it runs tests, in a folder beside the programs.
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_dolmend"));
    let example = program.parent().expect("a folder").join("examples").join("tiny_world");
    let town = Program::start(
        Command::new(example.with_extension(std::env::consts::EXE_EXTENSION)).arg("127.0.0.1:0"),
    );
    let log = town.stderr.wait_for(" telnet\n");
    let address = log.lines().find_map(|line| line.strip_prefix("listening ")?.split(' ').next());
    let address = address.expect("it listens").parse().expect("an address");
    let mut one = Client::connect(address);
    one.expect("small town");
    let mut two = Client::connect(address);
    two.expect("small town");
    one.send("9973\nhello\n");
    one.expect("The wizard says: 9973 is a prime.\r\n");
    two.expect("#1 says: hello\r\n");
    two.send("9975\n");
    two.expect("The wizard says: 9975 is no prime.\r\n");
    two.send("quit\n");
    two.expect_end();
    one.expect("#2 has left the town.\r\n");
}
