//! Lookups (RFC 9176 section 6): endpoints, or their resources, that fit all criteria,
//! a page of them as link-format. In the documents every target is absolute.

use crate::criteria::fits;
use crate::link::write_attribute;
use crate::registration::RESOURCE_TYPE;
use crate::uri::{origin, resolve};
use crate::{Criteria, Directory, Link, Registration};
use std::fmt::Write;

/// Which of the links that fit are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Page {
    /// Links before the first one.
    pub skip: usize,
    /// At most so many.
    pub count: usize,
}

impl Default for Page {
    fn default() -> Self {
        Page { skip: 0, count: usize::MAX }
    }
}

/// A document that grows up to its bounds.
struct Document {
    text: String,
    max: usize,
    page: Page,
}

impl Document {
    /// Adds a link, if it is of the page. `false`: nothing more is wanted.
    fn add(&mut self, write: impl FnOnce(&mut String)) -> bool {
        if self.page.skip > 0 {
            self.page.skip -= 1;
            return true;
        }
        if self.page.count == 0 {
            return false;
        }
        let start = self.text.len();
        if start > 0 {
            self.text.push(',');
        }
        write(&mut self.text);
        if self.text.len() > self.max {
            self.text.truncate(start);
            return false;
        }
        self.page.count -= 1;
        true
    }
}

impl Directory {
    /// The endpoints that fit, or have a link that does, in a document of at most `max` bytes.
    /// `path`: where registrations are.
    pub fn endpoints(&self, now_ms: u64, (criteria, path): (&Criteria, &str), max: usize) -> String {
        let mut document = Document { text: String::new(), max, page: criteria.page };
        for own in self.living(now_ms) {
            let address = || format!("{path}/{:08x}", own.id);
            let holds = |(name, wanted): &(Box<str>, Box<str>)| {
                let is_address = **name == *"href" && fits(&address(), wanted);
                is_address
                    || own.holds(name, wanted)
                    || own.links.iter().any(|link| link_holds(own, link, name, wanted))
            };
            if criteria.wanted.iter().all(holds) && !document.add(|out| write_endpoint(out, own, &address())) {
                break;
            }
        }
        document.text
    }

    /// The links that fit, themselves or by their endpoint, in a document of at most `max` bytes.
    pub fn resources(&self, now_ms: u64, criteria: &Criteria, max: usize) -> String {
        let mut document = Document { text: String::new(), max, page: criteria.page };
        let links = self.living(now_ms).flat_map(|own| own.links.iter().map(move |link| (own, link)));
        for (own, link) in links {
            let holds = |(name, wanted): &(Box<str>, Box<str>)| {
                link_holds(own, link, name, wanted) || (**name != *"rt" && own.holds(name, wanted))
            };
            if criteria.wanted.iter().all(holds) && !document.add(|out| write_resource(out, own, link)) {
                break;
            }
        }
        document.text
    }
}

fn link_holds(own: &Registration, link: &Link, name: &str, wanted: &str) -> bool {
    match name {
        "href" => fits(&link.target, wanted) || fits(&resolve(&own.base, &link.target), wanted),
        "anchor" => link.values(name).any(|anchor| fits(anchor, wanted) || fits(&resolve(&own.base, anchor), wanted)),
        name => link.values(name).any(|value| fits(value, wanted)),
    }
}

fn write_endpoint(out: &mut String, own: &Registration, address: &str) {
    // Writing to a String cannot fail.
    let _ = write!(out, "<{address}>");
    write_attribute(out, "ep", &own.endpoint);
    if let Some(sector) = &own.sector {
        write_attribute(out, "d", sector);
    }
    write_attribute(out, "base", &own.base);
    let _ = write!(out, ";lt={}", own.lifetime_s);
    own.extra.iter().for_each(|(name, value)| write_attribute(out, name, value));
    write_attribute(out, "rt", RESOURCE_TYPE);
}

/// Without an anchor of its own a link's context is the registration's base (RFC 9176
/// section 5), which has to be said where the target is somewhere else.
fn write_resource(out: &mut String, own: &Registration, link: &Link) {
    let target = resolve(&own.base, &link.target);
    let _ = write!(out, "<{target}>");
    link.write_attributes(out, "anchor");
    match link.values("anchor").next() {
        Some(anchor) => write_attribute(out, "anchor", &resolve(&own.base, anchor)),
        None if origin(&target) != origin(&own.base) => write_attribute(out, "anchor", &own.base),
        None => {}
    }
}
