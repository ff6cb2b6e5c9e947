//! A segment: batches as one writer stored them, sealed by a hash and chained to the segment before.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Batch, BatchError, Hash};

/// The version of the segment's form.
const FORMAT: u32 = 1;
/// Keeps a segment's hash apart from every other hash.
const DOMAIN: &str = "chaperone segment v1";

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SegmentHeader {
    /// Version of the form.
    pub format: u32,
    /// The writer: one per store directory.
    pub writer: Uuid,
    /// Number in the writer's chain, from 0, without gaps.
    pub sequence: u64,
    /// Hash of the segment before.
    pub previous: Hash,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderLine {
    segment: SegmentHeader,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SealLine {
    segment_seal: Hash,
}

/// A sealed segment that was read and whose hash fits its content.
#[derive(Debug)]
pub struct Segment {
    /// What it says about itself.
    pub header: SegmentHeader,
    /// Its batches, each as far as it can be read.
    pub batches: Vec<Result<Batch, BatchError>>,
    /// Its hash.
    pub hash: Hash,
}

/// Why bytes are not a sealed segment.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// No JSON of the expected shape.
    #[error("the segment's {part} cannot be read: {reason}")]
    Line {
        /// `first line`, `last line`.
        part: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Another version.
    #[error("the segment has format {0}, this version reads {FORMAT}")]
    Format(u32),
    /// The seal does not fit.
    #[error("segment {sequence} of writer {writer} was altered: its hash is {found}, its seal says {sealed}")]
    Altered {
        /// The writer.
        writer: Uuid,
        /// The segment.
        sequence: u64,
        /// What the content hashes to.
        found: Hash,
        /// What the seal says.
        sealed: Hash,
    },
    /// Lines that are no batch.
    #[error("line {0} of the segment belongs to no batch")]
    Stray(usize),
}

impl Segment {
    /// Seals batches (bytes of [`Batch::seal`], one after the other) as the segment that follows `previous`.
    /// Returns the bytes and the segment's hash.
    ///
    /// # Errors
    /// When the header cannot be written, which no header of ours does.
    pub fn seal(
        writer: Uuid,
        sequence: u64,
        previous: Hash,
        batches: &[u8],
    ) -> Result<(Vec<u8>, Hash), serde_json::Error> {
        let segment = SegmentHeader { format: FORMAT, writer, sequence, previous };
        let mut bytes = serde_json::to_vec(&HeaderLine { segment })?;
        bytes.push(b'\n');
        bytes.extend_from_slice(batches);
        let hash = Hash::of(DOMAIN, &[&bytes]);
        serde_json::to_writer(&mut bytes, &SealLine { segment_seal: hash })?;
        bytes.push(b'\n');
        Ok((bytes, hash))
    }

    /// Reads a sealed segment.
    ///
    /// # Errors
    /// When the bytes are no segment, or were altered.
    pub fn open(bytes: &[u8]) -> Result<Self, SegmentError> {
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let [first, content @ .., last] = lines.as_slice() else {
            return Err(SegmentError::Line { part: "last line", reason: "it is missing".to_owned() });
        };
        let HeaderLine { segment: header } = parse("first line", first)?;
        if header.format != FORMAT {
            return Err(SegmentError::Format(header.format));
        }
        let SealLine { segment_seal: sealed } = parse("last line", last)?;
        let hash = Hash::of(DOMAIN, &[bytes.get(..bytes.len() - last.len()).unwrap_or_default()]);
        if hash != sealed {
            let SegmentHeader { writer, sequence, .. } = header;
            return Err(SegmentError::Altered { writer, sequence, found: hash, sealed });
        }
        Ok(Self { header, batches: batches(content)?, hash })
    }
}

/// Cuts the lines into batches.
fn batches(lines: &[&[u8]]) -> Result<Vec<Result<Batch, BatchError>>, SegmentError> {
    let mut found = Vec::new();
    let mut open: Option<Vec<u8>> = None;
    for (index, line) in lines.iter().enumerate() {
        match (&mut open, Batch::begins(line)) {
            (None, true) => open = Some(line.to_vec()),
            (Some(bytes), false) => bytes.extend_from_slice(line),
            (None, false) | (Some(_), true) => return Err(SegmentError::Stray(index + 2)),
        }
        if Batch::ends(line) {
            found.extend(open.take().map(|bytes| Batch::open(&bytes)));
        }
    }
    if open.is_some() { Err(SegmentError::Stray(lines.len() + 1)) } else { Ok(found) }
}

fn parse<T: serde::de::DeserializeOwned>(part: &'static str, bytes: &[u8]) -> Result<T, SegmentError> {
    serde_json::from_slice(bytes).map_err(|error| SegmentError::Line { part, reason: error.to_string() })
}
