//! Headers whole, in pieces, wrong and hostile.

use super::*;
use proptest::prelude::*;

const INCOMPLETE: Result<Progress, BadHeader> = Ok(Progress::Incomplete);

/// Reads a stream in one piece, and in every two pieces and byte by byte, which has to give the same.
/// Returns the result, with the bytes that belong to the header.
fn read(stream: &[u8]) -> Result<Progress, BadHeader> {
    let whole = HeaderReader::default().receive(stream);
    for cut in 0..=stream.len().min(300) {
        assert_eq!(read_pieces([&stream[..cut], &stream[cut..]]), whole, "{stream:02x?} cut at {cut}");
    }
    assert_eq!(read_pieces(stream.chunks(1)), whole, "{stream:02x?} byte by byte");
    whole
}

fn read_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Progress, BadHeader> {
    let (mut reader, mut before) = (HeaderReader::default(), 0);
    for piece in pieces {
        match reader.receive(piece)? {
            Progress::Incomplete => before += piece.len(),
            Progress::Complete { taken, player } => {
                return Ok(Progress::Complete { taken: before + taken, player });
            }
        }
    }
    INCOMPLETE
}

fn complete(taken: usize, player: &str) -> Result<Progress, BadHeader> {
    Ok(Progress::Complete { taken, player: player.parse().ok() })
}

fn v2(version_command: u8, family_protocol: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("a short rest").to_be_bytes();
    [&V2_SIGNATURE[..], &[version_command, family_protocol], &length, rest].concat()
}

const V4_ADDRESSES: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0xc3, 0x50, 0x0f, 0xa0];

#[test]
fn version_1_names_the_player() {
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 4000\r\n";
    assert_eq!(read(header), complete(header.len(), "192.0.2.7:50000"));
    let with_text = [&header[..], b"look\r\n"].concat();
    assert_eq!(read(&with_text), complete(header.len(), "192.0.2.7:50000"));
    let header = b"PROXY TCP6 2001:db8::7 2001:db8::1 1 0\r\n";
    assert_eq!(read(header), complete(header.len(), "[2001:db8::7]:1"));
    let longest = format!("PROXY TCP6 {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":"));
    assert_eq!(
        read(longest.as_bytes()),
        complete(longest.len(), "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")
    );
}

#[test]
fn a_player_may_be_unknown() {
    assert_eq!(read(b"PROXY UNKNOWN\r\nx"), complete(15, ""));
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
    assert_eq!(longest.len(), V1_LONGEST);
    assert_eq!(read(longest.as_bytes()), complete(V1_LONGEST, ""));
    // LOCAL: a health check of the proxy, with or without addresses.
    assert_eq!(read(&v2(0x20, 0x00, b"")), complete(16, ""));
    assert_eq!(read(&v2(0x20, 0x11, &V4_ADDRESSES)), complete(28, ""));
    // Unix sockets and datagrams.
    assert_eq!(read(&v2(0x21, 0x31, &[b'x'; 216])), complete(232, ""));
    assert_eq!(read(&v2(0x21, 0x12, &V4_ADDRESSES)), complete(28, ""));
    assert_eq!(read(&v2(0x21, 0x00, b"rest")), complete(20, ""));
}

#[test]
fn version_2_names_the_player_and_fields_behind_it_are_skipped() {
    assert_eq!(read(&v2(0x21, 0x11, &V4_ADDRESSES)), complete(28, "192.0.2.7:50000"));
    let fields = [&V4_ADDRESSES[..], &[4, 0, 3, 1, 2, 3]].concat();
    let stream = [&v2(0x21, 0x11, &fields)[..], b"look\r\n"].concat();
    assert_eq!(read(&stream), complete(34, "192.0.2.7:50000"));
    let mut six = [0; 36];
    six[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().expect("an address").octets());
    six[32..34].copy_from_slice(&7u16.to_be_bytes());
    assert_eq!(read(&v2(0x21, 0x21, &six)), complete(52, "[2001:db8::7]:7"));
    // As long as it can be; nothing of it is kept.
    let mut rest = vec![0; 65_535];
    rest[..12].copy_from_slice(&V4_ADDRESSES);
    assert_eq!(read(&v2(0x21, 0x11, &rest)), complete(65_551, "192.0.2.7:50000"));
}

#[test]
fn each_cut_is_only_incomplete() {
    for header in [&b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 4000\r\n"[..], &v2(0x21, 0x11, &V4_ADDRESSES)] {
        for cut in 0..header.len() {
            assert_eq!(read(&header[..cut]), INCOMPLETE, "cut at {cut}");
        }
    }
}

#[test]
fn what_is_no_header_is_refused_at_its_first_wrong_byte() {
    for (stream, error) in [
        (&b"Ann\r\n"[..], BadHeader::NotAHeader),
        (b"PROXYTCP4", BadHeader::NotAHeader),
        (b"proxy TCP4 ", BadHeader::NotAHeader),
        (b"\r\n\r\n\0\r\nquit\n", BadHeader::NotAHeader),
        (b"\xff\xfb\x18", BadHeader::NotAHeader),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 4000\n", BadHeader::Malformed),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 4000\rx", BadHeader::Malformed),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 65536\r\n", BadHeader::Malformed),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 050 4000\r\n", BadHeader::Malformed),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 +50 4000\r\n", BadHeader::Malformed),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 50 4000 \r\n", BadHeader::Malformed),
        (b"PROXY TCP4  192.0.2.7 198.51.100.1 50 4000\r\n", BadHeader::Malformed),
        (b"PROXY TCP4 2001:db8::7 2001:db8::1 1 1\r\n", BadHeader::Malformed),
        (b"PROXY TCP6 192.0.2.7 198.51.100.1 50 4000\r\n", BadHeader::Malformed),
        (b"PROXY UDP4 192.0.2.7 198.51.100.1 50 4000\r\n", BadHeader::Malformed),
        (b"PROXY TCP4 localhost 198.51.100.1 50 4000\r\n", BadHeader::Malformed),
        (b"PROXY TCP4\r\n", BadHeader::Malformed),
        (b"PROXY \r\n", BadHeader::Malformed),
        (b"PROXY TCP4 \xff\xff\r\n", BadHeader::Malformed),
        (&[b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(), BadHeader::TooLong),
        (&v2(0x11, 0x11, &V4_ADDRESSES), BadHeader::Malformed),
        (&v2(0x22, 0x11, &V4_ADDRESSES), BadHeader::Malformed),
        (&v2(0x21, 0x41, &V4_ADDRESSES), BadHeader::Malformed),
        (&v2(0x21, 0x13, &V4_ADDRESSES), BadHeader::Malformed),
        (&v2(0x21, 0x11, &V4_ADDRESSES[..11]), BadHeader::Malformed),
        (&v2(0x21, 0x21, &V4_ADDRESSES), BadHeader::Malformed),
    ] {
        assert_eq!(read(stream), Err(error), "{:?}", String::from_utf8_lossy(stream));
        assert!(!error.to_string().is_empty());
    }
}

