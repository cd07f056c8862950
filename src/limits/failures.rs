//! Who has failed to prove who it is, and how often: guessing must not pay. Pure: `now` is an argument.

use super::TokenBucket;
use crate::config::Rate;
use crate::threads::lock;
use crate::threads::sync::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// How many addresses are remembered by themselves. Those that come when it is full share one allowance.
const MAX_ADDRESSES: usize = 10_000;

/// The failed attempts of each address, of which there may be so many a second.
pub(crate) struct Failures {
    rate: Option<Rate>,
    buckets: Mutex<HashMap<IpAddr, TokenBucket>>,
}

/// Under what those are remembered for whom there was no room.
const OTHERS: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

impl Failures {
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        Self { rate, buckets: Mutex::default() }
    }

    /// Whether an address may try again; `None` is one that no limit applies to.
    ///
    /// # Errors
    /// How long it has to wait.
    pub(crate) fn may_try(&self, address: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        let Some(address) = address.map(network) else { return Ok(()) };
        let buckets = lock(&self.buckets);
        let bucket = buckets.get(&address).or_else(|| buckets.get(&OTHERS).filter(|_| buckets.len() >= MAX_ADDRESSES));
        match bucket.map_or(Duration::ZERO, |bucket| bucket.wait_for(1, now)) {
            Duration::ZERO => Ok(()),
            wait => Err(wait),
        }
    }

    /// Its proof was wrong.
    pub(crate) fn failed(&self, address: Option<IpAddr>, now: Instant) {
        let (Some(rate), Some(address)) = (self.rate, address.map(network)) else { return };
        let mut buckets = lock(&self.buckets);
        if buckets.len() >= MAX_ADDRESSES && !buckets.contains_key(&address) {
            buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        let known = buckets.len() < MAX_ADDRESSES || buckets.contains_key(&address);
        let bucket = buckets.entry(if known { address } else { OTHERS }).or_insert_with(|| TokenBucket::new(rate, now));
        // Several may have been let try at once; none of them is owed.
        bucket.take(1, now);
    }
}

/// Who has one address of IPv6 has the other 2^64 of its network, too.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 1, burst: 3 };

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn after_a_burst_of_failures_an_address_waits_and_others_do_not() {
        let (failures, start) = (Failures::new(Some(RATE)), Instant::now());
        let guesser = address("192.0.2.1");
        for _ in 0..3 {
            assert_eq!(failures.may_try(guesser, start), Ok(()));
            failures.failed(guesser, start);
        }
        assert_eq!(failures.may_try(guesser, start), Err(Duration::from_secs(1)));
        assert_eq!(failures.may_try(address("192.0.2.2"), start), Ok(()));
        assert_eq!(failures.may_try(None, start), Ok(()));
        assert_eq!(failures.may_try(guesser, start + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_a_mapped_address_is_ipv4() {
        let (failures, start) = (Failures::new(Some(RATE)), Instant::now());
        (0..3).for_each(|n| failures.failed(address(&format!("2001:db8::{n}")), start));
        assert!(failures.may_try(address("2001:db8::ffff"), start).is_err());
        assert!(failures.may_try(address("2001:db8:0:1::"), start).is_ok());
        (0..3).for_each(|_| failures.failed(address("::ffff:192.0.2.1"), start));
        assert!(failures.may_try(address("192.0.2.1"), start).is_err());
    }

    #[test]
    fn a_crowd_of_addresses_shares_one_allowance() {
        let (failures, start) = (Failures::new(Some(RATE)), Instant::now());
        let nth = |n: usize| Some(IpAddr::from((n as u32 + 1).to_be_bytes()));
        (0..MAX_ADDRESSES + 3).for_each(|n| failures.failed(nth(n), start));
        assert!(lock(&failures.buckets).len() <= MAX_ADDRESSES + 1);
        assert!(failures.may_try(nth(MAX_ADDRESSES + 9), start).is_err(), "never seen, but one of the crowd");
        assert!(failures.may_try(nth(0), start).is_ok(), "one failure of its own");
        let later = start + Duration::from_secs(60);
        failures.failed(nth(MAX_ADDRESSES + 9), later);
        assert_eq!(lock(&failures.buckets).len(), 1, "those who rested are forgotten");
    }
}
