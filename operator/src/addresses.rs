//! Virtual addresses: one per Connection host, stable as long as the Connection lives.
//!
//! A new leader reads every `status.address` before it gives one. A freed address rests for a day, so that a name
//! that somebody still remembers does not lead elsewhere; and since a host's address is looked for from a place
//! of its own, another leader, which knows of no rest, hardly gives it to another host either.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::Ipv4Addr,
    time::Duration,
};

use tokio::time::Instant;

/// `198.18.0.0/15` of RFC 2544, which no network routes. The first address is never given.
const FIRST: u32 = 0xC612_0001;
const LAST: u32 = 0xC613_FFFE;
const COUNT: u32 = LAST - FIRST + 1;
/// How long a freed address rests.
const REST: Duration = Duration::from_secs(24 * 3600);

/// Who has which address.
#[derive(Debug, Default)]
pub struct Addresses {
    by_host: BTreeMap<String, Ipv4Addr>,
    taken: BTreeSet<Ipv4Addr>,
    resting: HashMap<Ipv4Addr, Instant>,
}

impl Addresses {
    /// Gives every host an address: `hosts` are those of all Connections, with the addresses that their status
    /// says. The first claim wins; duplicates and foreign addresses are given anew.
    pub fn assign(&mut self, hosts: &[(String, Option<Ipv4Addr>)], now: Instant) {
        self.free(hosts, now);
        for (host, claimed) in hosts {
            if let Some(address) = claimed.filter(|address| is_ours(*address) && !self.rests(*address, host))
            {
                self.give(host, address);
            }
        }
        for (host, _) in hosts {
            if !self.by_host.contains_key(host)
                && let Some(address) = self.unused(host)
            {
                self.give(host, address);
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
        let wanted: BTreeSet<&str> = hosts.iter().map(|(host, _)| host.as_str()).collect();
        let (taken, resting) = (&mut self.taken, &mut self.resting);
        self.by_host.retain(|host, address| {
            let keep = wanted.contains(host.as_str());
            if !keep {
                taken.remove(address);
                resting.insert(*address, now + REST);
            }
            keep
        });
    }

    /// Unless the host has one, or somebody has this one.
    fn give(&mut self, host: &str, address: Ipv4Addr) {
        if !self.by_host.contains_key(host) && self.taken.insert(address) {
            self.resting.remove(&address);
            self.by_host.insert(host.to_owned(), address);
        }
    }

    /// A host that comes back finds its address where it left it.
    fn rests(&self, address: Ipv4Addr, host: &str) -> bool {
        self.resting.contains_key(&address) && address != place(host)
    }

    fn unused(&self, host: &str) -> Option<Ipv4Addr> {
        let first = u32::from(place(host)) - FIRST;
        let mut candidates = (0..COUNT).map(|step| Ipv4Addr::from(FIRST + (first + step) % COUNT));
        candidates.find(|address| !self.taken.contains(address) && !self.rests(*address, host))
    }
}

fn is_ours(address: Ipv4Addr) -> bool {
    (FIRST..=LAST).contains(&u32::from(address))
}

/// Where the search for a host's address begins.
fn place(host: &str) -> Ipv4Addr {
    let digest = compile::digest(host.as_bytes());
    let number = digest.iter().take(4).fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
    Ipv4Addr::from(FIRST + number % COUNT)
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
    fn a_claim_is_kept_before_an_address_is_given() {
        let mut addresses = Addresses::default();
        let wanted = place("new").octets();
        addresses.assign(&hosts(&[("new", None), ("old", Some(wanted))]), Instant::now());
        assert_eq!(addresses.of("old"), Some(wanted.into()));
        assert_ne!(addresses.of("new"), addresses.of("old"));
    }

    #[test]
    fn a_freed_address_rests_and_a_foreign_one_is_not_taken() {
        let mut addresses = Addresses::default();
        let now = Instant::now();
        addresses.assign(&hosts(&[("a", Some([10, 0, 0, 1]))]), now);
        let first = addresses.of("a").expect("has one");
        assert_eq!(first.octets()[0], 198);
        addresses.assign(&[], now);
        let claim = Some(first.octets());
        addresses.assign(&hosts(&[("b", claim)]), now);
        assert_ne!(addresses.of("b"), Some(first), "it rests, whoever claims it");
        addresses.assign(&hosts(&[("b", None), ("a", None)]), now);
        assert_eq!(addresses.of("a"), Some(first), "its own host may have it back");
        addresses.assign(&hosts(&[("b", None)]), now);
        addresses.assign(&hosts(&[("c", claim)]), now + REST + Duration::from_secs(1));
        assert_eq!(addresses.of("c"), Some(first));
    }

    #[test]
    fn another_leader_gives_a_host_the_same_address() {
        let (mut one, mut two) = (Addresses::default(), Addresses::default());
        one.assign(&hosts(&[("a", None)]), Instant::now());
        two.assign(&hosts(&[("b", None), ("a", None)]), Instant::now());
        assert_eq!(one.of("a"), two.of("a"));
    }
}
