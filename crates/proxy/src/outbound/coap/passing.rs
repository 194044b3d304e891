//! Options that are passed on as they came, by those who do not know them (RFC 7252 section
//! 5.7.1): written into a field of our own, which crosses the pipe of an exchange.

use std::fmt::Write;
use tidegate_coap::{OptionList, OptionNumber};

/// Their field, of requests and of answers; no client and no server of HTTP can set it.
pub(crate) const OPTIONS_FIELD: &str = "X-Tidegate-Coap-Options";

/// Those of an answer that are passed on: what is not known, what the representation is called
/// there, so that If-Match means the same, and where something was created.
pub(crate) fn passed_on(options: &OptionList) -> impl Iterator<Item = (u16, &[u8])> {
    const KEPT: [u16; 3] = [OptionNumber::ETAG, OptionNumber::LOCATION_PATH, OptionNumber::LOCATION_QUERY];
    let crosses = |number: u16| !OptionNumber::is_known(number) || KEPT.contains(&number);
    options.iter().filter(move |(number, _)| crosses(*number))
}

/// `number.hex,number.hex`.
pub(crate) fn write_options<'o>(options: impl Iterator<Item = (u16, &'o [u8])>) -> String {
    let mut out = String::new();
    for (number, value) in options {
        let comma = if out.is_empty() { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(out, "{comma}{number}.");
        for byte in value {
            let _ = write!(out, "{byte:02x}");
        }
    }
    out
}

/// As [`write_options`] has written them; what is none is left out.
pub(crate) fn read_options(field: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let read = |part: &str| -> Option<(u16, Vec<u8>)> {
        let (number, hex) = part.split_once('.')?;
        let pairs = hex.as_bytes().chunks_exact(2);
        let value = pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect::<Option<_>>()?;
        Some((number.parse().ok()?, value))
    };
    std::str::from_utf8(field).unwrap_or_default().split(',').filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_was_written_is_read(
            options in proptest::collection::vec((0_u16.., proptest::collection::vec(0_u8.., 0..9)), 0..5),
        ) {
            let field = write_options(options.iter().map(|(number, value)| (*number, &value[..])));
            proptest::prop_assert_eq!(read_options(field.as_bytes()), options);
        }

        #[test]
        fn nothing_panics(field in proptest::collection::vec(0_u8.., 0..20)) {
            read_options(&field);
        }
    }
}
