//! What the state folder keeps, and what a reload and a client's facts change, through the program itself.

mod common;

use std::net::SocketAddr;
use std::path::Path;

use common::{Client, Program, dolmend};

/// `IAC WILL ECHO` and `IAC WONT ECHO`.
const HIDE: &[u8] = b"\xff\xfb\x01";
const SHOW: &[u8] = b"\xff\xfc\x01";
/// The latter with the line end that the client has not shown.
const SHOW_BEHIND_LINE: &[u8] = b"\xff\xfc\x01\r\n";
/// The client's answers to them.
const DO_ECHO: &[u8] = b"\xff\xfd\x01";
const DONT_ECHO: &[u8] = b"\xff\xfe\x01";
/// `IAC GA`.
const MARK: &[u8] = b"\xff\xf9";

/// A server with this configuration in the folder, and where it listens.
fn start(folder: &Path, text: &str) -> (Program, SocketAddr) {
    write(folder, text);
    let mut command = dolmend(&["-c", "-f"]);
    command.arg(folder.join("my.conf"));
    let program = Program::start(&mut command);
    let log = program.stderr.wait_for("console   type 'help'");
    let line = log.lines().find_map(|line| line.strip_prefix("listening ")).expect("it listens");
    let address = line.split(' ').next().expect("an address").parse().expect("an address");
    (program, address)
}

fn write(folder: &Path, text: &str) {
    std::fs::write(folder.join("my.conf"), text).expect("the file is written");
}

/// An orderly end. The clients close first: it waits for those that do not.
fn end(mut program: Program, clients: impl IntoIterator<Item = Client>) {
    clients.into_iter().for_each(drop);
    program.type_in("shutdown\n");
    assert_eq!(program.wait().code(), Some(0));
}

fn newcomer(address: SocketAddr) -> Client {
    let mut client = Client::connect(address);
    client.expect("shall we call you? ");
    client
}

/// Has the operator's line carried out, and waits for its answer.
fn operate(program: &mut Program, line: &str, answer: &str) {
    let before = program.stdout.so_far().len();
    program.type_in(&format!("{line}\n"));
    program.stdout.wait_for_after(before, answer);
}

#[test]
fn a_kept_name_a_note_and_a_ban_are_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "port : 127.0.0.1:0\nstate folder : state\n";
    let (mut program, address) = start(folder.path(), text);
    assert!(!program.stderr.so_far().contains("in memory only"));
    let mut ann = newcomer(address);
    ann.send("Ann\r\nkeep\r\nopen sesame\r\nopen sesame\r\n");
    ann.expect("it needs your password.\r\n");
    ann.send("post Bring lamps\r\n");
    ann.expect("as number 1.\r\n");
    operate(&mut program, "ban 192.0.2.0/24 2d no robots", "192.0.2.0/24 is banned for another 2 days");
    end(program, [ann]);

    let (mut program, address) = start(folder.path(), text);
    operate(&mut program, "bans", "192.0.2.0/24 for another");
    let mut ann = newcomer(address);
    ann.send("Ann\r\nopen sesame\r\n");
    ann.expect("Hello, Ann.");
    ann.send("read 1\r\n");
    ann.expect("Bring lamps\r\n");
    operate(&mut program, "ban 127.0.0.1 1h enough", "is banned for another ");
    // The hour goes on meanwhile.
    let rest = |text: &str| text == "1 hour" || text.starts_with("59 minutes");
    let last = ann.expect_end();
    let why = last.trim_end().rsplit_once("You are banned for another ").map(|(_, why)| why);
    assert!(why.and_then(|why| why.strip_suffix(": enough.")).is_some_and(rest), "{last}");
    let refused = Client::connect(address).expect_end();
    let why = refused.strip_prefix("Your address is banned for another ");
    assert!(why.and_then(|why| why.strip_suffix(": enough.\r\n")).is_some_and(rest), "{refused}");
    operate(&mut program, "stats", "banned=1\n");
    end(program, []);
}

/// Not only two stores in one process: the lock is the system's, and a check of the configuration does not take it.
#[test]
fn a_second_server_is_refused_the_folder_until_the_first_has_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "port : 127.0.0.1:0\nstate folder : state\n";
    let (first, _) = start(folder.path(), text);
    let config = folder.path().join("my.conf");
    let run = |flag: &str| Program::start(dolmend(&[flag, "-f"]).arg(&config));
    let mut second = run("-c");
    assert_eq!(second.wait().code(), Some(1));
    let said = second.stderr.so_far();
    assert!(said.contains("another dolmend is using the state folder"), "{said}");
    assert_eq!(run("--check-config").wait().code(), Some(0));
    end(first, []);
    let (third, _) = start(folder.path(), text);
    end(third, []);
}

