//! What every strategy promises, tested on each of them alike.

use std::sync::Arc;

use proptest::prelude::*;
use tidegate_balance::{BalancePlan, EndpointSpec, Endpoints, HashAlgorithm, PickRequest, Picker, Sample, Tried};

const STRATEGIES: [&str; 10] = [
    r#"{"strategy":"roundRobin"}"#,
    r#"{"strategy":"weighted","maxFails":3}"#,
    r#"{"strategy":"leastConnections","bias":1.0}"#,
    r#"{"strategy":"leastConnections","bias":0.5}"#,
    r#"{"strategy":"peakEwma","decayMs":10000,"seedMs":30}"#,
    r#"{"strategy":"ipHash","prefixV4":32,"prefixV6":64}"#,
    r#"{"strategy":"consistentHash","key":{"by":"path","name":null},"algorithm":"ring","size":1024,"boundedLoad":1.25}"#,
    r#"{"strategy":"consistentHash","key":{"by":"path","name":null},"algorithm":"maglev","size":65537,"boundedLoad":null}"#,
    r#"{"strategy":"loadScore","threshold":0.7}"#,
    r#"{"strategy":"chosen","key":{"by":"hashKey","name":null}}"#,
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
        near: true,
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
                    let request =
                        PickRequest { key: Some(b"k"), source: Some(source(7)), tried, ..PickRequest::default() };
                    let picked = picker.pick(&request, &endpoints).expect("healthy");
                    assert!(!tried.contains(picked), "{plan:?} {weights:?}");
                    tried.add(picked);
                }
                let request = PickRequest { key: Some(b"k"), source: Some(source(7)), tried, ..PickRequest::default() };
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

#[test]
fn peak_ewma_leaves_a_slow_or_failing_endpoint_alone_for_a_while() {
    let endpoints = table(&[1; 3]);
    let mut picker = plans()[4].picker(5);
    for endpoint in 0..3 {
        picker.on_response(&Sample { endpoint, now_ms: 0, latency_ms: 10.0 }, &endpoints);
    }
    picker.on_response(&Sample::failed(1, 0, None), &endpoints);
    assert_eq!(shares(&mut *picker, &endpoints, 1_000)[1], 0);
    let later = PickRequest { now_ms: 200_000, ..PickRequest::default() };
    let chosen = (0..1_000).any(|_| picker.pick(&later, &endpoints) == Some(1));
    assert!(chosen, "once it is forgotten it gets another chance");
}

/// Where each of many keys and addresses goes.
fn homes(picker: &mut dyn Picker, endpoints: &Endpoints) -> Vec<u32> {
    let home = |n: usize| {
        let key = (n as u64).to_be_bytes();
        let request = PickRequest { key: Some(&key), source: Some(source(n)), ..PickRequest::default() };
        picker.pick(&request, endpoints).expect("healthy")
    };
    (0..5_000).map(home).collect()
}

#[test]
fn hashes_agree_on_all_workers_and_move_few_keys_when_an_endpoint_leaves() {
    for plan in &plans()[5..8] {
        let endpoints = table(&[1; 10]);
        let before = homes(&mut *plan.picker(1), &endpoints);
        assert_eq!(before, homes(&mut *plan.picker(2), &endpoints), "{plan:?}");
        endpoints.set_health(3, 0.0);
        let after = homes(&mut *plan.picker(1), &endpoints);
        let moved = before.iter().zip(&after).filter(|(before, after)| **before != 3 && before != after).count();
        let bound =
            if matches!(plan, BalancePlan::ConsistentHash { algorithm: HashAlgorithm::Ring, .. }) { 0 } else { 250 };
        assert!(moved <= bound, "{plan:?} moved {moved} of 5,000 keys whose endpoint stayed");
        let counts: Vec<_> = (0..10).map(|index| before.iter().filter(|home| **home == index).count()).collect();
        assert!(counts.iter().all(|count| (300..750).contains(count)), "{plan:?} {counts:?}");
    }
}

#[test]
fn hashes_share_keys_by_weight() {
    for plan in &plans()[5..8] {
        let homes = homes(&mut *plan.picker(1), &table(&[3, 1]));
        let share = homes.iter().filter(|home| **home == 0).count();
        assert!((3_500..4_000).contains(&share), "{plan:?} {share}");
    }
}

#[test]
fn addresses_of_one_network_share_an_endpoint_where_asked() {
    let plan: BalancePlan = serde_json::from_str(r#"{"strategy":"ipHash","prefixV4":24,"prefixV6":64}"#).expect("plan");
    let (endpoints, mut picker) = (table(&[1; 10]), plan.picker(1));
    let mut home = |address: &str| {
        let source = Some(address.parse().expect("address"));
        picker.pick(&PickRequest { source, ..PickRequest::default() }, &endpoints)
    };
    assert_eq!(home("192.0.2.1"), home("192.0.2.200"));
    assert_eq!(home("192.0.2.1"), home("::ffff:192.0.2.9"));
    assert_eq!(home("2001:db8::1"), home("2001:db8::ffff:1"));
}

#[test]
fn a_key_moves_on_where_its_endpoint_has_more_than_its_share() {
    let endpoints = table(&[1; 10]);
    let mut picker = plans()[6].picker(1);
    let request = PickRequest { key: Some(b"hot"), ..PickRequest::default() };
    let mut held = Vec::new();
    let mut most_of = |requests: usize| {
        while held.len() < requests {
            held.push(endpoints.begin(picker.pick(&request, &endpoints).expect("healthy")));
        }
        endpoints.iter().map(|endpoint| endpoint.active()).max()
    };
    assert_eq!(most_of(8), Some(8), "few requests make no endpoint busy");
    assert_eq!(most_of(20), Some(8));
    assert!(most_of(1_000).is_some_and(|most| most <= 126));
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
