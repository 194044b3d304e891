//! Lines. Whatever a client wrote is escaped down to printable ASCII: no line ends
//! early, no terminal is steered, no text runs backwards.

use super::{Ending, Format, Seen};
use std::io::Write;
use tidegate_http::http_date;

/// Appends a line.
pub(super) fn put(out: &mut Vec<u8>, format: Format, (seen, ending): (&Seen, &Ending<'_>)) {
    match format {
        Format::Json => put_json(out, (seen, ending)),
        Format::Common => put_common(out, (seen, ending)),
        Format::Combined => {
            put_common(out, (seen, ending));
            out.extend_from_slice(b" ");
            put_quoted(out, &seen.referer);
            out.extend_from_slice(b" ");
            put_quoted(out, &seen.agent);
        }
    }
    out.push(b'\n');
}

fn put_common(out: &mut Vec<u8>, (seen, ending): (&Seen, &Ending<'_>)) {
    // Writing to a Vec cannot fail.
    let _ = match seen.client {
        Some(client) => write!(out, "{client} - "),
        None => write!(out, "- - "),
    };
    if seen.user.is_empty() {
        out.push(b'-');
    } else {
        put_escaped(out, &seen.user, b' ');
    }
    let date = http_date(ending.began_ms / 1_000);
    let (day, month, year, time) = (&date[5..7], &date[8..11], &date[12..16], &date[17..25]);
    for part in [b" [", day, b"/", month, b"/", year, b":", time, b" +0000] \""] {
        out.extend_from_slice(part);
    }
    if !seen.method.is_empty() {
        put_escaped(out, &seen.method, b'"');
        out.push(b' ');
    }
    if !seen.target.is_empty() {
        put_escaped(out, &seen.target, b'"');
        out.push(b' ');
    }
    let _ = write!(out, "{}\" {} {}", seen.version, ending.status, ending.bytes);
}

fn put_json(out: &mut Vec<u8>, (seen, ending): (&Seen, &Ending<'_>)) {
    let date = http_date(ending.began_ms / 1_000);
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = MONTHS.chunks(3).position(|name| *name == date[8..11]).unwrap_or(0) + 1;
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(&date[12..16]);
    let _ = write!(out, "-{month:02}-");
    for part in [&date[5..7], b"T", &date[17..25]] {
        out.extend_from_slice(part);
    }
    let _ = write!(out, ".{:03}Z\"", ending.began_ms % 1_000);
    if let Some(client) = seen.client {
        let _ = write!(out, ",\"client\":\"{client}\"");
    }
    let texts: [(&str, &[u8]); 10] = [
        ("method", &seen.method),
        ("target", &seen.target),
        ("protocol", seen.protocol.as_bytes()),
        ("host", &seen.host),
        ("user", &seen.user),
        ("route", ending.route.unwrap_or_default().as_bytes()),
        ("upstream", ending.upstream.unwrap_or_default().as_bytes()),
        ("endpoint", ending.endpoint.unwrap_or_default().as_bytes()),
        ("flag", if ending.flag == "-" { b"" } else { ending.flag.as_bytes() }),
        ("requestId", &seen.request_id),
    ];
    put_texts(out, &texts);
    let millis = ending.micros as f64 / 1_000.0;
    let Ending { status, bytes, retries, .. } = ending;
    let _ = write!(out, ",\"status\":{status},\"bytes\":{bytes},\"durationMs\":{millis:.3},\"retries\":{retries}");
    put_texts(out, &[("referer", &seen.referer), ("userAgent", &seen.agent), ("traceparent", &seen.trace)]);
    out.push(b'}');
}

/// Names with their texts, those that are not empty.
fn put_texts(out: &mut Vec<u8>, texts: &[(&str, &[u8])]) {
    for (name, text) in texts.iter().filter(|(_, text)| !text.is_empty()) {
        let _ = write!(out, ",\"{name}\":\"");
        for letter in String::from_utf8_lossy(text).chars() {
            match letter {
                '"' | '\\' => out.extend_from_slice(&[b'\\', letter as u8]),
                ' '..='~' => out.push(letter as u8),
                _ => letter.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                    let _ = write!(out, "\\u{unit:04x}");
                }),
            }
        }
        out.push(b'"');
    }
}

fn put_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    if text.is_empty() {
        out.push(b'-');
    }
    put_escaped(out, text, b'"');
    out.push(b'"');
}

fn put_escaped(out: &mut Vec<u8>, text: &[u8], end: u8) {
    for &byte in text {
        if byte == end || byte == b'\\' || !(b' '..=b'~').contains(&byte) {
            let _ = write!(out, "\\x{byte:02x}");
        } else {
            out.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: Format) -> String {
        let seen = Seen {
            client: Some([192, 0, 2, 1].into()),
            method: (*b"GET").into(),
            target: (*b"/a?b").into(),
            version: "HTTP/1.1",
            protocol: "http1",
            agent: "x\"\u{202e}\n\\".as_bytes().into(),
            ..Seen::default()
        };
        let ending = Ending {
            began_ms: 784_111_777_042,
            micros: 1_500,
            status: 200,
            bytes: 5,
            route: Some("r"),
            upstream: None,
            endpoint: None,
            flag: "-",
            retries: 0,
        };
        let mut out = Vec::new();
        put(&mut out, format, (&seen, &ending));
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn lines_are_those_that_log_readers_know() {
        let common = r#"192.0.2.1 - - [06/Nov/1994:08:49:37 +0000] "GET /a?b HTTP/1.1" 200 5"#;
        assert_eq!(line(Format::Common), format!("{common}\n"));
        assert_eq!(line(Format::Combined), format!("{common} \"-\" \"x\\x22\\xe2\\x80\\xae\\x0a\\x5c\"\n"));
    }

    #[test]
    fn a_line_that_broke_a_rule_is_shown_as_it_came() {
        let shown = |opening: &[u8]| {
            let mut out = Vec::new();
            put_common(&mut out, (&Seen::of_line(opening), &Ending::refused((0, 0), 400, 0)));
            String::from_utf8(out).expect("ASCII").split_once("] ").expect("a date").1.to_owned()
        };
        assert_eq!(shown(b"GET /<a> HTTP/1.1\r\nHost: x"), r#""GET /<a> HTTP/1.1" 400 0"#);
        assert_eq!(shown(b"SSH-2.0-\"x\x1b\r\n"), r#""SSH-2.0-\x22x\x1b -" 400 0"#);
        assert_eq!(shown(b""), r#""-" 400 0"#);
    }

    #[test]
    fn json_is_json_and_nothing_in_it_steers_a_terminal() {
        let text = line(Format::Json);
        let value: serde_json::Value = serde_json::from_str(&text).expect("valid");
        assert_eq!(value["time"], "1994-11-06T08:49:37.042Z");
        assert_eq!((&value["durationMs"], &value["route"]), (&1.5.into(), &"r".into()));
        assert_eq!(value["userAgent"], "x\"\u{202e}\n\\");
        assert!(text.trim_end().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    }
}
