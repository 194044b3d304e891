//! What a strategy goes by, for whoever asks why a request goes where it goes.

use crate::{BalancePlan, Endpoint};

impl BalancePlan {
    /// What speaks for an endpoint now; 0 where it is not available. More is preferred, but only in comparison with
    /// the other endpoints of the upstream: a strategy in turns, or by a hash, gives each its share, and one that
    /// looks at two random endpoints takes the better of those.
    ///
    /// - `roundRobin`, `chosen`: 1.
    /// - `weighted`, `loadScore`, `ipHash`, `consistentHash`: weight times health.
    /// - `leastConnections`: weight times health, over `(active + 1)^bias`.
    /// - `peakEwma`: weight times health, over latency in milliseconds times `active + 1`.
    pub fn score(&self, endpoint: &Endpoint, now_ms: u64) -> f64 {
        if !endpoint.is_available() {
            return 0.0;
        }
        let weight = f64::from(endpoint.weight) * f64::from(endpoint.health());
        let load = f64::from(endpoint.active()) + 1.0;
        match self {
            BalancePlan::RoundRobin | BalancePlan::Chosen { .. } => 1.0,
            BalancePlan::Weighted { .. }
            | BalancePlan::LoadScore { .. }
            | BalancePlan::IpHash { .. }
            | BalancePlan::ConsistentHash { .. } => weight,
            BalancePlan::LeastConnections { bias } => weight / load.powf(*bias),
            BalancePlan::PeakEwma { decay_ms, seed_ms } => {
                let latency = endpoint.state().latency().cost(now_ms, (*decay_ms).max(1) as f64);
                weight / (latency.unwrap_or(*seed_ms as f64).max(0.001) * load)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{BalancePlan, EndpointSpec, Endpoints, Sample};

    fn endpoints() -> Endpoints {
        let spec = |index: u8| EndpointSpec {
            id: format!("e{index}").into(),
            address: ([127, 0, 0, 1], 80).into(),
            weight: u32::from(index) + 1,
            health: if index == 2 { 0.0 } else { 1.0 },
            draining: false,
            near: true,
            state: std::sync::Arc::default(),
        };
        Endpoints::new((0..3).map(spec).collect(), 0)
    }

    #[test]
    fn says_what_the_strategy_compares() {
        let endpoints = endpoints();
        let _busy = [endpoints.begin(1), endpoints.begin(1), endpoints.begin(1)];
        let scores = |json: &str| {
            let plan: BalancePlan = serde_json::from_str(json).expect("a plan");
            let mut picker = plan.picker(1);
            picker.on_response(&Sample { endpoint: 0, now_ms: 5, latency_ms: 100.0 }, &endpoints);
            Vec::from_iter(endpoints.iter().map(|endpoint| plan.score(endpoint, 5)))
        };
        assert_eq!(scores(r#"{"strategy":"roundRobin"}"#), [1.0, 1.0, 0.0]);
        assert_eq!(scores(r#"{"strategy":"weighted","maxFails":1}"#), [1.0, 2.0, 0.0]);
        assert_eq!(scores(r#"{"strategy":"leastConnections","bias":1.0}"#), [1.0, 0.5, 0.0]);
        let by_latency = scores(r#"{"strategy":"peakEwma","decayMs":10000,"seedMs":50}"#);
        assert_eq!(by_latency, [0.01, 0.01, 0.0]);
    }
}
