//! Registrations and lookups as RFC 9176 describes them.

use std::sync::Arc;
use tidegate_directory::{Criteria, Directory, Link, Params, Refusal, Registering};

const SOURCE: &str = "coap://192.0.2.1:5683";

fn params(query: &[&str]) -> Params {
    Params::parse(query.iter().map(|parameter| parameter.as_bytes())).expect("valid")
}

fn asked(query: &[&str], links: &str) -> Registering<'static> {
    let links = Link::parse_all(links).expect("links");
    Registering { params: params(query), links, source: SOURCE, owner: None, random: 0xabcd }
}

fn criteria(query: &[&str]) -> Criteria {
    Criteria::parse(query.iter().map(|parameter| parameter.as_bytes())).expect("valid")
}

fn filled() -> Directory {
    let mut directory = Directory::default();
    let node1 = asked(&["ep=node1", "lt=600", "et=lamp"], "</temp>;rt=\"temperature x\";ct=0,</light>;rt=light;if=s");
    let node2 = asked(
        &["ep=node2", "d=up", "base=coap://[2001:db8::2]:61616"],
        "<temp>;rt=temperature,<coap://else/t>;rel=alternate,</doc>;anchor=\"/temp\";rel=describedby",
    );
    directory.register(0, node1, 10).expect("registered");
    directory.register(0, node2, 10).expect("registered");
    directory
}

#[test]
fn endpoints_are_found_by_their_attributes_and_those_of_their_links() {
    let directory = filled();
    let find = |query: &[&str]| directory.endpoints(0, (&criteria(query), "/rd"), 9_999);
    let node1 = "</rd/0000abcd>;ep=\"node1\";base=\"coap://192.0.2.1:5683\";lt=600;et=\"lamp\";rt=\"core.rd-ep\"";
    let node2 = "</rd/0000abce>;ep=\"node2\";d=\"up\";base=\"coap://[2001:db8::2]:61616\";lt=90000;rt=\"core.rd-ep\"";
    assert_eq!(find(&[]), format!("{node1},{node2}"));
    for query in
        [&["et=lamp"][..], &["ep=node1"], &["rt=light"], &["if=s"], &["href=/rd/0000abcd"], &["et=la*", "rt=x"]]
    {
        assert_eq!(find(query), node1, "{query:?}");
    }
    for query in [&["d=up"][..], &["base=coap://[2001*"], &["href=coap://else/t"], &["rel=describedby"]] {
        assert_eq!(find(query), node2, "{query:?}");
    }
    assert_eq!(find(&["rt=temperature"]), format!("{node1},{node2}"));
    assert_eq!(find(&["rt=core.rd-ep", "page=1", "count=1"]), node2);
    assert_eq!(find(&["et=lamp", "d=up"]), "");
}

#[test]
fn resources_are_absolute_and_inherit_what_their_endpoint_is_found_by() {
    let directory = filled();
    let find = |query: &[&str]| directory.resources(0, &criteria(query), 9_999);
    let (temp, light) =
        ("<coap://192.0.2.1:5683/temp>;rt=\"temperature x\";ct=0", "<coap://192.0.2.1:5683/light>;rt=light;if=s");
    let other = "<coap://[2001:db8::2]:61616/temp>;rt=temperature";
    assert_eq!(find(&["ep=node1"]), format!("{temp},{light}"));
    assert_eq!(find(&["rt=temperature"]), format!("{temp},{other}"));
    assert_eq!(find(&["href=/light"]), light);
    assert_eq!(find(&["rt=temperature", "d=up"]), other);
    assert_eq!(
        find(&["rel=alternate"]),
        "<coap://else/t>;rel=alternate;anchor=\"coap://[2001:db8::2]:61616\"",
        "the context is where it was registered"
    );
    assert_eq!(
        find(&["anchor=coap://[2001:db8::2]:61616/temp"]),
        "<coap://[2001:db8::2]:61616/doc>;rel=describedby;anchor=\"coap://[2001:db8::2]:61616/temp\""
    );
    assert_eq!(find(&["page=1", "count=1"]), light);
    assert_eq!(find(&["page=9", "count=1"]), "");
    assert_eq!(find(&["rt=core.rd-ep"]), "", "that is what registrations are");
    assert_eq!(directory.resources(0, &criteria(&[]), temp.len()), temp, "within the bound");
}

