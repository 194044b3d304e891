//! A query parameter's name or value as services read it: without its escapes.

use std::borrow::Cow;

/// The bytes that percent escapes and `+` stand for (the URL standard's
/// `application/x-www-form-urlencoded`); a broken escape stands for itself.
pub fn decode_query(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, behind)) = rest.split_first() {
        let digit = |at: usize| char::from(*behind.get(at)?).to_digit(16);
        let (byte, next) = match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => ((high << 4 | low) as u8, &behind[2..]),
            (b'+', ..) => (b' ', behind),
            _ => (first, behind),
        };
        out.push(byte);
        rest = next;
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_stand_for_bytes_and_broken_ones_for_themselves() {
        for (sent, read) in
            [("a", "a"), ("%61+b%20c", "a b c"), ("%2B%2b", "++"), ("%", "%"), ("%6", "%6"), ("%zz%61", "%zza")]
        {
            assert_eq!(&*decode_query(sent.as_bytes()), read.as_bytes(), "{sent}");
        }
    }
}