#[test]
fn without_a_folder_the_start_says_that_everything_is_in_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let (program, _) = start(folder.path(), "port : 127.0.0.1:0\n");
    program.stderr.wait_for("state     in memory only; 'state folder' keeps names, notes and bans\n");
    end(program, []);
    assert_eq!(std::fs::read_dir(&folder).expect("it is there").count(), 1, "only its configuration");
}

#[test]
fn limits_and_the_ban_list_are_reloaded_and_those_stay_who_are_not_banned() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "port : 127.0.0.1:0\nno limits : none\n";
    let (mut program, address) = start(folder.path(), text);
    let mut ann = newcomer(address);
    ann.send("Ann\r\n");
    ann.expect("Hello, Ann.");
    write(folder.path(), &format!("{text}max users per address : 1\n"));
    operate(&mut program, "reload", "max users per address: 1 (was 50)");
    let refused = Client::connect(address).expect_end();
    assert!(refused.starts_with("Too many players are here from your address."), "{refused}");

    // A list that is wrong is refused, with its line, and the limit stays.
    let list = format!("{text}ban list : bans.txt\n");
    std::fs::write(folder.path().join("bans.txt"), "127.0.0.0/8 no loops\nnonsense\n").expect("written");
    write(folder.path(), &list);
    operate(&mut program, "reload", "bans.txt:2: this is not a network");
    assert!(Client::connect(address).expect_end().starts_with("Too many players"));
    ann.send("say still here\r\n");
    ann.expect("You say: still here\r\n");

    std::fs::write(folder.path().join("bans.txt"), "127.0.0.0/8 no loops\n").expect("written");
    operate(&mut program, "reload", "max users per address: 50 (was 1)");
    assert!(Client::connect(address).expect_end().contains("banned until further notice: no loops"));
    assert!(ann.expect_end().ends_with("\r\nYou are banned until further notice: no loops.\r\n"));
    end(program, []);
}

/// A service has no console. Its operator writes the file of the bans.
#[cfg(target_os = "linux")]
#[test]
fn the_file_of_bans_is_read_again_at_sighup() {
    use rustix::process::{Pid, Signal, kill_process};

    let folder = tempfile::tempdir().expect("a folder");
    let (program, address) = start(folder.path(), "port : 127.0.0.1:0\nstate folder : state\n");
    let [mut ann, mut bob] = ["Ann", "Bob"].map(|name| {
        let mut player = newcomer(address);
        player.send(&format!("{name}\r\n"));
        player.expect(&format!("Hello, {name}."));
        player
    });
    let bans = folder.path().join("state").join("bans.jsonl");
    let hang_up = || {
        let before = program.stderr.so_far().len();
        let id = Pid::from_raw(program.id() as i32).expect("a process");
        kill_process(id, Signal::HUP).expect("it can be signalled");
        before
    };
    std::fs::write(&bans, "nobody\n").expect("written");
    let before = hang_up();
    program.stderr.wait_for_after(before, "bans.jsonl:1: this is not a ban: ");
    let ban = r#"{"target":{"name":"Bob"},"reason":"enough"}"#;
    std::fs::write(&bans, format!("{ban}\n")).expect("written");
    hang_up();
    assert!(bob.expect_end().ends_with("You are banned until further notice: enough.\r\n"));
    ann.expect("Bob has left.\r\n");
    end(program, [ann]);
}

/// When a client answers the server's changes of ECHO.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Answers {
    /// Never: it does not speak telnet.
    Never,
    /// Each before it sends more.
    Immediately,
    /// All of them when the second field is hidden already.
    Late,
    /// As late, and byte by byte among the typed text.
    LateInPieces,
}

