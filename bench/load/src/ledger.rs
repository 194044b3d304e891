//! What each publisher has under way, and what became of it: the window is counted in
//! messages that came back at their subscribers, so that a loss shows at QoS 0 too.

use hdrhistogram::Histogram;

/// Bytes at the front of each payload: publisher, then nanoseconds since the start.
pub const STAMP: usize = 12;

/// One publisher's account.
#[derive(Clone, Copy, Default)]
struct Account {
    sent: u64,
    acknowledged: u64,
    delivered: u64,
}

/// The accounts of all publishers, and the latency of all deliveries.
pub struct Ledger {
    accounts: Vec<Account>,
    /// Deliveries that one message makes.
    copies: u64,
    acknowledges: bool,
    latency: Histogram<u32>,
}

impl Ledger {
    /// Empty accounts; `acknowledges`: QoS 1.
    pub fn new(publishers: usize, copies: u64, acknowledges: bool) -> Result<Ledger, String> {
        // One microsecond to one minute, two digits.
        let latency = Histogram::new_with_bounds(1, 60_000_000, 2).map_err(|error| error.to_string())?;
        Ok(Ledger { accounts: vec![Account::default(); publishers], copies, acknowledges, latency })
    }

    /// Messages of a publisher that are not yet everywhere, or not yet acknowledged.
    pub fn under_way(&self, publisher: usize) -> u64 {
        let account = &self.accounts[publisher];
        let undelivered = (account.sent * self.copies).saturating_sub(account.delivered).div_ceil(self.copies);
        let open = if self.acknowledges { account.sent.saturating_sub(account.acknowledged) } else { 0 };
        undelivered.max(open)
    }

    /// A message left.
    pub fn sent(&mut self, publisher: usize) {
        self.accounts[publisher].sent += 1;
    }

    /// The broker acknowledged one.
    pub fn acknowledged(&mut self, publisher: usize) {
        self.accounts[publisher].acknowledged += 1;
    }

    /// A delivery came at `now`; the publisher it is of. `None`: not one of this run.
    pub fn delivered(&mut self, payload: &[u8], now: u64) -> Option<usize> {
        let (publisher, rest) = payload.split_first_chunk::<4>()?;
        let (then, _) = rest.split_first_chunk::<8>()?;
        let publisher = u32::from_be_bytes(*publisher) as usize;
        self.accounts.get_mut(publisher)?.delivered += 1;
        self.latency.saturating_record(now.saturating_sub(u64::from_be_bytes(*then)) / 1_000);
        Some(publisher)
    }

    /// Whether nothing is under way any more.
    pub fn is_settled(&self) -> bool {
        (0..self.accounts.len()).all(|publisher| self.under_way(publisher) == 0)
    }

    /// Deliveries so far.
    pub fn deliveries(&self) -> u64 {
        self.accounts.iter().map(|account| account.delivered).sum()
    }

    /// The result as members of a JSON object.
    pub fn report(&self) -> String {
        let published: u64 = self.accounts.iter().map(|account| account.sent).sum();
        let delivered = self.deliveries();
        let expected = published * self.copies;
        format!(
            "\"published\":{published},\"delivered\":{delivered},\"lost\":{},\"surplus\":{},\"p50Us\":{},\"p99Us\":{},\"maxUs\":{}",
            expected.saturating_sub(delivered),
            delivered.saturating_sub(expected),
            self.latency.value_at_quantile(0.5),
            self.latency.value_at_quantile(0.99),
            self.latency.max(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(publisher: u32) -> Vec<u8> {
        [&publisher.to_be_bytes()[..], &0_u64.to_be_bytes()].concat()
    }

    #[test]
    fn a_message_is_under_way_until_every_copy_and_the_acknowledgement_came() {
        let mut ledger = Ledger::new(1, 2, true).expect("valid bounds");
        ledger.sent(0);
        assert_eq!(ledger.under_way(0), 1);
        assert_eq!(ledger.delivered(&stamp(0), 5_000), Some(0));
        ledger.acknowledged(0);
        assert_eq!(ledger.under_way(0), 1);
        ledger.delivered(&stamp(0), 5_000);
        assert!(ledger.is_settled());
    }

    #[test]
    fn what_never_came_is_lost_and_what_is_not_ours_is_not_counted() {
        let mut ledger = Ledger::new(1, 1, false).expect("valid bounds");
        ledger.sent(0);
        assert_eq!(ledger.delivered(b"hello", 0), None);
        assert_eq!(ledger.delivered(&stamp(7), 0), None);
        assert!(ledger.report().contains("\"lost\":1"));
    }
}
