//! A cursor over a field that cannot leave the field.

use crate::Truncated;

/// Reads big-endian integers and length-prefixed fields from a slice. `sub` makes a
/// reader that ends with its field, so that no parser reads past what it was given.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// Bytes not read yet.
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether everything was read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, Truncated> {
        let (first, rest) = self.rest.split_first().ok_or(Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    /// The next two bytes, big-endian.
    pub fn u16(&mut self) -> Result<u16, Truncated> {
        let (head, rest) = self.rest.split_first_chunk::<2>().ok_or(Truncated)?;
        self.rest = rest;
        Ok(u16::from_be_bytes(*head))
    }

    /// The next four bytes, big-endian.
    pub fn u32(&mut self) -> Result<u32, Truncated> {
        let (head, rest) = self.rest.split_first_chunk::<4>().ok_or(Truncated)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*head))
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Truncated> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// A reader of the next `len` bytes alone.
    pub fn sub(&mut self, len: usize) -> Result<Reader<'a>, Truncated> {
        self.take(len).map(Reader::new)
    }

    /// A field behind a two-byte length.
    pub fn prefixed(&mut self) -> Result<&'a [u8], Truncated> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// Everything that is left.
    pub fn all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_reader_ends_with_its_field() {
        let mut reader = Reader::new(&[1, 2, 3, 4]);
        let mut field = reader.sub(2).expect("two bytes are there");
        assert_eq!((field.u16(), field.u8()), (Ok(0x0102), Err(Truncated)));
        assert_eq!(reader.all(), &[3, 4]);
    }

    #[test]
    fn a_failed_read_takes_nothing() {
        let mut reader = Reader::new(&[0, 9, 1]);
        assert_eq!(reader.prefixed(), Err(Truncated));
        assert_eq!(reader.u32(), Err(Truncated));
        assert_eq!(reader.u8(), Ok(1));
    }
}
