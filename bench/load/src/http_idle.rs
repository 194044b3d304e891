//! HTTP/1.1 connections that each had one request answered and are kept open.

use crate::args::Args;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Opens them, says so, holds them until a line comes.
pub fn run(args: &Args) -> Result<String, String> {
    let address = args.address()?;
    let count: usize = args.value("connections", 1_000)?;
    let path: String = args.value("path", "/".to_owned())?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
    let mut kept = Vec::with_capacity(count);
    for index in 0..count {
        let stream = TcpStream::connect(address).map_err(|error| format!("connection {index}: {error}"))?;
        kept.push(exchange(stream, request.as_bytes()).map_err(|error| format!("connection {index}: {error}"))?);
    }
    crate::wait_for_line()?;
    Ok(format!("{{\"connections\":{}}}", kept.len()))
}

fn exchange(mut stream: TcpStream, request: &[u8]) -> Result<TcpStream, String> {
    let text = |error: std::io::Error| error.to_string();
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(text)?;
    stream.write_all(request).map_err(text)?;
    let mut answer = Vec::new();
    let mut bytes = [0; 4_096];
    while !is_whole(&answer)? {
        match stream.read(&mut bytes).map_err(text)? {
            0 => return Err("closed before the answer was whole".to_owned()),
            count => answer.extend_from_slice(&bytes[..count]),
        }
    }
    Ok(stream)
}

/// Head and as many bytes as its Content-Length says.
fn is_whole(answer: &[u8]) -> Result<bool, String> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        return Err(format!("status {status}"));
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap_or("0").trim();
    let length: usize = length.parse().map_err(|_| format!("a Content-Length of {length}"))?;
    Ok(answer.len() >= end + 4 + length)
}
