//! Who a client is: a token, a user of the plan, or what a service says. Each protocol
//! brings name and password; what comes back is an `Access`, which `broker` checks.

mod callback;
mod hash;
mod passwords;
mod rules;
pub(crate) mod scram;
mod token;
mod turns;

pub use hash::hash_password;
pub(crate) use passwords::{Verified, basic, bearer, verify};
pub(crate) use rules::Claimed;
pub(crate) use token::{TOKEN_METHOD, Tokens};

use crate::worker::Worker;
use std::net::SocketAddr;
use std::rc::Rc;
use tidegate_broker::Access;
use tidegate_message::Protocol;

/// What a client says of itself.
#[derive(Clone, Copy)]
pub(crate) struct Credentials<'c> {
    pub(crate) protocol: Protocol,
    pub(crate) client_id: &'c str,
    pub(crate) user: &'c str,
    pub(crate) password: &'c [u8],
    pub(crate) peer: SocketAddr,
}

/// Who it is, or `None`. The first of token, user and service that knows it decides. Who `left` is not waited for.
pub(crate) async fn authenticate(
    worker: &Rc<Worker>,
    credentials: Credentials<'_>,
    left: impl Future<Output = ()>,
) -> Option<Access> {
    let plan = worker.plan();
    let count = |outcome| worker.counters.auth(credentials.protocol, outcome);
    if let Some(tokens) = plan.plan.tokens.as_ref().filter(|_| token::looks_like_one(credentials.password)) {
        return match tokens.verify(credentials.password) {
            Ok(claimed) => {
                count("token");
                Some(claimed.access(&plan.plan))
            }
            Err(why) => {
                count(why);
                None
            }
        };
    }
    let is_ours = plan.plan.users.contains_key(credentials.user);
    if let Some(service) = plan.plan.auth_service.as_ref().filter(|_| !is_ours) {
        return callback::ask(worker, service, credentials).await;
    }
    let from = (credentials.peer.ip(), left);
    let user = passwords::user(worker, (credentials.user, credentials.password), from).await;
    count(if user.is_some() { "password" } else { "bad-credentials" });
    Some(Claimed { user: user?, ..Claimed::default() }.access(&plan.plan))
}
