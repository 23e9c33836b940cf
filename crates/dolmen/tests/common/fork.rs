//! Forked processes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::io::write;

/// A forked process, which has to exit successfully.
pub struct Forked(libc::pid_t);

impl Forked {
    #[track_caller]
    pub fn ends_well(self) {
        let mut status = 0;
        // SAFETY: it is our child, and the status is writable.
        let pid = unsafe { libc::waitpid(self.0, &mut status, 0) };
        assert_eq!((pid, status), (self.0, 0), "the forked process has failed");
    }
}

/// Runs `body` in a forked process, which then ends.
pub fn fork(body: impl FnOnce()) -> Forked {
    // SAFETY: the child runs only code that the library promises to work there, and ends without running any of the
    // parent's.
    match unsafe { libc::fork() } {
        0 => {
            // A test that hangs there has to end as well.
            // SAFETY: the default action of the alarm is to end the process.
            unsafe { libc::alarm(25) };
            let failed = catch_unwind(AssertUnwindSafe(body)).is_err_and(|panic| {
                let text = panic.downcast_ref::<String>().map_or("it has panicked", String::as_str);
                let _ = write(std::io::stderr(), format!("in the forked process: {text}\n").as_bytes());
                true
            });
            // SAFETY: ends the process.
            unsafe { libc::_exit(i32::from(failed)) }
        }
        pid => {
            assert!(pid > 0, "{}", std::io::Error::last_os_error());
            Forked(pid)
        }
    }
}
