//! Writing datagrams.

use crate::{Code, OptionList, Token, Type};

/// What stands in front of the options.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// How it is delivered.
    pub kind: Type,
    /// What it asks or answers.
    pub code: Code,
    /// What ties an acknowledgement to it.
    pub message_id: u16,
    /// What ties a response to its request.
    pub token: Token,
}

/// Appends a message: the options of both lists in one order. The second is what the
/// message layer adds to what the caller gave.
pub fn encode(out: &mut Vec<u8>, head: &Head, options: [&OptionList; 2], payload: &[u8]) {
    let token = head.token.as_bytes();
    out.push(1 << 6 | (head.kind as u8) << 4 | token.len() as u8);
    out.push(head.code.0);
    out.extend_from_slice(&head.message_id.to_be_bytes());
    out.extend_from_slice(token);
    put_body(out, options, payload);
}

/// Appends what every transport has behind the token.
pub(crate) fn put_body(out: &mut Vec<u8>, [own, added]: [&OptionList; 2], payload: &[u8]) {
    let mut added = added.iter().peekable();
    let mut before = 0;
    let mut put = |(number, value): (u16, &[u8])| {
        put_option(out, number - before, value);
        before = number;
    };
    for option in own.iter() {
        while let Some(earlier) = added.next_if(|(number, _)| *number < option.0) {
            put(earlier);
        }
        put(option);
    }
    added.for_each(put);
    if !payload.is_empty() {
        out.push(0xff);
        out.extend_from_slice(payload);
    }
}

/// Appends an empty message: an acknowledgement or a reset.
pub fn encode_empty(out: &mut Vec<u8>, kind: Type, message_id: u16) {
    out.extend_from_slice(&[1 << 6 | (kind as u8) << 4, 0]);
    out.extend_from_slice(&message_id.to_be_bytes());
}

fn put_option(out: &mut Vec<u8>, delta: u16, value: &[u8]) {
    let first = out.len();
    out.push(0);
    // No value is longer than 65,535 bytes: `OptionList` cuts it.
    let high = put_extended(out, u32::from(delta));
    let low = put_extended(out, value.len() as u32);
    out[first] = high << 4 | low;
    out.extend_from_slice(value);
}

fn put_extended(out: &mut Vec<u8>, value: u32) -> u8 {
    match value {
        0..=12 => value as u8,
        13..=268 => {
            out.push((value - 13) as u8);
            13
        }
        _ => {
            out.extend_from_slice(&((value - 269) as u16).to_be_bytes());
            14
        }
    }
}
