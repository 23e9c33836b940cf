//! Tests of the configuration as a whole.

use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Config {
    match Config::from_text("test.conf", text.as_bytes(), Path::new("")) {
        Ok(config) => config,
        Err(error) => panic!("{error}"),
    }
}

fn refused(text: &str) -> Vec<String> {
    match Config::from_text("test.conf", text.as_bytes(), Path::new("")) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(error) => error.problems.iter().map(ToString::to_string).collect(),
    }
}

fn ports(config: &Config) -> Vec<String> {
    config.ports.iter().map(ToString::to_string).collect()
}

#[test]
fn the_shipped_file_is_good_and_sets_every_key() {
    let config = Config::built_in().expect("the shipped file loads");
    assert_eq!(ports(&config), ["127.0.0.1:4000:telnet", "[::1]:4000:telnet"]);
    assert!(config.ports_are_built_in);
    assert_eq!(config.max_users, 1000);
    assert_eq!(config.reactor_max_events, 128);
    assert_eq!(config.reactor_pool_size, 256);
    assert_eq!(config.log.trace_reactor, 0);
    assert_eq!(config.limits, specified_limits());
    assert_eq!(
        config.log,
        LogSettings { file: None, level: LogLevel::Info, format: LogFormat::Text, trace_reactor: 0 }
    );
    assert_eq!((config.encoding, config.mccp), (crate::encoding::TextEncoding::UTF_8, true));
    assert_eq!(
        (config.stats, config.metrics, &config.ban_list, &config.state_folder),
        (None, None, &None, &None)
    );
    for key in keys::KEYS {
        let set = BUILT_IN.lines().any(|line| line.starts_with(&format!("{} :", key.name)));
        assert!(set, "{} is not set by the shipped file", key.name);
    }
}

fn specified_limits() -> Limits {
    let networks = |texts: &[&str]| -> Networks {
        texts.iter().map(|text| text.parse().expect("a network")).collect::<Vec<_>>().into()
    };
    Limits {
        max_users_per_address: 50,
        ipv6_prefix: 64,
        no_limits: networks(&["127.0.0.0/8", "::1/128"]),
        accept_rate: Rate { per_second: 50, burst: 200 },
        command_rate: Rate { per_second: 10, burst: 20 },
        command_bytes_per_second: 16 << 10,
        login_timeout: Some(Duration::from_secs(60)),
        idle_timeout: None,
        keepalive: Some(Duration::from_secs(60)),
        trusted_proxies: networks(&[]),
    }
}

#[test]
fn networks_replace_the_built_in_ones_and_none_empties_the_list() {
    let limits = |text: &str| read(text).limits;
    assert_eq!(limits("no limits : none").no_limits.as_slice(), []);
    assert_eq!(limits("no limits : 10.0.0.0/8").no_limits.as_slice().len(), 1);
    let proxies =
        limits("trusted proxies : 10.0.0.1, 10.0.0.2\ntrusted proxies : 2001:db8::/32").trusted_proxies;
    assert_eq!(proxies.as_slice().len(), 3);
    let problems = refused("no limits : none\nno limits : 10.0.0.0/8");
    assert_eq!(problems, ["test.conf:2: no limits: 'none' is given with networks; it stands alone"]);
}