#[test]
fn a_second_registration_of_a_name_keeps_its_address_and_replaces_the_rest() {
    let mut directory = filled();
    let again = Registering { random: 7, ..asked(&["ep=node1"], "</new>") };
    assert_eq!(directory.register(1, again, 2), Ok(0xabcd));
    assert_eq!(directory.resources(1, &criteria(&["ep=node1"]), 999), "<coap://192.0.2.1:5683/new>");
    assert_eq!(directory.register(1, asked(&["ep=node1", "d=other"], ""), 3), Ok(0xabcf), "another sector");
    assert_eq!(directory.register(1, asked(&["ep=node4"], ""), 3), Err(Refusal::Full));
    assert_eq!(directory.register(1, asked(&["lt=5"], ""), 9), Err(Refusal::Invalid("ep is missing")));
}

#[test]
fn updates_renew_the_lifetime_and_follow_the_source_where_no_base_was_said() {
    let mut directory = filled();
    let moved = "coap://192.0.2.9:1";
    directory.update(599_000, 0xabcd, (params(&["et=fan", "x=1"]), moved, None)).expect("updated");
    directory.update(599_000, 0xabce, (params(&[]), moved, None)).expect("updated");
    let endpoints = directory.endpoints(1_198_000, (&criteria(&[]), "/rd"), 999);
    assert!(endpoints.contains("base=\"coap://192.0.2.9:1\";lt=600;et=\"fan\";x=\"1\""), "{endpoints}");
    assert!(endpoints.contains("coap://[2001:db8::2]:61616"), "{endpoints}");
    assert_eq!(directory.endpoints(1_199_000, (&criteria(&["ep=node1"]), "/rd"), 999), "", "its time is up");
    assert_eq!(directory.update(1_199_000, 0xabcd, (params(&[]), moved, None)), Err(Refusal::Unknown));
    let named = directory.update(0, 0xabce, (params(&["ep=x"]), moved, None));
    assert_eq!(named, Err(Refusal::Invalid("ep and d stay as they were registered")));
}

#[test]
fn only_who_registered_may_change_and_remove() {
    let mut directory = Directory::default();
    let owned = Registering { owner: Some(Arc::from("ann")), ..asked(&["ep=a"], "") };
    let id = directory.register(0, owned, 9).expect("registered");
    assert_eq!(directory.register(0, asked(&["ep=a"], ""), 9), Err(Refusal::NotOwner));
    assert_eq!(directory.update(0, id, (params(&[]), SOURCE, Some("bob"))), Err(Refusal::NotOwner));
    assert_eq!(directory.remove(0, id, None), Err(Refusal::NotOwner));
    assert_eq!(directory.remove(0, id, Some("ann")), Ok(()));
    assert_eq!(directory.remove(0, id, Some("ann")), Err(Refusal::Unknown));
}

#[test]
fn who_follows_is_told_what_has_changed_and_everything_when_far_behind() {
    let mut directory = filled();
    assert_eq!(directory.changes(0).put.len(), 2);
    let seen = directory.revision();
    directory.remove(1, 0xabcd, None).expect("removed");
    directory.update(1, 0xabce, (params(&["lt=1"]), SOURCE, None)).expect("updated");
    let changes = directory.changes(seen);
    assert_eq!((changes.put.len(), changes.removed.len(), changes.is_whole), (1, 1, false));
    let seen = changes.revision;
    directory.expire(1_001);
    assert_eq!(directory.changes(seen).removed, [("node2".into(), Some("up".into()))]);
    for round in 0..5_000 {
        let _ = directory.register(round, asked(&["ep=busy"], ""), 9);
    }
    assert!(directory.changes(seen).is_whole && directory.changes(u64::MAX).is_whole);
    assert!(directory.changes(directory.revision()).put.is_empty());
}
