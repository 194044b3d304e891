//! `apiKey` and `basicAuth`: who may use a route. Keys are known by their digest alone,
//! so that looking one up tells nothing about another; passwords are compared by the
//! driver, since that is slow on purpose.

use std::collections::HashMap;

use foldhash::quality::RandomState;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tidegate_message::{FieldId, View};

use crate::field::{is_header_name, is_header_value};
use crate::steps::Answer;
use crate::{Edits, PolicyError};

/// An `apiKey` step.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyPlan {
    /// Header that carries the key.
    pub header: Option<String>,
    /// Query parameter that carries it, where the header is not there.
    pub query: Option<String>,
    /// Name of the client and SHA-256 of its key, in hexadecimal digits.
    pub keys: Vec<(String, String)>,
    /// Header that tells the service the client's name.
    pub user_header: Option<String>,
}

/// A `basicAuth` step.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuthPlan {
    /// What the browser shows.
    pub realm: String,
    /// Name and argon2id PHC string.
    pub users: Vec<(String, String)>,
    /// Header that tells the service the user's name.
    pub user_header: Option<String>,
}

/// Compiled `apiKey`.
#[derive(Debug)]
pub(crate) struct ApiKey {
    header: Option<Box<str>>,
    query: Option<Box<str>>,
    names: HashMap<[u8; 32], Box<str>, RandomState>,
    user_header: Option<Box<str>>,
    refusal: Answer,
    ambiguous: Answer,
}

/// Compiled `basicAuth`: the driver asks it for hashes.
#[derive(PartialEq, Eq, Debug)]
pub struct BasicAuth {
    /// Realm, with nothing that would end the quotes around it.
    pub realm: Box<str>,
    /// Header that tells the service the user's name.
    pub user_header: Option<Box<str>>,
    users: HashMap<Box<str>, Box<str>, RandomState>,
    nobody: Box<str>,
}

impl ApiKey {
    pub(crate) fn compile(plan: &ApiKeyPlan) -> Result<Self, PolicyError> {
        let digest = |(name, digits): &(String, String)| {
            let mut bytes = [0; 32];
            let pairs = digits
                .as_bytes()
                .chunks_exact(2)
                .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()));
            let valid = digits.len() == 64
                && bytes.iter_mut().zip(pairs).all(|(byte, digit)| digit.map(|digit| *byte = digit).is_some());
            let entry = (valid && is_header_value(name)).then(|| (bytes, Box::from(name.as_str())));
            entry.ok_or_else(|| PolicyError::InvalidClient(name.clone()))
        };
        let challenge = [("www-authenticate".to_owned(), "ApiKey realm=\"tidegate\"".to_owned())];
        Ok(ApiKey {
            header: plan.header.as_deref().map(Box::from),
            query: plan.query.as_deref().map(Box::from),
            names: plan.keys.iter().map(digest).collect::<Result<_, _>>()?,
            user_header: checked_name(plan.user_header.as_deref())?,
            refusal: Answer::new(401, &challenge, "401 Unauthorized: a valid API key is needed\n")?,
            ambiguous: Answer::new(400, &[], "400 Bad Request: there is more than one API key\n")?,
        })
    }

    fn name_of(&self, key: &[u8]) -> Option<&str> {
        self.names.get(&<[u8; 32]>::from(Sha256::digest(key))).map(|name| &**name)
    }

    /// `Some`: it is refused.
    pub(crate) fn run<V: View>(&self, view: &V, edits: &mut Edits) -> Option<&Answer> {
        let header = self.header.as_deref().map(FieldId::Header).filter(|id| view.field(*id).is_some());
        let place = header.or(self.query.as_deref().map(FieldId::Query));
        // The service would choose by itself which of them counts.
        if place.is_some_and(|id| view.is_repeated(id)) {
            return Some(&self.ambiguous);
        }
        let name = match header.and_then(|id| view.field(id)) {
            Some(key) => self.name_of(key),
            None => self.query.as_deref().and_then(|name| view.field(FieldId::Query(name))).and_then(|key| {
                // A library escapes what it puts into a query; who writes one by hand may not.
                self.name_of(key).or_else(|| self.name_of(&unescape(key)?))
            }),
        };
        let Some(name) = name else { return Some(&self.refusal) };
        if let Some(header) = &self.user_header {
            edits.set_request_header(header, name);
        }
        None
    }
}

/// The bytes that percent escapes stand for (RFC 3986 section 2.1). `None`: there are none, or they are broken.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    text.contains(&b'%').then_some(())?;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first != b'%' {
            out.push(first);
            continue;
        }
        let digit = |at: usize| char::from(*behind.get(at)?).to_digit(16);
        out.push((digit(0)? << 4 | digit(1)?) as u8);
        rest = &behind[2..];
    }
    Some(out)
}

impl BasicAuth {
    pub(crate) fn compile(plan: &BasicAuthPlan) -> Result<Self, PolicyError> {
        if let Some((name, _)) = plan.users.iter().find(|(name, _)| !is_header_value(name)) {
            return Err(PolicyError::InvalidClient(name.clone()));
        }
        Ok(BasicAuth {
            realm: plan.realm.chars().filter(|letter| !letter.is_control() && !"\"\\".contains(*letter)).collect(),
            user_header: checked_name(plan.user_header.as_deref())?,
            nobody: plan.users.first().map(|(_, hash)| hash.as_str().into()).unwrap_or_default(),
            users: plan.users.iter().map(|(name, hash)| (name.as_str().into(), hash.as_str().into())).collect(),
        })
    }

    /// The hash to compare a password with, and whether there is such a user: an unknown
    /// one takes as long as a wrong password.
    pub fn hash(&self, user: &str) -> (&str, bool) {
        self.users.get(user).map_or((&self.nobody, false), |hash| (hash, true))
    }
}

fn checked_name(name: Option<&str>) -> Result<Option<Box<str>>, PolicyError> {
    match name {
        Some(name) if !is_header_name(name) => Err(PolicyError::InvalidHeaderName(name.to_owned())),
        name => Ok(name.map(Box::from)),
    }
}
