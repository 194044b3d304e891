//! One body being compressed: bytes in, what is ready out. Windows are small, because
//! there is one for each answer under way.

use brotli::CompressorWriter;
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use std::io::Write;
use tidegate_http::Coding;

/// Levels that cost a worker less than the bytes they save: about 20 us for 16 KiB of JSON.
const GZIP_LEVEL: u32 = 4;
const BROTLI_LEVEL: u32 = 4;
const ZSTD_LEVEL: i32 = 3;
/// Windows of 256 KiB.
const WINDOW_LOG: u32 = 18;

/// An encoder that writes into memory, so that writing cannot fail.
pub(crate) enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    /// `None`: the library has no memory for it.
    pub(crate) fn new(coding: Coding) -> Option<Encoder> {
        Some(match coding {
            Coding::Gzip => Encoder::Gzip(GzEncoder::new(Vec::new(), Level::new(GZIP_LEVEL))),
            Coding::Brotli => {
                Encoder::Brotli(Box::new(CompressorWriter::new(Vec::new(), 4_096, BROTLI_LEVEL, WINDOW_LOG)))
            }
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL).ok()?;
                encoder.window_log(WINDOW_LOG).ok()?;
                Encoder::Zstd(encoder)
            }
        })
    }

    /// Takes bytes of the body.
    pub(crate) fn write(&mut self, data: &[u8]) {
        let _ = self.writer().write_all(data);
    }

    /// Hands out what the bytes so far come to: whoever waits for an event of a stream
    /// must get it, so that nothing is held back where the upstream pauses.
    pub(crate) fn drain(&mut self, take: impl FnOnce(&[u8])) {
        let _ = self.writer().flush();
        let out = match self {
            Encoder::Gzip(encoder) => encoder.get_mut(),
            Encoder::Brotli(encoder) => encoder.get_mut(),
            Encoder::Zstd(encoder) => encoder.get_mut(),
        };
        if !out.is_empty() {
            take(out);
            out.clear();
        }
    }

    /// The rest, with the coding's own end.
    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Encoder::Gzip(encoder) => encoder.finish().unwrap_or_default(),
            Encoder::Brotli(encoder) => (*encoder).into_inner(),
            Encoder::Zstd(encoder) => encoder.finish().unwrap_or_default(),
        }
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Encoder::Gzip(encoder) => encoder,
            Encoder::Brotli(encoder) => encoder,
            Encoder::Zstd(encoder) => encoder,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_comes_out_in_pieces_is_what_went_in() {
        for coding in Coding::ALL {
            let mut encoder = Encoder::new(coding).expect("memory");
            let mut out = Vec::new();
            for piece in 0..50 {
                encoder.write(format!("event {piece}\n").repeat(100).as_bytes());
                let before = out.len();
                encoder.drain(|data| out.extend_from_slice(data));
                assert!(out.len() > before, "{coding:?} holds back what a reader waits for");
            }
            out.extend(encoder.finish());
            let mut plain = String::new();
            let read = match coding {
                Coding::Gzip => flate2::read::GzDecoder::new(&out[..]).read_to_string(&mut plain),
                Coding::Brotli => brotli::Decompressor::new(&out[..], 4_096).read_to_string(&mut plain),
                Coding::Zstd => {
                    zstd::stream::read::Decoder::new(&out[..]).and_then(|mut it| it.read_to_string(&mut plain))
                }
            };
            let expected: String = (0..50).map(|piece| format!("event {piece}\n").repeat(100)).collect();
            assert!(read.is_ok() && plain == expected && out.len() < plain.len() / 4, "{coding:?}");
        }
    }
}
