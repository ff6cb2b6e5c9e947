//! Virtual addresses: one per Connection host, stable as long as the Connection lives.
//!
//! A new leader reads every `status.address` before it gives one. A freed address rests for a day, so that a name
//! that somebody still remembers does not lead elsewhere.

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
    time::Duration,
};

use tokio::time::Instant;

/// `198.18.0.0/15` of RFC 2544, which no network routes. The first address is never given.
const FIRST: u32 = 0xC612_0001;
const LAST: u32 = 0xC613_FFFE;
/// How long a freed address rests.
const REST: Duration = Duration::from_secs(24 * 3600);

/// Who has which address.
#[derive(Debug, Default)]
pub struct Addresses {
    by_host: BTreeMap<String, Ipv4Addr>,
    resting: HashMap<Ipv4Addr, Instant>,
}

impl Addresses {
    /// Gives every host an address: `hosts` are those of all Connections, with the addresses that their status
    /// says. The oldest claim wins; duplicates and foreign addresses are given anew.
    pub fn assign(&mut self, hosts: &[(String, Option<Ipv4Addr>)], now: Instant) {
        self.free(hosts, now);
        for (host, claimed) in hosts {
            let free = claimed.filter(|address| !self.by_host.contains_key(host) && self.is_free(*address));
            if let Some(address) = free {
                self.by_host.insert(host.clone(), address);
            }
        }
        for (host, _) in hosts {
            if !self.by_host.contains_key(host)
                && let Some(address) = self.unused(now)
            {
                self.by_host.insert(host.clone(), address);
            }
        }
    }

    /// The address of a host.
    #[must_use]
    pub fn of(&self, host: &str) -> Option<Ipv4Addr> {
        self.by_host.get(host).copied()
    }

    fn free(&mut self, hosts: &[(String, Option<Ipv4Addr>)], now: Instant) {
        self.resting.retain(|_, until| *until > now);
        let gone: Vec<String> = self
            .by_host
            .keys()
            .filter(|host| !hosts.iter().any(|(kept, _)| kept == *host))
            .cloned()
            .collect();
        for host in gone {
            self.resting.extend(self.by_host.remove(&host).map(|address| (address, now + REST)));
        }
    }

    fn is_free(&self, address: Ipv4Addr) -> bool {
        (FIRST..=LAST).contains(&u32::from(address)) && !self.by_host.values().any(|taken| *taken == address)
    }

    fn unused(&self, now: Instant) -> Option<Ipv4Addr> {
        let taken: std::collections::BTreeSet<Ipv4Addr> = self.by_host.values().copied().collect();
        let rests = |address: &Ipv4Addr| self.resting.get(address).is_some_and(|until| *until > now);
        (FIRST..=LAST).map(Ipv4Addr::from).find(|address| !taken.contains(address) && !rests(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(list: &[(&str, Option<[u8; 4]>)]) -> Vec<(String, Option<Ipv4Addr>)> {
        list.iter().map(|(host, address)| ((*host).to_owned(), address.map(Ipv4Addr::from))).collect()
    }

    #[test]
    fn addresses_are_stable_and_distinct() {
        let mut addresses = Addresses::default();
        let now = Instant::now();
        addresses
            .assign(&hosts(&[("a", Some([198, 18, 0, 9])), ("b", None), ("c", Some([198, 18, 0, 9]))]), now);
        assert_eq!(addresses.of("a"), Some([198, 18, 0, 9].into()));
        let (b, c) = (addresses.of("b"), addresses.of("c"));
        assert!(b != c && b.is_some() && c.is_some() && c != addresses.of("a"));
        addresses.assign(&hosts(&[("a", None), ("b", None), ("c", None)]), now);
        assert_eq!((addresses.of("b"), addresses.of("c")), (b, c));
    }

    #[test]
    fn a_freed_address_rests_and_a_foreign_one_is_not_taken() {
        let mut addresses = Addresses::default();
        let now = Instant::now();
        addresses.assign(&hosts(&[("a", Some([10, 0, 0, 1]))]), now);
        let first = addresses.of("a").expect("has one");
        assert_eq!(first.octets()[..2], [198, 18]);
        addresses.assign(&hosts(&[("b", None)]), now);
        assert_ne!(addresses.of("b"), Some(first));
        addresses.assign(&hosts(&[("c", None)]), now + REST + Duration::from_secs(1));
        assert_eq!(addresses.of("c"), Some(first));
    }
}
