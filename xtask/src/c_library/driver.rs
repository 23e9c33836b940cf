//! The tests of `examples/c/async_driver.c`: players, the worker's results, the console, the heart beat and the end, from
//! outside, as a player and an operator see them.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{Result, Run};
use crate::wine::Wine;

/// How long an expected line, or the end of the driver, may take: only a failure takes so long.
const DEADLINE: Duration = Duration::from_secs(20);

/// How many players there are in the tests of many; under Wine each line to each of them takes a while.
const PLAYERS: usize = 200;
const PLAYERS_UNDER_WINE: usize = 40;

/// Lines of about a kilobyte, more than the buffers of a connection hold.
const LINES_OF_A_FLOOD: usize = 16_000;

/// All tests, with the Wine that runs the program if it is a Windows one.
pub fn test(program: &Path, wine: Option<Wine>) -> Result<()> {
    type Case = fn(&Started<'_>) -> Result<()>;
    let cases: [(&str, Case); 9] = [
        ("invalid arguments are refused", refuses_invalid_arguments),
        ("players talk, on two ports", players_talk),
        ("the worker's results reach the players who asked", the_worker_answers),
        ("the operator's lines come from a pipe", the_operator_types),
        ("the end of the input ends it", the_input_ends),
        ("a file is a console, and the null device none", files_are_consoles),
        ("the heart beats, with players and without", the_heart_beats),
        ("a player who does not read is disconnected", a_deaf_player_is_disconnected),
        ("SIGTERM ends it, also without standard input", sigterm_ends_it),
    ];
    let started = Started { program, wine };
    for (name, case) in cases {
        case(&started).map_err(|error| format!("{}: {name}: {error}", program.display()))?;
        println!("    ok: {name}");
    }
    Ok(())
}

struct Started<'a> {
    program: &'a Path,
    wine: Option<Wine>,
}

impl Started<'_> {
    fn players(&self) -> usize {
        if self.wine.is_some() { PLAYERS_UNDER_WINE } else { PLAYERS }
    }

    /// Its process is the program, also under Wine.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(if self.wine.is_some() { "sh" } else { "env" });
        command.args(self.wine.map(|_| "xtask/wine/runner.sh")).arg(self.program).args(arguments);
        command.envs(self.wine.map(Wine::env));
        command
    }

    /// Runs until it is ready.
    fn driver(&self, arguments: &[&str], input: Stdio) -> Result<Driver> {
        let process = self.command(arguments).stdin(input).stdout(Stdio::piped()).spawn();
        Driver::of(process.map_err(text)?)
    }
}

/// A running driver; it is ended when dropped.
struct Driver {
    process: Child,
    input: Option<ChildStdin>,
    output: Receiver<String>,
    ports: Vec<u16>,
}

impl Driver {
    /// When it is ready.
    fn of(mut process: Child) -> Result<Driver> {
        let (sender, output) = mpsc::channel();
        let lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        thread::spawn(move || lines.map_while(std::io::Result::ok).try_for_each(|line| sender.send(line)));
        let input = process.stdin.take();
        let mut driver = Driver { process, input, output, ports: Vec::new() };
        loop {
            let line = driver.line()?;
            match line.strip_prefix("listening on ") {
                Some(port) => driver.ports.push(port.parse().map_err(|_| format!("it says {line:?}"))?),
                None if line == "ready" => return Ok(driver),
                None => return Err(format!("it says {line:?}")),
            }
        }
    }

    fn line(&self) -> Result<String> {
        let line = self.output.recv_timeout(DEADLINE).map_err(|_| "it is silent".to_owned())?;
        Ok(line.trim_end().to_owned())
    }

    fn types(&mut self, bytes: &str) -> Result<()> {
        self.input.as_mut().ok_or("no input")?.write_all(bytes.as_bytes()).map_err(text)
    }

