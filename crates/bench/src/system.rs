//! The machine: processors, the accounting of processes, limits.

use std::io;

/// Pins this thread, and the processes that it starts, to one processor.
pub fn pin(cpu: usize) -> io::Result<()> {
    pin_process(0, cpu)
}

/// Pins another process's first thread to one processor.
pub fn pin_process(process: u32, cpu: usize) -> io::Result<()> {
    // SAFETY: all-zero bytes are an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `cpu` is checked by the macro's function against the set's size.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set is readable for the length given.
    match unsafe { libc::sched_setaffinity(process as libc::pid_t, size_of_val(&set), &set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets this thread, and the processes that it starts, run on each processor.
pub fn unpin() -> io::Result<()> {
    // SAFETY: all-zero bytes are an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for cpu in 0..libc::CPU_SETSIZE as usize {
        // SAFETY: `cpu` is checked by the macro's function against the set's size.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: the set is readable for the length given. The system leaves out the processors that there are not.
    match unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives this thread the lowest priority.
pub fn yield_to_others() {
    // SAFETY: no pointers. On Linux the priority is the calling thread's alone.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
}

/// Raises the limit of descriptors as far as the system allows. Returns the limit.
pub fn raise_descriptor_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is writable, then readable.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
    }
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

/// Seconds of processor time that all threads of a process have used, in user and system mode.
pub fn cpu_seconds(process: u32) -> io::Result<f64> {
    let mut ns = 0.0;
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let schedstat = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        ns += schedstat.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0);
    }
    Ok(ns / 1e9)
}

/// Seconds in which the machine's processors were not idle, all together. In steps of a hundredth.
pub fn busy_seconds() -> io::Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    // The fourth is idle, and the fifth idle with a disk that works. Those behind the eighth are in the others as well.
    Ok(ticks
        .iter()
        .take(8)
        .enumerate()
        .filter(|(at, _)| !matches!(at, 3 | 4))
        .map(|(_, ticks)| ticks)
        .sum::<f64>()
        / 100.0)
}

/// Seconds of processor time that this thread has used.
pub fn thread_cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

pub fn make_fifo(path: &std::path::Path) -> io::Result<()> {
    let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
    // SAFETY: the path ends with a zero.
    if unsafe { libc::mkfifo(path.as_ptr(), 0o600) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether there is something to read, after up to `timeout_ms`.
pub fn readable(file: &impl std::os::fd::AsRawFd, timeout_ms: i32) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the structure is writable.
    match unsafe { libc::poll(&mut poll, 1, timeout_ms) } {
        -1 => Err(io::Error::last_os_error()),
        count => Ok(count > 0),
    }
}

/// Makes the system end this process when its parent ends, in whatever way.
pub fn end_with_parent() -> io::Result<()> {
    // SAFETY: no pointers.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

pub fn terminate(process: u32) {
    // SAFETY: no pointers. It is a child, or a child of one, that was not waited for.
    unsafe { libc::kill(process as libc::pid_t, libc::SIGTERM) };
}

/// Sends the signal of Ctrl-C to a program.
pub fn interrupt(process: u32) {
    // SAFETY: no pointers. It is a child that was not waited for, so the number still belongs to it.
    unsafe { libc::kill(process as libc::pid_t, libc::SIGINT) };
}

/// Resident bytes of a process.
pub fn resident_bytes(process: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.map(|kilobytes| kilobytes * 1024).ok_or_else(|| io::Error::other("no VmRSS"))
}

/// The description of the machine, without which the results mean nothing.
pub fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown processor");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = load_average();
    format!(
        "{}, {cores} cores, Linux {}, {load} at the start",
        model.trim_start_matches([' ', '\t', ':']),
        kernel.trim()
    )
}

/// The load of the last minute.
pub fn load_average() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load {}", load.split_whitespace().next().unwrap_or("?"))
}
