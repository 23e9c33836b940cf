//! Dolmend: a small MUD driver front end on the `dolmen` reactor.
//!
//! | module | is |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`config`] | the configuration file |
//! | [`telnet`] | the telnet protocol, without sockets |
//! | [`mod@line`] | lines out of bytes |
//! | [`world`] | what a game is told and may do: the trait to implement |
//! | [`lobby`] | the game that ships |

#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod line;
pub mod lobby;
pub mod telnet;
pub mod world;
