//! Frames and error codes (RFC 9113 sections 4, 6 and 7).

/// Bytes in front of a frame's payload.
pub(crate) const HEADER: usize = 9;
/// Longest payload that is taken: SETTINGS_MAX_FRAME_SIZE as it is by default. Also the longest that is sent.
pub(crate) const PAYLOAD_MAX: usize = 16 << 10;
/// What a client begins with (section 3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0x0;
    pub(crate) const HEADERS: u8 = 0x1;
    pub(crate) const PRIORITY: u8 = 0x2;
    pub(crate) const RST_STREAM: u8 = 0x3;
    pub(crate) const SETTINGS: u8 = 0x4;
    pub(crate) const PUSH_PROMISE: u8 = 0x5;
    pub(crate) const PING: u8 = 0x6;
    pub(crate) const GOAWAY: u8 = 0x7;
    pub(crate) const WINDOW_UPDATE: u8 = 0x8;
    pub(crate) const CONTINUATION: u8 = 0x9;
}

pub(crate) mod flag {
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// An error code (section 7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reason(pub u32);

impl Reason {
    /// Nothing went wrong.
    pub const NO_ERROR: Reason = Reason(0x0);
    /// A rule was broken that has no code of its own.
    pub const PROTOCOL_ERROR: Reason = Reason(0x1);
    /// It is our own fault.
    pub const INTERNAL_ERROR: Reason = Reason(0x2);
    /// More data came than a window allowed.
    pub const FLOW_CONTROL_ERROR: Reason = Reason(0x3);
    /// A frame came for a stream that is over.
    pub const STREAM_CLOSED: Reason = Reason(0x5);
    /// A frame has another length than it must.
    pub const FRAME_SIZE_ERROR: Reason = Reason(0x6);
    /// Nothing was done for the stream: it can be asked again.
    pub const REFUSED_STREAM: Reason = Reason(0x7);
    /// The stream is not needed any more.
    pub const CANCEL: Reason = Reason(0x8);
    /// The peers' tables of fields went apart.
    pub const COMPRESSION_ERROR: Reason = Reason(0x9);
    /// The peer makes too much work.
    pub const ENHANCE_YOUR_CALM: Reason = Reason(0xb);
}

/// What stands in front of a frame's payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameHead {
    pub(crate) length: usize,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl FrameHead {
    pub(crate) fn parse(bytes: &[u8]) -> Option<FrameHead> {
        let &[high, middle, low, kind, flags, a, b, c, d] = bytes.first_chunk::<HEADER>()?;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        Some(FrameHead { length, kind, flags, stream: u32::from_be_bytes([a & 0x7f, b, c, d]) })
    }

    pub(crate) const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The frame with its header.
    pub(crate) const fn whole(self) -> usize {
        HEADER + self.length
    }
}

/// Writes what stands in front of a payload of `length` bytes.
pub(crate) fn head_bytes(length: usize, (kind, flags): (u8, u8), stream: u32) -> [u8; HEADER] {
    let [_, high, middle, low] = (length as u32).to_be_bytes();
    let [a, b, c, d] = stream.to_be_bytes();
    [high, middle, low, kind, flags, a, b, c, d]
}

/// Appends a frame.
pub(crate) fn put_frame(out: &mut Vec<u8>, what: (u8, u8), stream: u32, payload: &[u8]) {
    out.extend_from_slice(&head_bytes(payload.len(), what, stream));
    out.extend_from_slice(payload);
}

/// What a padded payload holds (section 6.1); `None`: there is more padding than payload.
pub(crate) fn unpadded(head: FrameHead, payload: &[u8]) -> Option<&[u8]> {
    if !head.has(flag::PADDED) {
        return Some(payload);
    }
    let (padding, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(*padding))?)
}
