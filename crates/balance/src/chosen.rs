//! `chosen`: the key is an endpoint's name, which a balancer in TypeScript has picked.
//! Where it names none that may be used, the less busy of two decides.

use std::collections::HashMap;

use crate::roster::Roster;
use crate::{EndpointIndex, Endpoints, LeastConnections, PickRequest, Picker};

/// Takes the endpoint that the request's key names.
#[derive(Debug)]
pub struct Chosen {
    roster: Roster,
    by_name: HashMap<Box<[u8]>, EndpointIndex>,
    otherwise: LeastConnections,
}

impl Chosen {
    /// The seed is that of the picks where nothing was chosen.
    pub fn new(seed: u64) -> Self {
        Chosen { roster: Roster::EMPTY, by_name: HashMap::new(), otherwise: LeastConnections::new(1.0, seed) }
    }
}

impl Picker for Chosen {
    fn pick(&mut self, request: &PickRequest<'_>, endpoints: &Endpoints) -> Option<EndpointIndex> {
        if self.roster.refresh(endpoints, request.side) {
            let named = self.roster.members.iter().zip(self.roster.named(endpoints));
            self.by_name = named.map(|(member, (name, _))| (name.as_bytes().into(), member.index)).collect();
        }
        let chosen = request.key.and_then(|name| self.by_name.get(name)).copied();
        let untried = chosen.filter(|index| !request.tried.contains(*index));
        untried.or_else(|| self.otherwise.pick(request, endpoints))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EndpointSpec, Tried};
    use std::sync::Arc;

    fn table() -> Endpoints {
        let spec = |id: &str| EndpointSpec {
            id: id.into(),
            address: ([127, 0, 0, 1], 1).into(),
            weight: 1,
            health: 1.0,
            draining: false,
            near: true,
            state: Arc::default(),
        };
        Endpoints::new(["a", "b", "c"].map(spec).into(), 0)
    }

    #[test]
    fn the_named_endpoint_is_taken_unless_it_was_tried_or_is_not_there() {
        let endpoints = table();
        let mut picker = Chosen::new(7);
        let mut pick = |key: &[u8], tried: Tried| {
            let request = PickRequest { key: Some(key), tried, ..PickRequest::default() };
            picker.pick(&request, &endpoints)
        };
        for _ in 0..20 {
            assert_eq!(pick(b"b", Tried::new()), Some(1));
        }
        let mut tried = Tried::new();
        tried.add(1);
        assert!((0..20).all(|_| pick(b"b", tried) != Some(1)));
        assert!(pick(b"nobody", Tried::new()).is_some());
        endpoints.set_health(1, 0.0);
        assert!((0..20).all(|_| pick(b"b", Tried::new()) != Some(1)));
    }
}
