//! Templates of rewrites, redirects, answers and topic targets: text with `{rest}`,
//! `{topic}`, `{host}`, `{path}`, `{query}` and the names that the route's path captures.

use tidegate_route::Captures;

use crate::PolicyError;

/// What a template becomes: it decides how values are encoded on their way in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A path or a location. Parts of the path go in as they are, a topic is escaped.
    Path,
    /// A host name. A value with any other byte than a host has is refused.
    Host,
    /// A topic. Parts of the path are unescaped.
    Topic,
    /// Text of an answer. Values go in as they were sent; braces around anything but a
    /// known name are text.
    Text,
}

/// Where values come from.
#[derive(Clone, Copy, Debug)]
pub struct TemplateInput<'a> {
    /// The canonical path that was looked up; empty where the message has none.
    pub path: &'a [u8],
    /// The spans that the lookup wrote.
    pub captures: &'a Captures,
    /// The topic; empty where the message has none.
    pub topic: &'a [u8],
    /// The host without its port; empty where the message has none.
    pub host: &'a [u8],
    /// The query without its question mark.
    pub query: &'a [u8],
}

/// A compiled template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template {
    parts: Box<[Part]>,
    place: Place,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Literal(Box<str>),
    Rest,
    Topic,
    Host,
    Path,
    Query,
    Capture(usize),
}

impl Template {
    /// Compiles a template against the names that its route captures.
    ///
    /// # Errors
    /// A brace without its other one, or an unknown name.
    pub fn compile(text: &str, names: &[Box<str>], place: Place) -> Result<Self, PolicyError> {
        if place == Place::Text {
            return Ok(Template { parts: lenient_parts(text, names).into(), place });
        }
        let invalid = || PolicyError::InvalidTemplate(text.to_owned());
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, tail)) = rest.split_once('{') {
            let (name, tail) = tail.split_once('}').ok_or_else(invalid)?;
            parts.push(Part::Literal(literal.into()));
            parts.push(named_part(name, names).ok_or_else(invalid)?);
            rest = tail;
        }
        parts.push(Part::Literal(rest.into()));
        let stray =
            parts.iter().any(|part| matches!(part, Part::Literal(text) if text.contains(['{', '}', '\r', '\n', '\0'])));
        if stray {
            return Err(invalid());
        }
        Ok(Template { parts: parts.into(), place })
    }

    /// Whether it is the same text whatever the message.
    pub fn is_constant(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Literal(_)))
    }

    /// Appends the text. `false`: a value that this place cannot hold; what was
    /// appended is then of no use, and the request is answered 400.
    pub fn render(&self, input: &TemplateInput<'_>, out: &mut Vec<u8>) -> bool {
        self.parts.iter().all(|part| self.render_part(part, input, out))
    }

    fn render_part(&self, part: &Part, input: &TemplateInput<'_>, out: &mut Vec<u8>) -> bool {
        let span = match part {
            Part::Literal(text) => {
                out.extend_from_slice(text.as_bytes());
                return true;
            }
            Part::Topic if self.place == Place::Path => return escape(input.topic, out),
            Part::Topic if self.place == Place::Host => return append_host(input.topic, out),
            Part::Topic => {
                out.extend_from_slice(input.topic);
                return true;
            }
            Part::Host => return append_host(input.host, out),
            Part::Path => {
                out.extend_from_slice(input.path);
                return true;
            }
            Part::Query => {
                out.extend_from_slice(input.query);
                return true;
            }
            Part::Rest => input.captures.rest(),
            Part::Capture(index) => input.captures.span(*index),
        };
        let value = span.and_then(|span| input.path.get(span)).unwrap_or_default();
        match self.place {
            Place::Path | Place::Text => out.extend_from_slice(value),
            Place::Host => return append_host(value, out),
            Place::Topic => return unescape(value, out),
        }
        true
    }
}

/// A capture of the path's own goes before the names that every path has.
fn named_part(name: &str, names: &[Box<str>]) -> Option<Part> {
    let own = names.iter().position(|own| **own == *name);
    match (own, name) {
        (Some(index), _) => Some(Part::Capture(index)),
        (None, "rest") => Some(Part::Rest),
        (None, "topic") => Some(Part::Topic),
        (None, "host") => Some(Part::Host),
        (None, "path") => Some(Part::Path),
        (None, "query") => Some(Part::Query),
        (None, _) => None,
    }
}

