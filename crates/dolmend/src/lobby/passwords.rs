//! Passwords of kept names: hashing and verifying them, which takes long on purpose, in a thread of its own.

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};

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
    let random = Salt::generate();
    random.iter().take(12).map(|byte| char::from(CHARACTERS[usize::from(byte % 32)])).collect()
}

/// The memory of the hashes, which a thread keeps: to take it anew for each costs more of it, which does not come back.
#[derive(Debug, Default)]
pub(super) struct Hasher {
    blocks: Vec<Block>,
}

impl Hasher {
    /// Does the work. It takes long.
    pub fn run(&mut self, job: Job) -> Done {
        match job {
            Job::Verify { user, hash, password } => {
                Done::Verified { user, is_right: self.verify(&hash, &password).unwrap_or(false) }
            }
            Job::Hash { whose, password } => Done::Hashed { whose, hash: self.hash(&password) },
        }
    }

    /// The hash of a new password. `None` without memory for it.
    fn hash(&mut self, password: &str) -> Option<String> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).ok()?;
        let salt = Salt::generate();
        let output = self.output(Algorithm::Argon2id, Version::V0x13, &params, &salt, password)?;
        let hash = PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&params).ok()?,
            salt: Some(salt),
            hash: Some(output),
        };
        Some(hash.to_string())
    }

    /// Whether this is the password. `None` is for a hash that is none.
    fn verify(&mut self, hash: &str, password: &str) -> Option<bool> {
        let hash = PasswordHash::new(hash).ok()?;
        let algorithm = Algorithm::new(hash.algorithm.as_str()).ok()?;
        let version = hash.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
        let params = Params::try_from(&hash).ok()?;
        // The outputs take as long to compare wherever they differ.
        Some(self.output(algorithm, version, &params, &hash.salt?, password)? == hash.hash?)
    }

    fn output(
        &mut self,
        algorithm: Algorithm,
        version: Version,
        params: &Params,
        salt: &Salt,
        password: &str,
    ) -> Option<Output> {
        let count = params.block_count();
        if self.blocks.len() < count {
            self.blocks.try_reserve_exact(count - self.blocks.len()).ok()?;
            self.blocks.resize(count, Block::default());
        }
        let mut output = [0; Output::MAX_LENGTH];
        let output = output.get_mut(..params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN))?;
        let argon2 = Argon2::new(algorithm, version, params.clone());
        let blocks = &mut self.blocks[..count];
        argon2.hash_password_into_with_memory(password.as_bytes(), salt, output, blocks).ok()?;
        Output::new(output).ok()
    }
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};

    use super::*;

    #[test]
    fn a_password_is_recognised_by_its_hash_only() {
        let mut hasher = Hasher::default();
        let hash = hasher.hash("open sesame").expect("a hash");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(hasher.verify(&hash, "open sesame"), Some(true));
        assert_eq!(hasher.verify(&hash, "open sesam"), Some(false));
        assert_eq!(hasher.verify("$argon2id$nonsense", "open sesame"), None);
        assert_ne!(hash, hasher.hash("open sesame").expect("a hash"), "each has a salt of its own");
        assert_eq!(hasher.blocks.len(), 19 * 1024, "all of them used the same memory");
        // What another program makes of it.
        assert!(Argon2::default().verify_password(b"open sesame", hash.as_str()).is_ok());
    }

    #[test]
    fn a_hash_with_other_parameters_stays_good() {
        let other =
            Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 1, 1, None).expect("small"));
        let hash = other.hash_password(b"secret").expect("a hash").to_string();
        let mut hasher = Hasher::default();
        // Whatever the memory held before.
        hasher.hash("another").expect("a hash");
        assert_eq!(hasher.verify(&hash, "secret"), Some(true));
        assert_eq!(hasher.verify(&hash, "Secret"), Some(false));
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
