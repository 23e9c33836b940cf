//! What real clients sent, recorded between them and a server: what they get for it.

use super::*;
use crate::telnet::Colours;

/// One packet of the client, and the reply to it.
type Packet = (&'static [u8], &'static [u8]);

/// A session that is greeted and gets these packets. Returns it with its lines.
fn replay(packets: &[Packet]) -> (Session, Vec<String>) {
    let settings = Settings::default();
    let mut session = Session::new(Options { kind: PortKind::Telnet, line_length_bytes: 80, settings });
    let (mut wire, now) = (Vec::new(), Instant::now());
    session.open(&mut wire);
    session.send(Output::Text("Name? "), &mut wire);
    session.flush(now, &mut wire);
    assert!(wire.ends_with(b"\xff\xfb\x56Name? "), "no mark yet: {wire:02x?}");
    let mut lines = Vec::new();
    for (packet, reply) in packets {
        wire.clear();
        session.receive(packet, now, &mut wire);
        lines.extend(std::iter::from_fn(|| session.next_line(&mut Vec::new())).map(|line| line.text));
        assert_eq!(wire, *reply, "to {packet:02x?}");
    }
    (session, lines)
}

/// TinTin++ 2.02.20 of Debian 12.
#[test]
fn tintin_is_asked_three_times_and_then_compressed() {
    const ASK: &[u8] = b"\xff\xfa\x18\x01\xff\xf0";
    let (session, lines) = replay(&[
        (
            b"\xff\xfb\x18\xff\xfb\x1f\xff\xfa\x1f\x00P\x00\x18\xff\xf0\xff\xfd*\xff\xfd\x19\xff\xfe\xc9\xff\xfdV",
            b"\xff\xfa\x18\x01\xff\xf0\xff\xfa*\x01;UTF-8\xff\xf0",
        ),
        (b"\xff\xfa\x18\x00TINTIN++\xff\xf0", ASK),
        (b"\xff\xfa*\x02UTF-8\xff\xf0", b""),
        (b"\xff\xfa\x18\x00xterm\xff\xf0", ASK),
        (b"\xff\xfa\x18\x00MTTS 271\xff\xf0", b"\xff\xfaV\xff\xf0"),
        (b"Ann\r\n", b""),
        (b"say hi \xd1\x8f\r\n", b""),
    ]);
    assert_eq!(lines, ["Ann", "say hi я"]);
    let client = session.client();
    assert_eq!((client.name.as_str(), client.terminal.as_str()), ("TINTIN++", "XTERM"));
    assert_eq!((client.colours, client.screen_reader, client.gmcp), (Colours::True, false, false));
    assert_eq!(client.window.map(|window| (window.columns, window.rows)), Some((80, 24)));
    assert!(session.text_state("x").is_none(), "it is compressed");
}

/// telnet of inetutils 2.4 of Debian 12, with Ctrl-C typed, and with я, whose second byte it takes for Ctrl-O.
#[test]
fn inetutils_telnet_gets_each_of_its_timing_marks() {
    const ASK: &[u8] = b"\xff\xfa\x18\x01\xff\xf0";
    const MARK: &[u8] = b"\xff\xfb\x06";
    let (session, lines) = replay(&[
        (
            b"\xff\xfb\x18\xff\xfb\x1f\xff\xfa\x1f\x00P\x00\x18\xff\xf0\xff\xfeF\xff\xfe*\xff\xfe\x19\xff\xfe\xc9\xff\xfeV",
            ASK,
        ),
        (b"\xff\xfa\x18\x00XTERM\xff\xf0", ASK),
        (b"\xff\xfa\x18\x00XTERM\xff\xf0", b""),
        (b"Ann\r\n", b""),
        (b"\xff\xf4\xff\xfd\x06", MARK),
        (b"say \xd1\xff\xf5\xff\xfd\x06", MARK),
        (b"\r\n", b""),
        (b"\xff\xf4\xff\xfd\x06", MARK),
        (b"quit\r\n", b""),
    ]);
    assert_eq!(lines, ["Ann", "say \u{fffd}", "quit"]);
    assert_eq!((session.client().terminal.as_str(), session.client().colours), ("XTERM", Colours::Sixteen));
    assert!(session.text_state("x").is_some(), "it refused compression");
}
