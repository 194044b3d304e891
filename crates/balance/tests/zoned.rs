//! What a preferred zone promises, in front of every strategy that spreads and of those that hash.

use std::sync::Arc;

use proptest::prelude::*;
use tidegate_balance::{BalancePlan, EndpointSpec, Endpoints, PickRequest, Picker, Tried};

const SPREADING: [&str; 4] = [
    r#"{"strategy":"roundRobin"}"#,
    r#"{"strategy":"weighted","maxFails":0}"#,
    r#"{"strategy":"leastConnections","bias":1.0}"#,
    r#"{"strategy":"peakEwma","decayMs":10000,"seedMs":30}"#,
];
const HASHING: &str = r#"{"strategy":"consistentHash","key":{"by":"path","name":null},"algorithm":"maglev","size":65537,"boundedLoad":null}"#;

fn picker(plan: &str) -> Box<dyn Picker> {
    serde_json::from_str::<BalancePlan>(plan).expect("plan").picker_of(7, true)
}

/// So many endpoints in the preferred zone, so many elsewhere; all of weight 1.
fn table(near: usize, far: usize) -> Endpoints {
    let spec = |index: usize| EndpointSpec {
        id: format!("e{index}").into(),
        address: ([127, 0, 0, 1], index as u16 + 1).into(),
        weight: 1,
        health: 1.0,
        draining: false,
        near: index < near,
        state: Arc::default(),
    };
    Endpoints::new((0..near + far).map(spec).collect(), 0)
}

fn pick(picker: &mut dyn Picker, endpoints: &Endpoints, key: &[u8]) -> u32 {
    picker.pick(&PickRequest { key: Some(key), ..PickRequest::default() }, endpoints).expect("some are healthy")
}

/// Of 10,000 requests without a key, the part that stays in the preferred zone of `near` endpoints.
fn share(plan: &str, endpoints: &Endpoints, near: usize) -> f64 {
    let mut picker = picker(plan);
    let picks = (0..10_000).filter_map(|_| picker.pick(&PickRequest::default(), endpoints));
    picks.filter(|index| (*index as usize) < near).count() as f64 / 10_000.0
}

#[test]
fn all_stay_in_the_zone_as_long_as_five_of_seven_are_healthy() {
    for plan in SPREADING {
        let endpoints = table(7, 7);
        assert_eq!(share(plan, &endpoints, 7), 1.0);
        endpoints.set_health(0, 0.0);
        endpoints.set_health(1, 0.0);
        assert_eq!(share(plan, &endpoints, 7), 1.0, "5 of 7 times 1.4 is all");
    }
}

#[test]
fn who_has_tried_the_whole_zone_goes_elsewhere() {
    for plan in SPREADING.into_iter().chain([HASHING]) {
        let endpoints = table(2, 1);
        let mut tried = Tried::new();
        tried.add(0);
        tried.add(1);
        let request = PickRequest { key: Some(b"k"), tried, ..PickRequest::default() };
        assert_eq!(picker(plan).pick(&request, &endpoints), Some(2), "{plan}");
    }
}

#[test]
fn a_zone_that_is_gone_leaves_everything_to_the_others_and_takes_it_back() {
    for plan in SPREADING {
        let endpoints = table(2, 2);
        let mut picker = picker(plan);
        for health in [0.0, 1.0] {
            endpoints.set_health(0, health);
            endpoints.set_health(1, health);
            let near = (0..100).filter(|n: &u32| pick(&mut *picker, &endpoints, &n.to_be_bytes()) < 2).count();
            assert_eq!(near, if health == 0.0 { 0 } else { 100 }, "{plan}");
        }
    }
}

#[test]
fn where_nobody_elsewhere_is_healthy_all_stay_with_the_few() {
    let endpoints = table(4, 2);
    for index in [0, 1, 2, 4, 5] {
        endpoints.set_health(index, 0.0);
    }
    assert_eq!(share(SPREADING[0], &endpoints, 4), 1.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_spills_over_is_within_one_percent_of_the_formula(near in 1_usize..12, far in 1_usize..12, sick in 0_usize..12) {
        for plan in SPREADING {
            let endpoints = table(near, far);
            let sick = sick.min(near);
            (0..sick).for_each(|index| { endpoints.set_health(index as u32, 0.0); });
            let expected = ((near - sick) as f64 / near as f64 * 1.4).min(1.0);
            let share = share(plan, &endpoints, near);
            prop_assert!((share - expected).abs() <= 0.01, "{share} of {expected}: {plan}");
        }
    }

    #[test]
    fn a_key_moves_only_as_its_endpoint_goes_or_its_part_of_the_zone_does(near in 4_usize..10, far in 2_usize..6) {
        let endpoints = table(near, far);
        let mut picker = picker(HASHING);
        let keys: Vec<[u8; 4]> = (0_u32..4_000).map(u32::to_be_bytes).collect();
        let before: Vec<u32> = keys.iter().map(|key| pick(&mut *picker, &endpoints, key)).collect();
        prop_assert!(before.iter().all(|index| (*index as usize) < near));
        // Half of the zone goes: 70 % of the keys stay in it, and of those only the ones of endpoints that went move.
        let gone = near / 2;
        (0..gone).for_each(|index| { endpoints.set_health(index as u32, 0.0); });
        let after: Vec<u32> = keys.iter().map(|key| pick(&mut *picker, &endpoints, key)).collect();
        let share = ((near - gone) as f64 / near as f64 * 1.4).min(1.0);
        let stayed = after.iter().filter(|index| (**index as usize) < near).count() as f64 / 4_000.0;
        prop_assert!((stayed - share).abs() < 0.03, "{stayed} of {share}");
        let moved = before.iter().zip(&after).filter(|(was, is)| (**was as usize) >= gone && (**is as usize) < near && was != is).count();
        // Maglev moves a few more than a ring would.
        prop_assert!((moved as f64) < 4_000.0 * 0.12, "{moved} keys of endpoints that stayed moved within the zone");
        (0..gone).for_each(|index| { endpoints.set_health(index as u32, 1.0); });
        let again: Vec<u32> = keys.iter().map(|key| pick(&mut *picker, &endpoints, key)).collect();
        prop_assert_eq!(before, again);
    }
}
