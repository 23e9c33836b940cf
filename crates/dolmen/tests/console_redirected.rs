//! Standard input that is not a terminal: pipes, files, nothing; on Linux and (see `console_rig`) under Wine.
#![cfg(target_os = "linux")]

#[path = "console_rig/mod.rs"]
mod rig;

use std::fs::File;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rig::{Link, redirected, wine};

/// A probe with a pipe as its input, which it reads.
fn piped(mode: &str) -> (Child, Link) {
    let (child, link) = redirected(Stdio::piped());
    link.send(&format!("console {mode}"));
    link.expect("console pipe");
    (child, link)
}

fn write(child: &mut Child, text: &[u8]) {
    child.stdin.as_mut().expect("it is open").write_all(text).expect("it is read");
}

/// All reports up to the end of input, which is reported once.
#[track_caller]
fn to_the_end(link: &Link) -> Vec<String> {
    let mut reported = Vec::new();
    loop {
        match link.next() {
            end if end == "end" => break,
            line => reported.push(line),
        }
    }
    link.silent(Duration::from_millis(100));
    reported
}

#[test]
fn hc31_a_silent_pipe_costs_nothing() {
    let (mut child, link) = piped("line");
    rig::costs_nothing(&child, &link, Duration::from_secs(5));
    write(&mut child, b"line\n");
    link.expect(r#"line "line""#);
    link.order("return 0");
    rig::wait(&mut child);
}

#[test]
fn a_piped_line_is_reported_within_ten_milliseconds() {
    let (mut child, link) = piped("line");
    let mut times = Vec::new();
    // The same path without the pipe: the delay of a busy machine is in both.
    let mut without = Vec::new();
    for number in 0..100 {
        let sent = Instant::now();
        link.order("sync");
        without.push(sent.elapsed());
        let written = Instant::now();
        write(&mut child, format!("line {number}\n").as_bytes());
        let (reported_at, reported) = link.next_at();
        assert_eq!(reported, format!("line \"line {number}\""));
        times.push(reported_at - written);
    }
    times.sort();
    without.sort();
    println!("piped line to event: median {:?}, worst of 100 {:?}", times[50], times[99]);
    // A polling interval would delay only the lines.
    let bound = Duration::from_millis(10) + 3 * without[50];
    assert!(times[50] < bound, "a line of a socket takes {:?}, one of the pipe {times:?}", without[50]);
    link.order("return 0");
    rig::wait(&mut child);
}

#[test]
fn hc36_what_is_in_the_pipe_when_its_writer_goes_is_delivered_before_the_end() {
    let (mut child, link) = redirected(Stdio::piped());
    write(&mut child, b"a\nb");
    drop(child.stdin.take());
    link.send("console line");
    link.expect("console pipe");
    assert_eq!(to_the_end(&link), [r#"line "a""#, r#"line "b""#]);
    rig::costs_nothing(&child, &link, Duration::from_secs(1));
    link.order("return 0");
    assert!(rig::wait(&mut child).success());
}

#[test]
fn hc36_the_same_while_it_is_being_read() {
    let (mut child, link) = piped("line");
    write(&mut child, b"a\nb\xff");
    drop(child.stdin.take());
    assert_eq!(to_the_end(&link), [r#"line "a""#, "line \"b\u{fffd}\""]);
    link.order("return 0");
    rig::wait(&mut child);
}

#[test]
fn a_mode_switch_in_mid_line_keeps_a_pipes_bytes() {
    let (mut child, link) = piped("line");
    write(&mut child, b"one\nhal");
    link.expect(r#"line "one""#);
    let mut came = link.order_among("mode raw").concat();
    write(&mut child, b"f");
    while !came.ends_with("f\"") {
        came.push_str(&link.next());
    }
    assert_eq!(came.replace("\"bytes \"", ""), r#"bytes "half""#);
    link.order("return 0");
    rig::wait(&mut child);
}

#[test]
fn a_long_script_waits_in_its_pipe_and_arrives_whole() {
    let (mut child, link) = piped("line");
    let mut stdin = child.stdin.take().expect("it is open");
    let writer = std::thread::spawn(move || {
        for number in 0..50_000 {
            writeln!(stdin, "line number {number}").expect("it is read");
        }
    });
    // The program does not wait for a while, and there is more than all buffers hold. Some lines may be reported before.
    let mut came = link.order_among("busy 300").into_iter();
    for number in 0..50_000 {
        let line = came.next().unwrap_or_else(|| link.next());
        assert_eq!(line, format!("line \"line number {number}\""));
    }
    link.expect("end");
    writer.join().expect("all was written");
    link.order("return 0");
    rig::wait(&mut child);
}

#[test]
fn a_line_without_end_is_cut_and_the_next_is_whole() {
    let (mut child, link) = piped("line");
    write(&mut child, "x".repeat(200_000).as_bytes());
    link.expect("cut 65536");
    write(&mut child, b"rest\nnext\n");
    link.expect(r#"line "next""#);
    link.order("return 0");
    rig::wait(&mut child);
}

#[test]
fn hc31_a_file_is_read_to_its_end() {
    let folder = Scratch::new("file");
    std::fs::write(&folder.file, "one\r\ntwo\n\nlast").expect("written");
    let (mut child, link) = redirected(File::open(&folder.file).expect("opened"));
    link.send("console line");
    link.expect("console file");
    assert_eq!(to_the_end(&link), [r#"line "one""#, r#"line "two""#, r#"line """#, r#"line "last""#]);
    rig::costs_nothing(&child, &link, Duration::from_secs(1));
    link.order("return 0");
    rig::wait(&mut child);
}

#[test]
fn hc31_nothing_has_its_end_at_once() {
    let (mut child, link) = redirected(Stdio::null());
    link.send("console line");
    // Wine shows the Linux device as some kind of device.
    let reported = link.next();
    assert!(reported == "console nothing" || (wine() && reported.starts_with("console ")), "{reported}");
    assert_eq!(to_the_end(&link), [""; 0]);
    rig::costs_nothing(&child, &link, Duration::from_secs(1));
    link.order("return 0");
    rig::wait(&mut child);
}

#[test]
fn hc31_a_closed_standard_input_has_its_end_at_once() {
    let call = rig::Call::new();
    let probe = rig::program("examples", "console_probe");
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" <&-", "sh"]).arg(probe.get_program()).args(probe.get_args());
    let mut child = rig::with_default_signals(shell.arg(call.address())).spawn().expect("it starts");
    let link = call.accept();
    link.expect("ready");
    link.send("console line");
    assert!(link.next().starts_with("console "));
    assert_eq!(to_the_end(&link), [""; 0]);
    rig::costs_nothing(&child, &link, Duration::from_secs(1));
    link.order("return 0");
    rig::wait(&mut child);
}

#[test]
fn all_output_is_delivered_before_the_program_ends() {
    use std::io::Read as _;
    let (mut child, link) = piped("line");
    for number in 0..2000 {
        link.order(&format!("print {number} {}", "x".repeat(100)));
    }
    link.order("return 7");
    // Far more than a pipe holds, and the output is not read before this.
    let mut output = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut output).expect("read");
    let expected: String = (0..2000).map(|number| format!("{number} {}\n", "x".repeat(100))).collect();
    assert!(output == expected, "{} bytes of {}", output.len(), expected.len());
    assert_eq!(rig::wait(&mut child).code(), Some(7));
}

#[test]
fn a_script_whose_replies_are_unread_waits_and_loses_none() {
    use std::io::Read as _;
    // More than the output queue takes, which would be refused.
    const LINES: usize = 6000;
    let (mut child, link) = piped("line");
    link.order("answer 1000");
    let mut stdin = child.stdin.take().expect("it is open");
    let writer = std::thread::spawn(move || {
        for number in 0..LINES {
            writeln!(stdin, "{number}").expect("it is read");
        }
    });
    // The loop goes on for all other sources, and costs nothing.
    let waits = || {
        link.order("sync");
        link.waits()
    };
    let mut before = waits();
    loop {
        link.silent(Duration::from_millis(200));
        let now = waits();
        if now - before <= 2 {
            break;
        }
        before = now;
    }
    rig::costs_nothing(&child, &link, Duration::from_millis(500));
    link.order("flush");
    link.silent(Duration::from_millis(50));
    let mut output = vec![0; LINES * 1001];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut output).expect("read");
    let expected: String = (0..LINES).map(|number| format!("{number:>1000}\n")).collect();
    assert!(output == expected.as_bytes(), "something was lost");
    let mut reported = vec![link.next(), link.next()];
    reported.sort();
    assert_eq!(reported, ["drained", "end"]);
    writer.join().expect("all was written");
    link.order("return 0");
    rig::wait(&mut child);
}

/// Standard output is a pipe that a parent has left non-blocking, and its reader is late.
#[test]
fn hc51_output_to_a_non_blocking_pipe_arrives_whole() {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    use std::io::Read as _;
    const LINES: usize = 1500;
    let (mut reader, writer) =
        rustix::pipe::pipe().map(|(it, other)| (File::from(it), other)).expect("a pipe");
    fcntl_setfl(&writer, fcntl_getfl(&writer).expect("flags") | OFlags::NONBLOCK).expect("flags");
    let (mut child, link) = rig::redirected_to(Stdio::piped(), writer);
    link.send("console line");
    link.expect("console pipe");
    link.order("answer 600");
    let mut stdin = child.stdin.take().expect("it is open");
    let script: String = (0..LINES).map(|number| format!("{number}\n")).collect();
    let writer = std::thread::spawn(move || stdin.write_all(script.as_bytes()).expect("it is read"));
    // The text printed up to here is more than the pipe holds.
    let mut reported = Vec::new();
    for _ in 0..100 {
        reported.extend(link.order_among(&format!("print {}", "x".repeat(2000))));
    }
    let reader = std::thread::spawn(move || {
        let mut output = String::new();
        reader.read_to_string(&mut output).expect("text");
        output
    });
    if reported.is_empty() {
        link.expect("end");
    }
    link.send("flush");
    let mut reported = [link.next(), link.next()];
    reported.sort();
    assert_eq!(reported, ["drained", "ok flush"]);
    link.order("return 0");
    assert!(rig::wait(&mut child).success());
    writer.join().expect("all was written");
    let mut output = reader.join().expect("all was read");
    output.retain(|c| c != 'x');
    // Of each of those texts, the end of a line remains.
    let answers: String = output.split_inclusive('\n').filter(|line| line.len() > 1).collect();
    let expected: String = (0..LINES).map(|number| format!("{number:>600}\n")).collect();
    assert!(answers == expected, "{} bytes of {}", answers.len(), expected.len());
}

#[test]
fn a_console_that_is_given_up_and_taken_again_loses_nothing() {
    const LINES: usize = 3000;
    let text: String = (0..LINES).map(|number| format!("line number {number}\n")).collect();
    let folder = Scratch::new("again");
    for file in [false, true] {
        let (mut child, link) = if file {
            std::fs::write(&folder.file, &text).expect("written");
            redirected(File::open(&folder.file).expect("opened"))
        } else {
            redirected(Stdio::piped())
        };
        let stdin = child.stdin.take();
        std::thread::scope(|scope| {
            if let Some(mut stdin) = stdin {
                // In pieces that do not end at line ends.
                let text = &text;
                scope.spawn(move || {
                    for piece in text.as_bytes().chunks(777) {
                        stdin.write_all(piece).expect("it is read");
                    }
                });
            }
            link.send("console line");
            link.expect(if file { "console file" } else { "console pipe" });
            let mut reported = Vec::new();
            while reported.last().is_none_or(|last| last != "end") {
                link.send("again line");
                reported.extend(std::iter::from_fn(|| {
                    Some(link.next()).filter(|reported| reported != "ok again")
                }));
            }
            reported.pop();
            assert_eq!(reported.len(), LINES, "{:?}", reported.iter().rev().take(3).collect::<Vec<_>>());
            for (number, reported) in reported.iter().enumerate() {
                assert_eq!(*reported, format!("line \"line number {number}\""));
            }
        });
        link.order_among("return 0");
        rig::wait(&mut child);
    }
}

#[test]
fn a_read_that_is_under_way_delays_no_end() {
    let (mut child, link) = piped("line");
    let started = Instant::now();
    link.send("remove");
    link.expect("removed true");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    link.order("return 0");
    rig::wait(&mut child);
}

#[test]
fn the_standard_input_of_others_stays_as_it_is() {
    if wine() {
        // A Windows pipe has no such state.
        let (mut child, link) = piped("line");
        link.order("return 0");
        assert!(rig::wait(&mut child).success());
        return;
    }
    let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
    let (reader, mut writer) = (File::from(reader), File::from(writer));
    let flags = |fd: &File| rustix::fs::fcntl_getfl(fd).expect("flags");
    let before = flags(&reader);
    let (mut child, link) = redirected(reader.try_clone().expect("a descriptor"));
    link.send("console line");
    link.expect("console pipe");
    writer.write_all(b"x\n").expect("written");
    link.expect(r#"line "x""#);
    assert_eq!(flags(&reader), before, "while it is read");
    link.order("return 0");
    rig::wait(&mut child);
    assert_eq!(flags(&reader), before, "afterwards");
}

/// A file of this test, removed with it.
struct Scratch {
    file: std::path::PathBuf,
}

impl Scratch {
    fn new(name: &str) -> Scratch {
        let file = std::env::temp_dir().join(format!("dolmen-console-{name}-{}", std::process::id()));
        Scratch { file }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

#[test]
fn hc19_a_flooding_script_starves_nobody() {
    let (mut child, link) = piped("line");
    let mut stdin = child.stdin.take().expect("it is open");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let lines = "nonsense\n".repeat(1000);
            while !stop.load(Ordering::Relaxed) {
                stdin.write_all(lines.as_bytes()).expect("it is read");
            }
        });
        // The program replies in the middle of it, repeatedly.
        for _ in 0..20 {
            let among = link.order_among("sync");
            assert!(among.iter().all(|reported| reported == "line \"nonsense\""));
        }
        stop.store(true, Ordering::Relaxed);
        while !link.order_among("sync").is_empty() {}
    });
    link.order_among("return 0");
    rig::wait(&mut child);
}

#[test]
fn hc19_a_flooding_connection_does_not_starve_the_console() {
    let (mut child, link) = piped("line");
    let mut orders = link.orders();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                orders.write_all("nothing\n".repeat(500).as_bytes()).expect("the probe reads");
            }
        });
        for number in 0..20 {
            write(&mut child, format!("{number}\n").as_bytes());
            let expected = format!("line \"{number}\"");
            while link.next() != expected {}
        }
        stop.store(true, Ordering::Relaxed);
    });
    // An order would wait behind the whole flood in flight, and on a busy machine that takes time.
    child.kill().expect("it runs");
    rig::wait(&mut child);
}

#[test]
fn hc57_a_script_with_a_byte_order_mark_or_in_utf16_is_read_as_text() {
    let text = "who\r\nsay grüße 🚀\r\nlast";
    let utf16 = |bytes: fn(u16) -> [u8; 2]| {
        let text = format!("\u{feff}{text}");
        text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>()
    };
    let scripts = [
        format!("\u{feff}{text}").into_bytes(),
        utf16(u16::to_le_bytes),
        utf16(u16::to_be_bytes),
        text.into(),
    ];
    for script in scripts {
        // From a pipe, in pieces that cut the mark and the characters.
        let (mut child, link) = piped("line");
        script.chunks(1).for_each(|byte| write(&mut child, byte));
        drop(child.stdin.take());
        assert_eq!(to_the_end(&link), [r#"line "who""#, r#"line "say grüße 🚀""#, r#"line "last""#]);
        link.order("return 0");
        rig::wait(&mut child);
    }
    let (mut child, link) = piped("raw");
    write(&mut child, b"\xef\xbb\xbfkeys");
    drop(child.stdin.take());
    assert_eq!(to_the_end(&link).concat().replace("\"bytes \"", ""), r#"bytes "keys""#);
    link.order("return 0");
    rig::wait(&mut child);
}
