//! The table of cases, and a file for each theme.

#[cfg(windows)]
mod connects;
#[cfg(windows)]
mod console;
#[cfg(windows)]
mod files;
#[cfg(any(windows, test))]
mod screen;
#[cfg(windows)]
mod session;
#[cfg(windows)]
mod sockets;
#[cfg(windows)]
mod stdin;
#[cfg(windows)]
mod time;

use std::time::Duration;

use crate::case::{Case, Runs};

/// The function of a case, which only a Windows program has.
macro_rules! on_windows {
    ($function:path) => {{
        #[cfg(windows)]
        let run = Some($function as crate::case::Run);
        #[cfg(not(windows))]
        let run = None;
        run
    }};
}

const POPUPS: Runs = Runs::NotUnderWine("its line editor has no popups");
const HOLD: Runs = Runs::NotUnderWine("its consoles cannot be held");
const SESSION: Runs = Runs::IfNamed {
    needs: "run the program in session 0, as a scheduled task at the start, and log a user off or shut down",
    not_under_wine: "it sends none of the events that end a session",
};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A row for a case with sockets, timers or pipes.
const fn case(name: &'static str, about: &'static str, limit_s: u64, run: Option<crate::case::Run>) -> Case {
    Case { name, about, limit: seconds(limit_s), runs: Runs::Everywhere, console: false, run }
}

/// A row for a case at a console.
const fn at_console(
    name: &'static str,
    about: &'static str,
    runs: Runs,
    run: Option<crate::case::Run>,
) -> Case {
    Case { name, about, limit: seconds(60), runs, console: true, run }
}

/// All cases.
pub const CASES: &[Case] = &[
    at_console(
        "print-under-f7",
        "a text printed while the list of lines (F7) is open appears, and the typed line stays whole",
        POPUPS,
        on_windows!(console::print_under_f7),
    ),
    at_console(
        "print-under-f9",
        "the same while the console asks for the number of a line (F9)",
        POPUPS,
        on_windows!(console::print_under_f9),
    ),
    at_console(
        "print-under-f2",
        "the same while the console asks up to which character to copy (F2)",
        POPUPS,
        on_windows!(console::print_under_f2),
    ),
    at_console(
        "print-under-f4",
        "the same while the console asks up to which character to delete (F4)",
        POPUPS,
        on_windows!(console::print_under_f4),
    ),
    at_console(
        "print-under-ctrl-s",
        "a text printed while Ctrl-S holds the console, with the cursor in mid-line, appears; the line stays whole",
        HOLD,
        on_windows!(console::print_under_ctrl_s),
    ),
    at_console(
        "print-under-pause",
        "the same while the Pause key holds the console",
        HOLD,
        on_windows!(console::print_under_pause),
    ),
    at_console(
        "paste-20000",
        "a pasted line of 20,000 characters arrives up to the console's limit, and the next line is whole",
        Runs::Everywhere,
        on_windows!(console::paste),
    ),
    case(
        "interval-10ms",
        "an interval of 10 ms does not drift, and is never early",
        30,
        on_windows!(time::interval),
    ),
    case("short-waits", "waits of 1, 5 and 15 ms are never early", 30, on_windows!(time::short_waits)),
    case(
        "listener-reset",
        "a listener whose peers connect and reset goes on accepting",
        60,
        on_windows!(sockets::listener_under_resets),
    ),
    case(
        "connects",
        "connects to open and closed ports, from a socket without a port, and cancelled ones are reported once",
        120,
        on_windows!(connects::connects),
    ),
    case(
        "udp-closed-ports",
        "a datagram socket whose peers are gone, or send more than a buffer holds, reports no failure and continues",
        60,
        on_windows!(sockets::closed_ports),
    ),
    case(
        "add-again-receive",
        "a socket that is removed and added again with a receive in flight receives all bytes",
        60,
        on_windows!(sockets::add_again_with_a_receive),
    ),
    case(
        "add-again-send",
        "a socket that is removed with a send in flight is refused, and its number is not",
        60,
        on_windows!(sockets::add_again_with_a_send),
    ),
    case(
        "own-overlapped-call",
        "an overlapped call that the program makes on a registered socket does no harm",
        30,
        on_windows!(sockets::own_overlapped_call),
    ),
    case("watches-300", "300 watches are each reported", 30, on_windows!(sockets::watches)),
    case(
        "stdin-pipe",
        "standard input that is a pipe, and that the program reads itself, is reported",
        30,
        on_windows!(stdin::pipe),
    ),
    case(
        "stdin-overlapped",
        "the same for a pipe that was opened for overlapped calls",
        30,
        on_windows!(stdin::overlapped),
    ),
    case(
        "transmit-file",
        "peers that stall in files that the system transmits delay no file but their own",
        120,
        on_windows!(files::transmit),
    ),
    Case {
        name: "session-end",
        about: "a program that runs as services do survives a log-off, which is not reported to it; a shutdown is",
        limit: seconds(3600),
        runs: SESSION,
        console: false,
        run: on_windows!(session::end),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_has_a_name_of_its_own_that_can_be_typed() {
        for (n, case) in CASES.iter().enumerate() {
            let is_typed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(case.name.chars().all(is_typed), "{}", case.name);
            assert!(!case.about.is_empty() && !case.limit.is_zero(), "{}", case.name);
            assert!(CASES[n + 1..].iter().all(|other| other.name != case.name), "{} twice", case.name);
        }
    }

    #[test]
    fn a_windows_program_has_the_function_of_each_case_that_runs() {
        for case in CASES {
            assert_eq!(case.run.is_some(), cfg!(windows), "{}", case.name);
        }
    }
}
