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

/// Numeric options that the message layer adds, in ascending order of their numbers.
pub type Extra<'a> = &'a [(u16, u32)];

/// Appends a message: the options of both lists in one order.
pub fn encode(out: &mut Vec<u8>, head: &Head, (options, extra): (&OptionList, Extra<'_>), payload: &[u8]) {
    let token = head.token.as_bytes();
    out.push(1 << 6 | (head.kind as u8) << 4 | token.len() as u8);
    out.push(head.code.0);
    out.extend_from_slice(&head.message_id.to_be_bytes());
    out.extend_from_slice(token);
    let mut number = 0;
    let mut extra = extra.iter().peekable();
    for (own, value) in options.iter() {
        while let Some((added, value)) = extra.next_if(|(added, _)| *added < own) {
            put_uint(out, *added - number, *value);
            number = *added;
        }
        put_option(out, own - number, value);
        number = own;
    }
    for (added, value) in extra {
        put_uint(out, *added - number, *value);
        number = *added;
    }
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

fn put_uint(out: &mut Vec<u8>, delta: u16, value: u32) {
    let skip = value.leading_zeros() as usize / 8;
    put_option(out, delta, &value.to_be_bytes()[skip..]);
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
