//! Verification: feed every segment that there is, in any order, then ask for the report.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{Batch, Event, Hash, PodRef, Segment};

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A file that is no sealed segment, or was edited.
    #[error("{file}: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// Links are missing.
    #[error("{chain}: {what} {from} to {to} are missing")]
    Missing {
        /// Which chain.
        chain: String,
        /// `segments` or `batches`.
        what: &'static str,
        /// The first that is missing.
        from: u64,
        /// The last that is missing.
        to: u64,
    },
    /// A link does not name the hash of the one before it.
    #[error("{chain}: {what} {at} does not follow the one before it")]
    Broken {
        /// Which chain.
        chain: String,
        /// `segment` or `batch`.
        what: &'static str,
        /// Where.
        at: u64,
    },
    /// Two different links claim one place.
    #[error("{chain}: there are two different versions of {what} {at}")]
    Forked {
        /// Which chain.
        chain: String,
        /// `segment` or `batch`.
        what: &'static str,
        /// Where.
        at: u64,
    },
    /// Record numbers do not go on where the batch before ended.
    #[error("{chain}: records {from} to {to} are missing")]
    MissingRecords {
        /// Which chain.
        chain: String,
        /// The first that is missing.
        from: u64,
        /// The last that is missing.
        to: u64,
    },
}

/// What verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What is not as it was written; empty means intact.
    pub findings: Vec<Finding>,
    /// Segments read.
    pub segments: u64,
    /// Chains of sidecars.
    pub chains: u64,
    /// Records in them.
    pub records: u64,
    /// Pods whose chain has no end: they still run, or ended without sending their last records.
    pub open: Vec<PodRef>,
}

impl Report {
    /// Whether nothing was found.
    #[must_use]
    pub const fn is_intact(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Collects segments and checks them together.
#[derive(Debug, Default)]
pub struct Verifier {
    findings: Vec<Finding>,
    segments: u64,
    writers: BTreeMap<Uuid, Chain>,
    sidecars: BTreeMap<Uuid, Chain>,
    numbers: BTreeMap<Uuid, BTreeMap<u64, Numbers>>,
    pods: BTreeMap<Uuid, PodRef>,
}

/// The links of one chain by their numbers.
#[derive(Debug, Default)]
struct Chain {
    links: BTreeMap<u64, Link>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link {
    previous: Hash,
    hash: Hash,
}

/// First and last record of a batch, and whether it ends the process.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    first: u64,
    last: u64,
    ends: bool,
}

impl Verifier {
    /// A verifier that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one stored file.
    pub fn add(&mut self, file: &str, bytes: &[u8]) {
        self.segments += 1;
        match Segment::open(bytes) {
            Ok(segment) => self.add_segment(file, segment),
            Err(error) => self.unreadable(file, &error),
        }
    }

    fn unreadable(&mut self, file: &str, error: &dyn std::error::Error) {
        self.findings.push(Finding::Unreadable { file: file.to_owned(), reason: error.to_string() });
    }

    fn add_segment(&mut self, file: &str, segment: Segment) {
        let Segment { header, batches, hash } = segment;
        let link = Link { previous: header.previous, hash };
        let chain = self.writers.entry(header.writer).or_default();
        if !chain.insert(header.sequence, link) {
            let chain = format!("writer {}", header.writer);
            self.findings.push(Finding::Forked { chain, what: "segment", at: header.sequence });
        }
        for batch in batches {
            match batch {
                Ok(batch) => self.add_batch(batch),
                Err(error) => self.unreadable(file, &error),
            }
        }
    }

    fn add_batch(&mut self, batch: Batch) {
        let Batch { header, records, hash } = batch;
        let link = Link { previous: header.previous, hash };
        let chain = self.sidecars.entry(header.chain).or_default();
        if !chain.insert(header.sequence, link) {
            let chain = format!("chain {}", header.chain);
            self.findings.push(Finding::Forked { chain, what: "batch", at: header.sequence });
        }
        if let (Some(first), Some(last)) = (records.first(), records.last()) {
            let ends = last.event == Event::ProcessEnd;
            let numbers = Numbers { first: first.number, last: last.number, ends };
            self.numbers.entry(header.chain).or_default().insert(header.sequence, numbers);
        }
        self.pods.insert(header.chain, header.pod);
    }

    /// Checks the chains and says what was found.
    #[must_use]
    pub fn report(mut self) -> Report {
        for (writer, chain) in &self.writers {
            chain.check(&format!("writer {writer}"), ["segment", "segments"], &mut self.findings);
        }
        for (id, chain) in &self.sidecars {
            chain.check(&format!("chain {id}"), ["batch", "batches"], &mut self.findings);
        }
        let mut report =
            Report { segments: self.segments, chains: self.sidecars.len() as u64, ..Report::default() };
        for (id, batches) in &self.numbers {
            let mut next = 0;
            let mut ended = false;
            for numbers in batches.values() {
                if numbers.first > next {
                    let chain = format!("chain {id}");
                    let (from, to) = (next, numbers.first - 1);
                    self.findings.push(Finding::MissingRecords { chain, from, to });
                }
                report.records += numbers.last.saturating_sub(numbers.first) + 1;
                next = numbers.last.saturating_add(1);
                ended = numbers.ends;
            }
            if !ended {
                report.open.extend(self.pods.get(id).cloned());
            }
        }
        report.findings = self.findings;
        report
    }
}

impl Chain {
    /// Adds a link; false when another one has its place. The same link twice is no harm: a batch that was
    /// sent again to another replica.
    fn insert(&mut self, sequence: u64, link: Link) -> bool {
        self.links.insert(sequence, link).is_none_or(|before| before == link)
    }

    fn check(&self, chain: &str, [what, plural]: [&'static str; 2], findings: &mut Vec<Finding>) {
        let mut expected = (0, Hash::START);
        for (&at, link) in &self.links {
            if at > expected.0 {
                let (from, to) = (expected.0, at - 1);
                findings.push(Finding::Missing { chain: chain.to_owned(), what: plural, from, to });
            } else if link.previous != expected.1 {
                findings.push(Finding::Broken { chain: chain.to_owned(), what, at });
            }
            expected = (at + 1, link.hash);
        }
    }
}
