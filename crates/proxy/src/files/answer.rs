//! What a request for a file is answered with: status, fields and the parts of the
//! file, decided on a helper thread with the file open. RFC 9110 sections 13 and 14.

use super::kind::content_type;
use super::locate::{Found, Missing, open_file, open_root};
use super::packing::Packing;
use crate::compress::{Encoder, VARY};
use std::fs::File;
use std::io;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tidegate_http::{Coding, Condition, Conditions, Ranges, Validators, http_date, parse_ranges, preferred_coding};

/// A GET or HEAD of a file.
#[derive(Debug)]
pub(crate) struct FileRequest {
    pub(crate) root: Arc<Path>,
    /// Below the root, decoded.
    pub(crate) path: Vec<u8>,
    /// The path ended in a slash, or was empty: an index is wanted.
    pub(crate) wants_index: bool,
    /// The request's own path did, whatever a rewrite made of it: a directory answers with its index.
    pub(crate) takes_index: bool,
    /// Where a directory's slash was forgotten: the request's path, and what follows it.
    pub(crate) redirect: Vec<u8>,
    pub(crate) conditions: Conditions,
    /// What several ranges are separated by: nobody knows it when a file is written, so that none has it.
    pub(crate) boundary: [u8; 32],
    pub(crate) accept_encoding: Vec<u8>,
}

/// An answer before it is written.
#[derive(Default)]
pub(super) struct FileAnswer {
    pub(super) status: u16,
    pub(super) fields: Vec<u8>,
    pub(super) body: Body,
    /// The body is compressed on its way, in chunks.
    pub(super) is_packed: bool,
}

/// What follows the head.
#[derive(Default)]
pub(super) struct Body {
    pub(super) length: u64,
    pub(super) parts: Vec<Part>,
    pub(super) file: Option<File>,
    pub(super) encoder: Option<Box<Encoder>>,
}

/// A piece of the body.
#[derive(Debug)]
pub(super) enum Part {
    /// What stands between ranges.
    Text(Vec<u8>),
    /// First byte and length in the file.
    File(u64, u64),
}

impl FileRequest {
    /// Finds the file and decides. Blocking.
    pub(super) fn answer(&self, packing: Option<&Packing>) -> FileAnswer {
        match self.find() {
            Ok((found, sought)) => self.of(found, (sought, packing)),
            Err(Missing::Directory) => FileAnswer::empty(301, field("location", &self.redirect)),
            Err(Missing::NotThere) => FileAnswer::text(404, "404 Not Found: there is no such file\n"),
            Err(Missing::Broken) => FileAnswer::text(500, "500 Internal Server Error: the file cannot be read\n"),
        }
    }

    /// The file, or its precompressed sibling that the client likes most.
    fn find(&self) -> Result<(Found, Sought), Missing> {
        let root = open_root(&self.root)?;
        let mut path = self.path.clone();
        let plain = match open_file(&root, &path) {
            // A file's name does not end in a slash.
            Ok(_) if self.wants_index => Err(Missing::NotThere),
            Err(Missing::Directory) if self.wants_index || self.takes_index => {
                if !path.is_empty() && !path.ends_with(b"/") {
                    path.push(b'/');
                }
                path.extend_from_slice(b"index.html");
                // A directory of that name has no forgotten slash.
                open_file(&root, &path)
                    .map_err(|missing| if missing == Missing::Directory { Missing::NotThere } else { missing })
            }
            result => result,
        }?;
        let mut offered = Coding::ALL.to_vec();
        while let Some(coding) = preferred_coding(&self.accept_encoding, &offered) {
            let sibling = [&path[..], ending(coding)].concat();
            match open_file(&root, &sibling) {
                Ok(found) => return Ok((found, Sought { kind: content_type(&path), coding: Some(coding) })),
                Err(_) => offered.retain(|other| *other != coding),
            }
        }
        Ok((plain, Sought { kind: content_type(&path), coding: None }))
    }

