//! A resource directory (RFC 9176) without I/O: endpoints register their links under a
//! name for a lifetime, and others look endpoints or links up. Requests and `now` come
//! in, link-format documents and the changes for the registry of services go out.
#![forbid(unsafe_code)]

mod criteria;
mod directory;
mod link;
mod lookup;
mod params;
mod registration;
mod uri;

pub use criteria::Criteria;
pub use directory::{Changes, Directory, Refusal, Registering};
pub use link::Link;
pub use lookup::Page;
pub use params::Params;
pub use registration::Registration;
