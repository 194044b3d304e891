//! Enhanced authentication (MQTT 5 section 4.12): AUTH packets between CONNECT and
//! CONNACK, and again while connected. Methods: SCRAM-SHA-256, and JWT, a token in one step.

use super::connect::Connecting;
use super::packets::{Handled, Later};
use super::serve::Connection;
use crate::auth::scram::{Exchange, METHOD, Verifier};
use crate::auth::{Claimed, TOKEN_METHOD};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use tidegate_broker::Access;
use tidegate_message::Protocol;
use tidegate_mqtt::{Auth, PropertiesBuf, Property, reason};

/// A method of enhanced authentication.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    Scram,
    /// The data is a token, in one step; again while connected with the next one.
    Token,
}

/// The method of that name.
pub(crate) fn method(name: &str) -> Option<Method> {
    match name {
        METHOD => Some(Method::Scram),
        TOKEN_METHOD => Some(Method::Token),
        _ => None,
    }
}

impl Method {
    const fn name(self) -> &'static str {
        match self {
            Method::Scram => METHOD,
            Method::Token => TOKEN_METHOD,
        }
    }
}

/// Where a connection stands with it.
pub(crate) enum Enhanced {
    /// The client's last message is due; with the CONNECT that waits for it.
    Asked(Exchange, Option<Box<Connecting>>),
    /// Done; it may be done again.
    Done(Method),
}

/// Who a client turned out to be, and the server's proof.
pub(crate) struct Proven {
    pub(crate) access: Access,
    pub(crate) method: &'static str,
    pub(crate) proof: String,
}

impl Connection {
    /// Begins with the data of a CONNECT.
    pub(crate) fn begin_enhanced(
        &mut self,
        mut connecting: Box<Connecting>,
        (method, data): (Method, &[u8]),
        used: usize,
    ) -> Handled {
        if method == Method::Token {
            let Some(access) = self.token(data) else { return self.refuse_enhanced(reason::NOT_AUTHORIZED) };
            self.enhanced = Some(Box::new(Enhanced::Done(method)));
            connecting.proven = Some(Proven { access, method: method.name(), proof: String::new() });
            return Handled::Later(Later::Connect(connecting), used);
        }
        self.ask(data, Some(connecting), used)
    }

    /// Handles an AUTH.
    pub(crate) fn auth(&mut self, auth: &Auth<'_>, used: usize) -> Handled {
        // MQTT-4.12.0-5: the method stays the same.
        let named = auth.method().and_then(method);
        let data = auth.data().unwrap_or_default();
        match (self.enhanced.take().map(|enhanced| *enhanced), named, auth.reason) {
            (Some(Enhanced::Asked(exchange, connecting)), Some(Method::Scram), reason::CONTINUE_AUTHENTICATION) => {
                let Some((user, proof)) = exchange.finish(data) else {
                    return self.refuse_enhanced(reason::NOT_AUTHORIZED);
                };
                self.enhanced = Some(Box::new(Enhanced::Done(Method::Scram)));
                let plan = self.client.worker.plan();
                let access = Claimed { user, ..Claimed::default() }.access(&plan.plan);
                match connecting {
                    Some(mut connecting) => {
                        connecting.proven = Some(Proven { access, method: METHOD, proof });
                        Handled::Later(Later::Connect(connecting), used)
                    }
                    None => self.renew((Method::Scram, &proof), access, used),
                }
            }
            (Some(Enhanced::Done(Method::Scram)), Some(Method::Scram), reason::REAUTHENTICATE) => {
                self.ask(data, None, used)
            }
            (Some(Enhanced::Done(Method::Token)), Some(Method::Token), reason::REAUTHENTICATE) => {
                self.enhanced = Some(Box::new(Enhanced::Done(Method::Token)));
                match self.token(data) {
                    Some(access) => self.renew((Method::Token, ""), access, used),
                    None => self.refuse_enhanced(reason::NOT_AUTHORIZED),
                }
            }
            _ => self.refuse_enhanced(reason::PROTOCOL_ERROR),
        }
    }

    /// A client has proven itself again: what its identity brings now counts from now on.
    fn renew(&mut self, (method, proof): (Method, &str), access: Access, used: usize) -> Handled {
        // MQTT-4.12.1-1: who it is stays the same, too.
        if self.seat.publisher.access.user != access.user {
            return self.refuse_enhanced(reason::NOT_AUTHORIZED);
        }
        let access = access.as_client(self.seat.publisher.access.client_id.clone());
        self.limit_to(access.until());
        if let Some(id) = self.seat.id() {
            let renewed = access.clone();
            self.client.worker.with_broker(|broker, sink| broker.renew_access(id, renewed, sink));
        }
        self.seat.publisher.access = access;
        match self.put_auth((method, reason::SUCCESS), proof) {
            true => Handled::Used(used),
            false => self.refuse_enhanced(reason::PACKET_TOO_LARGE),
        }
    }

    /// The connection ends with its identity.
    pub(crate) fn limit_to(&mut self, until: Option<u64>) {
        self.client.limit_to(until);
        let deadline = self.link.session.borrow().deadline().unwrap_or(0);
        self.client.worker.connections.set_deadline(&self.client.connection, deadline);
    }

    /// Who a token says it is.
    fn token(&self, token: &[u8]) -> Option<Access> {
        let worker = &self.client.worker;
        let plan = worker.plan();
        match plan.plan.tokens.as_ref()?.verify(token) {
            Ok(claimed) => {
                worker.counters.auth(Protocol::Mqtt, "token");
                Some(claimed.access(&plan.plan))
            }
            Err(why) => {
                worker.counters.auth(Protocol::Mqtt, why);
                None
            }
        }
    }

    /// Answers the client's first message, of a CONNECT that waits or of a connected client.
    fn ask(&mut self, data: &[u8], connecting: Option<Box<Connecting>>, used: usize) -> Handled {
        // MQTT-4.12.0-4, MQTT-4.12.1-2
        let Some((exchange, answer)) = self.begin(data) else { return self.refuse_enhanced(reason::NOT_AUTHORIZED) };
        if !self.put_auth((Method::Scram, reason::CONTINUE_AUTHENTICATION), &answer) {
            return self.refuse_enhanced(reason::PACKET_TOO_LARGE);
        }
        self.enhanced = Some(Box::new(Enhanced::Asked(exchange, connecting)));
        Handled::Used(used)
    }

    fn begin(&self, data: &[u8]) -> Option<(Exchange, String)> {
        let worker = &self.client.worker;
        let plan = worker.plan();
        let mut nonce = [0; 18];
        getrandom::fill(&mut nonce).ok()?;
        let find = |user: &str| plan.plan.users.get(user)?.scram.as_deref().and_then(Verifier::parse);
        let secret = &worker.shared.secret;
        Exchange::begin(data, find, (secret, &STANDARD_NO_PAD.encode(nonce)))
    }

    /// `false`: the client does not take a packet of that size.
    #[must_use]
    fn put_auth(&self, (method, reason): (Method, u8), data: &str) -> bool {
        let mut properties = PropertiesBuf::new();
        properties.push(Property::AuthMethod(method.name()));
        if !data.is_empty() {
            properties.push(Property::AuthData(data.as_bytes()));
        }
        let auth = Auth { reason, properties: properties.properties() };
        self.link.session.borrow_mut().auth(&auth, &mut self.link.out.borrow_mut())
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
