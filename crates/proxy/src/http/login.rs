//! `basicAuth`: who asks, by name and password (RFC 7617). A password that was right
//! lately is known at once; another is compared beside the worker, and the request waits.

use super::request::Request;
use crate::auth::{basic, verify};
use crate::client::Client;
use crate::decide::{Asking, Ruling};
use crate::worker::Worker;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;
use tidegate_cache::Waiting;
use tidegate_policy::BasicAuth;

/// What a request waits for before it goes on.
pub(crate) enum Awaited {
    /// A policy in TypeScript.
    Script(Asking),
    /// A password.
    Login(Box<Login>),
    /// Another request's answer, but no longer than so many milliseconds.
    Answer(Waiting, u64),
}

/// A password that is compared.
pub(crate) struct Login {
    worker: Rc<Worker>,
    source: IpAddr,
    user: String,
    password: Vec<u8>,
    hash: Box<str>,
    is_known: bool,
    realm: Box<str>,
    header: Option<Box<str>>,
}

/// What looking at the credentials came to.
pub(super) enum Looked {
    Ruled(Ruling),
    Awaited(Box<Login>),
}

/// Looks at a request's credentials.
pub(super) fn look(client: &Client, request: &Request<'_>, auth: &BasicAuth) -> Looked {
    let Some((user, password)) = request.head.header("authorization").and_then(basic) else {
        return Looked::Ruled(Ruling::Stranger(auth.realm.clone()));
    };
    let (hash, is_known) = auth.hash(&user);
    if is_known && client.worker.verified.knows((&user, hash), &password) {
        return Looked::Ruled(Ruling::Known(auth.user_header.clone(), user.into()));
    }
    Looked::Awaited(Box::new(Login {
        worker: Rc::clone(&client.worker),
        hash: hash.into(),
        is_known,
        realm: auth.realm.clone(),
        source: request.view.peer.address.ip(),
        header: auth.user_header.clone(),
        user,
        password,
    }))
}

impl Awaited {
    /// Waits for what is decided; in a line only as long as the client does.
    pub(crate) async fn ruling(self, client: &mut Client) -> Ruling {
        match self {
            Awaited::Script(asking) => asking.ruling().await,
            Awaited::Login(login) => login.ruling(client).await,
            Awaited::Answer(waiting, ms) => {
                // Late or not: it looks again.
                let _ = tokio::time::timeout(Duration::from_millis(ms), waiting).await;
                Ruling::Continue
            }
        }
    }
}

impl Login {
    async fn ruling(self: Box<Self>, client: &mut Client) -> Ruling {
        let asked = ((&*self.user, &*self.hash), &self.password[..]);
        match verify(&self.worker, asked, (self.source, client.left())).await {
            Some(true) if self.is_known => Ruling::Known(self.header, self.user.into()),
            Some(_) => Ruling::Stranger(self.realm),
            None => Ruling::Refuse,
        }
    }
}
