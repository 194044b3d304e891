//! A condition on the certificate that a client showed.

use crate::text::TextPattern;
use crate::{CertificatePlan, RouteError, TextPlan};
use tidegate_message::ClientCertificate;

/// See the module. Certificates that are not valid never come here: their handshake fails.
#[derive(Clone, Debug)]
pub(crate) struct CertificatePattern {
    shown: bool,
    subject: Option<TextPattern>,
    name: Option<TextPattern>,
    fingerprint: Option<Box<str>>,
}

impl CertificatePattern {
    pub(crate) fn compile(plan: &CertificatePlan) -> Result<Self, RouteError> {
        let text = |plan: &Option<TextPlan>| {
            plan.as_ref().map(|text| TextPattern::compile(text.kind, &text.value)).transpose()
        };
        Ok(CertificatePattern {
            shown: plan.shown,
            subject: text(&plan.subject)?,
            name: text(&plan.name)?,
            fingerprint: plan.fingerprint.as_deref().map(Box::from),
        })
    }

    pub(crate) fn matches(&self, certificate: Option<&ClientCertificate>) -> bool {
        let Some(shown) = certificate else { return !self.shown };
        let named = |pattern: &TextPattern| shown.names.iter().any(|name| pattern.matches(Some(name.text.as_bytes())));
        self.shown
            && self.subject.as_ref().is_none_or(|pattern| pattern.matches(Some(shown.subject.as_bytes())))
            && self.name.as_ref().is_none_or(named)
            && self.fingerprint.as_ref().is_none_or(|wanted| *wanted == shown.fingerprint)
    }
}
