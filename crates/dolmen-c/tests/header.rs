//! The committed headers match the sources: `cargo xtask header` writes them, and this test compares.
#![cfg(unix)]

use std::path::{Path, PathBuf};

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
 * The exceptions are io_reactor_wakeup(), io_reactor_post(), io_reactor_get_console_type(), io_reactor_native_handle()
 * and the functions without a reactor: any thread may call those. Destroy a reactor in the thread that used it last, and
 * not in DllMain, a destructor of thread-local storage or a static destructor: it waits for its threads, which cannot
 * end there.
 *
 * Every function accepts NULL for a reactor: io_reactor_destroy() then does nothing, and the others fail. A function
 * returns -1 on failure unless it says otherwise, and io_reactor_last_error() then returns the reason, except of
 * io_reactor_wakeup(). That one is also the only one for signal handlers (POSIX), and leaves errno as it is.
 *
 * Generated from crates/dolmen-c/src by `cargo xtask header`: change it there.
 */"#;

const ASYNC_INTRODUCTION: &str = r#"/*
 * async_runtime.h - the reactor of io_reactor.h for drivers that were written for async_runtime.h: events with the
 * socket and a completion key, completions from any thread, and on Windows accepted sockets. The same library serves
 * both headers; a file includes one of them. docs/c-guide.md has a chapter for such drivers.
 *
 * On POSIX an event says that a socket is ready, and the caller reads, writes and accepts. On Windows an event of a
 * connected socket says that a read or a write has completed, and brings the bytes; that of a listening socket brings a
 * connection. Queues, workers and the console's worker stay the program's own.
 *
 * Threads: one thread at a time uses a runtime; a call that finds another thread inside the same runtime returns -1.
 * Any thread may call async_runtime_wakeup(), async_runtime_post_completion(), all async_runtime_get_...() and the
 * functions without a runtime. Destroy a runtime in the thread that used it last, and not in DllMain, a destructor of
 * thread-local storage or a static destructor.
 *
 * Every function accepts NULL for a runtime: async_runtime_deinit() then does nothing, and the others fail. A function
 * returns -1 on failure unless it says otherwise, and async_runtime_last_error() then returns the reason, except of
 * async_runtime_wakeup(). That one is also the only one for signal handlers (POSIX), and leaves errno as it is.
 *
 * Generated from crates/dolmen-c/src by `cargo xtask header`: change it there.
 */"#;

const INCLUDES: &str = r#"#ifdef @OTHER_GUARD@
#error "io_reactor.h and async_runtime.h both have an io_event_t: include one of the two in a file"
#endif

#include <stddef.h>
#include <stdint.h>

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

/*
 * For 32 bits some C libraries have two forms of struct timeval, and to this library a timeout in the wider one would be
 * another time, often none. If this line is an error, compile without _TIME_BITS=64 (-U_TIME_BITS, or -D_TIME_BITS=32).
 */
typedef char @PREFIX@_is_for_programs_without_TIME_BITS_64[sizeof(struct timeval) == 2 * sizeof(long) ? 1 : -1];
"#;

const REACTOR: &str = r#"
/* The version of this header; see io_reactor_version() for the library's. */
#define IO_REACTOR_VERSION "@VERSION@"
#define IO_REACTOR_VERSION_MAJOR @MAJOR@
#define IO_REACTOR_VERSION_MINOR @MINOR@
#define IO_REACTOR_VERSION_PATCH @PATCH@

/** An object of the system's: a HANDLE on Windows, a descriptor elsewhere. */
#ifdef _WIN32
typedef void *io_reactor_handle_t;
#else
typedef int io_reactor_handle_t;
#endif

/**
 * A reactor. Opaque: use it through the functions.
 *
 * Unless a function says otherwise it may be called by any one thread at a time, normally the one that waits. A call
 * that finds another thread inside the same reactor returns -1 and does nothing.
 */
typedef struct io_reactor_s io_reactor_t;
"#;

const RUNTIME: &str = r#"
/**
 * A runtime. Opaque: use it through the functions.
 *
 * Unless a function says otherwise it may be called by any one thread at a time, normally the one that waits. A call
 * that finds another thread inside the same runtime returns -1 and does nothing.
 */
typedef struct async_runtime_s async_runtime_t;
"#;

/// One of the two headers.
struct Header {
    name: &'static str,
    guard: &'static str,
    other_guard: &'static str,
    introduction: &'static str,
    /// What stands in front of the generated part, by hand.
    opening: &'static str,
    sources: &'static [&'static str],
    /// C's names for some of the types.
    renamed: &'static [(&'static str, &'static str)],
}

