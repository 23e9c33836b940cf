//! Every key of the configuration, changed while the server runs: each has its effect, or its restart is announced.

mod common;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Client, Program, dolmend};

/// A server with a console, a file that is changed, and a player who stays.
struct Rig {
    folder: tempfile::TempDir,
    program: Program,
    address: SocketAddr,
    zoe: Client,
    /// The answer to the last reload.
    answer: String,
    /// How much was logged before it.
    logged: usize,
}

/// How a key is tested: its name, lines that change it, and what they change.
type Case = (&'static str, &'static str, fn(&mut Rig));

impl Rig {
    fn start() -> Rig {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "my.conf", "port : 127.0.0.1:0\n");
        write(folder.path(), "motd.txt", "Mind the step.\n");
        write(folder.path(), "bans.txt", "127.0.0.0/8 no loops\n");
        let program = Program::start(dolmend(&["-c", "-f"]).arg(folder.path().join("my.conf")));
        let log = program.stderr.wait_for("console   type 'help'");
        let line = log.lines().find_map(|line| line.strip_prefix("listening ")).expect("it listens");
        let address = line.split(' ').next().expect("an address").parse().expect("an address");
        let zoe = player(address, "Zoe");
        Rig { folder, program, address, zoe, answer: String::new(), logged: 0 }
    }

    /// Has these lines read, below the port.
    fn reload(&mut self, lines: &str) {
        write(self.folder.path(), "my.conf", &format!("port : {}\n{lines}", self.address));
        self.logged = self.program.stderr.so_far().len();
        let before = self.program.stdout.so_far().len();
        // The answer to what is no command is the end of the answer to the reload.
        self.program.type_in("reload\nzzz\n");
        self.answer = self.program.stdout.wait_for_after(before, "'zzz'");
    }

    fn logs(&self, text: &str) {
        self.program.stderr.wait_for_after(self.logged, text);
    }

    fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// What a newcomer is told who is not let in.
    fn refusal(&self) -> String {
        self.connect().expect_end()
    }

    /// A newcomer's view up to the question for a name.
    fn greeting(&self) -> Vec<u8> {
        self.connect().expect_bytes(b"shall we call you? ")
    }

    /// Checks a variable of MSSP.
    fn mssp(&self, line: &str) {
        let mut crawler = self.connect();
        crawler.send("MSSP-REQUEST\r\n");
        let status = crawler.expect("MSSP-REPLY-END");
        assert!(status.lines().any(|other| other == line), "{line:?} in {status}");
    }

    /// How long the lines of a new player take, each sent when the one before was answered.
    fn time_of(&self, name: &str, lines: &[&str]) -> Duration {
        let mut player = player(self.address, name);
        let started = Instant::now();
        for line in lines {
            player.send(line);
            player.expect("x\r\n");
        }
        started.elapsed()
    }

    /// The metrics, whose port the last reload has opened.
    fn metrics(&self) -> String {
        let line = self.answer.lines().find_map(|line| line.strip_prefix("metrics   http://"));
        let address =
            line.and_then(|line| line.strip_suffix("/metrics")).expect("it is reported as at the start");
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(common::DEADLINE)).expect("connected");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("it reads");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("it ends in order");
        reply
    }

    fn restart_is_announced(&mut self) {
        assert!(self.answer.contains(" until a restart, and is "), "{}", self.answer);
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("the file is written");
}

fn player(address: SocketAddr, name: &str) -> Client {
    let mut client = Client::connect(address);
    client.expect("shall we call you? ");
    client.send(&format!("{name}\r\n"));
    client.expect("for what you can do.\r\n");
    client
}

/// A player whose address a proxy names.
fn behind_proxy(rig: &Rig, address: &str) -> Client {
    let mut client = rig.connect();
    client.send(&format!("PROXY TCP6 {address} ::1 5000 4000\r\n"));
    client
}

