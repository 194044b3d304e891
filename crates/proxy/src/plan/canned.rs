//! Answers that are the same every time: made when the plan is compiled, in every coding
//! that the route compresses with.

use crate::compress::{Compression, VARY};
use crate::http::{has_body, has_length};
use tidegate_http::{Coding, reason};

/// An answer made once: status line and fields up to the first that differs.
#[derive(Debug, Clone)]
pub(crate) struct Canned {
    pub(crate) status: u16,
    pub(crate) head: Vec<u8>,
    /// Where the fields begin in it.
    pub(crate) fields_at: usize,
    pub(crate) body: Vec<u8>,
    /// How `body` is compressed.
    pub(crate) coding: Option<Coding>,
    coded: Vec<Canned>,
}

impl Canned {
    pub(crate) fn new(status: u16, headers: &[(String, String)], body: &str) -> Canned {
        let mut fields = Vec::new();
        let mut typed = false;
        for (name, value) in headers {
            typed |= name.eq_ignore_ascii_case("content-type");
            fields.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if !typed && !body.is_empty() {
            fields.extend_from_slice(b"content-type: text/plain; charset=utf-8\r\n");
        }
        Canned::of(status, &fields, body.as_bytes().to_vec())
    }

    fn of(status: u16, fields: &[u8], mut body: Vec<u8>) -> Canned {
        if !has_body(status) {
            body.clear();
        }
        let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status)).into_bytes();
        let fields_at = head.len();
        head.extend_from_slice(fields);
        if has_length(status) {
            head.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        Canned { status, head, fields_at, body, coding: None, coded: Vec::new() }
    }

    /// Its fields but for the length.
    fn fields(&self) -> Vec<u8> {
        let lines = self.head[self.fields_at..].split_inclusive(|byte| *byte == b'\n');
        lines.filter(|line| !line.starts_with(b"content-length:")).flatten().copied().collect()
    }

    /// Adds its compressed forms, where it is an answer that is compressed.
    pub(crate) fn compress(&mut self, compression: &Compression) {
        let fields = self.fields();
        if !compression.fits(self.status, &fields, self.body.len() as u64) {
            return;
        }
        for &coding in compression.codings() {
            let Some(packed) = compression.pack(coding, &fields, &self.body) else { continue };
            let canned = Canned::of(self.status, &packed.fields, packed.body);
            self.coded.push(Canned { coding: Some(coding), ..canned });
        }
        let varying = [&fields[..], VARY].concat();
        let coded = std::mem::take(&mut self.coded);
        *self = Canned { coded, ..Canned::of(self.status, &varying, std::mem::take(&mut self.body)) };
    }

    /// The form in that coding, or the plain one.
    pub(crate) fn coded(&self, coding: Option<Coding>) -> &Canned {
        self.coded.iter().find(|canned| coding.is_some() && canned.coding == coding).unwrap_or(self)
    }
}
