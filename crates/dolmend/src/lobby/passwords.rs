//! Passwords of kept names: hashing and verifying them, which takes long on purpose, in a thread of its own.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};

use super::Done;
use crate::names::Name;
use crate::world::UserId;

/// Memory of a hash in KiB, passes over it, and threads: what OWASP recommends as the least. A hash has its own written
/// with it, so these may change while old hashes stay good.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// How many jobs may wait for the thread. At some 30 ms each, the last one waits for a second.
pub(super) const MAX_WAITING: usize = 32;

/// The shortest and the longest password, in characters.
const SHORTEST: usize = 6;
const LONGEST: usize = 200;

/// A password to work on.
pub(super) enum Job {
    /// Whether it is the one with this hash.
    Verify { user: UserId, hash: String, password: String },
    /// Its hash.
    Hash { whose: Whose, password: String },
}

/// For whom a hash is made.
#[derive(Debug)]
pub(super) enum Whose {
    /// A player, for the name.
    Player(UserId),
    /// The operator, for this name.
    Operator { name: Name, password: String },
}

impl Job {
    /// Does the work. It takes long.
    pub fn run(self) -> Done {
        match self {
            Job::Verify { user, hash, password } => {
                Done::Verified { user, is_right: verify(&hash, &password) }
            }
            Job::Hash { whose, password } => Done::Hashed { whose, hash: hash(&password) },
        }
    }
}

/// Why a password cannot be chosen, for the player.
pub(super) fn check(password: &str) -> Result<(), String> {
    let length = password.chars().count();
    if (SHORTEST..=LONGEST).contains(&length) {
        Ok(())
    } else {
        Err(format!("A password has {SHORTEST} to {LONGEST} characters."))
    }
}

/// A password that no one guesses: 60 random bits, in characters that are not mistaken for others.
pub(super) fn invent() -> String {
    const CHARACTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let random = argon2::password_hash::phc::Salt::generate();
    random.iter().take(12).map(|byte| char::from(CHARACTERS[usize::from(byte % 32)])).collect()
}

fn hash(password: &str) -> Option<String> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).ok()?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password(password.as_bytes()).map(|hash| hash.to_string()).ok()
}

fn verify(hash: &str, password: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_recognised_by_its_hash_only() {
        let hash = hash("open sesame").expect("a hash");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify(&hash, "open sesame"));
        assert!(!verify(&hash, "open sesam"));
        assert!(!verify("$argon2id$nonsense", "open sesame"));
        assert_ne!(hash, super::hash("open sesame").expect("a hash"), "each has a salt of its own");
    }

    #[test]
    fn a_hash_with_other_parameters_stays_good() {
        let other =
            Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 1, 1, None).expect("small"));
        let hash = other.hash_password(b"secret").expect("a hash").to_string();
        assert!(verify(&hash, "secret") && !verify(&hash, "Secret"));
    }

    #[test]
    fn an_invented_password_is_a_good_one_and_never_the_same() {
        let [one, other] = [invent(), invent()];
        assert!(one != other && one.len() == 12 && check(&one).is_ok());
    }

    #[test]
    fn passwords_have_a_length() {
        assert!(check("12345").is_err() && check("123456").is_ok());
        assert!(check(&"é".repeat(200)).is_ok() && check(&"é".repeat(201)).is_err());
    }
}
