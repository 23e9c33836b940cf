//! A game of one's own: a town whose wizard knows primes. `cargo run --example tiny_world [ADDRESS:PORT]`
//!
//! The wizard thinks in a thread of his own, so the town goes on; see `docs/world.md`.

use std::process::ExitCode;

use dolmen::Inbox;
use dolmend::config::Config;
use dolmend::ports;
use dolmend::server::Server;
use dolmend::worker::Worker;
use dolmend::world::{Admission, Channels, ConnectInfo, Departure, Turn, UserId, World};

#[derive(Default)]
struct Town {
    wizard: Option<Worker<(UserId, u64)>>,
    answers: Option<Inbox<(UserId, String)>>,
}

/// The wizard's work, which takes its time.
fn think((user, number): (UserId, u64)) -> (UserId, String) {
    let is_prime = number > 1 && (2..number).take_while(|d| *d <= number / d).all(|d| number % d != 0);
    (user, format!("The wizard says: {number} is {}.\n", if is_prime { "a prime" } else { "no prime" }))
}

impl World for Town {
    fn started(&mut self, channels: &Channels<'_>) {
        let (answers, inbox) = channels.open(100);
        self.wizard = Worker::start("wizard", 10, answers, think).ok(); // Ten questions may wait.
        self.answers = Some(inbox);
    }

    fn connect(&mut self, _info: &ConnectInfo) -> Admission {
        Admission::Accept
    }

    fn logon(&mut self, turn: &mut Turn<'_>, user: UserId) {
        turn.send(user, "You stand in a small town. Ask the wizard a number, talk, or 'quit'.\n");
    }

    fn process_input(&mut self, turn: &mut Turn<'_>, user: UserId, line: &str) {
        match line.trim().parse::<u64>() {
            Ok(number @ ..=1_000_000_000_000) => {
                if self.wizard.as_ref().is_none_or(|wizard| wizard.submit((user, number)).is_err()) {
                    turn.send(user, "The wizard is busy.\n");
                }
            }
            _ if line.trim() == "quit" => turn.disconnect(user),
            _ => turn.broadcast(format!("{user} says: {line}\n")),
        }
    }

    fn results(&mut self, turn: &mut Turn<'_>) {
        for (user, answer) in self.answers.iter_mut().flat_map(|inbox| inbox.drain()) {
            turn.send(user, answer);
        }
    }

    fn net_dead(&mut self, turn: &mut Turn<'_>, user: UserId, _why: Departure) {
        turn.broadcast(format!("{user} has left the town.\n"));
    }
}

fn main() -> ExitCode {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4000".to_string());
    let served = Config::built_in().map_err(Into::into).and_then(|config| serve(&config, &address));
    let Err(problem) = served else { return ExitCode::SUCCESS };
    eprintln!("tiny_world: {problem}");
    ExitCode::FAILURE
}

/// Serves the town on this address, until somebody stops it.
pub fn serve(config: &Config, address: &str) -> Result<(), Box<dyn std::error::Error>> {
    let (opened, _) = ports::open(&[address.parse()?], false).map_err(|failed| failed[0].to_string())?;
    let mut server = Server::new(config, opened, Town::default())?;
    server.listening().for_each(|(address, kind)| eprintln!("listening {address} {kind}"));
    server.stop_on_signals()?;
    Ok(server.run()?)
}
