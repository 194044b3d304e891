//! UTF-8 over the borders of fragments: the first bad byte is an error at once, not
//! when the message ends (RFC 6455 section 8.1).

/// Up to three bytes of a character that has not ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Utf8 {
    pending: [u8; 4],
    len: usize,
}

impl Utf8 {
    /// Takes the next part; `false`: not UTF-8.
    pub(crate) fn feed(&mut self, mut part: &[u8]) -> bool {
        while self.len > 0 {
            let Some((&byte, rest)) = part.split_first() else { return true };
            part = rest;
            self.pending[self.len] = byte;
            self.len += 1;
            match std::str::from_utf8(&self.pending[..self.len]) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return false,
            }
        }
        let Err(error) = std::str::from_utf8(part) else { return true };
        let tail = &part[error.valid_up_to()..];
        if error.error_len().is_some() {
            return false;
        }
        // A character that has not ended is three bytes at most.
        self.pending[..tail.len()].copy_from_slice(tail);
        self.len = tail.len();
        true
    }

    /// Whether no character is left open.
    pub(crate) const fn is_whole(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_the_standard_library_however_the_text_is_cut(
            text in prop_oneof![
                any::<String>().prop_map(String::into_bytes),
                prop::collection::vec(prop::sample::select(vec![0x61, 0xc3, 0xa4, 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0xed, 0xa0]), 0..12),
            ],
            cuts in prop::collection::vec(0_usize..20, 0..4),
        ) {
            let mut check = Utf8::default();
            let mut rest = &text[..];
            let mut valid = true;
            for cut in cuts {
                let (part, tail) = rest.split_at(cut.min(rest.len()));
                valid = valid && check.feed(part);
                rest = tail;
            }
            valid = valid && check.feed(rest) && check.is_whole();
            prop_assert_eq!(valid, std::str::from_utf8(&text).is_ok());
        }
    }
}
