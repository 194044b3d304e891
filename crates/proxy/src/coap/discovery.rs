//! `/.well-known/core` (RFC 6690): what there is to ask for, filtered by the query.

use tidegate_coap::{LinkFormat, Message};
use tidegate_route::{PathPlan, RouteSpec};

/// Longest document, bytes; what does not fit is left out.
const DOCUMENT_MAX: usize = 64 << 10;

/// The segments of the resource's path.
pub(super) const PATH: [&[u8]; 2] = [b".well-known", b"core"];

/// The paths of routes that CoAP requests can reach by one fixed path.
pub(crate) fn visible_paths(routes: &[RouteSpec]) -> Box<[Box<str>]> {
    let visible = |route: &&RouteSpec| {
        let protocols = &route.when.protocols;
        protocols.is_empty() || protocols.iter().any(|protocol| protocol == "coap")
    };
    let path = |route: &RouteSpec| {
        match route.when.path.as_ref()? {
            PathPlan::Exact(path) | PathPlan::Prefix(path) => Some(path.trim_end_matches('/')),
            PathPlan::Template(_) | PathPlan::Regex(_) => None,
        }
        .filter(|path| !path.is_empty())
        .map(Box::from)
    };
    let mut paths: Vec<Box<str>> = routes.iter().filter(visible).filter_map(path).collect();
    paths.sort_unstable();
    paths.dedup();
    paths.into()
}

/// What the directory shows of itself (RFC 9176 section 4.2).
const DIRECTORY: [(&str, &[(&str, &str)]); 3] = [
    ("/rd", &[("rt", "core.rd"), ("ct", "40")]),
    ("/rd-lookup/ep", &[("rt", "core.rd-lookup-ep"), ("ct", "40"), ("obs", "")]),
    ("/rd-lookup/res", &[("rt", "core.rd-lookup-res"), ("ct", "40"), ("obs", "")]),
];

/// The document for a request: topics first, then the directory, then the routes.
pub(super) fn document((base, has_directory, routes): (&str, bool, &[Box<str>]), message: &Message<'_>) -> LinkFormat {
    let mut document = LinkFormat::new(DOCUMENT_MAX);
    let topics: &[(&str, &str)] = &[("rt", "tidegate.topic"), ("obs", "")];
    let routes = routes.iter().filter(|path| ***path != *base).map(|path| (&**path, &[][..]));
    let directory = DIRECTORY.iter().copied().filter(|_| has_directory);
    for (path, attributes) in std::iter::once((base, topics)).chain(directory).chain(routes) {
        if message.query().all(|filter| holds(filter, path, attributes)) && !document.link(path, attributes) {
            break;
        }
    }
    document
}

/// RFC 6690 section 4.1: `name=value`, where a final asterisk stands for any ending.
fn holds(filter: &[u8], path: &str, attributes: &[(&str, &str)]) -> bool {
    let Ok(filter) = std::str::from_utf8(filter) else { return false };
    let (name, wanted) = filter.split_once('=').unwrap_or((filter, "*"));
    let fits = |value: &str| match wanted.strip_suffix('*') {
        Some(start) => value.starts_with(start),
        None => value.split(' ').any(|one| one == wanted),
    };
    match name {
        "href" => fits(path),
        name => attributes.iter().any(|(own, value)| *own == name && fits(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_coap::{Code, Head, OptionList, OptionNumber, Token, Type, encode};
    use tidegate_route::MatchPlan;

    fn ask(query: &[&str]) -> String {
        ask_where(query, false)
    }

    fn ask_where(query: &[&str], with_directory: bool) -> String {
        let mut options = OptionList::new();
        for filter in query {
            options.push(OptionNumber::URI_QUERY, filter.as_bytes());
        }
        let head = Head { kind: Type::Confirmable, code: Code::GET, message_id: 1, token: Token::default() };
        let mut datagram = Vec::new();
        encode(&mut datagram, &head, [&options, &OptionList::new()], b"");
        let message = Message::decode(&datagram, 64).expect("valid");
        document(("/t", with_directory, &["/api".into(), "/ping".into()]), &message).as_str().to_owned()
    }

    #[test]
    fn lists_topics_and_routes_and_filters_by_every_parameter() {
        let topics = "</t>;rt=\"tidegate.topic\";obs";
        assert_eq!(ask(&[]), format!("{topics},</api>,</ping>"));
        assert_eq!(ask(&["rt=tidegate.topic"]), topics);
        assert_eq!(ask(&["rt=tide*", "obs"]), topics);
        assert_eq!(ask(&["href=/p*"]), "</ping>");
        assert_eq!(ask(&["rt=other"]), "");
    }

    #[test]
    fn shows_the_directory_where_there_is_one() {
        assert_eq!(ask_where(&["rt=core.rd"], true), "</rd>;rt=\"core.rd\";ct=\"40\"");
        let lookups = ask_where(&["rt=core.rd-lookup*"], true);
        assert!(
            lookups.starts_with("</rd-lookup/ep>;rt=\"core.rd-lookup-ep\"") && lookups.contains("</rd-lookup/res>")
        );
        assert_eq!(ask(&["rt=core.rd*"]), "");
    }

    #[test]
    fn shows_only_routes_that_coap_reaches_by_a_fixed_path() {
        let route = |path: PathPlan, protocols: &[&str]| {
            let protocols = protocols.iter().map(|name| (*name).to_owned()).collect();
            RouteSpec { when: MatchPlan { path: Some(path), protocols, ..MatchPlan::default() }, priority: 0 }
        };
        let routes = [
            route(PathPlan::Prefix("/b".into()), &[]),
            route(PathPlan::Exact("/a".into()), &["coap", "http1"]),
            route(PathPlan::Exact("/c".into()), &["http1"]),
            route(PathPlan::Template("/d/{id}".into()), &[]),
            route(PathPlan::Prefix("/".into()), &[]),
            route(PathPlan::Exact("/b".into()), &[]),
        ];
        assert_eq!(visible_paths(&routes).iter().map(|path| &**path).collect::<Vec<_>>(), ["/a", "/b"]);
    }
}
