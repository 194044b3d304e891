//! Opening a connection to an endpoint.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Why there is no connection.
#[derive(Debug)]
pub enum ConnectError {
    /// The endpoint refused or the network did.
    Refused(io::Error),
    /// Nothing answered within the time.
    TimedOut,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Refused(cause) => write!(out, "connect failed: {cause}"),
            ConnectError::TimedOut => out.write_str("connect timed out"),
        }
    }
}

/// Connects within `timeout`, without Nagle's delay.
///
/// # Errors
/// The endpoint refused, cannot be reached, or did not answer in time.
pub async fn connect(address: SocketAddr, timeout: Duration) -> Result<TcpStream, ConnectError> {
    let stream = match tokio::time::timeout(timeout, TcpStream::connect(address)).await {
        Ok(result) => result.map_err(ConnectError::Refused)?,
        Err(_) => return Err(ConnectError::TimedOut),
    };
    stream.set_nodelay(true).map_err(ConnectError::Refused)?;
    Ok(stream)
}
