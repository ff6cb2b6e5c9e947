//! What resolv.conf says.

use std::net::{IpAddr, SocketAddr};

/// The parts of resolv.conf that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// The first nameserver.
    pub nameserver: Option<SocketAddr>,
    /// The cluster's domain: what stands behind `svc.` in the search list.
    pub cluster_domain: String,
}

impl ResolvConf {
    /// Reads the text of a resolv.conf.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") if found.nameserver.is_none() => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    found.nameserver = address.map(|address| SocketAddr::new(address, 53));
                }
                Some("search") => {
                    let domain = words.find_map(|word| word.strip_prefix("svc."));
                    found.cluster_domain =
                        domain.unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
                }
                _ => {}
            }
        }
        found
    }
}
