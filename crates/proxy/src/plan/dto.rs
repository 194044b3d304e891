//! The Plan as it crosses: one JSON document, field for field what
//! `src/native/plan.ts` says.

use crate::access::AccessLogDto;
use serde::Deserialize;
use tidegate_balance::BalancePlan;
use tidegate_broker::{Action, Rule};
use tidegate_http::CertificateHeader;
