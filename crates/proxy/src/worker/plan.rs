//! What one worker adds to the shared plan: pickers with their cursors, and pools
//! that survive from plan to plan under their key.

use super::Worker;
use crate::outbound::Sources;
use crate::plan::Plan;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use tidegate_balance::Picker;
use tidegate_upstream::PoolKey;

/// A plan as one worker uses it.
pub(crate) struct WorkerPlan {
    pub(crate) plan: Arc<Plan>,
    pub(crate) upstreams: Vec<WorkerUpstream>,
    /// Turns of weighted splits.
    pub(crate) turns: Cell<u64>,
}

/// The worker's side of an upstream.
pub(crate) struct WorkerUpstream {
    pub(crate) picker: RefCell<Box<dyn Picker>>,
    pub(crate) pools: Vec<Rc<Sources>>,
}

impl WorkerPlan {
    /// Takes over a plan: pools of endpoints that it still names are kept, others are
    /// closed as soon as nobody uses them.
    pub(crate) fn adopt(worker: &Worker, plan: Arc<Plan>) -> WorkerPlan {
        let mut pools = worker.pools.borrow_mut();
        let upstreams = plan
            .upstreams
            .iter()
            .map(|upstream| WorkerUpstream {
                picker: RefCell::new({
                    let zoned = upstream.endpoints.iter().any(|endpoint| !endpoint.near);
                    upstream.balance.picker_of(worker.random(), zoned)
                }),
                pools: upstream
                    .endpoints
                    .iter()
                    .map(|endpoint| {
                        let key = PoolKey {
                            address: endpoint.address,
                            upstream: upstream.name.clone(),
                            content: upstream.content.clone(),
                        };
                        Rc::clone(pools.entry(key).or_insert_with(|| {
                            let is_private = upstream.dialing.proxy.is_some();
                            Rc::new(Sources::new(Arc::clone(&upstream.places), is_private))
                        }))
                    })
                    .collect(),
            })
            .collect();
        WorkerPlan { plan, upstreams, turns: Cell::new(worker.random() % 1_024) }
    }

    /// Closes the pools that no plan uses any more.
    pub(crate) fn prune(worker: &Worker) {
        worker.pools.borrow_mut().retain(|_, pool| Rc::strong_count(pool) > 1);
    }
}
