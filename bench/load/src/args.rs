//! The command line: a command, then `--name value` or `--flag`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr;

const FLAGS: [&str; 5] = ["gate", "non", "kept", "subscribe", "met"];

/// What was asked for.
pub struct Args {
    /// The subcommand.
    pub command: String,
    values: BTreeMap<String, String>,
}

impl Args {
    /// Reads the words behind the program's name.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
        let command = words.next().unwrap_or_default();
        let mut values = BTreeMap::new();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").ok_or(format!("unexpected {word}"))?.to_owned();
            let flag = FLAGS.contains(&name.as_str());
            let value = if flag { Some(String::new()) } else { words.next() };
            values.insert(name, value.ok_or(format!("{word} needs a value"))?);
        }
        Ok(Args { command, values })
    }

    /// A value, or what it is when it was not given.
    pub fn value<T: FromStr>(&self, name: &str, standard: T) -> Result<T, String> {
        let Some(text) = self.values.get(name) else { return Ok(standard) };
        text.parse().map_err(|_| format!("--{name}: {text} is not valid here"))
    }

    /// Whether a flag was given.
    pub fn has(&self, flag: &str) -> bool {
        self.values.contains_key(flag)
    }

    /// Where the gateway listens.
    pub fn address(&self) -> Result<SocketAddr, String> {
        let port: u16 = self.value("port", 0)?;
        let host: String = self.value("host", "127.0.0.1".to_owned())?;
        let host = host.parse().map_err(|_| format!("--host: {host} is not an IP address"))?;
        if port == 0 { Err("--port is missing".to_owned()) } else { Ok(SocketAddr::new(host, port)) }
    }
}
