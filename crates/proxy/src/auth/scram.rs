//! SCRAM-SHA-256, the server's side (RFC 5802, RFC 7677), without channel binding: two
//! messages in, two out. The password itself is never seen, nor kept.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The method's name in MQTT 5 (section 4.12).
pub(crate) const METHOD: &str = "SCRAM-SHA-256";
const HASH_BYTES: usize = 32;
/// Iterations that an unknown user is told: what `tidegate passwd` makes.
const ITERATIONS: u32 = 4_096;
/// Bytes of a message; names and nonces are short.
const MESSAGE_MAX: usize = 1_024;

/// What is kept of a password: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: [u8; HASH_BYTES],
    server_key: [u8; HASH_BYTES],
}

impl Verifier {
    /// Reads the form that `auth.users` holds.
    pub(crate) fn parse(text: &str) -> Option<Verifier> {
        let (method, rest) = text.split_once('$')?;
        let ((iterations, salt), (stored, server)) =
            rest.split_once('$').and_then(|(left, right)| Some((left.split_once(':')?, right.split_once(':')?)))?;
        let key = |text: &str| <[u8; HASH_BYTES]>::try_from(STANDARD.decode(text).ok()?).ok();
        (method == METHOD).then_some(())?;
        Some(Verifier {
            iterations: iterations.parse().ok().filter(|count| *count > 0)?,
            salt: STANDARD.decode(salt).ok()?,
            stored_key: key(stored)?,
            server_key: key(server)?,
        })
    }

    /// Of a user that does not exist: the same salt each time, and no password fits.
    fn of_nobody(user: &str, secret: &[u8]) -> Verifier {
        let salt = hmac(secret, &[user.as_bytes()]);
        let key = hmac(secret, &[b"nobody", user.as_bytes()]);
        Verifier { iterations: ITERATIONS, salt: salt[..16].to_vec(), stored_key: key, server_key: key }
    }
}

/// Where an exchange stands after the client's first message.
#[derive(Debug)]
pub(crate) struct Exchange {
    user: Arc<str>,
    is_known: bool,
    verifier: Verifier,
    nonce: String,
    /// What the channel binding of the last message must be.
    binding: String,
    /// The first two messages, as both sides sign them.
    signed: String,
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; HASH_BYTES] {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).unwrap_or_else(|_| unreachable!("any key length fits"));
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn attribute<'m>(part: Option<&'m str>, name: &str) -> Option<&'m str> {
    part?.strip_prefix(name)?.strip_prefix('=')
}

/// A name with `=2C` and `=3D` (RFC 5802 section 5.1).
fn unescape(name: &str) -> Option<String> {
    let plain = name.replace("=2C", ",").replace("=3D", "\u{0}");
    (!plain.contains('=') && !name.contains('\u{0}')).then(|| plain.replace('\u{0}', "="))
}

impl Exchange {
    /// Takes the client's first message: the exchange and the answer. `None`: it is none,
    /// or it wants channel binding or to act for somebody else.
    pub(crate) fn begin(
        data: &[u8],
        find: impl FnOnce(&str) -> Option<Verifier>,
        (secret, nonce): (&[u8], &str),
    ) -> Option<(Exchange, String)> {
        let text = std::str::from_utf8(data).ok().filter(|text| text.len() <= MESSAGE_MAX)?;
        let mut gs2 = text.splitn(3, ',');
        let (flag, act_for, bare) = (gs2.next()?, gs2.next()?, gs2.next()?);
        let mut parts = bare.split(',');
        let name = unescape(attribute(parts.next(), "n")?).filter(|name| !name.is_empty())?;
        let client_nonce = attribute(parts.next(), "r").filter(|nonce| !nonce.is_empty())?;
        let acts_for_itself = act_for.is_empty() || attribute(Some(act_for), "a").and_then(unescape)? == name;
        if !matches!(flag, "n" | "y") || !acts_for_itself {
            return None;
        }
        let known = find(&name);
        let is_known = known.is_some();
        let verifier = known.unwrap_or_else(|| Verifier::of_nobody(&name, secret));
        let nonce = format!("{client_nonce}{nonce}");
        let answer = format!("r={nonce},s={},i={}", STANDARD.encode(&verifier.salt), verifier.iterations);
        let binding = STANDARD.encode(format!("{flag},{act_for},"));
        let signed = format!("{bare},{answer}");
        Some((Exchange { user: name.into(), is_known, verifier, nonce, binding, signed }, answer))
    }

    /// Takes the client's last message: the user and the server's proof, if the password was right.
    pub(crate) fn finish(self, data: &[u8]) -> Option<(Arc<str>, String)> {
        let text = std::str::from_utf8(data).ok().filter(|text| text.len() <= MESSAGE_MAX)?;
        let (unproven, proof) = text.rsplit_once(",p=")?;
        let mut parts = unproven.split(',');
        let is_bound = attribute(parts.next(), "c")? == self.binding;
        let is_same = attribute(parts.next(), "r")? == self.nonce;
        let proof = <[u8; HASH_BYTES]>::try_from(STANDARD.decode(proof).ok()?).ok()?;
        let signed = [self.signed.as_bytes(), b",", unproven.as_bytes()];
        let signature = hmac(&self.verifier.stored_key, &signed);
        let mut client_key = [0; HASH_BYTES];
        client_key.iter_mut().zip(proof.iter().zip(signature)).for_each(|(key, (proof, sign))| *key = proof ^ sign);
        // Comparing digests tells nothing: whoever varies the proof does not steer them.
        let is_right = <[u8; HASH_BYTES]>::from(Sha256::digest(client_key)) == self.verifier.stored_key;
        (is_bound && is_same && is_right && self.is_known)
            .then(|| (self.user, format!("v={}", STANDARD.encode(hmac(&self.verifier.server_key, &signed)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677 section 3.
    const VERIFIER: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    fn exchange() -> (Exchange, String) {
        let find = |name: &str| Verifier::parse(VERIFIER).filter(|_| name == "user");
        let nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        Exchange::begin(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", find, (b"secret", nonce)).expect("a first message")
    }

    #[test]
    fn the_conversation_of_the_rfc_succeeds() {
        let (exchange, answer) = exchange();
        assert_eq!(answer, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let (user, proof) = exchange.finish(last).expect("the right password");
        assert_eq!((&*user, &*proof), ("user", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    }

    #[test]
    fn a_wrong_proof_nonce_or_binding_fails() {
        let good = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        for bad in
            [good.replace("p=dH", "p=eH"), good.replace("$k0", "$k1"), good.replace("biws", "eSws"), String::new()]
        {
            assert!(exchange().0.finish(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_user_is_asked_as_a_known_one_and_fails() {
        let begin = |name: &str| {
            let first = format!("n,,n={name},r=abc");
            Exchange::begin(first.as_bytes(), |_| None, (b"secret", "def")).expect("asked").1
        };
        assert_eq!(begin("nobody"), begin("nobody"));
        assert_ne!(begin("nobody"), begin("somebody"));
    }

    #[test]
    fn rubbish_and_channel_binding_are_refused() {
        for bad in ["", "n,,", "p=tls-unique,,n=u,r=x", "n,a=other,n=u,r=x", "n,,n=,r=x", "n,,n=u=zz,r=x", "n,,n=u,r="]
        {
            assert!(Exchange::begin(bad.as_bytes(), |_| None, (b"s", "n")).is_none(), "{bad}");
        }
    }
}
