//! Builds the libuv contender, a program in C, where the system has libuv's package. Elsewhere the results give the
//! reason.

use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "src/servers/libuv.c";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    let (name, value) = match build() {
        Ok(program) => ("BENCH_LIBUV_PROGRAM", program),
        Err(why) => ("BENCH_LIBUV_ABSENT", why.replace('\n', " ")),
    };
    println!("cargo::rustc-env={name}={value}");
}

fn build() -> Result<String, String> {
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return Err("it is built on Linux only".to_owned());
    }
    let flags = Command::new("pkg-config").args(["--cflags", "--libs", "libuv"]).output();
    let flags = flags.map_err(|error| format!("no pkg-config to look for libuv with: {error}"))?;
    if !flags.status.success() {
        return Err("libuv is not installed (Debian, Ubuntu: apt-get install libuv1-dev)".to_owned());
    }
    let flags = String::from_utf8_lossy(&flags.stdout).into_owned();
    let folder = std::env::var_os("OUT_DIR").ok_or("cargo names no output folder")?;
    let program = PathBuf::from(folder).join("libuv-server");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-Wall", "-o"]).arg(&program).arg(SOURCE).args(flags.split_whitespace());
    let built = compiler.output().map_err(|error| format!("cc: {error}"))?;
    if built.status.success() {
        Ok(program.display().to_string())
    } else {
        Err(String::from_utf8_lossy(&built.stderr).into_owned())
    }
}
