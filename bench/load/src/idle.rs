//! MQTT connections that say nothing: for the memory of each.

use crate::args::Args;
use crate::client::Client;

/// Opens them, says so, holds them until a line comes.
pub fn run(args: &Args) -> Result<String, String> {
    let address = args.address()?;
    let count: usize = args.value("connections", 1_000)?;
    let process = std::process::id();
    let mut clients = Vec::with_capacity(count);
    for index in 0..count {
        let filter = args.has("subscribe").then(|| format!("idle/{index}/value"));
        let filter = filter.as_deref().map(|filter| (filter, 0));
        clients.push(Client::connect(address, (&format!("idle-{process}-{index}"), false), filter)?);
    }
    crate::wait_for_line()?;
    Ok(format!("{{\"connections\":{}}}", clients.len()))
}
