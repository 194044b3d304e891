//! An answer that is filled in for each request: `respond` and `redirect` with captures.

use crate::field::{check_header, is_header_value};
use crate::{Place, PolicyError, Template, TemplateInput};

/// Status, fields and body, compiled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplyTemplate {
    /// 100 to 599.
    pub status: u16,
    headers: Box<[(Box<str>, Template)]>,
    body: Template,
}

impl ReplyTemplate {
    /// Compiles an answer against the names that its route captures. `None`: it is the
    /// same for every request.
    ///
    /// # Errors
    /// A broken header, or a location that uses a name which the route does not capture.
    pub fn compile(
        (status, headers, body): (u16, &[(String, String)], &str),
        names: &[Box<str>],
    ) -> Result<Option<Self>, PolicyError> {
        let header = |(name, value): &(String, String)| {
            check_header(name, value)?;
            let place = if name.eq_ignore_ascii_case("location") { Place::Path } else { Place::Text };
            Ok((Box::from(name.as_str()), Template::compile(value, names, place)?))
        };
        let headers: Box<[(Box<str>, Template)]> = headers.iter().map(header).collect::<Result<_, PolicyError>>()?;
        let body = Template::compile(body, names, Place::Text)?;
        let is_constant = body.is_constant() && headers.iter().all(|(_, value)| value.is_constant());
        Ok((!is_constant).then_some(ReplyTemplate { status, headers, body }))
    }

    /// Field lines and body. `None`: a value that cannot stand where it is wanted.
    pub fn render(&self, input: &TemplateInput<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
        let (mut fields, mut body) = (Vec::new(), Vec::new());
        for (name, value) in &self.headers {
            fields.extend_from_slice(name.as_bytes());
            fields.extend_from_slice(b": ");
            let start = fields.len();
            let fits = value.render(input, &mut fields);
            if !fits || !std::str::from_utf8(&fields[start..]).is_ok_and(is_header_value) {
                return None;
            }
            fields.extend_from_slice(b"\r\n");
        }
        self.body.render(input, &mut body).then_some((fields, body))
    }
}
