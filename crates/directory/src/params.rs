//! The parameters of a registration (RFC 9176 section 5): `ep`, `d`, `lt`, `base`, and
//! whatever else is to be known of the endpoint.

use crate::uri::is_base;

/// Longest endpoint name and sector, bytes (RFC 9176 section 9.3).
const NAME_MAX: usize = 63;
/// Further attributes of an endpoint.
const EXTRA_MAX: usize = 32;
/// Parameters of lookups, which would hide an endpoint's own.
const RESERVED: [&str; 5] = ["page", "count", "href", "anchor", "rt"];

/// What a request says of an endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Params {
    /// The endpoint's name.
    pub endpoint: Option<Box<str>>,
    /// Its sector.
    pub sector: Option<Box<str>>,
    /// For how many seconds the registration holds.
    pub lifetime_s: Option<u32>,
    /// What its links are relative to.
    pub base: Option<Box<str>>,
    /// Other attributes, in the order they came.
    pub extra: Vec<(Box<str>, Box<str>)>,
}

impl Params {
    /// Reads query parameters.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn parse<'q>(query: impl Iterator<Item = &'q [u8]>) -> Result<Self, &'static str> {
        let mut params = Params::default();
        for parameter in query {
            let text = std::str::from_utf8(parameter).map_err(|_| "a parameter is not UTF-8")?;
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            params.take(name, value)?;
        }
        Ok(params)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let once = |place: &mut Option<Box<str>>, fits: bool| match place {
            Some(_) => Err("a parameter stands twice"),
            None if !fits => Err("a parameter has a value that it cannot have"),
            None => {
                *place = Some(value.into());
                Ok(())
            }
        };
        let is_name = (1..=NAME_MAX).contains(&value.len()) && !value.contains(char::is_control);
        match name {
            "ep" => once(&mut self.endpoint, is_name),
            "d" => once(&mut self.sector, is_name),
            "base" => once(&mut self.base, is_base(value)),
            "lt" if self.lifetime_s.is_some() => Err("a parameter stands twice"),
            "lt" => {
                let lifetime = value.parse().ok().filter(|seconds| *seconds > 0);
                self.lifetime_s = Some(lifetime.ok_or("lt is a number of seconds from 1 to 4294967295")?);
                Ok(())
            }
            name if RESERVED.contains(&name) => Err("a parameter is not one of registrations"),
            name if !is_attribute(name) || value.contains(char::is_control) => Err("a parameter is no attribute"),
            _ if self.extra.len() >= EXTRA_MAX => Err("too many parameters"),
            name => {
                self.extra.push((name.into(), value.into()));
                Ok(())
            }
        }
    }
}

fn is_attribute(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(query: &[&str]) -> Result<Params, &'static str> {
        Params::parse(query.iter().map(|parameter| parameter.as_bytes()))
    }

    #[test]
    fn what_is_known_is_read_and_the_rest_kept() {
        let params = of(&["ep=node1", "lt=600", "d=floor2", "base=coap://[::1]:61616", "et=lamp", "x"]).expect("valid");
        assert_eq!((params.endpoint.as_deref(), params.sector.as_deref()), (Some("node1"), Some("floor2")));
        assert_eq!((params.lifetime_s, params.base.as_deref()), (Some(600), Some("coap://[::1]:61616")));
        assert_eq!(params.extra, [("et".into(), "lamp".into()), ("x".into(), "".into())]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let long = format!("ep={}", "x".repeat(64));
        for query in [
            &["ep="][..],
            &[&long],
            &["ep=a", "ep=b"],
            &["lt=0"],
            &["lt=x"],
            &["lt=4294967296"],
            &["lt=1", "lt=2"],
            &["base=/p"],
            &["d="],
            &["page=1"],
            &["a b=1"],
            &["ep=a\u{7}"],
        ] {
            assert!(of(query).is_err(), "{query:?}");
        }
        assert!(Params::parse([&b"ep=\xff"[..]].into_iter()).is_err());
    }
}
