//! Why a request got no answer from an upstream: status and response flag, by the
//! names that Envoy's users know.

/// A failure before anything of an answer went to the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flag {
    /// UF: the connection to the upstream failed.
    ConnectFailure,
    /// UF: the upstream did not take the connection in time.
    ConnectTimeout,
    /// UC: the upstream closed or broke the connection.
    Terminated,
    /// UPE: the upstream broke the protocol.
    Protocol,
    /// UT: the upstream did not answer in time.
    Timeout,
    /// SI: one side made no progress with a body that was under way.
    Stalled,
    /// DT: the whole exchange took longer than it may.
    TotalTimeout,
    /// UO: too many requests, or the breaker is open.
    Overflow,
    /// UH: there is no endpoint to take it.
    NoHealthy,
    /// NR: no route.
    NoRoute,
    /// DC: the client went away.
    ClientGone,
    /// CT: the client made no progress, with the body that it announced or with the answer.
    SlowClient,
    /// RL: a rate limit refused it.
    RateLimited,
    /// UAEX: a policy did not decide, and its fallback refuses.
    NoDecision,
    /// UR: a value of the request does not fit where a rewrite puts it.
    Unfit,
    /// TL: the request's body is longer than the route takes.
    TooLarge,
    /// OM: the gateway itself has too much to do.
    Shed,
    /// NC: a route or upstream is broken by its configuration.
    Broken,
}

impl Flag {
    /// Labels of the faults of upstreams, in the order of `fault`.
    pub(crate) const FAULTS: [&str; 6] = ["UF", "UC", "UPE", "UT", "SI", "DT"];

    /// The flag as access logs show it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Flag::ConnectFailure | Flag::ConnectTimeout => "UF",
            Flag::Terminated => "UC",
            Flag::Protocol => "UPE",
            Flag::Timeout => "UT",
            Flag::Stalled => "SI",
            Flag::TotalTimeout => "DT",
            Flag::Overflow => "UO",
            Flag::NoHealthy => "UH",
            Flag::NoRoute => "NR",
            Flag::ClientGone => "DC",
            Flag::SlowClient => "CT",
            Flag::RateLimited => "RL",
            Flag::NoDecision => "UAEX",
            Flag::Unfit => "UR",
            Flag::TooLarge => "TL",
            Flag::Shed => "OM",
            Flag::Broken => "NC",
        }
    }

    /// Its place among what is counted of an upstream; `None`: it is no fault of an upstream.
    pub(crate) const fn fault(self) -> Option<usize> {
        Some(match self {
            Flag::ConnectFailure | Flag::ConnectTimeout => 0,
            Flag::Terminated => 1,
            Flag::Protocol => 2,
            Flag::Timeout => 3,
            Flag::Stalled => 4,
            Flag::TotalTimeout => 5,
            _ => return None,
        })
    }

    /// The status that the client gets.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Flag::Shed
            | Flag::ConnectFailure
            | Flag::ConnectTimeout
            | Flag::Overflow
            | Flag::NoHealthy
            | Flag::NoDecision => 503,
            Flag::Terminated | Flag::Protocol => 502,
            Flag::Timeout | Flag::Stalled | Flag::TotalTimeout => 504,
            Flag::NoRoute => 404,
            Flag::ClientGone => 499,
            Flag::SlowClient => 408,
            Flag::RateLimited => 429,
            Flag::Unfit => 400,
            Flag::TooLarge => 413,
            Flag::Broken => 500,
        }
    }

    /// The kind of error as `Proxy-Status` names it (RFC 9209 section 2.3).
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Flag::ConnectFailure => "connection_refused",
            Flag::ConnectTimeout => "connection_timeout",
            Flag::Terminated => "connection_terminated",
            Flag::Protocol => "http_protocol_error",
            Flag::Timeout | Flag::Stalled | Flag::TotalTimeout => "http_response_timeout",
            Flag::Overflow => "connection_limit_reached",
            Flag::NoHealthy => "destination_unavailable",
            Flag::NoRoute => "destination_not_found",
            Flag::ClientGone => "connection_read_timeout",
            Flag::SlowClient => "http_request_error",
            Flag::RateLimited | Flag::Unfit | Flag::TooLarge => "http_request_denied",
            Flag::NoDecision | Flag::Shed => "proxy_internal_error",
            Flag::Broken => "proxy_configuration_error",
        }
    }

    /// What the client reads.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Flag::ConnectFailure => "the upstream refused the connection",
            Flag::ConnectTimeout => "the upstream did not take the connection in time",
            Flag::Terminated => "the upstream closed the connection before it answered",
            Flag::Protocol => "the upstream's answer is not valid HTTP",
            Flag::Timeout => "the upstream did not answer in time",
            Flag::Stalled => "a body made no progress",
            Flag::TotalTimeout => "the request took longer than it may",
            Flag::Overflow => "the upstream takes no more requests now",
            Flag::NoHealthy => "the upstream has no endpoint that can take the request",
            Flag::NoRoute => "no route matches the request",
            Flag::ClientGone => "the client went away",
            Flag::SlowClient => "the request's body did not come in time",
            Flag::RateLimited => "too many requests",
            Flag::NoDecision => "a policy did not decide in time",
            Flag::Unfit => "a value of the request does not fit the route's rewrite",
            Flag::TooLarge => "the body is longer than this route takes",
            Flag::Shed => "the gateway has too much to do now",
            Flag::Broken => "the route is broken by its configuration; see GET /v1/routes",
        }
    }
}
