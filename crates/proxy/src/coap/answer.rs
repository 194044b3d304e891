//! Answers: code, options and payload go to the message layer, and are counted.

use super::kept::Whole;
use super::server::Server;
use super::streams::protocol_of;
use super::view::format_of;
use super::waiting::{Served, Ticket};
use crate::http::Flag;
use tidegate_coap::{Code, ObserverId, OptionNumber, Reply};
use tidegate_message::{Message, Outcome};
use tidegate_ring::{EventKind, EventRecord};

/// Seconds after which a peer may try again where nobody knows better.
const TRY_AGAIN_S: u32 = 1;
/// Longest `traceparent` that goes with a value: as much as is taken with a request.
const TRACE_MAX: usize = 255;

/// Whether a value is of the Content-Format that is asked for (RFC 7252 section 5.10.4). One
/// without a type is taken for it.
pub(super) fn is_accepted(ticket: &Ticket, value: &Message) -> bool {
    let format = value.content_type().and_then(format_of);
    ticket.exchange.accept.is_none_or(|wanted| format.is_none_or(|format| format == wanted))
}

/// Whether a representation has a type, but not that which is asked for.
pub(super) fn is_unacceptable(ticket: &Ticket, (code, content_type): (Code, Option<&[u8]>)) -> bool {
    let Some((wanted, kind)) = ticket.exchange.accept.zip(content_type) else { return false };
    let format = std::str::from_utf8(kind).ok().and_then(format_of);
    code == Code::CONTENT && format != Some(wanted)
}

impl Server {
    /// RFC 7252 section 5.10.4.
    pub(super) fn answer_unacceptable(&mut self, ticket: &Ticket) {
        self.answer(ticket, Code::NOT_ACCEPTABLE, b"there is another Content-Format only");
    }

    /// Answers with the options that have been gathered.
    pub(super) fn answer(&mut self, ticket: &Ticket, code: Code, payload: &[u8]) {
        self.answer_observer(ticket, (code, None), payload);
    }

    /// As `answer`, for a request that began an observation.
    pub(super) fn answer_observer(
        &mut self,
        ticket: &Ticket,
        (code, observer): (Code, Option<ObserverId>),
        payload: &[u8],
    ) {
        let reply = Reply { observer, ..Reply::new(code, &self.options, payload) };
        self.endpoint.reply(self.now_ms, &ticket.exchange, &reply);
        self.options.clear();
        self.note(ticket, (code.status(), None));
    }

    /// A status of HTTP with its body.
    pub(super) fn answer_status(&mut self, ticket: &Ticket, (status, content_type): (u16, Option<&[u8]>), body: &[u8]) {
        let code = Code::from_status(status, ticket.exchange.method);
        if is_unacceptable(ticket, (code, content_type)) {
            return self.answer_unacceptable(ticket);
        }
        self.answer_coded(ticket, (code, content_type), body);
    }

    /// A code with a body and its media type.
    pub(super) fn answer_coded(&mut self, ticket: &Ticket, (code, content_type): (Code, Option<&[u8]>), body: &[u8]) {
        self.put_typed(code, content_type);
        self.answer(ticket, code, body);
    }

    /// What an answer of somebody else's says about itself.
    pub(super) fn put_whole_options(&mut self, code: Code, answer: &Whole) {
        if let Some(seconds) = answer.max_age {
            self.options.push_uint(OptionNumber::MAX_AGE, seconds);
        }
        self.put_typed(code, answer.content_type.as_deref());
        for (number, value) in &answer.passed_on {
            self.options.push(*number, value);
        }
    }

    fn put_typed(&mut self, code: Code, content_type: Option<&[u8]>) {
        self.put_content_type(content_type.and_then(|value| std::str::from_utf8(value).ok()));
        if matches!(code, Code::SERVICE_UNAVAILABLE | Code::TOO_MANY_REQUESTS)
            && !self.options.contains(OptionNumber::MAX_AGE)
        {
            self.options.push_uint(OptionNumber::MAX_AGE, TRY_AGAIN_S);
        }
    }