    fn of(&self, found: Found, (sought, packing): (Sought, Option<&Packing>)) -> FileAnswer {
        let (Found { file, size, modified }, Sought { kind, coding }) = (found, sought);
        // Ranges are of the file as it is.
        let packing =
            packing.filter(|known| coding.is_none() && !self.conditions.has_range() && known.fits(kind, size));
        let encoder = packing.and_then(|packing| Encoder::new(packing.coding)).map(Box::new);
        let packed = packing.filter(|_| encoder.is_some()).map(|packing| packing.coding);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // RFC 9110 section 8.8.2.1: not later than the answer itself.
        let seconds = (modified / 1_000_000_000).min(now);
        let (weak, form) = (if packed.is_some() { "W/" } else { "" }, packed.or(coding).map_or("", Coding::name));
        let etag = format!("{weak}\"{modified:x}-{size:x}{form}\"");
        let own = Validators { etag: etag.as_bytes(), modified: seconds };
        let mut fields = field("etag", etag.as_bytes());
        fields.extend(field("last-modified", &http_date(seconds)));
        fields.extend_from_slice(VARY);
        let status = match self.conditions.evaluate(&own) {
            Condition::Holds => 200,
            Condition::NotModified => 304,
            Condition::Failed => 412,
        };
        if status != 200 {
            return FileAnswer::empty(status, fields);
        }
        fields.extend_from_slice(b"x-content-type-options: nosniff\r\n");
        if let Some(coding) = packed.or(coding) {
            fields.extend(field("content-encoding", coding.name().as_bytes()));
        }
        if packed.is_none() {
            fields.extend_from_slice(b"accept-ranges: bytes\r\n");
        }
        match self.conditions.range(&own).map(|range| parse_ranges(range, size)) {
            None | Some(Ranges::Ignored) => {
                fields.extend(field("content-type", kind.as_bytes()));
                let parts = vec![Part::File(0, size)];
                let is_packed = encoder.is_some();
                FileAnswer { status, fields, body: Body { length: size, parts, file: Some(file), encoder }, is_packed }
            }
            Some(Ranges::Unsatisfiable) => {
                FileAnswer::empty(416, field("content-range", format!("bytes */{size}").as_bytes()))
            }
            Some(Ranges::Parts(ranges)) => {
                let boundary = String::from_utf8_lossy(&self.boundary);
                ranged((file, size), (&ranges, &boundary), (fields, kind))
            }
        }
    }
}

/// What a file that was found is.
struct Sought {
    /// Its content type, without its coding.
    kind: &'static str,
    coding: Option<Coding>,
}

/// 206: one range as it is, several as `multipart/byteranges` (section 14.6).
fn ranged(
    (file, size): (File, u64),
    (ranges, boundary): (&[(u64, u64)], &str),
    (mut fields, kind): (Vec<u8>, &str),
) -> FileAnswer {
    let extent = |(first, length): (u64, u64)| format!("bytes {first}-{}/{size}", first + length - 1);
    let mut parts = Vec::new();
    if let [only] = *ranges {
        fields.extend(field("content-type", kind.as_bytes()));
        fields.extend(field("content-range", extent(only).as_bytes()));
        parts.push(Part::File(only.0, only.1));
    } else {
        fields.extend(field("content-type", format!("multipart/byteranges; boundary={boundary}").as_bytes()));
        for &range in ranges {
            let text = format!("\r\n--{boundary}\r\ncontent-type: {kind}\r\ncontent-range: {}\r\n\r\n", extent(range));
            parts.push(Part::Text(text.into_bytes()));
            parts.push(Part::File(range.0, range.1));
        }
        parts.push(Part::Text(format!("\r\n--{boundary}--\r\n").into_bytes()));
    }
    let length = parts.iter().map(Part::length).sum();
    let body = Body { length, parts, file: Some(file), encoder: None };
    FileAnswer { status: 206, fields, body, is_packed: false }
}

impl Part {
    fn length(&self) -> u64 {
        match self {
            Part::Text(text) => text.len() as u64,
            Part::File(_, length) => *length,
        }
    }
}

impl FileAnswer {
    fn text(status: u16, text: &'static str) -> FileAnswer {
        let parts = vec![Part::Text(text.into())];
        let fields = field("content-type", b"text/plain; charset=utf-8");
        let body = Body { length: text.len() as u64, parts, ..Body::default() };
        FileAnswer { status, fields, body, is_packed: false }
    }

    fn empty(status: u16, fields: Vec<u8>) -> FileAnswer {
        FileAnswer { status, fields, ..FileAnswer::default() }
    }
}

impl Body {
    /// Fills `buffer` with what comes next, at most `max` bytes. Blocking. Empty: the end.
    ///
    /// # Errors
    /// The file cannot be read, or became shorter than it was.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>, max: usize) -> io::Result<()> {
        while buffer.len() < max && !self.parts.is_empty() {
            let room = max - buffer.len();
            match &mut self.parts[0] {
                Part::Text(text) => buffer.append(text),
                Part::File(at, left) => {
                    let file = self.file.as_ref().ok_or(io::ErrorKind::UnexpectedEof)?;
                    let take = room.min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let start = buffer.len();
                    buffer.resize(start + take, 0);
                    file.read_exact_at(&mut buffer[start..], *at)?;
                    (*at, *left) = (*at + take as u64, *left - take as u64);
                    if *left > 0 {
                        continue;
                    }
                }
            }
            self.parts.remove(0);
        }
        Ok(())
    }
}

const fn ending(coding: Coding) -> &'static [u8] {
    match coding {
        Coding::Brotli => b".br",
        Coding::Zstd => b".zst",
        Coding::Gzip => b".gz",
    }
}

fn field(name: &str, value: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(name.len() + value.len() + 4);
    // Writing to a Vec cannot fail.
    let _ = write!(line, "{name}: ");
    line.extend_from_slice(value);
    line.extend_from_slice(b"\r\n");
    line
}
