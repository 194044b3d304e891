//! Nothing that was acknowledged is lost, nothing of QoS 2 comes twice, and what a publisher sent by one worker comes
//! in its order, whatever turns workers, clients, logs and checkpoints get and wherever the process ends.
//! `TIDEGATE_SIMULATION=<first seed>-<last seed>` runs other seeds than the few of each build.
#![allow(clippy::panic, clippy::print_stderr, reason = "a simulation fails by panicking, and tells of a long run")]

mod client;
mod driver;
mod world;

use client::Client;
use std::collections::BTreeMap;
use tidegate_message::Qos;
use world::World;

const SUBSCRIBERS: usize = 3;
/// Members of a shared subscription.
const MEMBERS: usize = 2;
const EPISODES: usize = 40;

fn simulate(seed: u64) {
    let publishers = [Qos::AtLeastOnce, Qos::ExactlyOnce, Qos::ExactlyOnce].map(Some);
    let who = std::iter::repeat_n(None, SUBSCRIBERS + MEMBERS).chain(publishers);
    let clients = who.map(Client::new).collect();
    let mut world = World::new(seed, 2 + (seed % 3) as u16, clients);
    world.settle();
    (0..SUBSCRIBERS).for_each(|client| world.subscribe(client, "t/#"));
    (SUBSCRIBERS..SUBSCRIBERS + MEMBERS).for_each(|client| world.subscribe(client, "$share/g/t/#"));
    // A publisher that moves at will overtakes what its last worker still forwards.
    let is_ordered = seed % 2 == 1;
    for episode in 0..EPISODES {
        world.slow = world.dice.below(8);
        let (steps, moves) = (20 + world.dice.below(1_500), 10 + world.dice.below(300));
        for _ in 0..steps {
            world.step();
            if world.dice.below(moves) == 0 {
                let client = world.dice.below(if is_ordered { SUBSCRIBERS } else { world.clients.len() });
                world.connect(client);
            }
        }
        if world.dice.below(8) != 0 {
            world.crash();
            // Often the next one comes while everybody comes back.
            if world.dice.below(2) == 0 {
                continue;
            }
        }
        world.settle();
        check(&mut world, (seed, episode));
        for (client, subscriber) in world.clients.iter().take(SUBSCRIBERS).enumerate().filter(|_| is_ordered) {
            let late = &subscriber.late;
            assert!(late.is_empty(), "seed {seed}, episode {episode}: client {client} got out of order {late:?}");
        }
    }
    world.settle();
    check(&mut world, (seed, EPISODES));
}

fn check(world: &mut World, (seed, episode): (u64, usize)) {
    let mut due = Vec::new();
    for (client, publisher) in world.clients.iter_mut().enumerate() {
        assert!(publisher.is_idle(), "seed {seed}, episode {episode}: client {client} has no answer: {publisher:?}");
        let once = publisher.is_exact();
        due.extend(std::mem::take(&mut publisher.acknowledged).into_iter().map(|number| (number, once)));
    }
    let (subscribers, others) = world.clients.split_at_mut(SUBSCRIBERS);
    let mut seen: Vec<_> = subscribers.iter_mut().map(|subscriber| std::mem::take(&mut subscriber.seen)).collect();
    let mut shared = BTreeMap::new();
    for member in others.iter_mut().take(MEMBERS) {
        for (number, count) in std::mem::take(&mut member.seen) {
            *shared.entry(number).or_default() += count;
        }
    }
    seen.push(shared);
    for (client, seen) in seen.iter().enumerate() {
        let lost: Vec<u64> =
            due.iter().map(|(number, _)| *number).filter(|number| !seen.contains_key(number)).collect();
        assert!(lost.is_empty(), "seed {seed}, episode {episode}: client {client} lost {lost:?}");
        let twice: Vec<u64> =
            due.iter().filter(|(number, once)| *once && seen[number] > 1).map(|(number, _)| *number).collect();
        assert!(twice.is_empty(), "seed {seed}, episode {episode}: client {client} got {twice:?} twice");
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_qos_2_comes_once_wherever_the_process_ends() {
    let range = std::env::var("TIDEGATE_SIMULATION").unwrap_or_else(|_| "0-11".into());
    let (first, last) = range.split_once('-').expect("<first seed>-<last seed>");
    let number = |text: &str| text.parse::<u64>().expect("a number");
    for seed in number(first)..=number(last) {
        simulate(seed);
    }
}
