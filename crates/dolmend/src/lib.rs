//! Dolmend: a small MUD driver front end on the `dolmen` reactor.
//!
//! | module | is |
//! |---|---|
//! | [`app`] | from the command line to a running server |
//! | [`cli`] | the command line |
//! | [`config`] | the configuration file |
//! | [`server`] | the loop: connections, console and signals on one side, a world on the other |
//! | [`address`] | what counts as one address |
//! | [`duration`] | lengths of time, in digits and in words |
//! | [`ports`] | opening the ports |
//! | `console` | the operator's terminal, or a script |
//! | `chatter` | what is shown there of what no one has asked for |
//! | `notify` | notifications to a service manager |
//! | `operation` | what a world may ask of the server itself |
//! | [`descriptors`] | the system's limit of open files |
//! | [`limits`] | what one player, one address and a stranger may do, as rules without sockets or clocks |
//! | [`proxy`] | the header in which a proxy names the player |
//! | [`logging`] | where log lines go |
//! | [`layer`] | the layers of a session, and compression |
//! | [`session`] | one user's protocols, without the connection: a stack of layers |
//! | [`telnet`] | the telnet protocol, without sockets |
//! | [`mod@line`] | lines out of bytes |
//! | [`encoding`] | the encodings that players' text may have |
//! | `endpoint` | the server's end of one connection: protocols, limits and output, on any thread |
//! | `keepalive` | how the system notices that a peer has vanished |
//! | `shared_text` | one encoding of a text for many users |
//! | `user` | a connected user: the session, and the server's data about the connection |
//! | [`names`] | names of players: which are allowed, and which look alike |
//! | [`store`] | what is kept on disk: bans, notes, kept names |
//! | [`worker`] | a thread for what must not delay the game |
//! | [`world`] | the game's interface: the trait to implement |
//! | [`lobby`] | the game in the package |
//!
//! To run another game, put a [`World`](world::World) into a [`Server`](server::Server); the program `dolmend` does
//! exactly that with a [`Lobby`](lobby::Lobby).

#![forbid(unsafe_code)]

pub mod address;
pub mod app;
mod chatter;
pub mod cli;
pub mod config;
mod console;
pub mod descriptors;
pub mod duration;
pub mod encoding;
mod endpoint;
mod keepalive;
pub mod layer;
pub mod limits;
pub mod line;
pub mod lobby;
pub mod logging;
pub mod names;
mod notify;
mod operation;
pub mod ports;
pub mod proxy;
pub mod server;
pub mod session;
mod shared_text;
pub mod store;
pub mod telnet;
mod user;
pub mod worker;
pub mod world;
