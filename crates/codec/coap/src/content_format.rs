//! Content-Format numbers (RFC 7252 section 12.3 and the IANA registry) and media types.

/// Both ways; where a number stands twice the first type counts.
const TABLE: &[(u16, &str)] = &[
    (0, "text/plain"),
    (0, "text/plain;charset=utf-8"),
    (16, "application/cose; cose-type=\"cose-encrypt0\""),
    (21, "image/gif"),
    (22, "image/jpeg"),
    (23, "image/png"),
    (40, "application/link-format"),
    (41, "application/xml"),
    (42, "application/octet-stream"),
    (47, "application/exi"),
    (50, "application/json"),
    (51, "application/json-patch+json"),
    (52, "application/merge-patch+json"),
    (60, "application/cbor"),
    (61, "application/cwt"),
    (62, "application/multipart-core"),
    (63, "application/cbor-seq"),
    (110, "application/senml+json"),
    (111, "application/sensml+json"),
    (112, "application/senml+cbor"),
    (113, "application/sensml+cbor"),
    (114, "application/senml-exi"),
    (256, "application/coap-group+json"),
    (257, "application/concise-problem-details+cbor"),
    (310, "application/senml+xml"),
    (432, "application/td+json"),
    (1542, "application/vnd.oma.lwm2m+tlv"),
    (1543, "application/vnd.oma.lwm2m+json"),
    (1544, "application/vnd.oma.lwm2m+cbor"),
    (20_000, "text/css"),
    (30_000, "image/svg+xml"),
];

/// The number of a media type; spaces and case do not count, nor does a charset of
/// UTF-8, which all types here that are text have. `None`: CoAP has no number for it.
pub fn content_format(media_type: &str) -> Option<u16> {
    let find = |wanted: &str| TABLE.iter().find(|(_, own)| fold(own) == wanted).map(|(number, _)| *number);
    let exactly = TABLE.iter().find(|(_, own)| own.eq_ignore_ascii_case(media_type));
    exactly.map(|(number, _)| *number).or_else(|| {
        let folded = fold(media_type);
        let bare = [";charset=utf-8", ";charset=\"utf-8\""].iter().find_map(|charset| folded.strip_suffix(charset));
        find(bare.unwrap_or(&folded))
    })
}

fn fold(text: &str) -> String {
    text.chars().filter(|letter| *letter != ' ').map(|letter| letter.to_ascii_lowercase()).collect()
}

/// The media type of a number; `None`: unknown to us.
pub fn media_type(content_format: u16) -> Option<&'static str> {
    TABLE.iter().find(|(number, _)| *number == content_format).map(|(_, own)| *own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_types_agree() {
        assert_eq!((content_format("Application/JSON"), media_type(50)), (Some(50), Some("application/json")));
        assert_eq!((content_format("text/plain; charset=UTF-8"), media_type(0)), (Some(0), Some("text/plain")));
        assert_eq!((content_format("text/html"), media_type(9_999)), (None, None));
        for kind in ["application/json; charset=utf-8", "Application/JSON;charset=\"UTF-8\""] {
            assert_eq!(content_format(kind), Some(50), "{kind}");
        }
        assert_eq!(content_format("application/json; charset=latin1"), None);
        assert_eq!(content_format("application/cose; cose-type=\"cose-encrypt0\""), Some(16));
    }
}
