//! Links as `application/link-format` writes them (RFC 6690 section 2), read and written.

/// A link to a resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Where it leads, as it was written.
    pub target: Box<str>,
    /// Its attributes; a value keeps its quotes, so that it goes out as it came.
    attributes: Vec<(Box<str>, Option<Box<str>>)>,
}

/// Links and attributes beyond which a document counts as a flood.
const LINKS_MAX: usize = 1_024;
const ATTRIBUTES_MAX: usize = 64;

impl Link {
    /// All links of a document. `None`: it is no link-format, or a flood.
    pub fn parse_all(text: &str) -> Option<Vec<Link>> {
        let mut links = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (link, behind) = Link::parse(rest)?;
            links.push(link);
            rest = match behind.trim_start() {
                "" => "",
                more => more.strip_prefix(',')?.trim_start(),
            };
            if links.len() > LINKS_MAX {
                return None;
            }
        }
        Some(links)
    }

    /// The first link, and what stands behind it.
    fn parse(text: &str) -> Option<(Link, &str)> {
        let (target, mut rest) = text.strip_prefix('<')?.split_once('>')?;
        if target.contains(['<', '"', ' ']) || target.contains(char::is_control) {
            return None;
        }
        let mut attributes = Vec::new();
        while let Some(behind) = rest.trim_start().strip_prefix(';') {
            let (attribute, behind) = attribute(behind.trim_start())?;
            attributes.push(attribute);
            rest = behind;
            if attributes.len() > ATTRIBUTES_MAX {
                return None;
            }
        }
        Some((Link { target: target.into(), attributes }, rest))
    }

    /// The values of an attribute, without quotes; of a flag an empty one.
    pub fn values<'l>(&'l self, name: &'l str) -> impl Iterator<Item = &'l str> {
        let own = self.attributes.iter().filter(move |(own, _)| **own == *name);
        own.map(|(_, value)| value.as_deref().map_or("", unquoted))
    }

    /// Appends its attributes, without those of the name `but`.
    pub(crate) fn write_attributes(&self, out: &mut String, but: &str) {
        for (name, value) in self.attributes.iter().filter(|(name, _)| **name != *but) {
            out.push(';');
            out.push_str(name);
            if let Some(value) = value {
                out.push('=');
                out.push_str(value);
            }
        }
    }
}

type Attribute<'t> = ((Box<str>, Option<Box<str>>), &'t str);

/// `name`, `name=token` or `name="text"`, and what stands behind it.
fn attribute(text: &str) -> Option<Attribute<'_>> {
    let end = text.find(['=', ';', ',']).unwrap_or(text.len());
    let name = text[..end].trim_end();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'*' | b'!' | b'+');
    if name.is_empty() || !name.bytes().all(is_name) {
        return None;
    }
    let Some(value) = text[end..].strip_prefix('=') else { return Some(((name.into(), None), &text[end..])) };
    let len = value_len(value)?;
    let is_text = !value[..len].contains(char::is_control);
    is_text.then(|| ((name.into(), Some(value[..len].into())), &value[len..]))
}

/// How long the value is that begins here.
fn value_len(text: &str) -> Option<usize> {
    if !text.starts_with('"') {
        let len = text.find([';', ',', '"', ' ']).unwrap_or(text.len());
        return (len > 0).then_some(len);
    }
    let mut is_escaped = false;
    for (place, letter) in text.char_indices().skip(1) {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some(place + 1),
            _ => {}
        }
    }
    None
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// Appends `;name="value"`; what cannot stand in quotes is left out.
pub(crate) fn write_attribute(out: &mut String, name: &str, value: &str) {
    out.push(';');
    out.push_str(name);
    out.push_str("=\"");
    out.extend(value.chars().filter(|letter| !matches!(letter, '"' | '\\') && !letter.is_control()));
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn links_are_read_with_flags_tokens_and_texts() {
        let text = "</s/t>;rt=\"a b\";ct=40;obs , <coap://h/x>;title=\"say \\\"hi\\\", you;\",<>";
        let links = Link::parse_all(text).expect("links");
        assert_eq!(links.iter().map(|link| &*link.target).collect::<Vec<_>>(), ["/s/t", "coap://h/x", ""]);
        let values = |name| links[0].values(name).collect::<Vec<_>>();
        assert_eq!(
            (values("rt"), values("ct"), values("obs"), values("x")),
            (vec!["a b"], vec!["40"], vec![""], vec![])
        );
        let mut out = String::new();
        links[1].write_attributes(&mut out, "rt");
        assert_eq!(out, ";title=\"say \\\"hi\\\", you;\"");
        assert_eq!(Link::parse_all(""), Some(vec![]));
    }

    #[test]
    fn what_is_no_link_format_is_none() {
        for text in
            ["x", "</a", "</a>;", "</a>;=1", "</a>;rt=", "</a>;rt=\"x", "</a></b>", "<a b>", "</a>;b c", "</a>x"]
        {
            assert_eq!(Link::parse_all(text), None, "{text}");
        }
        assert_eq!(Link::parse_all(&"</a>,".repeat(LINKS_MAX + 2)), None);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_is_written_the_same(text in "[</>;=\", a-c\\\\]{0,40}") {
            for link in Link::parse_all(&text).unwrap_or_default() {
                let mut again = format!("<{}>", link.target);
                link.write_attributes(&mut again, "?");
                prop_assert_eq!(Link::parse_all(&again), Some(vec![link]));
            }
        }
    }
}
