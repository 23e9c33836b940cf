//! Dolmend: a small MUD driver front end on the `dolmen` reactor.
//!
//! | module | is |
//! |---|---|
//! | [`app`] | from the command line to a running server |
//! | [`cli`] | the command line |
//! | [`config`] | the configuration file |
//! | [`server`] | the loop: connections, console and signals on one side, a world on the other |
//! | [`ports`] | opening the ports |
//! | `console` | the operator's terminal, or a script |
//! | `chatter` | what is shown there of what no one has asked for |
//! | `notify` | what a service manager is told |
//! | `operation` | what a world may ask of the server itself |
//! | [`limits`] | the system's limit of open files |
//! | [`logging`] | where log lines go |
//! | [`session`] | one user's protocols, without the connection |
//! | [`telnet`] | the telnet protocol, without sockets |
//! | [`mod@line`] | lines out of bytes |
//! | [`world`] | the game's interface: the trait to implement |
//! | [`lobby`] | the game in the package |
//!
//! To run another game, put a [`World`](world::World) into a [`Server`](server::Server); the program `dolmend` does
//! exactly that with a [`Lobby`](lobby::Lobby).

#![forbid(unsafe_code)]

pub mod app;
mod chatter;
pub mod cli;
pub mod config;
mod console;
pub mod limits;
pub mod line;
pub mod lobby;
pub mod logging;
mod notify;
mod operation;
pub mod ports;
pub mod server;
pub mod session;
mod shared_text;
pub mod telnet;
mod user;
pub mod world;
