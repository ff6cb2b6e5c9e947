//! A batch: records of one sidecar, sealed by a hash and chained to the batch before.
//!
//! ```text
//! {"batch":{"format":1,"chain":"…","pod":{…},"sequence":3,"previous":"…","records":2}}
//! {"number":17,"time":…,"event":{…}}
//! {"number":18,"time":…,"event":{…}}
//! {"seal":"…"}
//! ```

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Hash, Record};

/// The version of the batch's form.
const FORMAT: u32 = 1;
/// Keeps a batch's hash apart from every other hash.
const DOMAIN: &str = "chaperone batch v1";

/// Whose records these are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodRef {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's UID.
    pub uid: String,
    /// The pod's service account.
    pub service_account: String,
}

/// What a batch says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BatchHeader {
    /// Version of the form.
    pub format: u32,
    /// The chain: one per spool of a sidecar.
    pub chain: Uuid,
    /// Whose.
    pub pod: PodRef,
    /// Number in the chain, from 0, without gaps.
    pub sequence: u64,
    /// Hash of the batch before.
    pub previous: Hash,
    /// How many records follow.
    pub records: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderLine {
    batch: BatchHeader,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealLine {
    seal: Hash,
}

/// A sealed batch that was read and whose hash fits its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// What it says about itself.
    pub header: BatchHeader,
    /// Its records.
    pub records: Vec<Record>,
    /// Its hash.
    pub hash: Hash,
}

/// Why bytes are not a sealed batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// No JSON of the expected shape.
    #[error("line {line} of the batch cannot be read: {reason}")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Another version.
    #[error("the batch has format {0}, this version reads {FORMAT}")]
    Format(u32),
    /// The seal does not fit.
    #[error("batch {sequence} of chain {chain} was altered: its hash is {found}, its seal says {sealed}")]
    Altered {
        /// The chain.
        chain: Uuid,
        /// The batch.
        sequence: u64,
        /// What the content hashes to.
        found: Hash,
        /// What the seal says.
        sealed: Hash,
    },
    /// The header's count does not fit.
    #[error("batch {sequence} of chain {chain} says {said} records and holds {found}")]
    Count {
        /// The chain.
        chain: Uuid,
        /// The batch.
        sequence: u64,
        /// As the header says.
        said: u64,
        /// As there are.
        found: u64,
    },
    /// Record numbers have a gap inside the batch.
    #[error("batch {sequence} of chain {chain} skips from record {after} to {next}")]
    Numbers {
        /// The chain.
        chain: Uuid,
        /// The batch.
        sequence: u64,
        /// The last number in order.
        after: u64,
        /// The number that came.
        next: u64,
    },
}

impl Batch {
    /// Seals records that are already lines of JSON, each with its newline. Equal input gives equal bytes.
    /// Returns the bytes and the batch's hash.
    ///
    /// # Errors
    /// When the header cannot be written, which no header of ours does.
    pub fn seal(header: &BatchHeader, lines: &[u8]) -> Result<(Vec<u8>, Hash), serde_json::Error> {
        let mut bytes = serde_json::to_vec(&HeaderLine { batch: header.clone() })?;
        bytes.push(b'\n');
        bytes.extend_from_slice(lines);
        let hash = Hash::of(DOMAIN, &[&bytes]);
        serde_json::to_writer(&mut bytes, &SealLine { seal: hash })?;
        bytes.push(b'\n');
        Ok((bytes, hash))
    }

    /// A header of this version.
    #[must_use]
    pub const fn header(
        chain: Uuid,
        pod: PodRef,
        sequence: u64,
        previous: Hash,
        records: u64,
    ) -> BatchHeader {
        BatchHeader { format: FORMAT, chain, pod, sequence, previous, records }
    }

    /// Whether a line begins a batch.
    pub(crate) fn begins(line: &[u8]) -> bool {
        line.starts_with(b"{\"batch\":")
    }

    /// Whether a line ends a batch.
    pub(crate) fn ends(line: &[u8]) -> bool {
        line.starts_with(b"{\"seal\":")
    }

    /// Reads a sealed batch and checks everything that can be checked without its neighbours.
    ///
    /// # Errors
    /// When the bytes are no batch, or were altered.
    pub fn open(bytes: &[u8]) -> Result<Self, BatchError> {
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let [first, records @ .., last] = lines.as_slice() else {
            return Err(BatchError::Line { line: lines.len(), reason: "the seal is missing".to_owned() });
        };
        let HeaderLine { batch: header } = parse(1, first)?;
        if header.format != FORMAT {
            return Err(BatchError::Format(header.format));
        }
        let SealLine { seal } = parse(lines.len(), last)?;
        let content = bytes.get(..bytes.len() - last.len()).unwrap_or_default();
        let hash = Hash::of(DOMAIN, &[content]);
        let (chain, sequence) = (header.chain, header.sequence);
        if hash != seal {
            return Err(BatchError::Altered { chain, sequence, found: hash, sealed: seal });
        }
        let records = records.iter().enumerate().map(|(index, line)| parse(index + 2, line));
        let batch = Self { header, records: records.collect::<Result<_, _>>()?, hash };
        batch.check_numbers()?;
        Ok(batch)
    }

    fn check_numbers(&self) -> Result<(), BatchError> {
        let (chain, sequence) = (self.header.chain, self.header.sequence);
        let found = self.records.len() as u64;
        if found != self.header.records {
            return Err(BatchError::Count { chain, sequence, said: self.header.records, found });
        }
        let pairs = self.records.iter().zip(self.records.iter().skip(1));
        for (one, two) in pairs {
            if two.number != one.number + 1 {
                return Err(BatchError::Numbers { chain, sequence, after: one.number, next: two.number });
            }
        }
        Ok(())
    }
}

fn parse<T: serde::de::DeserializeOwned>(line: usize, bytes: &[u8]) -> Result<T, BatchError> {
    serde_json::from_slice(bytes).map_err(|error| BatchError::Line { line, reason: error.to_string() })
}
