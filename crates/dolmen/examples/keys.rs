//! `keys`: shows what each key sends in raw mode. `q` or Ctrl-C ends it.
//!
//! ```console
//! $ cargo run -p dolmen --example keys
//! a            "a"
//! ↑            "\u{1b}[A"
//! ```

use dolmen::{ConsoleInput, ConsoleMode, Event, Events, Reactor, Token};

fn main() -> Result<(), dolmen::Error> {
    let mut reactor = Reactor::new()?;
    let mut events = Events::with_capacity(64);
    let mut console = reactor.add_console(ConsoleMode::Raw, Token(0))?;
    let kind = console.kind();
    console.print(&format!("standard input is a {kind}; press keys, q ends\n"))?;
    loop {
        reactor.wait(&mut events, None)?;
        for event in events.drain() {
            let Event::Console { input, .. } = event else { continue };
            match input {
                ConsoleInput::Bytes("q")
                | ConsoleInput::Interrupt
                | ConsoleInput::EndOfInput
                | ConsoleInput::Shutdown { .. } => return Ok(()),
                ConsoleInput::Bytes(text) => {
                    let visible: String = text.chars().filter(|c| !c.is_control()).collect();
                    reactor.console()?.print(&format!("{visible:12} {text:?}\n"))?;
                }
                ConsoleInput::Resized { columns, rows } => {
                    reactor
                        .console()?
                        .print(&format!("the window has {columns} columns and {rows} rows\n"))?;
                }
                _ => {}
            }
        }
    }
}
