//! A preferred zone in front of any strategy: its endpoints get everything as long as enough
//! of them are healthy, and with each that is not, more spills over to the others, by the
//! formula of Envoy's priority levels. Who has a key stays where it is until its own share moves.

use crate::{EndpointIndex, Endpoints, PickRequest, Picker, Sample, Side};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A zone with 1 / 1.4 of its weight healthy, 71 %, takes everything yet: Envoy's overprovisioning factor.
const OVERPROVISION: f64 = 1.4;
/// Keeps the choice of a side apart from the choice within it.
const SEED: u64 = 0x7a6f_6e65;

/// One strategy twice: for the preferred zone and for the rest.
pub struct Zoned {
    near: Box<dyn Picker>,
    far: Box<dyn Picker>,
    generation: u64,
    /// Of the preferred zone, 0 to 1.
    share: f64,
    /// What the preferred zone is due; a request goes there for each whole one.
    due: f64,
}

impl Zoned {
    /// `near` and `far` are pickers of the same strategy.
    pub const fn new(near: Box<dyn Picker>, far: Box<dyn Picker>) -> Self {
        Zoned { near, far, generation: 0, share: 1.0, due: 0.0 }
    }

    fn refresh(&mut self, endpoints: &Endpoints) {
        let generation = endpoints.generation();
        if self.generation != generation {
            self.generation = generation;
            self.share = near_share(endpoints);
        }
    }

    fn goes_near(&mut self, request: &PickRequest<'_>) -> bool {
        if let Some(key) = request.key {
            // Evenly from 0 to 1: as the share moves, only the keys between move with it.
            return (xxh3_64_with_seed(key, SEED) >> 11) as f64 / ((1_u64 << 53) as f64) < self.share;
        }
        self.due += self.share;
        let goes_near = self.due >= 1.0 - f64::EPSILON * 1_024.0;
        self.due -= f64::from(u8::from(goes_near));
        goes_near
    }
}

/// What part of the requests the preferred zone gets.
fn near_share(endpoints: &Endpoints) -> f64 {
    // Where nobody's health is believed, each zone gets what its weight is.
    let believes = !endpoints.is_panicking();
    let (mut near, mut near_healthy, mut far, mut far_healthy) = (0.0, 0.0, 0.0, 0.0);
    for endpoint in endpoints.iter().filter(|endpoint| !endpoint.is_draining()) {
        let weight = f64::from(endpoint.weight);
        let healthy = if endpoint.is_available() { weight * f64::from(endpoint.health()) } else { 0.0 };
        let (whole, left) = if endpoint.near { (&mut near, &mut near_healthy) } else { (&mut far, &mut far_healthy) };
        *whole += weight;
        *left += healthy;
    }
    match (near > 0.0, far > 0.0) {
        (false, _) => 0.0,
        (true, false) => 1.0,
        (true, true) if !believes => near / (near + far),
        (true, true) if far_healthy == 0.0 => 1.0,
        (true, true) => (near_healthy / near * OVERPROVISION).min(1.0),
    }
}

impl Picker for Zoned {
    fn pick(&mut self, request: &PickRequest<'_>, endpoints: &Endpoints) -> Option<EndpointIndex> {
        self.refresh(endpoints);
        let goes_near = self.goes_near(request);
        let near = PickRequest { side: Side::Near, ..*request };
        let far = PickRequest { side: Side::Far, ..*request };
        let untried = |index: &EndpointIndex| !request.tried.contains(*index);
        let (first, second) = match goes_near {
            true => ((&mut self.near, near), (&mut self.far, far)),
            false => ((&mut self.far, far), (&mut self.near, near)),
        };
        let picked = first.0.pick(&first.1, endpoints);
        // Elsewhere rather than once more to where it failed.
        picked.filter(untried).or_else(|| second.0.pick(&second.1, endpoints).filter(untried)).or(picked)
    }

    fn on_failure(&mut self, endpoint: EndpointIndex) {
        self.near.on_failure(endpoint);
        self.far.on_failure(endpoint);
    }

    fn on_response(&mut self, sample: &Sample, endpoints: &Endpoints) {
        // What latency says is kept with the endpoint, not with the picker.
        self.near.on_response(sample, endpoints);
    }
}
