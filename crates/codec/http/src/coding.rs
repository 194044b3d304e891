//! Content codings: what a client accepts (RFC 9110 section 12.5.3) of what there is.

/// A content coding that the gateway knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coding {
    /// `br` (RFC 7932).
    Brotli,
    /// `zstd` (RFC 8878).
    Zstd,
    /// `gzip` (RFC 1952).
    Gzip,
}

impl Coding {
    /// All, the denser first.
    pub const ALL: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

    /// Its name in `Content-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
        }
    }

    /// The coding of a name.
    pub fn of(name: &str) -> Option<Coding> {
        Coding::ALL.into_iter().find(|coding| coding.name().eq_ignore_ascii_case(name))
    }
}

/// The coding that a client likes most among `offered`; the first of equals. `None`:
/// the bytes as they are.
pub fn preferred_coding(accept_encoding: &[u8], offered: &[Coding]) -> Option<Coding> {
    let weight = |name: &str| weight_of(accept_encoding, name);
    let mut best: Option<(Coding, u16)> = None;
    for coding in offered {
        let own = weight(coding.name()).or_else(|| weight("*")).unwrap_or(0);
        if own > best.map_or(0, |(_, weight)| weight) {
            best = Some((*coding, own));
        }
    }
    // Whoever weighs the plain form higher gets it.
    let plain = weight("identity").unwrap_or(0);
    best.filter(|(_, weight)| *weight >= plain).map(|(coding, _)| coding)
}

/// The weight of a name in a list with `;q=`, in thousandths. `None`: not in the list.
fn weight_of(list: &[u8], name: &str) -> Option<u16> {
    crate::tokens(list).find_map(|entry| {
        let mut parts = entry.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        // RFC 9110 section 8.4.1.3: `x-gzip` is the same.
        let own = parts.next().map(|own| if own.eq_ignore_ascii_case(b"x-gzip") { b"gzip" } else { own })?;
        own.eq_ignore_ascii_case(name.as_bytes()).then_some(())?;
        let weight = parts.find_map(|part| part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q=")));
        Some(weight.map_or(1_000, thousandths))
    })
}

/// A weight (RFC 9110 section 12.4.2); what is none counts as 0.
fn thousandths(text: &[u8]) -> u16 {
    let value = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f32>().ok());
    value.filter(|value| (0.0..=1.0).contains(value)).map_or(0, |value| (value * 1_000.0) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_coding_that_the_client_weighs_most() {
        let choose = |accept: &str| preferred_coding(accept.as_bytes(), &Coding::ALL);
        assert_eq!(choose("gzip, deflate, br, zstd"), Some(Coding::Brotli));
        assert_eq!(choose("gzip;q=1.0, br;q=0.5"), Some(Coding::Gzip));
        assert_eq!(choose("*"), Some(Coding::Brotli));
        assert_eq!(choose("br;q=0, *"), Some(Coding::Zstd));
        assert_eq!(choose("GZIP"), Some(Coding::Gzip));
        assert_eq!(choose("deflate, x-gzip;q=0.3"), Some(Coding::Gzip));
        for none in ["", "deflate", "br;q=0", "gzip;q=rubbish", "identity, gzip;q=0.5", "*;q=0"] {
            assert_eq!(choose(none), None, "{none}");
        }
        assert_eq!(preferred_coding(b"br, gzip", &[Coding::Gzip]), Some(Coding::Gzip));
    }
}
