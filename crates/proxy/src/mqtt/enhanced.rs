//! Enhanced authentication (MQTT 5 section 4.12): AUTH packets between CONNECT and
//! CONNACK, and again while connected. One method: SCRAM-SHA-256.

use super::connect::Connecting;
use super::packets::{Handled, Later};
use super::serve::Connection;
use crate::auth::scram::{Exchange, METHOD, Verifier};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use std::sync::Arc;
use tidegate_mqtt::{Auth, PropertiesBuf, Property, reason};

/// Where a connection stands with it.
#[derive(Default)]
pub(crate) enum Enhanced {
    /// Its CONNECT named no method.
    #[default]
    No,
    /// The client's last message is due; with the CONNECT that waits for it.
    Asked(Box<Exchange>, Option<Box<Connecting>>),
    /// Done; it may be done again.
    Done,
}

/// Who a client turned out to be, and the server's proof.
pub(crate) struct Proven {
    pub(crate) user: Arc<str>,
    pub(crate) proof: String,
}

impl Connection {
    /// Begins with the data of a CONNECT.
    pub(crate) fn begin_enhanced(&mut self, connecting: Box<Connecting>, data: &[u8], used: usize) -> Handled {
        match self.ask(data) {
            Some(exchange) => {
                self.enhanced = Enhanced::Asked(exchange, Some(connecting));
                Handled::Used(used)
            }
            None => self.refuse_enhanced(reason::NOT_AUTHORIZED),
        }
    }

    /// Handles an AUTH.
    pub(crate) fn auth(&mut self, auth: &Auth<'_>, used: usize) -> Handled {
        // MQTT-4.12.0-5: the method stays the same.
        let is_ours = auth.method() == Some(METHOD);
        let data = auth.data().unwrap_or_default();
        match (std::mem::take(&mut self.enhanced), auth.reason) {
            (Enhanced::Asked(exchange, connecting), reason::CONTINUE_AUTHENTICATION) if is_ours => {
                let Some((user, proof)) = exchange.finish(data) else {
                    return self.refuse_enhanced(reason::NOT_AUTHORIZED);
                };
                self.enhanced = Enhanced::Done;
                match connecting {
                    Some(mut connecting) => {
                        connecting.proven = Some(Proven { user, proof });
                        Handled::Later(Later::Connect(connecting), used)
                    }
                    // MQTT-4.12.1-1: who it is stays the same, too.
                    None if self.publisher.access.user.as_ref() == Some(&user) => {
                        self.put_auth(reason::SUCCESS, &proof);
                        Handled::Used(used)
                    }
                    None => self.refuse_enhanced(reason::NOT_AUTHORIZED),
                }
            }
            (Enhanced::Done, reason::REAUTHENTICATE) if is_ours => match self.ask(data) {
                Some(exchange) => {
                    self.enhanced = Enhanced::Asked(exchange, None);
                    Handled::Used(used)
                }
                // MQTT-4.12.1-2
                None => self.refuse_enhanced(reason::NOT_AUTHORIZED),
            },
            _ => self.refuse_enhanced(reason::PROTOCOL_ERROR),
        }
    }

    /// Answers the client's first message.
    fn ask(&self, data: &[u8]) -> Option<Box<Exchange>> {
        let worker = &self.client.worker;
        let plan = worker.plan();
        let mut nonce = [0; 18];
        getrandom::fill(&mut nonce).ok()?;
        let find = |user: &str| plan.plan.users.get(user)?.scram.as_deref().and_then(Verifier::parse);
        let secret = &worker.shared.secret;
        let (exchange, answer) = Exchange::begin(data, find, (secret, &STANDARD_NO_PAD.encode(nonce)))?;
        self.put_auth(reason::CONTINUE_AUTHENTICATION, &answer);
        Some(Box::new(exchange))
    }

    fn put_auth(&self, reason: u8, data: &str) {
        let mut properties = PropertiesBuf::new();
        properties.push(Property::AuthMethod(METHOD)).push(Property::AuthData(data.as_bytes()));
        let auth = Auth { reason, properties: properties.properties() };
        self.link.session.borrow_mut().auth(&auth, &mut self.link.out.borrow_mut());
    }

    fn refuse_enhanced(&self, code: u8) -> Handled {
        let (mut session, mut out) = (self.link.session.borrow_mut(), self.link.out.borrow_mut());
        if session.is_connected() {
            session.disconnect(code, &mut out)
        } else {
            session.refuse(code, &mut out)
        }
        Handled::End
    }
}
