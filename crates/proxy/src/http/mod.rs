//! HTTP/1.1: the driver of one connection. `serve` waits for heads, `dispatch`
//! decides what a request becomes, `exchange` carries it to an upstream and back,
//! `respond` answers where the gateway itself does.

mod answers;
mod cached;
#[cfg(test)]
mod cost;
mod dispatch;
mod edits;
mod events;
mod exchange;
mod explain;
mod failure;
mod fetch;
mod forward;
mod handler;
mod hops;
mod local;
mod login;
mod mirror;
mod outward;
mod pace;
mod reply;
mod request;
mod respond;
mod serve;
mod steps;
mod target;
mod topics;
mod tunnel;
mod view;

pub(crate) use events::Subscribed;
pub(crate) use explain::{Moment, explain_request};
pub(crate) use failure::Flag;
pub(crate) use fetch::{Fetch, Fetched, fetch};
pub(crate) use forward::{Facts, choose};
pub(crate) use outward::publish_to_upstream;
pub(crate) use pace::deliver;
pub(crate) use reply::ReplyTo;
pub(crate) use request::Request;
pub(crate) use respond::{Length, has_body, has_length};
pub(crate) use serve::serve;
