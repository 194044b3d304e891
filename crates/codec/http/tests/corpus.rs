//! Every seed of the fuzz corpus, whole and cut at each byte: what is incomplete waits,
//! what is refused stays refused, and a body is the same however it arrives.

use std::mem::MaybeUninit;
use std::path::Path;
use tidegate_http::{Body, BodyReader, HEADERS_MAX, Piece, parse_request, parse_response};
use tidegate_message::Limits;

fn seeds(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let files = std::fs::read_dir(folder).expect("the corpus is part of the repository");
    let seeds: Vec<_> = files
        .map(|file| file.expect("a readable folder").path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).expect("a readable seed")))
        .collect();
    assert!(seeds.len() >= 10, "{} seeds of {name}", seeds.len());
    seeds
}

/// The length of the head in `input`, if it is whole; `Err`: the status it is refused with.
type Judge = fn(&[u8]) -> Result<Option<usize>, u16>;

fn request(input: &[u8]) -> Result<Option<usize>, u16> {
    let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
    let parsed = parse_request(input, &Limits::default(), &mut headers);
    parsed.map(|head| head.map(|head| head.len)).map_err(|error| error.code)
}

fn response(input: &[u8]) -> Result<Option<usize>, u16> {
    let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
    let parsed = parse_response(input, &Limits::default(), false, &mut headers);
    parsed.map(|head| head.map(|head| head.len)).map_err(|error| error.code)
}

#[test]
fn a_valid_head_is_waited_for_and_a_refused_one_never_becomes_valid() {
    for (corpus, judge) in [("http_request", request as Judge), ("http_response", response as Judge)] {
        for (name, seed) in seeds(corpus) {
            let whole = judge(&seed);
            let mut refused = false;
            for end in 0..=seed.len() {
                let now = judge(&seed[..end]);
                assert!(!refused || now.is_err(), "{name}: refused, then {now:?} at {end}");
                refused = now.is_err();
                if let Ok(Some(len)) = whole {
                    assert_eq!(now, Ok((end >= len).then_some(len)), "{name}: first {end} of {len} bytes");
                }
            }
        }
    }
}

#[test]
fn a_body_is_the_same_however_it_is_cut() {
    for (name, seed) in seeds("http_body") {
        let whole = read(&[&seed]);
        for cut in 0..=seed.len() {
            assert_eq!(read(&[&seed[..cut], &seed[cut..]]), whole, "{name}: cut at {cut}");
        }
    }
}

/// The bytes of a chunked body, and its trailers once it ended; `None`: refused.
fn read(parts: &[&[u8]]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let mut reader = BodyReader::new(Body::Chunked, 1_024);
    let mut data = Vec::new();
    for part in parts {
        let mut rest = *part;
        loop {
            let (piece, used) = reader.next(rest).ok()?;
            rest = &rest[used..];
            match piece {
                Piece::Data(bytes) => data.extend_from_slice(bytes),
                Piece::NeedMore => break,
                Piece::End(trailers) => return Some((data, Some(trailers))),
            }
        }
    }
    Some((data, None))
}