    /// Joins, and is greeted with this number.
    fn player(&self, port: usize, number: usize) -> Result<Player> {
        let stream = TcpStream::connect(("127.0.0.1", self.ports[port])).map_err(text)?;
        stream.set_read_timeout(Some(DEADLINE)).and_then(|()| stream.set_nodelay(true)).map_err(text)?;
        let mut player = Player(BufReader::new(stream));
        player.hears(&format!("Welcome, player {number}."))?;
        Ok(player)
    }

    /// It ends by itself, in order. Returns the number of heart beats.
    fn ends(mut self) -> Result<u64> {
        let line = self.line()?;
        let beats = line.strip_prefix("bye after ").and_then(|rest| rest.strip_suffix(" heart beats"));
        let beats = beats.and_then(|beats| beats.parse().ok()).ok_or(format!("it says {line:?}"))?;
        match self.output.recv_timeout(DEADLINE) {
            Err(mpsc::RecvTimeoutError::Disconnected) => {}
            other => return Err(format!("after its last line: {other:?}")),
        }
        let status = self.process.wait().map_err(text)?;
        if status.success() { Ok(beats) } else { Err(format!("it ends with {status}")) }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Player(BufReader<TcpStream>);

impl Player {
    fn says(&mut self, bytes: &str) -> Result<()> {
        self.0.get_mut().write_all(bytes.as_bytes()).map_err(text)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).map_err(text)?;
        Ok(line)
    }

    fn hears(&mut self, expected: &str) -> Result<()> {
        let line = self.line()?;
        if line.strip_suffix("\r\n") == Some(expected) {
            return Ok(());
        }
        Err(format!("a player receives {line:?}, not {expected:?}"))
    }

    /// The number of heart beats so far.
    fn beats(&mut self) -> Result<u64> {
        self.says("beats\n")?;
        let line = self.line()?;
        let number = line.strip_suffix(" heart beats\r\n").and_then(|number| number.parse().ok());
        number.ok_or(format!("a player receives {line:?}"))
    }

    fn hears_the_end(&mut self) -> Result<()> {
        let line = self.line()?;
        if line.is_empty() { Ok(()) } else { Err(format!("a player receives {line:?}, not the end")) }
    }
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}

fn refuses_invalid_arguments(start: &Started<'_>) -> Result<()> {
    let many = ["0"; 17];
    for (arguments, complaint) in [
        (&[][..], "usage: "),
        (&["-b", "100"], "usage: "),
        (&many, "usage: "),
        (&["4000x"], "\"4000x\""),
        (&[""], "\"\""),
        (&["0", "65536"], "\"65536\""),
        (&["-b", "0", "0"], "heart beat: \"0\""),
        (&["-b", "3600001", "0"], "heart beat: \"3600001\""),
        (&["-b", "fast", "0"], "heart beat: \"fast\""),
    ] {
        let output = start.command(arguments).stdin(Stdio::null()).output().map_err(text)?;
        let error = String::from_utf8_lossy(&output.stderr);
        let ready = String::from_utf8_lossy(&output.stdout).contains("ready");
        if output.status.code() != Some(2) || !error.contains(complaint) || ready {
            return Err(format!("{arguments:?} ends with {} and says {error:?}", output.status));
        }
    }
    Ok(())
}

fn players_talk(start: &Started<'_>) -> Result<()> {
    let mut driver = start.driver(&["0", "0"], Stdio::piped())?;
    let mut players: Vec<Player> =
        (0..start.players()).map(|n| driver.player(n % 2, n + 1)).collect::<Result<_>>()?;
    let all_hear =
        |players: &mut [Player], line: &str| players.iter_mut().try_for_each(|player| player.hears(line));
    // In pieces, and several in one piece; control characters are left out, and an empty line says nothing.
    players[0].says("good ")?;
    players[1].says("one\n\r\ntwo\x1b[2J\x07\x7f\r\n")?;
    all_hear(&mut players, "player 2: one")?;
    all_hear(&mut players, "player 2: two[2J")?;
    players[0].says("day\n")?;
    all_hear(&mut players, "player 1: good day")?;
    // A line that is too long is cut.
    players[2].says(&format!("{}\n", "x".repeat(3000)))?;
    all_hear(&mut players, &format!("player 3: {}", "x".repeat(1023)))?;
    // One leaves in order, one closes, one vanishes with bytes in flight; the others go on.
    let mut leaves = players.pop().expect("they are many");
    leaves.says("quit\nnot said\n")?;
    leaves.hears_the_end()?;
    drop(players.pop());
    let mut vanishes = players.pop().expect("they are many");
    vanishes.says("half a li")?;
    drop(vanishes);
    players[0].says("still here\n")?;
    all_hear(&mut players, "player 1: still here")?;
    driver.types("shutdown\n")?;
    all_hear(&mut players, "Shutting down.")?;
    players.iter_mut().try_for_each(Player::hears_the_end)?;
    driver.ends().map(drop)
}

fn the_worker_answers(start: &Started<'_>) -> Result<()> {
    let driver = start.driver(&["0"], Stdio::piped())?;
    let mut players: Vec<Player> =
        (0..start.players()).map(|n| driver.player(0, n + 1)).collect::<Result<_>>()?;
    for round in 1..=3_u64 {
        let last = |n: usize| 1000 * round + n as u64;
        for (n, player) in players.iter_mut().enumerate() {
            player.says(&format!("sum {}\n", last(n)))?;
        }
        for (n, player) in players.iter_mut().enumerate() {
            let last = last(n);
            player.hears(&format!("the sum of 1 to {last} is {}", last * (last + 1) / 2))?;
        }
    }
    for refused in ["sum 0", "sum -1", "sum x", "sum ", "sum 5x", "sum 100000001", "sum 99999999999999999999"]
    {
        players[0].says(&format!("{refused}\n"))?;
        players[0].hears("sum: a number from 1 to 100000000")?;
    }
    // The worker is busy for players who do not wait, and one who asks twice is told so before.
    let mut impatient = players.pop().expect("they are many");
    impatient.says("sum 100000000\nquit\n")?;
    impatient.hears_the_end()?;
    players[1].says("sum 3\nsum 4\n")?;
    players[1].hears("sum: one at a time")?;
    players[1].hears("the sum of 1 to 3 is 6")?;
    players[1].says("sum 4\n")?;
    players[1].hears("the sum of 1 to 4 is 10")?;
    // The end does not wait for a player's job to be asked for, only for the one in progress.
    players[2].says("sum 100000000\nbeats\n")?;
    players[2].line()?;
    ends_with_its_input(driver)
}

/// Closes its input.
fn ends_with_its_input(mut driver: Driver) -> Result<()> {
    driver.input = None;
    driver.ends().map(drop)
}

fn the_operator_types(start: &Started<'_>) -> Result<()> {
    let mut driver = start.driver(&["0"], Stdio::piped())?;
    let mut player = driver.player(0, 1)?;
    driver.types("good ")?;
    driver.types("day\r\n")?;
    player.hears("the operator: good day")?;
    // More lines in one piece than fit into a read, each once and in order.
    let lines: Vec<String> = (0..500).map(|n| format!("line {n}")).collect();
    driver.types(&(lines.join("\n") + "\n\n"))?;
    lines.iter().try_for_each(|line| player.hears(&format!("the operator: {line}")))?;
    driver.types(&format!("{}\n", "y".repeat(5000)))?;
    player.hears(&format!("the operator: {}", "y".repeat(1023)))?;
    // Not the command, and then the command, with lines behind it that no one handles.
    driver.types("shutdown now\nshutdown\nlate\nlate\nlate\n")?;
    player.hears("the operator: shutdown now")?;
    let mut last = player.line()?;
    while last.starts_with("the operator: late") {
        last = player.line()?;
    }
    if last != "Shutting down.\r\n" {
        return Err(format!("a player receives {last:?} at the end"));
    }
    player.hears_the_end()?;
    // The input is still open: the thread that reads it does not hold up the end.
    driver.ends().map(drop)
}

fn the_input_ends(start: &Started<'_>) -> Result<()> {
    let mut driver = start.driver(&["0"], Stdio::piped())?;
    let mut player = driver.player(0, 1)?;
    driver.types("hello\nan unfinished line")?;
    player.hears("the operator: hello")?;
    driver.input = None;
    player.hears("Shutting down.")?;
    player.hears_the_end()?;
    driver.ends().map(drop)
}

fn files_are_consoles(start: &Started<'_>) -> Result<()> {
    let driver = start.driver(&["-b", "5", "0"], Stdio::null())?;
    let mut player = driver.player(0, 1)?;
    // It runs on: no end of any input ends it.
    while player.beats()? < 20 {}
    drop(driver);
    let file = start.program.with_extension("input");
    std::fs::write(&file, "hello\nshutdown\nhello\n").map_err(text)?;
    start.driver(&["0"], File::open(&file).map_err(text)?.into())?.ends()?;
    std::fs::write(&file, "hello").map_err(text)?;
    start.driver(&["0"], File::open(&file).map_err(text)?.into())?.ends()?;
    std::fs::remove_file(&file).map_err(text)
}

fn the_heart_beats(start: &Started<'_>) -> Result<()> {
    let mut driver = start.driver(&["-b", "20", "0"], Stdio::piped())?;
    let mut player = driver.player(0, 1)?;
    let mut beats = || player.beats();
    let (first, started) = (beats()?, Instant::now());
    // It is awake all the time.
    while beats()? < first + 10 {
        if started.elapsed() > DEADLINE {
            return Err("its heart has stopped".into());
        }
    }
    // It sleeps in its wait, which only the heart beat ends: the test has to wait for this time.
    let before = beats()?;
    thread::park_timeout(Duration::from_millis(400));
    let after = beats()?;
    if after < before + 5 {
        return Err(format!("{} of 20 beats while it was idle", after - before));
    }
    driver.input = None;
    let total = driver.ends()?;
    if total < after { Err(format!("{total} beats at the end, {after} before")) } else { Ok(()) }
}

fn a_deaf_player_is_disconnected(start: &Started<'_>) -> Result<()> {
    let driver = start.driver(&["0"], Stdio::piped())?;
    let mut deaf = driver.player(0, 1)?;
    let mut talker = driver.player(0, 2)?;
    let line = "z".repeat(1000);
    let (said, expected) = (format!("{line}\n").repeat(16), format!("player 2: {line}"));
    for _ in 0..LINES_OF_A_FLOOD / 16 {
        talker.says(&said)?;
        for _ in 0..16 {
            talker.hears(&expected)?;
        }
    }
    // It gets what the system had taken, and then the end, or a reset.
    let (mut bytes, mut buffer) = (0, [0; 65536]);
    loop {
        match deaf.0.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes += count,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => return Err(format!("the end of a player who did not read: {error}")),
        }
    }
    if bytes >= LINES_OF_A_FLOOD * expected.len() {
        return Err("all of it was kept for a player who did not read".into());
    }
    ends_with_its_input(driver)
}

/// A Windows program has no signals.
fn sigterm_ends_it(start: &Started<'_>) -> Result<()> {
    if start.wine.is_some() {
        return Ok(());
    }
    let closed = Command::new("sh")
        .args(["-c", "exec \"$0\" 0 <&-"])
        .arg(start.program)
        .stdout(Stdio::piped())
        .spawn();
    terminate(Driver::of(closed.map_err(text)?)?)?;
    terminate(start.driver(&["0"], Stdio::piped())?)
}

fn terminate(driver: Driver) -> Result<()> {
    let mut player = driver.player(0, 1)?;
    Run::new("kill -TERM").args([driver.process.id().to_string()]).output()?;
    player.hears("Shutting down.")?;
    player.hears_the_end()?;
    driver.ends().map(drop)
}