/// JSON has braces of its own: they stay unless a known name stands between them.
fn lenient_parts(text: &str, names: &[Box<str>]) -> Vec<Part> {
    let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        literal.push_str(before);
        let name = from[1..].split_once('}').map(|(name, _)| name);
        match name.and_then(|name| Some((named_part(name, names)?, name.len() + 2))) {
            Some((part, len)) => {
                parts.push(Part::Literal(std::mem::take(&mut literal).into()));
                parts.push(part);
                rest = &from[len..];
            }
            None => {
                literal.push('{');
                rest = &from[1..];
            }
        }
    }
    literal.push_str(rest);
    parts.push(Part::Literal(literal.into()));
    parts
}

/// Escapes what a path may not hold; the slashes between levels stay.
fn escape(topic: &[u8], out: &mut Vec<u8>) -> bool {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in topic {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b'$' | b':' | b'@' => {
                out.push(byte)
            }
            byte => out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
    true
}

/// The path is canonical, so every `%` has its two digits.
fn unescape(value: &[u8], out: &mut Vec<u8>) -> bool {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| (*byte as char).to_digit(16));
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        let decoded = match byte {
            b'%' => digit(bytes.next()).zip(digit(bytes.next())).map(|(high, low)| (high << 4 | low) as u8),
            byte => Some(byte),
        };
        let Some(byte) = decoded else { return false };
        out.push(byte);
    }
    true
}

fn append_host(value: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value);
    value.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_message::{FieldId, Peer, Protocol, View};
    use tidegate_route::{MatchPlan, PathPlan, RouteSpec, RouteTable};

    struct Path(Peer, &'static str);

    impl View for Path {
        fn protocol(&self) -> Protocol {
            Protocol::Http1
        }
        fn peer(&self) -> &Peer {
            &self.0
        }
        fn field(&self, id: FieldId<'_>) -> Option<&[u8]> {
            (id == FieldId::Path).then_some(self.1.as_bytes())
        }
    }

    fn render(plan: PathPlan, path: &'static str, (template, place): (&str, Place)) -> Option<String> {
        let when = MatchPlan { path: Some(plan), ..MatchPlan::default() };
        let (table, _) = RouteTable::compile(&[RouteSpec { when, priority: 0 }]);
        let mut captures = Captures::new();
        let view = Path(Peer::new(([127, 0, 0, 1], 1).into()), path);
        table.find(&view, &mut captures)?;
        let template = Template::compile(template, table.capture_names(0), place).expect("valid template");
        let input = TemplateInput {
            path: path.as_bytes(),
            captures: &captures,
            topic: b"a b/\xc3\xa4",
            host: b"a.com",
            query: b"q=1",
        };
        let mut out = Vec::new();
        template.render(&input, &mut out).then(|| String::from_utf8(out).expect("text"))
    }

    #[test]
    fn the_rest_of_a_prefix_moves_below_another_path() {
        let prefix = || PathPlan::Prefix("/api".into());
        assert_eq!(render(prefix(), "/api/x/y", ("/v2/{rest}", Place::Path)).as_deref(), Some("/v2/x/y"));
        assert_eq!(render(prefix(), "/api", ("/v2/{rest}", Place::Path)).as_deref(), Some("/v2/"));
        assert_eq!(render(prefix(), "/api", ("/in/{topic}", Place::Path)).as_deref(), Some("/in/a%20b/%C3%A4"));
    }

    #[test]
    fn captures_are_unescaped_for_a_topic_and_checked_for_a_host() {
        let template = || PathPlan::Template("/d/{id}".into());
        assert_eq!(render(template(), "/d/a%20b", ("dev/{id}", Place::Topic)).as_deref(), Some("dev/a b"));
        assert_eq!(render(template(), "/d/eu1", ("{id}.a.com", Place::Host)).as_deref(), Some("eu1.a.com"));
        assert_eq!(render(template(), "/d/x@evil", ("{id}.a.com", Place::Host)), None);
    }

    #[test]
    fn a_text_keeps_the_braces_that_are_its_own() {
        let prefix = || PathPlan::Prefix("/api".into());
        let text = r#"{"rest":"{rest}","x":{"y":{}},"{nothing}":1"#;
        assert_eq!(
            render(prefix(), "/api/x", (text, Place::Text)).as_deref(),
            Some(r#"{"rest":"x","x":{"y":{}},"{nothing}":1"#)
        );
        assert_eq!(
            render(prefix(), "/api/x", ("https://{host}{path}?{query}", Place::Path)).as_deref(),
            Some("https://a.com/api/x?q=1")
        );
    }

    #[test]
    fn refuses_unknown_names_and_stray_braces() {
        for text in ["/{id}", "/{", "/}", "/{rest}}", "/a\r\nb"] {
            assert!(Template::compile(text, &[], Place::Path).is_err(), "{text}");
        }
    }
}
