//! What a client has said about itself.

use std::net::IpAddr;

use crate::encoding::TextEncoding;

/// The size of a window, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize {
    /// Columns; 0 if the client did not say.
    pub columns: u16,
    /// Rows; 0 if the client did not say.
    pub rows: u16,
}

/// How many colours a client shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Colours {
    /// None, or it is not known: no escape sequences.
    #[default]
    None,
    /// The sixteen of ANSI.
    Sixteen,
    /// 256.
    TwoHundredFiftySix,
    /// 24 bits.
    True,
}

/// The client of a user. Everything in it is a claim of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The name of the program, or empty: from TTYPE or GMCP.
    pub name: String,
    /// The version of the program, or empty: from GMCP.
    pub version: String,
    /// The type of the terminal, such as `XTERM`, or empty.
    pub terminal: String,
    /// The size of the window, if the client said it.
    pub window: Option<WindowSize>,
    /// The encoding of the text, in both directions.
    pub encoding: TextEncoding,
    /// How many colours it shows.
    pub colours: Colours,
    /// Whether a program reads the screen aloud: no art, and one item a line.
    pub screen_reader: bool,
    /// Whether it speaks telnet: it has sent a command.
    pub speaks_telnet: bool,
    /// Whether it takes messages of GMCP.
    pub gmcp: bool,
    /// Whether it shows lines of channels apart, if it gets them by GMCP: it supports `Comm.Channel`.
    pub channels: bool,
}

impl Default for Client {
    fn default() -> Client {
        Client {
            name: String::new(),
            version: String::new(),
            terminal: String::new(),
            window: None,
            encoding: TextEncoding::UTF_8,
            colours: Colours::None,
            screen_reader: false,
            speaks_telnet: false,
            gmcp: false,
            channels: false,
        }
    }
}

/// A fact about the client that is new, or a request of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// The window has another size.
    WindowSize(WindowSize),
    /// The client has said what it is.
    TerminalType,
    /// The client has answered a probe, or sent something else since.
    Alive,
    /// A message of GMCP that is not about the connection itself.
    Gmcp {
        /// Its name, such as `Char.Skills.Get`.
        package: String,
        /// JSON, as the client sent it.
        data: String,
    },
    /// The client can send a name and a password by GMCP.
    TakesLogin,
    /// A name and a password, by GMCP.
    Credentials {
        /// The name.
        account: String,
        /// The password.
        password: String,
    },
    /// The client asks for the server's status, for a list of games.
    ServerStatus,
    /// A proxy names the player's address.
    Address(IpAddr),
}
