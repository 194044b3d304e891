//! What policies changed, as the head writer asks for it.

use tidegate_http::HeadEdits;
use tidegate_policy::Edits;

/// Changes of the request's headers.
pub(crate) struct RequestEdits<'e>(pub(crate) &'e Edits);

/// Changes of the response's headers.
pub(crate) struct ResponseEdits<'e>(pub(crate) Option<&'e Edits>);

impl HeadEdits for RequestEdits<'_> {
    fn is_empty(&self) -> bool {
        self.0.keeps_request_headers()
    }

    fn drops(&self, name: &str) -> bool {
        self.0.drops_request_header(name.as_bytes())
    }

    fn each_set(&self, put: &mut dyn FnMut(&[u8], &[u8])) {
        self.0.request_headers().for_each(|(name, value)| put(name, value));
    }
}

impl HeadEdits for ResponseEdits<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_none_or(Edits::keeps_response_headers)
    }

    fn drops(&self, name: &str) -> bool {
        self.0.is_some_and(|edits| edits.drops_response_header(name.as_bytes()))
    }

    fn each_set(&self, put: &mut dyn FnMut(&[u8], &[u8])) {
        self.0.into_iter().flat_map(Edits::response_headers).for_each(|(name, value)| put(name, value));
    }
}
