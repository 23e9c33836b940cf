//! MNES over NEW-ENVIRON (RFC 1572): the player's address, from a proxy that is trusted.

use std::net::IpAddr;

use super::byte::option;
use super::engine::subnegotiation;
use crate::layer::Outward;

const IS: u8 = 0;
const SEND: u8 = 1;
const VAR: u8 = 0;
const VALUE: u8 = 1;
const ESC: u8 = 2;
const USERVAR: u8 = 3;

const NAME: &[u8] = b"IPADDRESS";

/// Asks for the address.
pub(super) fn ask(outward: &mut Outward) {
    let mut payload = vec![SEND, VAR];
    payload.extend(NAME);
    subnegotiation(option::NEW_ENVIRON, &payload, outward);
}

/// Whether this is an answer, and not news that no one has asked for (INFO).
pub(super) fn is_answer(payload: &[u8]) -> bool {
    payload.first() == Some(&IS)
}

/// The address in an answer.
pub(super) fn address(payload: &[u8]) -> Option<IpAddr> {
    let [IS, variables @ ..] = payload else { return None };
    let mut found = None;
    for variable in variables.split(|&byte| byte == VAR || byte == USERVAR) {
        let Some(place) = variable.iter().position(|&byte| byte == VALUE) else { continue };
        let (name, value) = (&variable[..place], &variable[place + 1..]);
        if name == NAME && !value.contains(&ESC) {
            found = std::str::from_utf8(value).ok()?.parse().ok();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_among_other_variables() {
        let found = |payload: &[u8]| address(payload).map(|address| address.to_string());
        assert_eq!(found(b"\x00\x00IPADDRESS\x01192.0.2.7"), Some("192.0.2.7".into()));
        assert_eq!(found(b"\x00\x00X\x01y\x03IPADDRESS\x012001:db8::1\x00Z"), Some("2001:db8::1".into()));
        for none in [
            &b""[..],
            b"\x00",
            b"\x01\x00IPADDRESS\x01192.0.2.7",
            b"\x02\x00IPADDRESS\x01192.0.2.7",
            b"\x00\x00IPADDRESS",
            b"\x00\x00IPADDRESS\x01x",
        ] {
            assert_eq!(found(none), None, "{none:?}");
        }
    }
}
