//! Requests that the gateway itself serves: topics, upgrades, handlers.

use super::dispatch::{Next, Request, failed};
use super::failure::Flag;
use crate::client::Client;
use tidegate_route::Captures;

/// Something that is served here and waits.
pub(crate) enum Local {}

impl Local {
    /// Serves it; the client comes back where its connection goes on.
    pub(crate) async fn run(self, client: Client) -> Option<Client> {
        let _ = client;
        match self {}
    }
}

/// Whether a raw path stands under the broker's path.
pub(crate) fn is_topic_path(http_path: &str, path: &[u8]) -> bool {
    path.strip_prefix(http_path.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// A request that no route of the config claims.
pub(crate) fn builtin(client: &Client, request: &Request<'_>) -> (Next, usize) {
    failed(client, request, (usize::MAX, Flag::NoRoute, 0))
}

pub(crate) fn to_topic(
    client: &Client,
    request: &Request<'_>,
    (index, _, _): (usize, &str, &Captures),
) -> (Next, usize) {
    failed(client, request, (index, Flag::Broken, 0))
}

pub(crate) fn to_handler(client: &Client, request: &Request<'_>, (index, _): (usize, usize)) -> (Next, usize) {
    failed(client, request, (index, Flag::Broken, 0))
}
