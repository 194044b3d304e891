//! What every strategy promises, tested on each of them alike.

use std::sync::Arc;

use proptest::prelude::*;
use tidegate_balance::{BalancePlan, EndpointSpec, Endpoints, PickRequest, Picker, Tried};

const STRATEGIES: [&str; 3] = [
    r#"{"strategy":"roundRobin"}"#,
    r#"{"strategy":"weighted","maxFails":3}"#,
    r#"{"strategy":"leastConnections","bias":1.0}"#,
];

fn plans() -> Vec<BalancePlan> {
    STRATEGIES.iter().map(|text| serde_json::from_str(text).expect("plan")).collect()
}

fn table(weights: &[u32]) -> Endpoints {
    let spec = |(index, weight): (usize, &u32)| EndpointSpec {
        id: format!("e{index}").into(),
        address: ([127, 0, 0, 1], index as u16 + 1).into(),
        weight: *weight,
        health: 1.0,
        draining: false,
        state: Arc::default(),
    };
    Endpoints::new(weights.iter().enumerate().map(spec).collect(), 50)
}

fn shares(picker: &mut dyn Picker, endpoints: &Endpoints, picks: usize) -> Vec<usize> {
    let mut shares = vec![0; endpoints.len()];
    for n in 0..picks {
        let key = (n as u64).to_be_bytes();
        let request = PickRequest { key: Some(&key), source: Some(source(n)), ..PickRequest::default() };
        shares[picker.pick(&request, endpoints).expect("some are healthy") as usize] += 1;
    }
    shares
}

fn source(n: usize) -> std::net::IpAddr {
    std::net::Ipv4Addr::from(n as u32).into()
}

#[test]
fn an_unknown_strategy_is_an_error() {
    assert!(serde_json::from_str::<BalancePlan>(r#"{"strategy":"luck"}"#).is_err());
}

#[test]
fn every_strategy_picks_none_of_no_endpoints() {
    let empty = table(&[]);
    let draining = table(&[1, 1]);
    draining.set_draining(0, true);
    draining.set_draining(1, true);
    for plan in plans() {
        assert_eq!(plan.picker(1).pick(&PickRequest::default(), &empty), None);
        assert_eq!(plan.picker(1).pick(&PickRequest::default(), &draining), None);
    }
}

#[test]
fn every_strategy_leaves_out_unhealthy_ejected_and_draining_endpoints_and_takes_them_back() {
    for plan in plans() {
        let endpoints = table(&[1; 10]);
        let mut picker = plan.picker(3);
        shares(&mut *picker, &endpoints, 100);
        endpoints.set_health(2, 0.0);
        endpoints.set_draining(5, true);
        endpoints.set_ejected(7, true);
        let left = shares(&mut *picker, &endpoints, 1_000);
        assert_eq!((left[2], left[5], left[7]), (0, 0, 0), "{plan:?}");
        assert!(left.iter().filter(|share| **share > 0).count() == 7, "{plan:?} {left:?}");
        endpoints.set_health(2, 1.0);
        assert!(shares(&mut *picker, &endpoints, 1_000)[2] > 0, "{plan:?}");
    }
}

#[test]
fn every_strategy_ignores_health_below_the_panic_threshold_but_never_draining() {
    for plan in plans() {
        let endpoints = table(&[1; 10]);
        endpoints.set_draining(9, true);
        for index in 0..5 {
            endpoints.set_health(index, 0.0);
        }
        let shares = shares(&mut *plan.picker(3), &endpoints, 1_000);
        assert!(shares[..9].iter().all(|share| *share > 0) && shares[9] == 0, "{plan:?} {shares:?}");
    }
}

#[test]
fn every_strategy_avoids_tried_endpoints_while_there_is_another() {
    for weights in [&[1, 1, 1][..], &[3, 1, 2], &[5; 40]] {
        for plan in plans() {
            let endpoints = table(weights);
            let mut picker = plan.picker(9);
            for _ in 0..50 {
                let mut tried = Tried::new();
                for _ in 0..weights.len().min(8) {
                    let request = PickRequest { key: Some(b"k"), source: Some(source(7)), tried, now_ms: 0 };
                    let picked = picker.pick(&request, &endpoints).expect("healthy");
                    assert!(!tried.contains(picked), "{plan:?} {weights:?}");
                    tried.add(picked);
                }
                let request = PickRequest { key: Some(b"k"), source: Some(source(7)), tried, now_ms: 0 };
                assert!(picker.pick(&request, &endpoints).is_some(), "{plan:?}: all tried is no reason to give up");
            }
        }
    }
}

#[test]
fn every_strategy_notices_that_its_table_was_replaced() {
    for plan in plans() {
        let mut picker = plan.picker(9);
        shares(&mut *picker, &table(&[1; 20]), 10);
        let shares = shares(&mut *picker, &table(&[1; 3]), 100);
        assert_eq!(shares.iter().sum::<usize>(), 100);
    }
}

#[test]
fn least_connections_levels_load_better_than_chance() {
    let endpoints = table(&[1; 10]);
    let mut picker = plans()[2].picker(5);
    let mut held = Vec::new();
    for _ in 0..1_000 {
        let picked = picker.pick(&PickRequest::default(), &endpoints).expect("healthy");
        held.push(endpoints.begin(picked));
    }
    let active: Vec<u32> = endpoints.iter().map(|endpoint| endpoint.active()).collect();
    assert!(active.iter().all(|active| (95..=105).contains(active)), "{active:?}");
    drop(held);
    assert!(endpoints.iter().all(|endpoint| endpoint.active() == 0));
}

#[test]
fn least_connections_shares_load_by_weight_where_weights_differ() {
    let endpoints = table(&[3, 1]);
    let mut picker = plans()[2].picker(5);
    let mut held = Vec::new();
    for _ in 0..400 {
        let picked = picker.pick(&PickRequest::default(), &endpoints).expect("healthy");
        held.push(endpoints.begin(picked));
    }
    let active: Vec<u32> = endpoints.iter().map(|endpoint| endpoint.active()).collect();
    assert!(active[0] > active[1], "{active:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn weighted_shares_are_within_one_percent_of_all_picks(
        weights in prop::collection::vec(1_u32..=1_000, 1..40),
        seed in any::<u64>(),
    ) {
        let endpoints = table(&weights);
        let total: u32 = weights.iter().sum();
        let shares = shares(&mut *plans()[1].picker(seed), &endpoints, 20_000);
        for (share, weight) in shares.iter().zip(&weights) {
            let expected = f64::from(*weight) / f64::from(total) * 20_000.0;
            prop_assert!((*share as f64 - expected).abs() <= 200.0, "{} instead of {}", share, expected);
        }
    }

    #[test]
    fn round_robin_shares_differ_by_one_at_most(count in 1_usize..50, seed in any::<u64>(), picks in 1_usize..500) {
        let shares = shares(&mut *plans()[0].picker(seed), &table(&vec![1; count]), picks);
        let (least, most) = (shares.iter().min(), shares.iter().max());
        prop_assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1));
    }
}