const CASES: &[Case] = &[
    ("port", "port : 127.0.0.1:0:ascii\n", |rig| {
        let line = rig.answer.lines().find_map(|line| line.strip_prefix("listening "));
        let address = line.and_then(|line| line.strip_suffix(" ascii")).expect("it is reported");
        let greeting = Client::connect(address.parse().expect("an address")).expect_bytes(b"Welcome");
        assert_eq!(greeting, b"", "no telnet");
    }),
    ("mud name", "mud name : New\n", |rig| {
        rig.mssp("NAME\tNew");
        assert!(common::text_of(&rig.greeting()).contains("Welcome to New!"));
    }),
    ("motd file", "motd file : motd.txt\n", |rig| {
        assert!(common::text_of(&rig.greeting()).contains("Mind the step."));
    }),
    ("encoding", "encoding : latin1\n", |rig| {
        rig.mssp("CHARSET\tISO-8859-1\tUTF-8");
        let mut ann = player(rig.address, "Latin");
        ann.send_bytes(b"say caf\xe9\r\n");
        ann.expect_bytes(b"You say: caf\xe9\r\n");
    }),
    ("host name", "host name : mud.example.org\n", |rig| rig.mssp("HOSTNAME\tmud.example.org")),
    ("contact", "contact : ann@example.org\n", |rig| rig.mssp("CONTACT\tann@example.org")),
    ("website", "website : https://example.org/\n", |rig| rig.mssp("WEBSITE\thttps://example.org/")),
    ("language", "language : German\n", |rig| rig.mssp("LANGUAGE\tGerman")),
    ("mccp", "mccp : off\n", |rig| {
        assert!(common::find(&rig.greeting(), b"\xff\xfb\x56").is_none());
    }),
    ("max users", "max users : 1\n", |rig| assert!(rig.refusal().starts_with("The place is full."))),
    ("max users per address", "max users per address : 1\nno limits : none\n", |rig| {
        let _first = rig.greeting();
        let first = rig.connect();
        assert!(rig.refusal().starts_with("Too many players are here from your address."));
        drop(first);
    }),
    ("ipv6 prefix", "ipv6 prefix : 128\nmax users per address : 1\ntrusted proxies : 127.0.0.1\n", |rig| {
        let mut neighbours = ["2001:db8::1", "2001:db8::2"].map(|address| behind_proxy(rig, address));
        neighbours.iter_mut().for_each(|client| drop(client.expect("shall we call you? ")));
    }),
    ("no limits", "no limits : none\nmax users per address : 1\n", |rig| {
        let first = rig.connect();
        assert!(rig.refusal().starts_with("Too many players are here from your address."));
        drop(first);
    }),
    ("accept rate", "accept rate : 1 burst 1\nno limits : none\n", |rig| {
        let first = rig.connect();
        assert!(rig.refusal().starts_with("Your address connects too often."));
        drop(first);
    }),
    ("command rate", "command rate : 1\n", |rig| {
        assert!(rig.time_of("Rate", &["say x\r\n"; 22]) > Duration::from_millis(1500));
    }),
    ("command burst", "command burst : 1\n", |rig| {
        assert!(rig.time_of("Burst", &["say x\r\n"; 10]) > Duration::from_millis(600));
    }),
    ("command bytes", "command bytes : 1024\n", |rig| {
        let long = format!("say {}\r\n", "x".repeat(3000));
        // The second one is read when the first is paid for.
        assert!(rig.time_of("Bytes", &[&long, "say x\r\n"]) > Duration::from_millis(1500));
    }),
    ("line length", "line length : 80\n", |rig| {
        rig.zoe.send(&format!("say {}\r\n", "x".repeat(100)));
        rig.zoe.expect("Your line was too long: 24 characters were cut off.\r\n");
    }),
    ("output limit", "output limit : 20000\n", Rig::restart_is_announced),
    ("login timeout", "login timeout : 1\n", |rig| drop(rig.refusal())),
    ("idle timeout", "idle timeout : 1\n", |rig| {
        rig.zoe.expect_end();
        rig.zoe = player(rig.address, "Zoe");
    }),
    ("keepalive", "keepalive : 1\n", |rig| {
        rig.zoe.send_bytes(b"\xff\xf1");
        rig.zoe.expect_bytes(b"\xff\xf1");
    }),
    ("trusted proxies", "trusted proxies : 127.0.0.1\n", |rig| {
        behind_proxy(rig, "2001:db8::9").expect("shall we call you? ");
        rig.logs("peer=[2001:db8::9]:5000");
    }),
    ("ban list", "ban list : bans.txt\n", |rig| assert!(rig.refusal().contains("no loops"))),
    ("state folder", "state folder : state\n", Rig::restart_is_announced),
    ("log file", "log file : my.log\n", |rig| {
        let _ann = player(rig.address, "File");
        let path = rig.folder.path().join("my.log");
        let started = Instant::now();
        // A thread writes it.
        while !std::fs::read_to_string(&path).is_ok_and(|log| log.contains("name=File")) {
            assert!(started.elapsed() < common::DEADLINE, "it is not logged");
            std::thread::yield_now();
        }
    }),
    ("log level", "log level : debug\n", |rig| {
        drop(player(rig.address, "Level"));
        rig.logs("DEBUG dolmend");
    }),
    ("log format", "log format : json\n", |rig| {
        drop(player(rig.address, "Format"));
        rig.logs("\n{\"time\":\"");
    }),
    ("stats", "stats : 1\n", |rig| rig.logs("stats uptime_s=")),
    ("metrics", "metrics : 127.0.0.1:0\n", |rig| {
        let reply = rig.metrics();
        // Those who have been there before may not have left yet.
        assert!(reply.contains("\ndolmend_users "), "{reply}");
    }),
    ("console history", "console history : history\n", Rig::restart_is_announced),
    ("io_reactor_max_events", "io_reactor_max_events : 7\n", Rig::restart_is_announced),
    ("io_reactor_pool_size", "io_reactor_pool_size : 7\n", Rig::restart_is_announced),
    // A newcomer is served by a thread; one who was there before stays.
    ("io threads", "io threads : 1\nmetrics : 127.0.0.1:0\n", |rig| {
        let reply = rig.metrics();
        assert!(reply.contains("\ndolmend_member_links{member=\"0\"} 0\n"), "{reply}");
        let (_player, reply) = (player(rig.address, "Thread"), rig.metrics());
        assert!(reply.contains("\ndolmend_member_links{member=\"game\"} 1\n"), "Zoe stays: {reply}");
        assert!(reply.contains("\ndolmend_member_links{member=\"0\"} 1\n"), "{reply}");
    }),
    ("trace io_reactor", "trace io_reactor : 3\n", |rig| {
        drop(rig.greeting());
        rig.logs("TRACE dolmen");
    }),
];

#[test]
fn each_key_has_its_effect_or_announces_its_restart() {
    let mut rig = Rig::start();
    for (key, lines, check) in CASES {
        rig.reload(lines);
        assert!(rig.answer.contains(&format!("{key}: ")), "{key}: {}", rig.answer);
        check(&mut rig);
        rig.reload("");
        assert!(!rig.answer.contains("refused"), "{key}: {}", rig.answer);
    }
    drop(rig.zoe);
    rig.program.type_in("shutdown\n");
    assert_eq!(rig.program.wait().code(), Some(0));
}

#[test]
fn no_key_is_left_out() {
    let mut program = Program::start(&mut dolmend(&["--print-config"]));
    assert_eq!(program.wait().code(), Some(0));
    let printed = program.stdout.so_far();
    let keys: BTreeSet<&str> =
        printed.lines().filter_map(|line| line.split_once(" :")).map(|(key, _)| key).collect();
    assert_eq!(CASES.iter().map(|(key, ..)| *key).collect::<BTreeSet<_>>(), keys);
}
