//! The picture on the front page, `docs/console.svg`: the operator's console above two players.
//!
//! The real server runs at a terminal, and two players at terminals of their own use the program `telnet`. The test fails
//! when the picture no longer shows the text that the programs show. `cargo xtask screenshot` writes the picture anew: it runs
//! this test with `DOLMEN_SCREENSHOT=write`, and the server then listens on port 4000, as in the README.
#![cfg(target_os = "linux")]

mod common;
#[path = "../../dolmen/tests/console_rig/mod.rs"]
mod rig;
#[path = "screenshot/svg.rs"]
mod svg;

use std::path::Path;
use std::process::Command;

use rig::Terminal;
use svg::Window;

const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/console.svg");

/// Columns and rows: as wide as a line of the log, and as the greeting of a player.
const OPERATOR: (u16, u16) = (139, 15);
const PLAYER: (u16, u16) = (67, 13);

fn is_shown(terminal: &Terminal, text: &str) {
    terminal.until(text, |rows| rows.iter().any(|row| row.contains(text)));
}

/// Types a command and waits for its effect, so that everything happens in the same order each time.
fn command(terminal: &Terminal, text: &str, effects: &[(&Terminal, &str)]) {
    terminal.type_in(text);
    effects.iter().for_each(|(terminal, effect)| is_shown(terminal, effect));
}

fn telnet(port: &str) -> Terminal {
    let mut command: Command = common::installed("telnet", "inetutils-telnet");
    command.args(["127.0.0.1", port]);
    let player = Terminal::start_sized(&mut command, PLAYER.0, PLAYER.1, |_| {});
    is_shown(&player, "shall we call you? ");
    player
}

/// Plays the scenario, and returns the windows.
fn play(port: &str) -> Vec<Window> {
    let mut server = rig::program("", "dolmend");
    server.args(["-p", &format!("127.0.0.1:{port}")]);
    let operator = Terminal::start_sized(&mut server, OPERATOR.0, OPERATOR.1, |_| {});
    let rows = operator.until("the prompt", |rows| rows.iter().any(|row| row.trim_end() == ">"));
    let listening = rows.iter().find_map(|row| row.trim().strip_prefix("listening 127.0.0.1:"));
    let port = listening.and_then(|rest| rest.strip_suffix(" telnet")).expect("it listens").to_owned();

    let ann = telnet(&port);
    is_shown(&operator, "connected user=#1");
    command(&ann, "Ann\r", &[(&ann, "Hello, Ann."), (&operator, "Ann has arrived.")]);
    let bob = telnet(&port);
    is_shown(&operator, "connected user=#2");
    command(
        &bob,
        "Bob\r",
        &[(&bob, "Hello, Bob."), (&ann, "Bob has arrived."), (&operator, "Bob has arrived.")],
    );
    command(&operator, "users\r", &[(&operator, "#2 Bob from")]);
    let asked = "says: is the bridge open?";
    command(&ann, "say is the bridge open?\r", &[(&ann, "You say"), (&bob, asked), (&operator, asked)]);
    let said = "The operator says: it opens at eight";
    command(
        &operator,
        "say it opens at eight\r",
        &[(&operator, "Told 2 users."), (&ann, said), (&bob, said)],
    );
    // A player's line appears above the one that the operator is typing.
    command(&operator, "say mind the trol", &[(&operator, "> say mind the trol")]);
    command(&bob, "emote waits\r", &[(&bob, "Bob waits"), (&ann, "Bob waits"), (&operator, "Bob waits")]);
    operator.until("the line being typed", |rows| {
        let last = rows.iter().rfind(|row| !row.trim().is_empty());
        last.is_some_and(|row| row.trim_end() == "> say mind the trol")
    });

    let window = |title: &str, terminal: &Terminal| Window::new(title, &terminal.screen());
    let client = format!("telnet 127.0.0.1 {port}");
    let windows = vec![
        window(&format!("the operator: dolmend -p 127.0.0.1:{port}"), &operator),
        window(&format!("a player: {client}"), &ann),
        window(&format!("another player: {client}"), &bob),
    ];
    command(
        &operator,
        "l\rshutdown\r",
        &[(&ann, "mind the troll"), (&ann, "Good-bye."), (&bob, "Good-bye.")],
    );
    windows
}

#[test]
fn the_picture_shows_what_the_programs_show() {
    let write = std::env::var("DOLMEN_SCREENSHOT").is_ok_and(|value| value == "write");
    let windows = play(if write { "4000" } else { "0" });
    let picture = svg::draw(&windows);
    if write {
        std::fs::write(PICTURE, picture).expect("the picture is written");
        return;
    }
    let committed = std::fs::read_to_string(Path::new(PICTURE)).expect("docs/console.svg is there");
    let (committed, now) = (svg::text(&committed), svg::text(&picture));
    let first = committed.iter().zip(&now).find(|(committed, now)| committed != now);
    assert!(
        committed == now,
        "docs/console.svg no longer shows what the programs show. The first difference: {first:#?}\n\
         To write it anew, type: cargo xtask screenshot"
    );
}
