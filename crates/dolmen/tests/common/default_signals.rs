//! The start of programs in tests.

use std::process::Command;

/// Makes a program start with every signal at its default action and none blocked. A program inherits the signals that
/// its parent ignores and blocks, and dolmen does not change that; but the expectation of a test must not depend on the
/// program that started the tests: nohup(1), a job runner, a shell's background.
pub fn with_default_signals(command: &mut Command) -> &mut Command {
    #[cfg(unix)]
    // SAFETY: system calls only, which a process between fork and exec may make; the set is initialised by the first.
    unsafe {
        use std::os::unix::process::CommandExt as _;
        command.pre_exec(|| {
            for signal in 1..=libc::SIGRTMAX() {
                // Refused for the signals that have no other action.
                libc::signal(signal, libc::SIG_DFL);
            }
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
            Ok(())
        });
    }
    command
}