#[test]
fn every_new_key_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("bans.txt"), "192.0.2.0/24\n").expect("written");
    let text = "port : 1\naccept rate : 5 burst 6\ncommand rate : 7\ncommand burst : 8\ncommand bytes : 2048\nlogin timeout : 2m\n\
         idle timeout : 1h\nkeepalive : off\nmccp : off\nencoding : latin1\nlog level : WARN\nlog format : json\n\
         stats : 10s\nmetrics : 127.0.0.1:9100\nstate folder : state\nban list : bans.txt\nipv6 prefix : 56\n\
         max users per address : 3\nhost name : mud.example.org\ncontact : a@example.org\nwebsite : https://example.org/\n\
         language : German\n";
    let config = Config::from_text("test.conf", text.as_bytes(), folder.path()).expect("it is good");
    assert_eq!(config.limits.accept_rate, Rate { per_second: 5, burst: 6 });
    assert_eq!(config.limits.command_rate, Rate { per_second: 7, burst: 8 });
    assert_eq!(config.limits.command_bytes_per_second, 2048);
    assert_eq!(config.limits.login_timeout, Some(Duration::from_secs(120)));
    assert_eq!(config.limits.idle_timeout, Some(Duration::from_secs(3600)));
    assert_eq!((config.limits.keepalive, config.mccp), (None, false));
    assert_eq!(config.encoding.name(), "ISO-8859-1");
    assert_eq!((config.log.level, config.log.format), (LogLevel::Warn, LogFormat::Json));
    assert_eq!(config.stats, Some(Duration::from_secs(10)));
    assert_eq!(config.metrics, Some("127.0.0.1:9100".parse().expect("an address")));
    assert!(config.state_folder.as_ref().is_some_and(|path| path.is_absolute() && path.ends_with("state")));
    assert!(config.ban_list.as_ref().is_some_and(|path| path.ends_with("bans.txt")));
    assert_eq!((config.limits.ipv6_prefix, config.limits.max_users_per_address), (56, 3));
    let Listing { host_name, contact, website, language } = config.listing.clone();
    assert_eq!(host_name.as_deref().zip(contact.as_deref()), Some(("mud.example.org", "a@example.org")));
    assert_eq!(website.as_deref().zip(language.as_deref()), Some(("https://example.org/", "German")));
    assert_eq!(read(&config.to_text()), config);
}

#[test]
fn keys_of_what_is_not_served_are_unknown() {
    for key in [
        "upstream",
        "tls certificate",
        "tls key",
        "acme webroot",
        "resume",
        "web page",
        "web host",
        "admin socket",
    ] {
        let problems = refused(&format!("{key} : x"));
        assert!(problems[0].starts_with(&format!("test.conf:1: unknown key '{key}'; ")), "{problems:?}");
    }
}

#[test]
fn messages_are_safe_for_a_terminal_and_bounded() {
    let problems = refused("\u{1b}]0;owned\u{7} : 1\nmax users : \u{1b}[2J\u{202e}\nmud\u{9b}31m name : x");
    assert_eq!(problems.len(), 3);
    for problem in &problems {
        assert!(!problem.contains(|c: char| c.is_control() || c == '\u{202e}'), "{problem:?}");
    }
    assert!(problems[1].contains("\\u{1b}[2J\\u{202e}"), "{}", problems[1]);
    let long = refused(&format!("{} : 1", "x".repeat(100_000)));
    assert!(long[0].len() < 2000, "{} bytes", long[0].len());
    let error =
        Config::from_text("many", "x\n".repeat(1000).as_bytes(), Path::new("")).expect_err("bad lines");
    assert_eq!(error.problems.len(), 1000);
    assert_eq!(error.to_string().lines().count(), 21);
    assert!(error.to_string().ends_with("\nand 980 more problems; correct these first"), "{error}");
    let error = Config::from_text("x", "y\n".repeat(21).as_bytes(), Path::new("")).expect_err("not a key");
    assert!(error.to_string().ends_with("\nand one more problem; correct these first"), "{error}");
}

#[test]
fn a_copy_of_the_shipped_file_is_the_same_configuration_asked_for() {
    let copy = read(BUILT_IN);
    let mut built_in = Config::built_in().expect("the shipped file loads");
    assert!(!copy.ports_are_built_in);
    built_in.ports_are_built_in = false;
    assert_eq!(copy, built_in);
}

#[test]
fn a_comment_directly_behind_the_colon_is_no_value() {
    let config = read("motd file :# none\nmud name : a:# b\nlanguage:#\n");
    assert_eq!((config.motd_file, config.mud_name.as_str()), (None, "a:# b"));
    assert_eq!(config.listing.language, None);
    let refused =
        Config::from_text("my.conf", b"mud name :# Cave\n", Path::new("")).expect_err("it has no name");
    assert!(refused.to_string().starts_with("my.conf:1: mud name: this is not a name; "), "{refused}");
}

