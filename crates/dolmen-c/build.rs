//! Gives the shared library a name: without one, programs that are linked to it by its path look for it at that path.
//!
//! Not a versioned name: programs linked in the build folder, where nobody makes links, are to start as well.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libio_reactor.so");
    }
}
