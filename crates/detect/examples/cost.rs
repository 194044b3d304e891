//! What a detection costs: nanoseconds for each opening, as JSON. Run by `bench/detect.mjs`.

use std::hint::black_box;
use std::time::Instant;
use tidegate_detect::detect;

const ROUNDS: u32 = 2_000_000;

fn main() {
    let openings: [(&str, &[u8]); 5] = [
        ("http1", b"GET /api/hello HTTP/1.1\r\nHost: gateway\r\n\r\n"),
        ("mqtt", b"\x10\x10\0\x04MQTT\x05\x02\0\x3c\0\0\x03abc"),
        ("tls", &[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3]),
        ("http2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("coap-tcp", &[0x00, 0xe1]),
    ];
    let cost = |bytes: &[u8]| {
        let started = Instant::now();
        for _ in 0..ROUNDS {
            black_box(detect(black_box(bytes)));
        }
        started.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
    };
    let rows: Vec<String> =
        openings.iter().map(|(name, bytes)| format!("{{\"opening\":\"{name}\",\"ns\":{:.1}}}", cost(bytes))).collect();
    println!("[{}]", rows.join(","));
}
