//! Shared subscriptions: a group of subscribers over all workers, of which one gets
//! each message. The publisher's worker picks a worker, that worker picks a member: in
//! turns by the number of members (fair), or always the same until it goes (sticky).

use crate::tree::Entry;
use foldhash::fast::RandomState;
use slab::Slab;
use std::collections::HashMap;
use std::sync::Arc;

/// Members of a group on another worker.
#[derive(Clone, Copy, Debug)]
struct Remote {
    worker: u16,
    members: u32,
    connected: u32,
    durable: bool,
}

/// One `$share/group/filter`.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) key: Arc<str>,
    members: Vec<Entry>,
    connected: u32,
    remotes: Vec<Remote>,
    turn: u32,
    member_turn: usize,
}

/// Where a message for a group goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    Here,
    Worker(u16),
    Nobody,
}

impl Group {
    fn is_empty(&self) -> bool {
        self.members.is_empty() && self.remotes.is_empty()
    }

    /// Whose turn it is: the connected members first, in proportion to their number;
    /// only where nobody is connected, those who are away.
    pub(crate) fn next_worker(&mut self, (worker, sticky): (u16, bool)) -> Turn {
        let connected: u32 = self.connected + self.remotes.iter().map(|remote| remote.connected).sum::<u32>();
        let weigh = |remote: &Remote| if connected > 0 { remote.connected } else { remote.members };
        let here = if connected > 0 { self.connected } else { self.members.len() as u32 };
        let total = here + self.remotes.iter().map(weigh).sum::<u32>();
        if total == 0 {
            return Turn::Nobody;
        }
        if sticky {
            // The lowest worker that has somebody: all workers choose the same one.
            let others = self.remotes.iter().filter(|remote| weigh(remote) > 0).map(|remote| remote.worker);
            let lowest = others.chain((here > 0).then_some(worker)).min();
            return lowest.filter(|lowest| *lowest != worker).map_or(Turn::Here, Turn::Worker);
        }
        let mut place = self.turn % total;
        self.turn = self.turn.wrapping_add(1);
        if place < here {
            return Turn::Here;
        }
        place -= here;
        for remote in &self.remotes {
            if place < weigh(remote) {
                return Turn::Worker(remote.worker);
            }
            place -= weigh(remote);
        }
        Turn::Nobody
    }

    /// The next local member, or the one before where the choice is `sticky`: one that `is_ready` says yes to, else the next of all for
    /// which `may` holds.
    pub(crate) fn next_member(
        &mut self,
        sticky: bool,
        may: impl Fn(&Entry) -> bool,
        is_ready: impl Fn(&Entry) -> bool,
    ) -> Option<Entry> {
        let count = self.members.len();
        let order = || (0..count).map(|step| (self.member_turn + step) % count);
        let allowed = |index: &usize| may(&self.members[*index]);
        let ready = order().filter(allowed).find(|&index| is_ready(&self.members[index]));
        let index = ready.or_else(|| order().find(allowed))?;
        self.member_turn = if sticky { index } else { (index + 1) % count };
        Some(self.members[index])
    }

    /// Members here: all, connected.
    pub(crate) fn count(&self) -> (u32, u32, bool) {
        (self.members.len() as u32, self.connected, self.members.iter().any(|member| member.durable))
    }

    /// Whether a member on `worker` is kept on disk; `None`: anywhere.
    pub(crate) fn is_durable(&self, worker: Option<u16>) -> bool {
        let here = worker.is_none() && self.members.iter().any(|member| member.durable);
        here || self.remotes.iter().any(|remote| remote.durable && worker.is_none_or(|worker| worker == remote.worker))
    }

    pub(crate) fn contains(&self, slot: u32) -> bool {
        self.members.iter().any(|member| member.slot == slot)
    }

    /// A member came back or went away.
    pub(crate) fn connect(&mut self, connected: bool) {
        self.connected = if connected { self.connected + 1 } else { self.connected.saturating_sub(1) };
    }

    pub(crate) fn insert(&mut self, entry: Entry, connected: bool) {
        match self.members.iter_mut().find(|member| member.slot == entry.slot) {
            Some(member) => *member = entry,
            None => {
                self.members.push(entry);
                self.connected += u32::from(connected);
            }
        }
    }

