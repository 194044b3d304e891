//! Passwords: argon2id (RFC 9106) in PHC form.

use argon2::password_hash::{Output, PasswordHash, PasswordHasher, Salt, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};

/// What a comparison works in, some 20 MiB as the standard has it. Kept from one to the next: an allocator has it
/// again and again for another thread, and gives none back.
pub(super) type Memory = Vec<Block>;

/// The hash of a password with a random salt, as `auth.users` wants it.
///
/// # Errors
/// What the hasher or the system's randomness said.
pub fn hash_password(password: &str) -> Result<String, String> {
    let mut salt = [0u8; 16];
    getrandom::fill(&mut salt).map_err(|error| error.to_string())?;
    let salt = SaltString::encode_b64(&salt).map_err(|error| error.to_string())?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt).map_err(|error| error.to_string())?;
    Ok(hash.to_string())
}

/// Whether a password is the one that was hashed. Takes tens of milliseconds on purpose:
/// never called on a worker's own turn.
pub(super) fn verify_password(hash: &str, password: &[u8], memory: &mut Memory) -> bool {
    PasswordHash::new(hash).is_ok_and(|parsed| compare(&parsed, password, memory) == Some(true))
}

/// `None`: what is to be compared with is no hash that argon2 makes.
fn compare(parsed: &PasswordHash<'_>, password: &[u8], memory: &mut Memory) -> Option<bool> {
    let algorithm = Algorithm::try_from(parsed.algorithm).ok()?;
    let version = parsed.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
    let params = Params::try_from(parsed).ok()?;
    let expected = parsed.hash?;
    let mut salt = [0; Salt::MAX_LENGTH];
    let salt = parsed.salt?.decode_b64(&mut salt).ok()?;
    let blocks = params.block_count();
    if memory.len() < blocks {
        memory.resize(blocks, Block::default());
    }
    let mut hashed = vec![0; expected.len()];
    Argon2::new(algorithm, version, params)
        .hash_password_into_with_memory(password, salt, &mut hashed, &mut memory[..blocks])
        .ok()?;
    Some(Output::new(&hashed).ok()? == expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_verifies() {
        let hash = hash_password("tide").expect("hashed");
        assert!(hash.starts_with("$argon2id$"));
        let mut memory = Memory::new();
        let mut verify = |hash: &str, password: &[u8]| verify_password(hash, password, &mut memory);
        assert!(verify(&hash, b"tide"));
        assert!(!verify(&hash, b"ebb") && !verify("rubbish", b"tide"));
        // Others before leave no trace in the memory, whatever they took of it.
        let small = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        assert!(verify(small, b"password") && verify(&hash, b"tide") && verify(small, b"password"));
    }
}
