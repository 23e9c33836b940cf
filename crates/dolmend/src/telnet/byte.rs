//! The bytes that have a name in the protocol.

/// The end of a record: here, of a prompt (RFC 885).
pub const EOR: u8 = 239;
/// End of a subnegotiation.
pub const SE: u8 = 240;
/// No operation.
pub const NOP: u8 = 241;
/// Data mark: the end of an urgent signal.
pub const DM: u8 = 242;
/// Interrupt process.
pub const IP: u8 = 244;
/// "Are you there?"
pub const AYT: u8 = 246;
/// Erase character.
pub const EC: u8 = 247;
/// Erase line.
pub const EL: u8 = 248;
/// Go ahead: here, the end of a prompt.
pub const GA: u8 = 249;
/// Begin of a subnegotiation.
pub const SB: u8 = 250;
/// The sender offers an option, or continues to use it.
pub const WILL: u8 = 251;
/// The sender does not use an option.
pub const WONT: u8 = 252;
/// The sender asks the peer for an option.
pub const DO: u8 = 253;
/// The sender asks the peer not to use an option.
pub const DONT: u8 = 254;
/// Interpret as command; doubled, it is the byte 255 itself.
pub const IAC: u8 = 255;

/// The options.
pub mod option {
    /// The sender echoes what it receives: here, the client hides what is typed (RFC 857).
    pub const ECHO: u8 = 1;
    /// The sender sends no GA (RFC 858).
    pub const SUPPRESS_GO_AHEAD: u8 = 3;
    /// A mark in the stream, which comes back (RFC 860).
    pub const TIMING_MARK: u8 = 6;
    /// The name of the terminal (RFC 1091, and MTTS).
    pub const TERMINAL_TYPE: u8 = 24;
    /// Prompts end in IAC EOR (RFC 885).
    pub const END_OF_RECORD: u8 = 25;
    /// The size of the window (RFC 1073).
    pub const WINDOW_SIZE: u8 = 31;
    /// Variables of the client (RFC 1572): here MNES, from a proxy.
    pub const NEW_ENVIRON: u8 = 39;
    /// The encoding of text (RFC 2066).
    pub const CHARSET: u8 = 42;
    /// The server's status, for lists of games.
    pub const MSSP: u8 = 70;
    /// Compression of the output.
    pub const MCCP2: u8 = 86;
    /// Messages between the client's program and the game.
    pub const GMCP: u8 = 201;
}