    /// The last value of a topic.
    pub(super) fn answer_value(&mut self, ticket: &Ticket, value: &Message) {
        if !is_accepted(ticket, value) {
            return self.answer(ticket, Code::NOT_ACCEPTABLE, b"the value has another Content-Format");
        }
        self.put_value_options(value);
        self.answer(ticket, Code::CONTENT, value.payload());
    }

    /// What a message says about itself.
    pub(super) fn put_value_options(&mut self, value: &Message) {
        self.put_content_type(value.content_type());
        if let Some(seconds) = value.remaining_seconds(self.now_ms) {
            self.options.push_uint(OptionNumber::MAX_AGE, seconds);
        }
        let trace = value.properties.as_deref().and_then(|properties| properties.user("traceparent"));
        if let Some(trace) = trace.filter(|trace| trace.len() <= TRACE_MAX) {
            self.options.push(OptionNumber::TRACEPARENT, trace.as_bytes());
        }
    }

    pub(super) fn put_content_type(&mut self, content_type: Option<&str>) {
        if let Some(format) = content_type.and_then(format_of) {
            self.options.push_uint(OptionNumber::CONTENT_FORMAT, u32::from(format));
        }
    }

    /// Answers with what an outcome means, and its name as diagnostic payload.
    pub(super) fn refuse(&mut self, ticket: &Ticket, outcome: Outcome) {
        if matches!(outcome, Outcome::Busy | Outcome::QuotaExceeded) {
            self.options.push_uint(OptionNumber::MAX_AGE, TRY_AGAIN_S);
        }
        self.answer(ticket, Code::from(outcome), outcome.label().as_bytes());
    }

    /// Answers a failure: what it means, as diagnostic payload (RFC 7252 section 5.5.2).
    pub(super) fn fail(&mut self, ticket: &Ticket, (flag, retry_after_ms): (Flag, u64)) {
        let code = Code::from_status(flag.status(), ticket.exchange.method);
        if matches!(code, Code::SERVICE_UNAVAILABLE | Code::TOO_MANY_REQUESTS) {
            let seconds = u32::try_from(retry_after_ms.div_ceil(1_000)).unwrap_or(u32::MAX);
            self.options.push_uint(OptionNumber::MAX_AGE, seconds.max(TRY_AGAIN_S));
        }
        let reply = Reply::new(code, &self.options, flag.text().as_bytes());
        self.endpoint.reply(self.now_ms, &ticket.exchange, &reply);
        self.options.clear();
        self.note(ticket, (flag.status(), Some(flag)));
    }

    /// Counts an answer, and writes its access record where one is due.
    fn note(&self, ticket: &Ticket, (status, flag): (u16, Option<Flag>)) {
        let (worker, plan) = (&self.worker, &ticket.plan.plan);
        let micros = worker.clock.micros().saturating_sub(ticket.started_us);
        let counters = match ticket.served {
            Served::Route(index) => &plan.routes[index].counters,
            Served::Builtin => &plan.builtin,
            Served::Unrouted => &plan.unrouted,
        };
        let counters = counters[usize::from(worker.id)].of(protocol_of(ticket.exchange.transport));
        counters.codes.add(status);
        counters.duration.observe(micros);
        if flag.is_some() || worker.is_sampled(plan.log.sample_every) {
            let method = ticket.exchange.method.method().unwrap_or_default();
            worker.event(&EventRecord {
                kind: EventKind::Access,
                a: if let Served::Route(index) = ticket.served { index as u32 } else { u32::MAX },
                b: u32::from(status),
                c: u32::MAX,
                time: (worker.clock.epoch_ms() + ticket.started_us / 1_000) as f64,
                d: micros as f64,
                text: &format!("{method} coap {}", flag.map_or("-", Flag::label)),
            });
        }
    }
}