#[test]
fn a_file_changes_what_it_names_and_nothing_else() {
    let config = read("# a comment\n\n  MAX   Users:5 # five\r\nMud Name : The #1 MUD\n");
    assert_eq!(config.max_users, 5);
    assert_eq!(config.mud_name, "The #1 MUD");
    assert_eq!(config.line_length_bytes, 4096);
    assert!(config.ports_are_built_in);
}

#[test]
fn ports_replace_the_built_in_ones_and_add_up() {
    let config = read("port : 4001\nport : [::1]:4002:ascii\n");
    assert_eq!(ports(&config), ["0.0.0.0:4001:telnet", "[::1]:4002:ascii"]);
    assert!(!config.ports_are_built_in);
}

#[test]
fn ports_of_existing_driver_configurations_load() {
    let config = read(
        "Port 4000:telnet\nPORT\t4001:ascii # players\nport 127.0.0.1:4002\nPort : 4003\nport:4004:ascii\n",
    );
    assert_eq!(
        ports(&config),
        [
            "0.0.0.0:4000:telnet",
            "0.0.0.0:4001:ascii",
            "127.0.0.1:4002:telnet",
            "0.0.0.0:4003:telnet",
            "0.0.0.0:4004:ascii",
        ]
    );
}

#[test]
fn the_command_line_replaces_the_ports() {
    let mut config = read("port : 4001\n");
    config.replace_ports(&[]).expect("nothing to change");
    assert_eq!(ports(&config), ["0.0.0.0:4001:telnet"]);
    let port = "5000".parse().expect("a port");
    config.replace_ports(&[port]).expect("a good port");
    assert_eq!(ports(&config), ["0.0.0.0:5000:telnet"]);
    let error = config.replace_ports(&[port, port]).expect_err("twice the same");
    assert_eq!(error.to_string(), "0.0.0.0:5000 is given twice; keep one of them");
}

#[test]
fn all_problems_are_reported_together_with_their_lines() {
    let problems = refused(
        "mud name : X\nmax user : 5\nport : 4000:telnt\n\nline length : 5\nno colon here\nmud name : Y\nzzz : 1\n",
    );
    assert_eq!(
        problems,
        [
            "test.conf:2: unknown key 'max user'; did you mean 'max users'?",
            "test.conf:3: port: 'telnt' is not a kind of port; the kinds are telnet, ascii and binary",
            "test.conf:5: line length: 5 is out of range; it is a whole number from 80 to 65536",
            "test.conf:6: 'no colon here' has no colon; a line is `key : value`",
            "test.conf:7: 'mud name' was given in line 1 already; keep one of them",
            "test.conf:8: unknown key 'zzz'; 'dolmend --print-config' shows all keys",
        ]
    );
}

#[test]
fn misspelt_keys_get_the_nearest_known_one() {
    for (wrong, right) in [
        ("prot", "port"),
        ("ports", "port"),
        ("mudname", "mud name"),
        ("mud_name", "mud name"),
        ("io_reactor_pool", "io_reactor_pool_size"),
        ("io_reactor_max_event", "io_reactor_max_events"),
        ("trace_io_reactor", "trace io_reactor"),
        ("trace io reactor", "trace io_reactor"),
    ] {
        let problems = refused(&format!("{wrong} : 1"));
        assert_eq!(problems, [format!("test.conf:1: unknown key '{wrong}'; did you mean '{right}'?")]);
    }
}

#[test]
fn numbers_out_of_range_and_no_numbers_are_refused() {
    for text in [
        "max users : 0",
        "max users : 1000001",
        "max users :",
        "max users : ten",
        "max users : -1",
        "max users : +5",
        "max users : 99999999999999999999999",
        "line length : 79",
        "output limit : 1",
        "io_reactor_max_events : 0",
        "io_reactor_pool_size : 0",
        "trace io_reactor : 4",
        "mud name :",
        "max users per address : 0",
        "ipv6 prefix : 129",
        "accept rate : 50",
        "command rate : off",
        "login timeout : soon",
        "mccp : maybe",
        "encoding : utf-16le",
        "encoding : klingon",
        "metrics : 9100",
        "log level : loud",
        "log format : xml",
        "log file : no-such-folder/log",
        "trusted proxies : ten",
        "mud name : \u{1b}[31m",
        "mud name : a\u{202e}b",
        "host name : mud.example.org:4000",
        "contact : me",
        "website : example.org",
        "language : \u{2066}",
    ] {
        let problems = refused(text);
        assert_eq!(problems.len(), 1, "{text}");
        assert!(problems[0].starts_with("test.conf:1: "), "{}", problems[0]);
        assert!(problems[0].contains("; "), "{}", problems[0]);
    }
}

