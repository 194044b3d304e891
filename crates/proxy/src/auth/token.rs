//! JSON Web Tokens as passwords (RFC 7519): HS, RS, PS, ES and EdDSA, from a secret, a
//! public key or a key set. A key verifies algorithms of its own family only, so that a
//! public key never passes for a secret.

use super::Claimed;
use crate::plan::{JwtDto, JwtKeyDto};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, errors::ErrorKind};
use serde_json::Value;

/// Bytes of a token.
const TOKEN_MAX: usize = 16 << 10;
/// Clocks may differ by that much, seconds.
const LEEWAY_S: u64 = 5;

const RSA: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
const EC: &[Algorithm] = &[Algorithm::ES256, Algorithm::ES384];
const ED: &[Algorithm] = &[Algorithm::EdDSA];
const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

struct Key {
    id: Option<String>,
    key: DecodingKey,
    algorithms: &'static [Algorithm],
}

/// The method of enhanced authentication whose data is a token.
pub(crate) const TOKEN_METHOD: &str = "JWT";

/// The keys and what is asked of a token. The default has no keys: no token is right.
#[derive(Default)]
pub(crate) struct Tokens {
    keys: Vec<Key>,
    terms: JwtDto,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Tokens({} keys)", self.keys.len())
    }
}

/// Whether a password is three base64url parts: a token.
pub(crate) fn looks_like_one(password: &[u8]) -> bool {
    let is_sign = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'=');
    password.starts_with(b"ey")
        && password.iter().filter(|byte| **byte == b'.').count() == 2
        && password.iter().all(is_sign)
}

impl Tokens {
    /// # Errors
    /// A key is none.
    pub(crate) fn compile(mut terms: JwtDto) -> Result<Tokens, String> {
        let keys = std::mem::take(&mut terms.keys);
        let keys: Result<Vec<Vec<Key>>, String> = keys.iter().map(compile_key).collect();
        Ok(Tokens { keys: keys?.into_iter().flatten().collect(), terms })
    }

    /// Who a token says its bearer is.
    ///
    /// # Errors
    /// Why not, as `tidegate_auth_total` counts it.
    pub(crate) fn verify(&self, token: &[u8]) -> Result<Claimed, &'static str> {
        let header = decode_header(token).ok().filter(|_| token.len() <= TOKEN_MAX).ok_or("bad-token")?;
        let fits = |key: &&Key| {
            let is_named = key.id.is_none() || header.kid.is_none() || key.id == header.kid;
            is_named && key.algorithms.contains(&header.alg)
        };
        let mut why = "unknown-key";
        for key in self.keys.iter().filter(fits) {
            match decode::<Value>(token, &key.key, &self.validation(key)) {
                Ok(token) => return self.claimed(&token.claims),
                Err(error) => {
                    why = match error.kind() {
                        ErrorKind::ExpiredSignature | ErrorKind::ImmatureSignature => "expired-token",
                        ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience => "foreign-token",
                        _ => "bad-token",
                    };
                }
            }
        }
        Err(why)
    }

    fn validation(&self, key: &Key) -> Validation {
        let mut validation = Validation::new(key.algorithms[0]);
        validation.algorithms = key.algorithms.to_vec();
        (validation.leeway, validation.validate_nbf) = (LEEWAY_S, true);
        validation.required_spec_claims.clear();
        match &self.terms.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                validation.required_spec_claims.insert("aud".to_owned());
            }
            None => validation.validate_aud = false,
        }
        if let Some(issuer) = &self.terms.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        validation
    }

    fn claimed(&self, claims: &Value) -> Result<Claimed, &'static str> {
        let user = claims.get(&self.terms.user_claim).and_then(Value::as_str).filter(|user| !user.is_empty());
        let rules = match claims.get(&self.terms.acl_claim) {
            None | Some(Value::Null) => None,
            Some(list) => Some(Claimed::rules(list).ok_or("bad-token")?),
        };
        let is_superuser = claims.get("superuser") == Some(&Value::Bool(true));
        let until = claims.get("exp").and_then(Value::as_f64).map(|seconds| seconds as u64);
        Ok(Claimed { user: user.ok_or("bad-token")?.into(), is_superuser, rules, until })
    }
}

