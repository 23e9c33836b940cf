//! The committed header matches the sources: `cargo xtask header` writes it, and this test compares.
#![cfg(unix)]

use std::path::Path;

const INTRODUCTION: &str = r#"/*
 * io_reactor.h - one wait for every event source of a game driver: players' sockets, listening ports, the console,
 * timers and messages from other threads.
 *
 * Two models behind one set of functions. On POSIX an event says that a socket is ready, and the caller reads, writes
 * and accepts. On Windows a read or write event says that the operation has completed, and brings the bytes; only
 * listening sockets, datagram sockets and standard input are reported when they are ready. docs/c-guide.md shows a
 * driver that does both.
 *
 * Threads: one thread at a time uses a reactor; a call that finds another thread inside the same reactor returns -1.
 * The exceptions are io_reactor_wakeup(), io_reactor_post() and the functions without a reactor: any thread may call
 * those. Destroy a reactor in the thread that used it last, and not in DllMain, a destructor of thread-local storage or
 * a static destructor: it waits for its threads, which cannot end there.
 *
 * Every function accepts NULL for a reactor: io_reactor_destroy() then does nothing, and the others fail. A function
 * returns -1 on failure unless it says otherwise, and io_reactor_last_error() then returns the reason.
 *
 * Generated from crates/dolmen-c/src by `cargo xtask header`: change it there.
 */"#;

const SOCKETS: &str = r#"
#ifdef _WIN32
/* winsock2.h has to come before windows.h. */
#include <winsock2.h>
#else
#include <sys/time.h>
#endif

/*
 * A program that has its own socket_fd_t (SOCKET on Windows, int elsewhere) may define it before or after this header:
 * C11 and C++ accept the same typedef twice, and so does GCC for C99 if this one comes second. Define
 * IO_REACTOR_NO_SOCKET_FD_T before this header, and socket_fd_t as well, if the program's own is a macro, if GCC
 * compiles C99 and this one comes first, or for another compiler with pedantic C99.
 */
#if !defined(IO_REACTOR_NO_SOCKET_FD_T) && !defined(socket_fd_t)
#if defined(__GNUC__) && !defined(__cplusplus)
__extension__
#endif
#ifdef _WIN32
typedef SOCKET socket_fd_t;
#else
typedef int socket_fd_t;
#endif
#endif

/* The version of this header; see io_reactor_version() for the library's. */
#define IO_REACTOR_VERSION "@VERSION@"
#define IO_REACTOR_VERSION_MAJOR @MAJOR@
#define IO_REACTOR_VERSION_MINOR @MINOR@
#define IO_REACTOR_VERSION_PATCH @PATCH@

/**
 * A reactor. Opaque: use it through the functions.
 *
 * Unless a function says otherwise it may be called by any one thread at a time, normally the one that waits. A call
 * that finds another thread inside the same reactor returns -1 and does nothing.
 */
typedef struct io_reactor_s io_reactor_t;
"#;

#[test]
fn the_committed_header_is_what_the_sources_make() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = generate(here);
    let committed = here.join("include/io_reactor.h");
    if std::env::var_os("IO_REACTOR_WRITE_HEADER").is_some() {
        std::fs::write(&committed, made).expect("the header can be written");
        return;
    }
    let found = std::fs::read_to_string(&committed).unwrap_or_default().replace("\r\n", "\n");
    // Not assert_eq, which would print both in full.
    let differs = (1..).zip(made.lines().zip(found.lines())).find(|(_, (made, found))| made != found);
    assert!(made == found, "include/io_reactor.h is out of date ({differs:?}); type: cargo xtask header");
}

fn generate(here: &Path) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut numbers = version.split('.');
    let mut number = || numbers.next().expect("a version has three numbers");
    let sockets = SOCKETS
        .replace("@VERSION@", version)
        .replace("@MAJOR@", number())
        .replace("@MINOR@", number())
        .replace("@PATCH@", number());
    let mut config = cbindgen::Config {
        language: cbindgen::Language::C,
        cpp_compat: true,
        include_guard: Some("IO_REACTOR_H".to_owned()),
        header: Some(INTRODUCTION.to_owned()),
        no_includes: true,
        after_includes: Some(format!("#include <stddef.h>\n#include <stdint.h>\n{sockets}")),
        documentation_style: cbindgen::DocumentationStyle::Doxy,
        usize_is_size_t: true,
        style: cbindgen::Style::Type,
        line_length: 118,
        ..cbindgen::Config::default()
    };
    config.function.sort_by = Some(cbindgen::SortKey::None);
    config.constant.sort_by = Some(cbindgen::SortKey::None);
    config.function.no_return = None;
    config.export.exclude = ["socket_fd_t", "timeval", "io_reactor_t"].map(str::to_owned).to_vec();
    config.export.rename.insert("timeval".to_owned(), "struct timeval".to_owned());
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in ["src/types.rs", "src/instance.rs", "src/lib.rs"] {
        builder = builder.with_src(here.join(source));
    }
    let mut text = Vec::new();
    builder.generate().expect("the sources can be parsed").write(&mut text);
    let text = String::from_utf8(text).expect("a header is text");
    // C89 knows neither of these.
    text.replace("  // __cplusplus", " /* __cplusplus */")
        .replace(" // __cplusplus", " /* __cplusplus */")
        .replace(",\n} console_type_t;", "\n} console_type_t;")
}

/// The program in the guide is one that the C tests compile and run.
#[test]
fn the_link_of_the_guide_is_the_one_of_the_tests() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(here.join(path)).expect(path).replace("\r\n", "\n");
    let guide = read("../../docs/c-guide.md");
    let (_, program) = guide.split_once("```c\n").expect("the guide has a program");
    let (program, _) = program.split_once("```").expect("it ends");
    assert!(program.contains("io_reactor_connect"), "another program comes first");
    assert!(read("tests/c/connect.c").contains(program), "docs/c-guide.md and tests/c/connect.c differ");
}