#[test]
fn the_same_port_twice_is_refused_but_two_free_ones_are_fine() {
    assert_eq!(
        refused("port : 4000\nport : 4000:ascii"),
        ["test.conf:2: port: 0.0.0.0:4000 is given twice; keep one of them"]
    );
    assert_eq!(read("port : 0\nport : 0").ports.len(), 2);
}

#[test]
fn ports_of_which_one_includes_the_other_are_refused() {
    for (one, other) in
        [("127.0.0.1:4000", "0.0.0.0:4000"), ("0.0.0.0:4000", "127.0.0.1:4000"), ("[::]:4000", "[::1]:4000")]
    {
        let problem =
            format!("{one} and {other} cannot be open together: one includes the other; keep one of them");
        let text = format!("port : {one}\nport : {other}:ascii");
        assert_eq!(refused(&text), [format!("test.conf:2: port: {problem}")]);
        let mut config = read("");
        let ports = [one, other].map(|port| port.parse().expect("a good port"));
        assert_eq!(config.replace_ports(&ports).map_err(|error| error.to_string()), Err(problem));
    }
    let apart = "port : 127.0.0.1:1\nport : 127.0.0.2:1\nport : 0.0.0.0:2\nport : [::]:1\nport : [::]:2";
    assert_eq!(read(apart).ports.len(), 5);
}

#[test]
fn the_metrics_have_a_port_of_their_own() {
    let problem = "0.0.0.0:9100 and 127.0.0.1:9100 cannot be open together: one includes the other; \
                   the metrics need a port of their own";
    // In any order, and with ports of the command line.
    for text in ["metrics : 127.0.0.1:9100\nport : 9100", "port : 9100\nmetrics : 127.0.0.1:9100"] {
        let problems = refused(text);
        assert!(
            problems.len() == 1 && problems[0].ends_with(&format!(": metrics: {problem}")),
            "{problems:?}"
        );
    }
    let mut config = read("metrics : 127.0.0.1:9100");
    let ports = ["9100".parse().expect("a good port")];
    assert_eq!(config.replace_ports(&ports).expect_err("a collision").to_string(), problem);
}

#[test]
fn a_game_may_have_no_use_for_a_kind_of_port() {
    let config = read("port : 1:ascii\nport : 2:binary");
    assert_eq!(config.check_kinds(|_| true), Ok(()));
    let problem = config.check_kinds(|kind| kind != PortKind::Binary).expect_err("nobody could come in");
    assert_eq!(
        problem.to_string(),
        "port 0.0.0.0:2:binary: this game has no use for a port of kind binary; \
         the kinds that it serves are: telnet, ascii"
    );
}

#[test]
fn more_threads_than_processors_are_warned_of() {
    let processors = std::thread::available_parallelism().expect("a number").get();
    assert_eq!(read(&format!("io threads : {}", processors.min(64))).warnings, [""; 0]);
    let warnings = read("io threads : 64").warnings;
    assert_eq!(warnings.len(), usize::from(processors < 64), "{warnings:?}");
    assert!(
        warnings.iter().all(|warning| warning.starts_with("io threads: 64 are of no more use than ")),
        "{warnings:?}"
    );
}

#[test]
fn proxies_that_may_be_anywhere_are_warned_of() {
    assert_eq!(read("trusted proxies : 10.0.0.0/8").warnings, [""; 0]);
    for everyone in ["0.0.0.0/0", "::/0"] {
        let warnings = read(&format!("trusted proxies : 10.0.0.1 {everyone}")).warnings;
        assert!(warnings[0].starts_with(&format!("trusted proxies: {everyone} is everyone")), "{warnings:?}");
    }
}