    pub(crate) fn remove(&mut self, slot: u32, connected: bool) {
        let before = self.members.len();
        self.members.retain(|member| member.slot != slot);
        if self.members.len() < before && connected {
            self.connected = self.connected.saturating_sub(1);
        }
    }

    pub(crate) fn set_remote(&mut self, (worker, durable): (u16, bool), members: u32, connected: u32) {
        self.remotes.retain(|remote| remote.worker != worker);
        if members > 0 {
            self.remotes.push(Remote { worker, members, connected, durable });
        }
    }
}

/// All groups that have a member somewhere.
#[derive(Default)]
pub(crate) struct Groups {
    groups: Slab<Group>,
    by_key: HashMap<Arc<str>, u32, RandomState>,
}

impl Groups {
    /// The group's index, and whether it is new.
    pub(crate) fn make(&mut self, key: &str) -> (u32, bool) {
        if let Some(&index) = self.by_key.get(key) {
            return (index, false);
        }
        let key: Arc<str> = key.into();
        let (members, remotes, connected) = (Vec::new(), Vec::new(), 0);
        let group = Group { key: key.clone(), members, connected, remotes, turn: 0, member_turn: 0 };
        let index = self.groups.insert(group) as u32;
        self.by_key.insert(key, index);
        (index, true)
    }

    pub(crate) fn index(&self, key: &str) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    pub(crate) fn get(&mut self, index: u32) -> Option<&mut Group> {
        self.groups.get_mut(index as usize)
    }

    /// Drops the group if nobody is left in it: whether it did.
    pub(crate) fn sweep(&mut self, index: u32) -> bool {
        let empty = self.groups.get(index as usize).is_some_and(Group::is_empty);
        if empty {
            let group = self.groups.remove(index as usize);
            self.by_key.remove(&group.key);
        }
        empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_message::Qos;

    fn entry(slot: u32) -> Entry {
        Entry { slot, id: 0, qos: Qos::AtLeastOnce, no_local: false, retain_as_published: false, durable: false }
    }

    #[test]
    fn workers_take_turns_by_their_connected_members() {
        let mut groups = Groups::default();
        let (index, _) = groups.make("$share/g/a");
        let group = groups.get(index).expect("just made");
        group.insert(entry(1), true);
        group.set_remote((2, false), 2, 2);
        group.set_remote((3, false), 5, 0);
        let turns: Vec<Turn> = (0..6).map(|_| group.next_worker((1, false))).collect();
        assert_eq!(turns.iter().filter(|turn| **turn == Turn::Here).count(), 2);
        assert_eq!(turns.iter().filter(|turn| **turn == Turn::Worker(2)).count(), 4);
    }

    #[test]
    fn a_ready_member_goes_before_one_that_is_away() {
        let mut groups = Groups::default();
        let (index, _) = groups.make("$share/g/a");
        let group = groups.get(index).expect("just made");
        (1..=3).for_each(|slot| group.insert(entry(slot), slot != 2));
        let mut pick =
            |away: u32| group.next_member(false, |_| true, |member| member.slot != away).map(|member| member.slot);
        assert_eq!([pick(2), pick(2), pick(2)], [Some(1), Some(3), Some(1)]);
        assert_eq!(group.next_member(false, |_| false, |_| true), None);
    }

    #[test]
    fn a_sticky_group_keeps_its_member_until_it_is_away() {
        let mut groups = Groups::default();
        let (index, _) = groups.make("$share/g/a");
        let group = groups.get(index).expect("just made");
        (1..=3).for_each(|slot| group.insert(entry(slot), true));
        group.set_remote((2, false), 5, 5);
        assert_eq!([group.next_worker((1, true)), group.next_worker((1, true))], [Turn::Here; 2]);
        assert_eq!(group.next_worker((3, true)), Turn::Worker(2));
        let mut pick =
            |away: u32| group.next_member(true, |_| true, |member| member.slot != away).map(|member| member.slot);
        assert_eq!([pick(0), pick(0), pick(1), pick(0), pick(0)], [Some(1), Some(1), Some(2), Some(2), Some(2)]);
    }
}