proptest! {
    #[test]
    fn any_stream_gives_the_same_in_any_pieces(
        begin in prop_oneof![
            Just(&b""[..]), Just(&b"PROXY "[..]), Just(&b"PROXY TCP4 1.2.3.4 "[..]), Just(&b"PROXY UNKNOWN"[..]),
            Just(&V2_SIGNATURE[..]), Just(&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"[..]),
        ],
        rest in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "[0-9:. \r\n]{0,100}".prop_map(String::into_bytes),
        ],
    ) {
        let _ = read(&[begin, &rest].concat());
    }

    #[test]
    fn every_address_is_read_as_it_was_written(four: [u8; 4], six: [u8; 16], port: u16, fields in 0usize..40) {
        let (four, six) = (Ipv4Addr::from(four), Ipv6Addr::from(six));
        for ip in [IpAddr::from(four), IpAddr::from(six)] {
            let (word, octets) = match ip {
                IpAddr::V4(four) => ("TCP4", four.octets().to_vec()),
                IpAddr::V6(six) => ("TCP6", six.octets().to_vec()),
            };
            let text = format!("PROXY {word} {ip} {ip} {port} 4000\r\n");
            let player = Some(SocketAddr::new(ip, port));
            prop_assert_eq!(read(text.as_bytes()), Ok(Progress::Complete { taken: text.len(), player }));
            let rest = [&octets[..], &octets, &port.to_be_bytes(), &[0, 0], &vec![7; fields]].concat();
            let binary = v2(0x21, if ip.is_ipv4() { 0x11 } else { 0x21 }, &rest);
            prop_assert_eq!(read(&binary), Ok(Progress::Complete { taken: binary.len(), player }));
        }
    }
}