#[test]
fn a_ban_list_is_as_long_as_the_start_reads_it_and_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("list.txt");
    let load = |text: &[u8]| Config::from_text("my.conf", text, folder.path());
    // The length of the prefix stands below the list.
    std::fs::write(&list, "2001:db8:1:2ff::1 no\n").expect("written");
    let config = load(b"ban list : list.txt\nipv6 prefix : 56\n").expect("it loads");
    let expected = NetworkList::parse("2001:db8:1:200::/56 no\n", 64).expect("a list");
    assert_eq!(config.banned_networks, expected);

    std::fs::write(&list, "0.0.0.0/0 everybody\n").expect("written");
    let problem = load(b"ban list : list.txt").expect_err("too wide").to_string();
    let end = "list.txt:1: 0.0.0.0/0 is too much of the internet; a network has at least /8, or /16 of IPv6";
    assert!(problem.ends_with(end), "{problem}");

    let file = std::fs::File::create(&list).expect("it can be made");
    file.set_len(keys::BAN_LIST_LIMIT_BYTES as u64 + 1).expect("an empty end");
    let problem = load(b"ban list : list.txt").expect_err("too long").to_string();
    assert!(problem.ends_with("list.txt is too long; at most 16777216 bytes are read"), "{problem}");
}

#[test]
fn a_byte_order_mark_and_crlf_are_tolerated_and_other_bytes_are_named() {
    assert_eq!(read("\u{feff}max users : 7\r\n").max_users, 7);
    let error = Config::from_text("l1.conf", b"mud name : caf\xe9\n", Path::new("")).expect_err("Latin-1");
    assert_eq!(error.to_string(), "l1.conf:1: this is not UTF-8 text; save the file as UTF-8");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::from_file(Path::new("there-is-no-such.conf")).expect_err("no file");
    assert!(error.to_string().starts_with("there-is-no-such.conf: cannot be read: "), "{error}");
}

#[test]
fn the_message_of_the_day_is_read_from_beside_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let conf = folder.path().join("my.conf");
    std::fs::write(folder.path().join("motd.txt"), "Mind the step.\n").expect("written");
    std::fs::write(&conf, "motd file : motd.txt\n").expect("written");
    let config = Config::from_file(&conf).expect("it loads");
    assert_eq!(config.motd.as_deref(), Some("Mind the step.\n"));

    // The printed path finds the file from any folder.
    let again = Config::from_text("printed", config.to_text().as_bytes(), Path::new("")).expect("it loads");
    assert_eq!(again.motd, config.motd);

    std::fs::write(&conf, "motd file : gone.txt\n").expect("written");
    let error = Config::from_file(&conf).expect_err("no such file").to_string();
    assert!(error.contains("my.conf:1: motd file: cannot read "), "{error}");

    std::fs::write(&conf, "motd file : motd.txt\n").expect("written");
    std::fs::write(folder.path().join("motd.txt"), vec![b'x'; MOTD_LIMIT_BYTES + 1]).expect("written");
    let error = Config::from_file(&conf).expect_err("too long").to_string();
    assert!(error.contains("is too long; at most 8192 bytes are read"), "{error}");
}

