//! Chunked bodies: the same bytes, end and trailers however the input is cut, and what
//! is written again reads as the same body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_http::{Body, BodyReader, Piece, put_chunk, put_last_chunk};

/// What came of a body: its bytes, its trailers if it ended, whether it was refused.
#[derive(PartialEq, Eq, Debug, Default)]
struct Read {
    data: Vec<u8>,
    trailers: Option<Vec<u8>>,
    used: usize,
    refused: bool,
}

fuzz_target!(|input: &[u8]| {
    let whole = read(&[input]);
    assert!(whole.used <= input.len() && whole.data.len() <= input.len());
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(read(&bytes), whole, "byte by byte");
    let (front, back) = input.split_at(input.len() / 2);
    assert_eq!(read(&[front, back]), whole, "in two halves");
    if let Some(trailers) = &whole.trailers {
        let mut out = Vec::new();
        put_chunk(&mut out, &whole.data);
        put_last_chunk(&mut out, trailers);
        let again = read(&[&out]);
        assert_eq!((again.data, again.trailers, again.used), (whole.data, whole.trailers, out.len()));
    }
});

fn read(parts: &[&[u8]]) -> Read {
    let mut reader = BodyReader::new(Body::Chunked, 1_024);
    let mut read = Read::default();
    for part in parts {
        if !feed(&mut reader, part, &mut read) {
            break;
        }
    }
    read
}

/// `false`: it ended or was refused.
fn feed(reader: &mut BodyReader, mut part: &[u8], read: &mut Read) -> bool {
    loop {
        let Ok((piece, used)) = reader.next(part) else {
            read.refused = true;
            // Where exactly it is noticed depends on the cut.
            read.used = 0;
            return false;
        };
        read.used += used;
        part = &part[used..];
        match piece {
            Piece::Data(bytes) => read.data.extend_from_slice(bytes),
            Piece::NeedMore => return true,
            Piece::End(trailers) => {
                read.trailers = Some(trailers);
                return false;
            }
        }
    }
}
