//! A program that the tests of the console drive: over a connection it reports the input of its console, and it
//! executes on the console the commands that come over that connection. The console itself is under test, so it carries
//! none of that.
//!
//! `console_probe ADDR` connects to the test at ADDR. `console_probe around ADDR ADDR2` reports the console's mode to
//! ADDR, runs `console_probe ADDR2` on the same console to its end, and reports the mode again. `console_probe job
//! ADDR` runs `console_probe ADDR` as a shell does: in a separate process group, which has the terminal.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use dolmen::{ConnId, ConsoleInput, ConsoleMode, Event, Events, Reactor, Token};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const CONSOLE: Token = Token(1);
const SIGNALS: Token = Token(2);
const TEST: Token = Token(3);
/// A line with this token is printed as soon as it comes, to time it without the connection.
const TICK: Token = Token(4);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match &arguments[..] {
        [word, outer, inner] if word == "around" => around(outer, inner),
        [word, address] if word == "job" => system::job(address),
        [word, address] if word == "foreground" => system::foreground().and_then(|()| probe(address)),
        [address] => probe(address),
        _ => {
            Err("usage: console_probe ADDR | console_probe around ADDR ADDR2 | console_probe job ADDR".into())
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}

fn around(outer: &str, inner: &str) -> Result<ExitCode> {
    let mut test = TcpStream::connect(outer)?;
    ignore_interrupts();
    writeln!(test, "modes {}", system::modes())?;
    let status = Command::new(std::env::current_exe()?).arg(inner).status()?;
    writeln!(test, "modes {} {}", system::modes(), status.code().is_some())?;
    // Until the test has seen all of it.
    let _ = test.read(&mut [0]);
    Ok(ExitCode::SUCCESS)
}

fn ignore_interrupts() {
    // The reactor's handler takes them, and they are not collected.
    let mut reactor = Reactor::new().expect("a reactor");
    reactor.add_signals(SIGNALS).expect("signals");
    std::mem::forget(reactor);
}

fn probe(address: &str) -> Result<ExitCode> {
    // The test may be slow to listen, and the console fast.
    let mut reactor = Reactor::builder().high_water_mark(1 << 26).build()?;
    let mut events = Events::with_capacity(64);
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let test = reactor.add(stream, TEST)?;
    let mut probe =
        Probe { test, commands: Vec::new(), answer: None, again: None, waits: 0, ticks: 0, exit: None };
    probe.report(&mut reactor, "ready")?;
    while probe.exit.is_none() {
        // Only the console, the signals and the connection end this wait.
        reactor.wait(&mut events, None)?;
        probe.waits += 1;
        for event in events.drain() {
            probe.handle(&mut reactor, event)?;
        }
        // Not while there are events in hand, which would be lost.
        if let Some(mode) = probe.again.take() {
            reactor.remove_console();
            reactor.add_console(mode, CONSOLE)?;
            probe.report(&mut reactor, "ok again")?;
        }
    }
    drop(reactor);
    Ok(ExitCode::from(probe.exit.unwrap_or_default()))
}

struct Probe {
    test: ConnId,
    commands: Vec<u8>,
    /// Lines are not reported but answered on the console, with this many bytes.
    answer: Option<usize>,
    /// The console must be given up and taken again in this mode.
    again: Option<ConsoleMode>,
    waits: u64,
    ticks: u64,
    exit: Option<u8>,
}

impl Probe {
    fn report(&self, reactor: &mut Reactor, text: &str) -> Result {
        reactor.send(self.test, format!("{text}\n").as_bytes())?;
        reactor.flush();
        Ok(())
    }

    fn handle(&mut self, reactor: &mut Reactor, event: Event<'_>) -> Result {
        match event {
            Event::Console { token, input } => {
                if let (ConsoleInput::Line(text), Some(bytes)) = (input, self.answer) {
                    return Ok(reactor.console()?.print(&format!("{text:>bytes$}\n"))?);
                }
                let whose = if token == SIGNALS { "signal " } else { "" };
                let reported = match input {
                    ConsoleInput::Line(text) => format!("line {text:?}"),
                    ConsoleInput::LineCut(text) => format!("cut {}", text.len()),
                    ConsoleInput::Bytes(text) => format!("bytes {text:?}"),
                    ConsoleInput::Interrupt => "interrupt".into(),
                    ConsoleInput::EndOfInput => "end".into(),
                    ConsoleInput::Resized { columns, rows } => format!("resized {columns} {rows}"),
                    ConsoleInput::Shutdown { reason, time_left } => {
                        format!("shutdown {reason} {time_left:?}")
                    }
                    ConsoleInput::Continued => "continued".into(),
                    ConsoleInput::Drained => "drained".into(),
                    other => format!("{other:?}"),
                };
                self.report(reactor, &format!("{whose}{reported}"))
            }
            Event::Received { data, .. } => {
                self.commands.extend_from_slice(data);
                while let Some(end) = self.commands.iter().position(|&byte| byte == b'\n') {
                    let command: Vec<u8> = self.commands.drain(..=end).collect();
                    self.run_command(reactor, std::str::from_utf8(&command)?.trim_end_matches('\n'))?;
                }
                Ok(())
            }
            Event::EndOfStream { .. } | Event::Closed { .. } => {
                self.exit = Some(0);
                Ok(())
            }
            Event::Timer { token: TICK, .. } => {
                self.ticks += 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn run_command(&mut self, reactor: &mut Reactor, command: &str) -> Result {
        let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
        let mode = if rest == "raw" { ConsoleMode::Raw } else { ConsoleMode::Line };
        match word {
            "console" => {
                let reported = match reactor.add_console(mode, CONSOLE) {
                    Ok(console) => format!("console {}", console.kind()),
                    Err(error) => format!("error {:?}", error.kind()),
                };
                return self.report(reactor, &reported);
            }
            "signals" => reactor.add_signals(SIGNALS)?,
            "remove" => {
                let removed = reactor.remove_console();
                return self.report(reactor, &format!("removed {removed}"));
            }
            "mode" => reactor.console()?.set_mode(mode)?,
            "switch" => {
                // Many times, without reading anything in between.
                for _ in 0..rest.parse()? {
                    reactor.console()?.set_mode(ConsoleMode::Raw)?;
                    reactor.console()?.set_mode(ConsoleMode::Line)?;
                }
            }
            "echo" => reactor.console()?.set_echo(rest == "on")?,
            "prompt" => reactor.console()?.set_prompt(rest)?,
            "again" => {
                self.again = Some(mode);
                return Ok(());
            }
            "answer" => self.answer = Some(rest.parse()?),
            "flush" => reactor.console()?.flush()?,
            "print" => reactor.console()?.print(&format!("{rest}\n"))?,
            "tick" => drop(reactor.add_interval(Duration::from_millis(rest.parse()?), TICK)),
            "ticks" => {
                let reported = format!("ticks {}", self.ticks);
                return self.report(reactor, &reported);
            }
            "waits" => {
                let reported = format!("waits {}", self.waits);
                return self.report(reactor, &reported);
            }
            "churn" => {
                // Drops reactors while they read their console.
                for turn in 0..rest.parse()? {
                    let mut other = Reactor::new()?;
                    other.add_console(
                        if turn % 2 == 0 { ConsoleMode::Line } else { ConsoleMode::Raw },
                        CONSOLE,
                    )?;
                    other.wait(&mut Events::with_capacity(1), Some(Duration::ZERO))?;
                }
            }
            "press" => system::press(rest)?,
            "ask-to-end" => system::ask_to_end(rest)?,
            "window" => system::window(rest)?,
            "pid" => {
                let reported = format!("pid {}", std::process::id());
                return self.report(reactor, &reported);
            }
            "modes" => {
                let reported = format!("modes {}", system::modes());
                return self.report(reactor, &reported);
            }
            "busy" => {
                let until = Instant::now() + Duration::from_millis(rest.parse()?);
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
            }
            "panic" => panic!("as requested"),
            "exit" => std::process::exit(rest.parse()?),
            "return" => self.exit = Some(rest.parse()?),
            "sync" => {}
            "nothing" => return Ok(()),
            _ => return Err(format!("no such command: {command}").into()),
        }
        self.report(reactor, &format!("ok {command}"))
    }
}

#[cfg(unix)]
mod system {
    use super::*;
    use std::os::unix::process::CommandExt as _;

    use rustix::process::{Pid, getpgrp};
    use rustix::termios::{tcgetpgrp, tcsetpgrp};

    pub fn job(address: &str) -> Result<ExitCode> {
        let mut job = Command::new(std::env::current_exe()?);
        let mut job = job.args(["foreground", address]).process_group(0).spawn()?;
        let group = Pid::from_child(&job);
        if let Err(error) = tcsetpgrp(io::stdin(), group) {
            job.kill()?;
            return Err(error.into());
        }
        job.wait()?;
        Ok(ExitCode::SUCCESS)
    }

    /// Waits until the terminal is ours.
    pub fn foreground() -> Result {
        while tcgetpgrp(io::stdin())? != getpgrp() {
            std::thread::yield_now();
        }
        Ok(())
    }

    pub fn modes() -> String {
        match rustix::termios::tcgetattr(io::stdin()) {
            Ok(settings) => format!("{:?}", format!("{settings:?}")),
            Err(error) => error.to_string(),
        }
    }

    pub fn press(_: &str) -> Result {
        Err("the test presses a terminal's keys".into())
    }

    pub fn window(_: &str) -> Result {
        Err("the test changes a terminal's size".into())
    }

    pub fn ask_to_end(_: &str) -> Result {
        Err("the test sends signals".into())
    }
}

#[cfg(windows)]
mod system {
    use super::*;
    use std::os::windows::io::AsRawHandle as _;
    use windows_sys::Win32::System::Console::*;

    pub fn job(_: &str) -> Result<ExitCode> {
        Err("there are no jobs here".into())
    }

    pub fn foreground() -> Result {
        Err("there are no jobs here".into())
    }

    pub fn modes() -> String {
        let (mut input, mut output) = (0, 0);
        // SAFETY: the handles are open and the modes writable; the code pages are numbers.
        unsafe {
            GetConsoleMode(io::stdin().as_raw_handle(), &mut input);
            GetConsoleMode(io::stdout().as_raw_handle(), &mut output);
            format!("{input:x} {output:x} {} {}", GetConsoleCP(), GetConsoleOutputCP())
        }
    }

    /// Does what the system does when the console's window is closed, the user logs off, or the machine shuts down:
    /// calls the routine that calls the process's handlers, in a thread created for it.
    pub fn ask_to_end(why: &str) -> Result {
        use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
        use windows_sys::Win32::System::Threading::CreateThread;
        let event = match why {
            "break" => CTRL_BREAK_EVENT,
            "close" => CTRL_CLOSE_EVENT,
            "log-off" => CTRL_LOGOFF_EVENT,
            "shutdown" => CTRL_SHUTDOWN_EVENT,
            _ => return Err("no such event".into()),
        };
        // SAFETY: the names end with a zero. The routine is a thread's, and takes the event as its argument.
        let thread = unsafe {
            let routine = GetProcAddress(
                GetModuleHandleA(c"kernelbase.dll".as_ptr().cast()),
                c"CtrlRoutine".as_ptr().cast(),
            );
            let routine = std::mem::transmute::<
                Option<unsafe extern "system" fn() -> isize>,
                Option<unsafe extern "system" fn(*mut std::ffi::c_void) -> u32>,
            >(routine);
            CreateThread(std::ptr::null(), 0, routine, event as usize as *const _, 0, std::ptr::null_mut())
        };
        if thread.is_null() { Err(io::Error::last_os_error().into()) } else { Ok(()) }
    }

    /// Changes the size of the window, to the given columns and rows.
    pub fn window(size: &str) -> Result {
        let (columns, rows) = size.split_once(' ').ok_or("columns and rows")?;
        let window = SMALL_RECT {
            Left: 0,
            Top: 0,
            Right: columns.parse::<i16>()? - 1,
            Bottom: rows.parse::<i16>()? - 1,
        };
        // SAFETY: the handle is open, and the structure lives longer than the call.
        let done = unsafe { SetConsoleWindowInfo(io::stdout().as_raw_handle(), 1, &window) };
        if done == 0 { Err(io::Error::last_os_error().into()) } else { Ok(()) }
    }

    fn key(down: bool, key: u16, unit: u16, control: u32) -> INPUT_RECORD {
        INPUT_RECORD {
            EventType: KEY_EVENT as u16,
            Event: INPUT_RECORD_0 {
                KeyEvent: KEY_EVENT_RECORD {
                    bKeyDown: down.into(),
                    wRepeatCount: 1,
                    wVirtualKeyCode: key,
                    wVirtualScanCode: 0,
                    uChar: KEY_EVENT_RECORD_0 { UnicodeChar: unit },
                    dwControlKeyState: control,
                },
            },
        }
    }

    /// Puts records into the console's input.
    pub fn press(what: &str) -> Result {
        let other = |kind: u32, event| INPUT_RECORD { EventType: kind as u16, Event: event };
        let size = COORD { X: 100, Y: 30 };
        let focus = FOCUS_EVENT_RECORD { bSetFocus: 1 };
        let mouse = MOUSE_EVENT_RECORD {
            dwMousePosition: COORD { X: 1, Y: 1 },
            dwButtonState: 0,
            dwControlKeyState: 0,
            dwEventFlags: MOUSE_MOVED,
        };
        let records = match what {
            "focus" => vec![other(FOCUS_EVENT, INPUT_RECORD_0 { FocusEvent: focus })],
            "mouse" => vec![other(MOUSE_EVENT, INPUT_RECORD_0 { MouseEvent: mouse })],
            "menu" => {
                vec![other(MENU_EVENT, INPUT_RECORD_0 { MenuEvent: MENU_EVENT_RECORD { dwCommandId: 1 } })]
            }
            "resize" => vec![other(
                WINDOW_BUFFER_SIZE_EVENT,
                INPUT_RECORD_0 { WindowBufferSizeEvent: WINDOW_BUFFER_SIZE_RECORD { dwSize: size } },
            )],
            "release" => vec![key(false, 0x41, 'a' as u16, 0)],
            "shift" => vec![key(true, 0x10, 0, SHIFT_PRESSED), key(false, 0x10, 0, 0)],
            "ctrl-c" => vec![key(true, 0x43, 3, LEFT_CTRL_PRESSED)],
            "ctrl-z" => vec![key(true, 0x5A, 0x1A, LEFT_CTRL_PRESSED), key(true, 0x0D, 13, 0)],
            "dice" => [0xD83C, 0xDFB2]
                .into_iter()
                .flat_map(|unit| [key(true, 0, unit, 0), key(false, 0, unit, 0)])
                .collect(),
            "alt-e" => vec![key(true, 0x12, 0, LEFT_ALT_PRESSED), key(false, 0x12, 0xE9, 0)],
            "up" => vec![key(true, 0x26, 0, ENHANCED_KEY)],
            text => match text.strip_prefix("text ") {
                Some(text) => text.encode_utf16().map(|unit| key(true, 0, unit, 0)).collect(),
                None => return Err("no such key".into()),
            },
        };
        let mut written = 0;
        // SAFETY: the number of records is the one given.
        let done = unsafe {
            WriteConsoleInputW(
                io::stdin().as_raw_handle(),
                records.as_ptr(),
                records.len() as u32,
                &mut written,
            )
        };
        if done == 0 { Err(io::Error::last_os_error().into()) } else { Ok(()) }
    }
}