#[test]
fn what_the_values_name_is_looked_at_and_nothing_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let problems = |text: &str| match Config::from_text("my.conf", text.as_bytes(), folder.path()) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems.iter().map(ToString::to_string).collect(),
    };
    std::fs::write(folder.path().join("bad.list"), "192.0.2.0/24\nnonsense\n\nmore of it\n")
        .expect("written");
    let list = folder.path().join("bad.list");
    let found =
        problems("mud name : X\nban list : bad.list\nmax users : ten\nstate folder : bad.list/in it\n");
    assert_eq!(found.len(), 4, "{found:?}");
    for (problem, begin) in found.iter().zip([
        format!("my.conf:2: ban list: {}:2: this is not a network; ", list.display()),
        format!("my.conf:2: ban list: {}:4: this is not a network; ", list.display()),
        "my.conf:3: max users: 'ten' is not a number; ".into(),
        "my.conf:4: state folder: cannot make ".into(),
    ]) {
        assert!(problem.starts_with(&begin), "{problem}");
    }
    assert!(problems("state folder : bad.list")[0].contains("is not a folder; "));
    assert!(problems("log file : .")[0].contains("is not a file; "));
    assert!(problems("log file : none/")[0].contains("'none/' names a folder; "));
    assert!(problems("log file : none/log")[0].contains("is in no folder that exists; "));
    assert_eq!(problems("ban list : none.list").len(), 1);
    assert_eq!(problems("state folder : not/there/yet\nlog file : new.log\nban list :\n"), [""; 0]);
    assert_eq!(std::fs::read_dir(&folder).expect("it is there").count(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn where_nothing_can_be_made_is_known_without_trying() {
    for (text, begin) in [
        ("state folder : /proc/nope/deeper", "test.conf:1: state folder: cannot make /proc/nope/deeper: "),
        ("state folder : /proc/self", "test.conf:1: state folder: cannot write to /proc/self: "),
        ("log file : /proc/nope", "test.conf:1: log file: cannot write to /proc/nope: "),
    ] {
        let problems = refused(text);
        assert!(problems[0].starts_with(begin), "{problems:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn files_without_end_are_not_opened() {
    let zero = refused("motd file : /dev/zero");
    assert_eq!(
        zero,
        [
            "test.conf:1: motd file: cannot read /dev/zero: it is a pipe or a device, and not a file; name a text file, \
          or leave the value empty"
        ]
    );
    let list = refused("ban list : /dev/zero");
    assert!(list[0].contains("cannot read /dev/zero: it is a pipe or a device"), "{list:?}");
    let log = refused("log file : /dev/zero");
    assert!(log[0].contains("/dev/zero is not a file"), "{log:?}");
    let error = Config::from_file(Path::new("/dev/zero")).expect_err("a device").to_string();
    assert!(
        error.starts_with("/dev/zero: cannot be read: it is a pipe or a device, and not a file; "),
        "{error}"
    );
}

#[test]
fn a_folder_is_not_a_configuration_and_a_long_file_is_not_read_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = Config::from_file(folder.path()).expect_err("a folder").to_string();
    assert!(error.contains("cannot be read: it is a folder"), "{error}");
    let long = folder.path().join("long.conf");
    std::fs::write(&long, "# long\n".repeat(FILE_LIMIT_BYTES / 7 + 1)).expect("written");
    let error = Config::from_file(&long).expect_err("too long").to_string();
    assert!(error.contains("is longer than 256 KiB"), "{error}");
}

#[test]
fn the_printed_configuration_reads_back_as_itself() {
    let config =
        read("port : 1:ascii\nport : [::1]:2\nmud name : #1 Hash\nmax users : 3\ntrace io_reactor : 2\n");
    let text = config.to_text();
    assert_eq!(read(&text), config, "{text}");
}

proptest! {
    #[test]
    fn any_good_values_survive_printing(
        name in "[!-~éß日]{1,20}( [!-~]{1,10}){0,2}",
        users in 1usize..=1_000_000,
        line in 80usize..=65_536,
        port in 0u16..,
    ) {
        let text = format!("mud name : {name}\nmax users : {users}\nline length : {line}\nport : {port}\n");
        // A lone hash is a comment, and an empty name is refused; this test is about neither.
        prop_assume!(!name.split(' ').any(|word| word == "#") && !name.starts_with('#'));
        let config = read(&text);
        prop_assert_eq!(&config.mud_name, &name);
        prop_assert_eq!(read(&config.to_text()), config);
    }

    #[test]
    fn no_bytes_whatever_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Config::from_text("noise", &bytes, Path::new(""));
    }

    #[test]
    fn nor_do_lines_that_look_right(text in "((port|max users|trace io_reactor|motd file|x)( ?:? ?[0-9a-z:.\\[\\]#]{0,12})\n){0,6}") {
        let _ = Config::from_text("noise", text.as_bytes(), Path::new(""));
    }
}