/// A client that chooses a password, and what it gets.
fn choose_password(address: SocketAddr, name: &str, answers: Answers) {
    let mut client = newcomer(address);
    let answer = |client: &mut Client, changes: usize, verb: &[u8]| match (answers, changes) {
        (Answers::Immediately, _) => client.send_bytes(verb),
        (Answers::Late, 3) => client.send_bytes(&[DO_ECHO, DONT_ECHO, DO_ECHO].concat()),
        (Answers::LateInPieces, 3) => client.send_one_by_one(&[DO_ECHO, DONT_ECHO, DO_ECHO].concat()),
        (Answers::Late | Answers::LateInPieces, 4) => client.send_bytes(verb),
        _ => {}
    };
    client.send(&format!("{name}\r\n"));
    client.expect(&format!("Hello, {name}."));
    client.send("keep\r\n");
    let before = client.expect_bytes(HIDE);
    assert!(common::find(&before, SHOW).is_none() && before.ends_with(b"A password for your name: "));
    answer(&mut client, 1, DO_ECHO);
    client.send("open sesame\r\n");
    // A prompt is marked for a client that speaks telnet. Nothing else comes before the field is over.
    assert!([&b""[..], MARK].contains(&&*client.expect_bytes(SHOW_BEHIND_LINE)), "{answers:?}");
    answer(&mut client, 2, DONT_ECHO);
    assert_eq!(common::text_of(&client.expect_bytes(HIDE)), "The same again: ");
    answer(&mut client, 3, DO_ECHO);
    client.send("open sesame\r\n");
    let field = client.expect_bytes(SHOW_BEHIND_LINE);
    assert!([&b""[..], MARK].contains(&&*field), "{answers:?}: {field:02x?}");
    answer(&mut client, 4, DONT_ECHO);
    client.expect("it needs your password.\r\n");
    // A request now is one, and is refused.
    client.send_bytes(DO_ECHO);
    client.send("say loud\r\n");
    let rest = client.expect_bytes(b"You say: loud");
    assert!(common::find(&rest, HIDE).is_none(), "{answers:?}");
    if answers != Answers::Never {
        assert_eq!(rest, SHOW, "{answers:?}");
    }
}

/// Named as it is in the journal, whichever part of the server writes the line.
#[test]
fn a_wrong_password_is_in_the_log_with_the_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let (program, address) = start(folder.path(), "port : 127.0.0.1:0\n");
    let mut ann = newcomer(address);
    ann.send("Ann\r\nkeep\r\nopen sesame\r\nopen sesame\r\n");
    ann.expect("it needs your password.\r\n");
    let mut other = newcomer(address);
    other.send("Ann\r\nguess\r\n");
    other.expect("That is not the password.");
    let log = program.stderr.wait_for("wrong password");
    let line = log.lines().find(|line| line.contains("wrong password")).expect("it is there");
    assert!(line.contains("name=Ann") && !line.contains("player="), "{line}");
    end(program, [ann, other]);
}

#[test]
fn a_password_is_hidden_around_its_field_only_whenever_the_client_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let (program, address) = start(folder.path(), "port : 127.0.0.1:0\n");
    choose_password(address, "Ann", Answers::Never);
    choose_password(address, "Bob", Answers::Immediately);
    choose_password(address, "Cid", Answers::Late);
    choose_password(address, "Dan", Answers::LateInPieces);
    end(program, []);
}

#[test]
fn a_screen_reader_by_its_terminal_type_gets_plain_lists_and_no_prompt_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut program, address) = start(folder.path(), "port : 127.0.0.1:0\n");
    let mut reader = newcomer(address);
    reader.send_bytes(b"\xff\xfb\x18");
    for answer in [&b"READER"[..], b"XTERM", b"MTTS 64"] {
        reader.expect_bytes(b"\xff\xfa\x18\x01\xff\xf0");
        reader.send_bytes(&[b"\xff\xfa\x18\x00", answer, b"\xff\xf0"].concat());
    }
    reader.send("Ann\r\n");
    reader.expect("for what you can do.\r\n");
    reader.send("who\r\n");
    reader.expect("One is here:\r\nAnn, you\r\n");
    // A question over which something else is shown is not shown again.
    reader.send("keep\r\n");
    reader.expect("A password for your name: ");
    operate(&mut program, "say rain", "Told one user.");
    let over = reader.expect("The operator says: rain\r\n");
    assert!(!over.contains("A password"), "{over}");
    reader.send("\r\n");
    let then = reader.expect("Nothing is changed.\r\n");
    assert!(!then.contains("A password"), "{then}");
    end(program, [reader]);
}

