//! The server, a process of its own.

use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::system;

/// The server. It ends when this is dropped.
pub struct FrontEnd {
    process: Child,
    pub address: SocketAddr,
    config: PathBuf,
    log_bytes: Arc<AtomicU64>,
}

impl FrontEnd {
    /// Starts it with this configuration and a telnet port on loopback.
    pub fn start(program: &[PathBuf], settings: &str) -> io::Result<FrontEnd> {
        let config = std::env::temp_dir().join(format!("dolmend-{}.conf", std::process::id()));
        std::fs::write(&config, format!("port : 127.0.0.1:0\n{settings}"))?;
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]).arg("-f").arg(&config);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut process = process.map_err(|error| with(error, &program[0]))?;
        let stderr = process.stderr.take().ok_or_else(|| io::Error::other("no error output"))?;
        let mut server = FrontEnd {
            process,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            config,
            log_bytes: Arc::default(),
        };
        let mut stderr = BufReader::new(stderr);
        let (mut line, mut all) = (String::new(), String::new());
        while server.address.port() == 0 {
            line.clear();
            if stderr.read_line(&mut line)? == 0 {
                return Err(io::Error::other(format!("the front end did not start:\n{all}")));
            }
            all.push_str(&line);
            let address = line.strip_prefix("listening ").and_then(|line| line.split(' ').next());
            server.address = address.and_then(|address| address.parse().ok()).unwrap_or(server.address);
        }
        let log_bytes = Arc::clone(&server.log_bytes);
        std::thread::spawn(move || {
            let mut line = Vec::new();
            while stderr.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                log_bytes.fetch_add(line.len() as u64, Ordering::Relaxed);
                line.clear();
            }
        });
        Ok(server)
    }

    /// How much it has logged.
    pub fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }

    pub fn cpu_seconds(&self) -> io::Result<f64> {
        system::cpu_seconds(self.process.id())
    }

    /// From here on the peak of the memory is a new one.
    pub fn forget_peak(&self) -> io::Result<()> {
        std::fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5")
    }

    /// Its memory now, and at the peak.
    pub fn memory(&self) -> io::Result<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) / 1024.0
        };
        Ok(format!("memory {:.1} MiB, peak {:.1} MiB", mib("VmRSS:"), mib("VmHWM:")))
    }
}

impl Drop for FrontEnd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.config);
    }
}

fn with(error: io::Error, program: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", program.display()))
}
