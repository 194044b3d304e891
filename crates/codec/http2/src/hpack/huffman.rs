//! Huffman's code of HPACK (RFC 7541 appendix B), decoded by octets: a table tells the codes of
//! up to eight bits, which is nearly all that addresses are made of.

use std::sync::LazyLock;

/// Lengths of the codes of the 256 octets (appendix B); codes of one length follow each other.
#[rustfmt::skip]
const CODE_BITS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

const BITS_MAX: usize = 30;

struct Codes {
    /// By the next eight bits: an octet and the length of its code; 0: it is longer.
    short: [(u8, u8); 256],
    /// For each length: the first code, how many, and where their octets begin in `octets`.
    rows: [(u32, u32, usize); BITS_MAX + 1],
    octets: Vec<u8>,
}

static CODES: LazyLock<Codes> = LazyLock::new(|| {
    let mut codes = Codes { short: [(0, 0); 256], rows: [(0, 0, 0); BITS_MAX + 1], octets: Vec::with_capacity(256) };
    let mut code = 0_u32;
    for bits in 1..=BITS_MAX {
        code <<= 1;
        let at = codes.octets.len();
        codes.octets.extend((0..=255).filter(|octet: &u8| usize::from(CODE_BITS[usize::from(*octet)]) == bits));
        let count = (codes.octets.len() - at) as u32;
        codes.rows[bits] = (code, count, at);
        if bits <= 8 {
            let spread = 1 << (8 - bits);
            for (index, octet) in codes.octets[at..].iter().enumerate() {
                let from = (code as usize + index) * spread;
                codes.short[from..from + spread].fill((*octet, bits as u8));
            }
        }
        code += count;
    }
    codes
});

impl Codes {
    /// The code that the highest bits of `window` begin with; `None`: there is none.
    fn find(&self, window: u64) -> Option<(u8, u32)> {
        let (octet, bits) = self.short[(window >> 56) as usize];
        if bits > 0 {
            return Some((octet, u32::from(bits)));
        }
        (9..=BITS_MAX).find_map(|bits| {
            let (first, count, at) = self.rows[bits];
            let index = ((window >> (64 - bits)) as u32).checked_sub(first).filter(|index| *index < count)?;
            Some((self.octets[at + index as usize], bits as u32))
        })
    }
}

/// Decodes `bytes`, octet by octet. `None`: what is left over is no padding.
pub(super) fn decode(bytes: &[u8], mut take: impl FnMut(u8)) -> Option<()> {
    let codes = &*CODES;
    let mut rest = bytes;
    // The next bits, from the highest on, and how many they are.
    let (mut window, mut have) = (0_u64, 0_u32);
    loop {
        if have < BITS_MAX as u32 {
            match rest.split_first_chunk::<8>() {
                Some((next, _)) => {
                    window |= u64::from_be_bytes(*next) >> have;
                    // Whole octets only: what the window holds beyond them comes again.
                    let octets = (63 - have) / 8;
                    rest = &rest[octets as usize..];
                    have += octets * 8;
                    window &= u64::MAX << (64 - have);
                }
                None => {
                    while have <= 56
                        && let Some((byte, behind)) = rest.split_first()
                    {
                        window |= u64::from(*byte) << (56 - have);
                        have += 8;
                        rest = behind;
                    }
                }
            }
        }
        if have == 0 {
            return Some(());
        }
        let (octet, bits) = codes.find(window)?;
        if bits > have {
            // Padding is the beginning of the longest code: ones, fewer than eight.
            return (have < 8 && window.leading_ones() == have).then_some(());
        }
        take(octet);
        window <<= bits;
        have -= bits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coded(text: &[u8]) -> Vec<u8> {
        let codes = &*CODES;
        let mut bits = String::new();
        for octet in text {
            let length = usize::from(CODE_BITS[usize::from(*octet)]);
            let (first, count, at) = codes.rows[length];
            let index = codes.octets[at..at + count as usize].iter().position(|known| known == octet);
            let code = first as usize + index.expect("each octet has a code");
            bits.push_str(&format!("{code:0length$b}"));
        }
        bits.push_str(&"1".repeat((8 - bits.len() % 8) % 8));
        let digits: Vec<char> = bits.chars().collect();
        let byte = |eight: &[char]| eight.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit == '1'));
        digits.chunks(8).map(byte).collect()
    }

    fn plain(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(bytes, |octet| out.push(octet)).map(|()| out)
    }

    #[test]
    fn huffmans_code_is_that_of_the_appendix() {
        // RFC 7541 appendix C.4.1, C.4.2, C.4.3, C.6.1.
        for (hex, text) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95bb8e8b4bf", "custom-value"),
            ("9d29ad171863c78f0b97c8e9ae82ae43d3", "https://www.example.com"),
        ] {
            let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
            let bytes: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).expect("a byte")).collect();
            assert_eq!((plain(&bytes).as_deref(), &coded(text.as_bytes())), (Some(text.as_bytes()), &bytes));
        }
    }

    #[test]
    fn every_octet_comes_back_wherever_it_stands() {
        for octet in 0..=255_u8 {
            for text in [&[octet][..], &[octet, octet], &[b'/', octet, b'a'], &[octet, b'0', octet, octet, b'Z', octet]]
            {
                assert_eq!(plain(&coded(text)).as_deref(), Some(text));
            }
        }
    }

    #[test]
    fn padding_is_ones_and_fewer_than_eight() {
        assert_eq!(plain(&[]), Some(Vec::new()));
        assert_eq!(plain(&[0x07]), Some(vec![b'0']), "five zeros, three ones");
        for bad in [&[0xff_u8][..], &[0xff, 0xff], &[0x00], &[0xff, 0xff, 0xff, 0xff], &[0xff; 8]] {
            assert_eq!(plain(bad), None, "{bad:?}");
        }
    }
}
