//! One endpoint in the directory.

use crate::Link;
use crate::criteria::fits;
use std::sync::Arc;

/// An endpoint with its links.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The last segment of its address.
    pub id: u32,
    /// Its name, unique within its sector.
    pub endpoint: Box<str>,
    /// Its sector.
    pub sector: Option<Box<str>>,
    /// What its links are relative to.
    pub base: Box<str>,
    /// Whether it said its base itself; else it is where it came from last.
    pub(crate) has_own_base: bool,
    /// For how many seconds a registration or update holds.
    pub lifetime_s: u32,
    /// When it is forgotten, milliseconds.
    pub(crate) expires_at: u64,
    /// Who registered it, and alone may change it.
    pub(crate) owner: Option<Arc<str>>,
    /// Its further attributes.
    pub extra: Vec<(Box<str>, Box<str>)>,
    /// Its resources.
    pub links: Vec<Link>,
}

impl Registration {
    /// A further attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.extra.iter().find_map(|(own, value)| (**own == *name).then_some(&**value))
    }

    /// Whether one of its own attributes fits a criterion.
    pub(crate) fn holds(&self, name: &str, wanted: &str) -> bool {
        match name {
            "ep" => fits(&self.endpoint, wanted),
            "d" => self.sector.as_deref().is_some_and(|sector| fits(sector, wanted)),
            "base" => fits(&self.base, wanted),
            "lt" => fits(&self.lifetime_s.to_string(), wanted),
            "rt" => fits(RESOURCE_TYPE, wanted),
            name => self.extra.iter().any(|(own, value)| **own == *name && fits(value, wanted)),
        }
    }
}

/// The resource type of registrations (RFC 9176 section 6.3).
pub(crate) const RESOURCE_TYPE: &str = "core.rd-ep";