const HEADERS: [Header; 2] = [
    Header {
        name: "io_reactor.h",
        guard: "IO_REACTOR_H",
        other_guard: "ASYNC_RUNTIME_H",
        introduction: INTRODUCTION,
        opening: REACTOR,
        sources: &[
            "src/types.rs",
            "src/types/io_reactor.rs",
            "src/lib.rs",
            "src/timers.rs",
            "src/waiting.rs",
            "src/extended.rs",
        ],
        renamed: &[],
    },
    Header {
        name: "async_runtime.h",
        guard: "ASYNC_RUNTIME_H",
        other_guard: "IO_REACTOR_H",
        introduction: ASYNC_INTRODUCTION,
        opening: RUNTIME,
        sources: &["src/types.rs", "src/types/async_runtime.rs", "src/async_runtime.rs"],
        renamed: &[("async_event_t", "io_event_t")],
    },
];

/// Written by hand, or the system's.
const NOT_GENERATED: [&str; 8] = [
    "socket_fd_t",
    "timeval",
    "size_t",
    "uintptr_t",
    "HANDLE",
    "io_reactor_handle_t",
    "io_reactor_t",
    "async_runtime_t",
];

#[test]
fn the_committed_headers_are_what_the_sources_make() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for header in &HEADERS {
        let made = header.generate(here);
        let committed = here.join("include").join(header.name);
        if std::env::var_os("IO_REACTOR_WRITE_HEADER").is_some() {
            std::fs::write(&committed, made).expect("the header can be written");
            continue;
        }
        let found = std::fs::read_to_string(&committed).unwrap_or_default().replace("\r\n", "\n");
        // Not assert_eq, which would print both in full.
        let differs = (1..).zip(made.lines().zip(found.lines())).find(|(_, (made, found))| made != found);
        let name = header.name;
        assert!(made == found, "include/{name} is out of date ({differs:?}); type: cargo xtask header");
    }
}

impl Header {
    fn generate(&self, here: &Path) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let mut numbers = version.split('.');
        let mut number = || numbers.next().expect("a version has three numbers");
        let prefix = self.name.trim_end_matches(".h");
        let includes = INCLUDES.replace("@OTHER_GUARD@", self.other_guard).replace("@PREFIX@", prefix);
        let opening = self
            .opening
            .replace("@VERSION@", version)
            .replace("@MAJOR@", number())
            .replace("@MINOR@", number())
            .replace("@PATCH@", number());
        let mut config = cbindgen::Config {
            language: cbindgen::Language::C,
            cpp_compat: true,
            include_guard: Some(self.guard.to_owned()),
            header: Some(self.introduction.to_owned()),
            no_includes: true,
            after_includes: Some(format!("{includes}{opening}")),
            documentation_style: cbindgen::DocumentationStyle::Doxy,
            style: cbindgen::Style::Type,
            line_length: 118,
            ..cbindgen::Config::default()
        };
        config.function.sort_by = Some(cbindgen::SortKey::None);
        config.constant.sort_by = Some(cbindgen::SortKey::None);
        config.function.no_return = None;
        config.defines.insert("windows".to_owned(), "_WIN32".to_owned());
        config.export.exclude = NOT_GENERATED.map(str::to_owned).to_vec();
        config.export.rename.insert("timeval".to_owned(), "struct timeval".to_owned());
        for (rust, c) in self.renamed {
            config.export.rename.insert((*rust).to_owned(), (*c).to_owned());
        }
        let mut builder = cbindgen::Builder::new().with_config(config);
        for source in self.sources {
            builder = builder.with_src(without_modules(here, self.name, source));
        }
        let mut text = Vec::new();
        builder.generate().expect("the sources can be parsed").write(&mut text);
        let text = String::from_utf8(text).expect("a header is text");
        // C89 knows neither of these.
        text.replace("  // __cplusplus", " /* __cplusplus */")
            .replace(" // __cplusplus", " /* __cplusplus */")
            .replace(",\n} console_type_t;", "\n} console_type_t;")
            // A field of one system, after which the other would have a semicolon by itself.
            .replace("  HANDLE handle\n#endif\n  ;\n", "  HANDLE handle;\n#endif\n")
    }
}

/// A copy of a source for the generator, which would follow the modules, those of the other header as well.
fn without_modules(here: &Path, header: &str, source: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(header);
    std::fs::create_dir_all(&folder).expect("a folder for copies");
    let text = std::fs::read_to_string(here.join(source)).expect(source);
    let is_module =
        |line: &&str| (line.starts_with("mod ") || line.starts_with("pub mod ")) && line.ends_with(';');
    let kept: Vec<&str> = text.lines().filter(|line| !is_module(line)).collect();
    // Attributes of a module would be those of what follows: there are only those of the simulator.
    let text = kept.join("\n").replace("#[cfg(dolmen_sim)]\n#[doc(hidden)]\n#[allow(missing_docs)]\n", "");
    let copy = folder.join(source.replace('/', "-"));
    std::fs::write(&copy, text).expect("a copy");
    copy
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
