//! Versions of HTTP/1: the two there are, and what is made of those that may come.

/// HTTP/1.0 or HTTP/1.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// HTTP/1.0: closes after one answer unless asked to keep alive.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    /// As a request line names it.
    pub const fn label(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }
    }
}

/// RFC 9110 section 2.5: a higher minor version is read as the highest one that is known. It is written
/// over, since a parser wants to see that, and a head may go on as it came. Of a request, whole or in part.
pub fn lower_request_version(head: &mut [u8]) {
    let start = usize::from(head.starts_with(b"\r\n")) * 2;
    let Some(end) = memchr::memchr(b'\r', &head[start..]) else { return };
    let line = &mut head[start..start + end];
    if let [.., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'2'..=b'9'] = line {
        *minor = b'1';
    }
}

/// The same of an answer.
pub fn lower_response_version(head: &mut [u8]) {
    if let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'2'..=b'9', ..] = head {
        *minor = b'1';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_minor_version_is_the_highest_that_is_known_and_no_other_is_touched() {
        for (given, read) in [
            ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("\r\nGET / HTTP/1.9\r\n", "\r\nGET / HTTP/1.1\r\n"),
            ("GET / HTTP/1.2", "GET / HTTP/1.2"),
            ("GET / HTTP/1.0\r\nX: HTTP/1.2\r\n\r\n", "GET / HTTP/1.0\r\nX: HTTP/1.2\r\n\r\n"),
            ("GET / HTTP/1.22\r\n", "GET / HTTP/1.22\r\n"),
            ("GET / HTTP/2.2\r\n", "GET / HTTP/2.2\r\n"),
            ("GET /HTTP/1.2\r\n", "GET /HTTP/1.2\r\n"),
        ] {
            let mut head = given.as_bytes().to_vec();
            lower_request_version(&mut head);
            assert_eq!(String::from_utf8_lossy(&head), read);
        }
        for (given, read) in [
            ("HTTP/1.2 200 OK\r\n", "HTTP/1.1 200 OK\r\n"),
            ("HTTP/1.0 200 OK\r\n", "HTTP/1.0 200 OK\r\n"),
            ("HTTP/1.2", "HTTP/1.1"),
            ("HTTP/2.2 200 OK\r\n", "HTTP/2.2 200 OK\r\n"),
        ] {
            let mut head = given.as_bytes().to_vec();
            lower_response_version(&mut head);
            assert_eq!(String::from_utf8_lossy(&head), read);
        }
    }
}
