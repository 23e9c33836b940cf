//! Gives the shared library its SONAME, libio_reactor.so.MAJOR: the name under which programs look for it at their
//! start.
//!
//! A program that is linked in the build folder needs a link of that name there; `cargo xtask test-c` makes it, and
//! `cargo xtask install-c` installs the usual ones.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        let major = std::env::var("CARGO_PKG_VERSION_MAJOR").expect("cargo sets it");
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libio_reactor.so.{major}");
    }
}
