//! Datagrams of an endpoint at a client that has asked it: no panic, and what comes of it
//! stays within its bounds. A byte of instructions and a byte of length stand before each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_coap::{Code, OptionList, Requester, RequesterConfig};

fuzz_target!(|input: &[u8]| {
    let config = RequesterConfig {
        ack_timeout_ms: 1_000,
        max_retransmit: 2,
        nstart: 2,
        max_body: 3_000,
        max_options: 64,
        seed: 1,
    };
    let mut client = Requester::new(config);
    let (mut now, mut id) = (0, 0);
    let mut last = Vec::new();
    let mut rest = input;
    while let [instructions, len, tail @ ..] = rest {
        let (part, behind) = tail.split_at(tail.len().min(usize::from(*len)));
        now += u64::from(instructions >> 4) * 300;
        if instructions & 1 == 1 && id < 20 {
            id += 1;
            let body = vec![7; usize::from(instructions & 6) * 500];
            client.request(now, id, (Code::PUT, OptionList::new(), body));
        }
        let mut datagram = part.to_vec();
        // Answers have to name a message of ours to get anywhere.
        if instructions & 8 != 0 && datagram.len() >= 12 && last.len() >= 12 {
            datagram[0] = datagram[0] & 0xf0 | 8;
            datagram[2..12].copy_from_slice(&last[2..12]);
        }
        client.handle_datagram(now, &datagram);
        client.handle_timeout(now);
        while let Some(sent) = client.poll_output() {
            last = sent;
        }
        while let Some((_, result)) = client.poll_done() {
            assert!(result.map_or(0, |answer| answer.body.len()) <= 3_000);
        }
        rest = behind;
    }
});