fn compile_key(JwtKeyDto { kind, text }: &JwtKeyDto) -> Result<Vec<Key>, String> {
    let wrong = |error: jsonwebtoken::errors::Error| error.to_string();
    let key = |key, algorithms| Ok(vec![Key { id: None, key, algorithms }]);
    match kind.as_str() {
        "secret" => key(DecodingKey::from_secret(text.as_bytes()), HMAC),
        "pem" => {
            let pem = text.as_bytes();
            let rsa = DecodingKey::from_rsa_pem(pem).map(|key| (key, RSA));
            let known = rsa.or_else(|_| DecodingKey::from_ec_pem(pem).map(|key| (key, EC)));
            let (found, algorithms) =
                known.or_else(|_| DecodingKey::from_ed_pem(pem).map(|key| (key, ED))).map_err(wrong)?;
            key(found, algorithms)
        }
        _ => {
            let set: JwkSet = serde_json::from_str(text).map_err(|error| error.to_string())?;
            set.keys.iter().map(compile_jwk).collect()
        }
    }
}

fn compile_jwk(jwk: &jsonwebtoken::jwk::Jwk) -> Result<Key, String> {
    use jsonwebtoken::jwk::AlgorithmParameters;
    let algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => RSA,
        AlgorithmParameters::EllipticCurve(_) => EC,
        AlgorithmParameters::OctetKeyPair(_) => ED,
        AlgorithmParameters::OctetKey(_) => HMAC,
        #[allow(unreachable_patterns, reason = "the list may grow")]
        _ => return Err("a key of an unknown kind".to_owned()),
    };
    let key = DecodingKey::from_jwk(jwk).map_err(|error| error.to_string())?;
    Ok(Key { id: jwk.common.key_id.clone(), key, algorithms })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    fn tokens(issuer: Option<&str>, audience: Option<&str>) -> Tokens {
        let keys = vec![JwtKeyDto { kind: "secret".to_owned(), text: "between us".to_owned() }];
        let (issuer, audience) = (issuer.map(str::to_owned), audience.map(str::to_owned));
        let (user_claim, acl_claim) = ("sub".to_owned(), "acl".to_owned());
        Tokens::compile(JwtDto { keys, issuer, audience, user_claim, acl_claim }).expect("keys")
    }

    fn signed(claims: &Value, secret: &str) -> String {
        encode(&Header::default(), claims, &EncodingKey::from_secret(secret.as_bytes())).expect("signed")
    }

    #[test]
    fn a_token_names_its_user_and_rules() {
        let claims = json!({ "sub": "ann", "exp": 4_000_000_000_u64, "acl": [{ "allow": "publish", "topic": "a/#" }] });
        let token = signed(&claims, "between us");
        assert!(looks_like_one(token.as_bytes()));
        let claimed = tokens(None, None).verify(token.as_bytes()).expect("right");
        assert_eq!((&*claimed.user, claimed.rules.map(|rules| rules.len())), ("ann", Some(1)));
        assert_eq!(claimed.until, Some(4_000_000_000));
    }

    #[test]
    fn what_is_wrong_with_a_token_is_told_apart() {
        let far = 4_000_000_000_u64;
        let good = json!({ "sub": "ann", "exp": far, "iss": "us", "aud": "tide" });
        let verify = |claims: &Value, secret: &str| {
            tokens(Some("us"), Some("tide")).verify(signed(claims, secret).as_bytes()).map(|claimed| claimed.user)
        };
        assert!(verify(&good, "between us").is_ok());
        assert_eq!(verify(&good, "guessed"), Err("bad-token"));
        let expired = json!({ "sub": "ann", "exp": 1, "iss": "us", "aud": "tide" });
        assert_eq!(verify(&expired, "between us"), Err("expired-token"));
        for foreign in
            [json!({ "sub": "ann", "exp": far, "iss": "them", "aud": "tide" }), json!({ "sub": "a", "iss": "us" })]
        {
            assert!(matches!(verify(&foreign, "between us"), Err("foreign-token" | "bad-token")));
        }
        assert_eq!(verify(&json!({ "exp": far, "iss": "us", "aud": "tide" }), "between us"), Err("bad-token"));
        let unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJhbm4ifQ.";
        assert!(tokens(None, None).verify(unsigned.as_bytes()).is_err());
    }

    #[test]
    fn a_public_key_does_not_pass_for_a_secret() {
        let pem = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9\nq9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==\n-----END PUBLIC KEY-----\n";
        let keys = vec![JwtKeyDto { kind: "pem".to_owned(), text: pem.to_owned() }];
        let (user_claim, acl_claim) = ("sub".to_owned(), "acl".to_owned());
        let tokens =
            Tokens::compile(JwtDto { keys, issuer: None, audience: None, user_claim, acl_claim }).expect("a key");
        let forged = signed(&json!({ "sub": "root", "exp": 4_000_000_000_u64 }), pem);
        assert_eq!(tokens.verify(forged.as_bytes()).err(), Some("unknown-key"));
    }
}
