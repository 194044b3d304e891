//! References and what they mean under a base (RFC 3986 section 5), as far as links need it.

/// The scheme of an absolute URI.
fn scheme(uri: &str) -> Option<&str> {
    let (scheme, _) = uri.split_once(':')?;
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let starts = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic());
    (starts && scheme.bytes().all(is_scheme)).then_some(scheme)
}

/// Scheme and authority: `coap://host:port`. `None`: there is no authority.
pub(crate) fn origin(uri: &str) -> Option<&str> {
    let start = scheme(uri)?.len() + 3;
    uri.get(start - 3..start).filter(|separator| *separator == "://")?;
    let len = uri[start..].find(['/', '?', '#']).unwrap_or(uri.len() - start);
    (len > 0).then(|| &uri[..start + len])
}

/// Whether it can be the base of a registration: absolute, with an authority, without
/// query and fragment (RFC 9176 section 5).
pub(crate) fn is_base(uri: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"' | b'\\' | b'?' | b'#');
    origin(uri).is_some() && uri.bytes().all(is_plain)
}

/// A reference as an absolute URI.
pub(crate) fn resolve(base: &str, reference: &str) -> String {
    if scheme(reference).is_some() {
        return reference.to_owned();
    }
    if reference.starts_with("//") {
        return format!("{}:{reference}", scheme(base).unwrap_or("coap"));
    }
    let origin = origin(base).unwrap_or(base);
    let path = base[origin.len()..].trim_end_matches(['?', '#']);
    let joined = match reference {
        "" => return base.to_owned(),
        _ if reference.starts_with('/') => reference.to_owned(),
        _ if reference.starts_with(['?', '#']) => format!("{path}{reference}"),
        _ => format!("{}/{reference}", path.rsplit_once('/').map_or("", |(folder, _)| folder)),
    };
    format!("{origin}{}", without_dots(&joined))
}

/// RFC 3986 section 5.2.4.
fn without_dots(path: &str) -> String {
    let end = path.find(['?', '#']).unwrap_or(path.len());
    let mut kept: Vec<&str> = Vec::new();
    for (place, segment) in path[..end].split('/').enumerate() {
        match segment {
            "." => {}
            ".." => {
                if kept.len() > 1 {
                    kept.pop();
                }
            }
            _ if place == 0 => kept.push(segment),
            _ => kept.push(segment),
        }
    }
    let ends_in_dots = path[..end].ends_with("/.") || path[..end].ends_with("/..");
    let slash = if ends_in_dots || kept == [""] { "/" } else { "" };
    format!("{}{slash}{}", kept.join("/"), &path[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_mean_what_the_rfc_says() {
        for (base, reference, expected) in [
            ("coap://[::1]:61616", "/sensors/temp", "coap://[::1]:61616/sensors/temp"),
            ("coap://h", "", "coap://h"),
            ("coap://h", "a?b=c", "coap://h/a?b=c"),
            ("coap://h/x/y", "z", "coap://h/x/z"),
            ("coap://h/x/y", "../z", "coap://h/z"),
            ("coap://h/x/", "./../../z/.", "coap://h/z/"),
            ("coap://h", "coap+tcp://other/a", "coap+tcp://other/a"),
            ("coaps://h", "//other/a", "coaps://other/a"),
            ("coap://h/p", "?q", "coap://h/p?q"),
        ] {
            assert_eq!(resolve(base, reference), expected, "{base} {reference}");
        }
    }

    #[test]
    fn a_base_is_absolute_and_has_neither_query_nor_fragment() {
        for base in ["coap://h", "coap://[2001:db8::1]:61616", "coaps+tcp://h/p", "http://a.b:80"] {
            assert!(is_base(base), "{base}");
        }
        for base in ["", "h", "/p", "coap:", "coap://", "coap:///p", "coap://h?q", "coap://h#f", "coap://h/<", "1:// h"]
        {
            assert!(!is_base(base), "{base}");
        }
    }
}
