//! The example of a game of one's own.

mod common;
// The function `main` is for the example.
#[allow(dead_code)]
#[path = "../examples/tiny_world.rs"]
mod tiny_world;

use std::io::Read as _;
use std::process::Command;
use std::time::Duration;

use common::{Client, Program};
use dolmend::config::Config;

/// Set for the child, which runs the example.
const SERVE: &str = "DOLMEN_TINY_WORLD";

#[test]
fn the_tiny_world_is_tiny_and_runs() {
    if std::env::var_os(SERVE).is_some() {
        let mut config = Config::built_in().expect("the shipped file loads");
        // No one logs on there, so this ends no one.
        config.limits.login_timeout = Some(Duration::from_secs(1));
        return tiny_world::serve(&config, "127.0.0.1:0").expect("it serves");
    }
    assert!(include_str!("../examples/tiny_world.rs").lines().count() < 80);
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "the_tiny_world_is_tiny_and_runs", "--nocapture"]).env(SERVE, "1");
    let town = Program::start(&mut command);
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
    // This one would take him a minute, if he could count so far.
    two.send("18446744073709551557\n999999999989\n");
    two.expect("#2 says: 18446744073709551557\r\n");
    two.expect("The wizard says: 999999999989 is a prime.\r\n");
    // A player who only watches stays.
    two.stream.set_read_timeout(Some(Duration::from_secs(3))).expect("it stands");
    let watched = two.stream.read(&mut [0; 100]);
    assert!(watched.is_err(), "{watched:?} instead of silence");
    two.send("quit\n");
    two.expect_end();
    one.expect("#2 has left the town.\r\n");
}
