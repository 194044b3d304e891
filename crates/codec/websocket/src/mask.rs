//! Masking (RFC 6455 section 5.3), in place and eight bytes at a time.

/// Applies the mask to a part of a payload that begins `offset` bytes into it.
pub(crate) fn apply(mask: [u8; 4], offset: u64, payload: &mut [u8]) {
    let mut turned = mask;
    turned.rotate_left((offset % 4) as usize);
    let [a, b, c, d] = turned;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    tail.iter_mut().zip(turned.into_iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_the_same_byte_by_byte_and_in_parts(
            mask in any::<[u8; 4]>(), payload in prop::collection::vec(any::<u8>(), 0..100), cut in 0_usize..100,
        ) {
            let cut = cut.min(payload.len());
            let (mut parts, mut bytes) = (payload.clone(), payload);
            apply(mask, 0, &mut parts[..cut]);
            apply(mask, cut as u64, &mut parts[cut..]);
            bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte ^= mask[at % 4]);
            prop_assert_eq!(parts, bytes);
        }
    }
}