#[test]
fn a_client_gets_what_it_has_asked_for_colours_and_channels_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let (program, address) = start(folder.path(), "port : 127.0.0.1:0\n");
    let [mut ann, mut bob, mut cid] = ["Ann", "Bob", "Cid"].map(|name| {
        let mut client = newcomer(address);
        client.send_bytes(b"\xff\xfd\xc9");
        if name == "Bob" {
            client.send_bytes(b"\xff\xfa\xc9Core.Supports.Set [\"Comm.Channel 1\"]\xff\xf0");
            // Twice the same is the end of the list of terminals.
            client.send_bytes(b"\xff\xfb\x18");
            for _ in 0..2 {
                client.expect_bytes(b"\xff\xfa\x18\x01\xff\xf0");
                client.send_bytes(b"\xff\xfa\x18\x00XTERM\xff\xf0");
            }
        }
        client.send(&format!("{name}\r\n"));
        client.expect(&format!("Hello, {name}."));
        client
    });
    ann.send("say hello\r\n");
    bob.expect("\x1b[1;36mAnn\x1b[0m says: hello\r\n");
    bob.expect_bytes(br#"Comm.Channel.Text {"channel":"say","talker":"Ann","text":"hello"}"#);
    cid.expect("Ann says: hello\r\n");
    cid.send("say bye\r\n");
    let then = cid.expect_bytes(b"You say: bye\r\n");
    assert!(common::find(&then, b"Comm.Channel").is_none(), "it has not asked");
    end(program, [ann, bob, cid]);
}

#[test]
fn a_client_that_remembers_name_and_password_logs_in_by_gmcp() {
    let folder = tempfile::tempdir().expect("a folder");
    let (program, address) = start(folder.path(), "port : 127.0.0.1:0\n");
    let mut ann = newcomer(address);
    ann.send("Ann\r\nkeep\r\nopen sesame\r\nopen sesame\r\n");
    ann.expect("it needs your password.\r\n");
    let gmcp = |text: &str| [b"\xff\xfa\xc9", text.as_bytes(), b"\xff\xf0"].concat();
    let mut client = newcomer(address);
    client.send_bytes(b"\xff\xfd\xc9");
    client.send_bytes(&gmcp(r#"Core.Supports.Set ["Char.Login 1"]"#));
    client.expect_bytes(b"Char.Login.Default");
    client.send_bytes(&gmcp(r#"Char.Login.Credentials {"account":"Ann","password":"wrong one"}"#));
    client.expect_bytes(br#"Char.Login.Result {"success":false,"message":"That is not the password."#);
    client.expect_bytes(HIDE);
    // A line that comes while the password is verified answers the question that follows.
    let mut hasty = newcomer(address);
    hasty.send_bytes(b"\xff\xfd\xc9");
    let wrong = gmcp(r#"Char.Login.Credentials {"account":"Ann","password":"wrong too"}"#);
    hasty.send_bytes(&[&wrong[..], b"\r\n"].concat());
    hasty.expect_bytes(HIDE);
    hasty.expect_bytes(SHOW);
    hasty.expect("shall we call you? ");
    drop(hasty);
    // Another try by the client, at the prompt for the password. What is typed is shown again, as after a typed one.
    client.send_bytes(&gmcp(r#"Char.Login.Credentials {"account":"Nobody at all","password":"any"}"#));
    client.expect_bytes(SHOW);
    client.expect_bytes(br#"Char.Login.Result {"success":false,"message":"A name begins"#);
    client.expect("shall we call you? ");
    client.send_bytes(&gmcp(r#"Char.Login.Credentials {"account":"Bob","password":"any"}"#));
    client.expect_bytes(br#"Char.Login.Result {"success":true}"#);
    client.expect("Hello, Bob.");
    end(program, [ann, client]);
    // The right one.
    let (program, address) = start(folder.path(), "port : 127.0.0.1:0\nstate folder : state\n");
    let mut ann = newcomer(address);
    ann.send("Ann\r\nkeep\r\nopen sesame\r\nopen sesame\r\n");
    ann.expect("it needs your password.\r\n");
    let mut client = newcomer(address);
    client.send_bytes(b"\xff\xfd\xc9");
    client.send_bytes(&gmcp(r#"Core.Supports.Set ["Char.Login 1"]"#));
    client.expect_bytes(b"Char.Login.Default");
    client.send_bytes(&gmcp(r#"Char.Login.Credentials {"account":"Ann","password":"open sesame"}"#));
    let before = client.expect_bytes(br#"Char.Login.Result {"success":true}"#);
    assert!(common::find(&before, HIDE).is_none(), "nothing was asked");
    client.expect("Welcome back, Ann.");
    client.send("say hello\r\n");
    let then = client.expect("You say: hello");
    assert!(!then.contains("call you?"), "the prompt is answered: {then}");
    end(program, [ann, client]);
}
