//! Passwords: argon2id (RFC 9106) in PHC form.

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};

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
pub(crate) fn verify_password(hash: &str, password: &[u8]) -> bool {
    PasswordHash::new(hash).is_ok_and(|parsed| Argon2::default().verify_password(password, &parsed).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_verifies() {
        let hash = hash_password("tide").expect("hashed");
        assert!(hash.starts_with("$argon2id$"));
        assert!(verify_password(&hash, b"tide"));
        assert!(!verify_password(&hash, b"ebb") && !verify_password("rubbish", b"tide"));
    }
}
