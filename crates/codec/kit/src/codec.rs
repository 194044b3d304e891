//! The form of every stream codec.

use crate::DecodeError;

/// A decoder of one protocol's frames. It borrows its input: a frame is a view of
/// the bytes it was read from, so that nothing is copied before somebody wants to
/// keep it. Limits are an argument of the constructor.
pub trait Codec {
    /// One packet, frame or head, borrowed from the input.
    type Frame<'a>;

    /// Reads one frame from the front of `input`. `Ok(None)`: need more bytes.
    /// `Ok(Some((frame, used)))`: the frame and how many bytes it took.
    ///
    /// # Errors
    /// The rule that was broken; the connection's fate is in the error.
    fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Option<(Self::Frame<'a>, usize)>, DecodeError>;
}
