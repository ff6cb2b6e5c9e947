//! The spool: a ring of records in a memory-mapped file on the sidecar's own volume.
//!
//! A record is in the page cache once [`Spool::append`] returns, so it survives the end of any process but
//! not of the node; [`Spool::flush`] makes it survive that too. What was not acknowledged by the store is
//! found again by [`Spool::open`] and goes on in the same chain.
//!
//! ```text
//!  0        512       4096                                          size
//!  | slot A | slot B |  | entry | entry | … ring … | skip |          |
//!  entry = length u32, crc32 u32, number u64, then one line of JSON; all little-endian
//! ```
//! The two slots are written in turn, so that one of them is always whole.

mod mapping;
mod slot;

use std::{fs::File, path::Path};

use audit::{Batch, BatchHeader, Hash, PodRef};
use uuid::Uuid;

pub use mapping::MapError;
use mapping::Mapping;
use slot::{Position, Slot};

/// Where the ring begins.
const RING_START: usize = 4096;
/// Bytes before an entry's line.
const ENTRY_HEAD: usize = 16;
/// Marks the rest of the ring as unused; the next entry is at its start.
const SKIP: u32 = u32::MAX;
/// The longest line of one record, in bytes: a statement of 16 MiB, escaped, does not fit; the recorder
/// shortens texts before.
pub const LINE_LIMIT: usize = 1024 * 1024;
/// The smallest spool, in bytes.
pub const SIZE_MIN: usize = 4 * LINE_LIMIT;
/// How many bytes of records one batch holds at most, up to one more record.
const BATCH_LIMIT: u64 = LINE_LIMIT as u64;
/// How many bytes of records are gathered for a batch before whoever appends gets a turn.
const GATHER_LIMIT: u64 = 64 * 1024;

/// Why the spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The file cannot be made, sized or mapped.
    #[error("the spool `{path}` cannot be opened: {source}")]
    Open {
        /// Its path.
        path: String,
        /// Why.
        source: MapError,
    },
    /// Too small to be of use.
    #[error("the spool must have at least {SIZE_MIN} bytes, not {0}")]
    Size(usize),
    /// No room until the store acknowledges.
    #[error("the spool is full: {used} bytes wait for the store")]
    Full {
        /// Bytes that wait.
        used: u64,
    },
    /// One record is too long.
    #[error("a record of {0} bytes is too long for the spool")]
    TooLong(usize),
    /// The batch's header cannot be written.
    #[error("a batch cannot be sealed: {0}")]
    Seal(#[from] serde_json::Error),
    /// The file cannot be written through to the disk.
    #[error("the spool cannot be flushed: {0}")]
    Flush(std::io::Error),
}

/// A ring of records that waits for the store.
#[derive(Debug)]
pub struct Spool {
    mapping: Mapping,
    slot: Slot,
    head: Position,
}

/// A batch that is ready to be sent.
#[derive(Debug)]
pub struct Sealed {
    /// The bytes for the store.
    pub bytes: Vec<u8>,
    /// The batch's number.
    pub sequence: u64,
    /// The number after its last record.
    pub next_number: u64,
}

/// A batch that is being made of what waits.
#[derive(Debug)]
pub(crate) struct Gathering {
    chain: Uuid,
    from: Position,
    /// The number after its last record, when that is settled.
    until: Option<u64>,
    at: Position,
    lines: Vec<u8>,
}

impl Gathering {
    fn wants_more(&self) -> bool {
        self.until.map_or(self.at.offset - self.from.offset < BATCH_LIMIT, |until| self.at.number < until)
    }

    /// Seals it; none when nothing waits. Takes milliseconds, and needs nothing of the spool.
    ///
    /// # Errors
    /// When the header cannot be written.
    pub(crate) fn seal(&self, pod: &PodRef) -> Result<Option<(Sealed, Hash)>, SpoolError> {
        let Self { chain, from, at, lines, until: _ } = self;
        if at.number == from.number {
            return Ok(None);
        }
        let records = at.number - from.number;
        let header: BatchHeader = Batch::header(*chain, pod.clone(), from.batch, from.hash, records);
        let (bytes, hash) = Batch::seal(&header, lines)?;
        Ok(Some((Sealed { bytes, sequence: from.batch, next_number: at.number }, hash)))
    }
}

impl Spool {
    /// Opens the file at `path`, or makes one of `size` bytes, all of them allocated: a hole on a full disk
    /// would end the process by a signal at the next write.
    ///
    /// # Errors
    /// When the file cannot be made, sized or mapped, or `size` is below [`SIZE_MIN`].
    pub fn open(path: &Path, size: usize) -> Result<Self, SpoolError> {
        if size < SIZE_MIN {
            return Err(SpoolError::Size(size));
        }
        let opened = Mapping::open(path, size);
        let mapping =
            opened.map_err(|source| SpoolError::Open { path: path.display().to_string(), source })?;
        let mut spool = match Slot::newest(&mapping) {
            Some(slot) => Self { head: slot.acknowledged, slot, mapping },
            None => {
                let slot = Slot::new(Uuid::new_v4());
                Self { head: slot.acknowledged, slot, mapping }
            }
        };
        spool.recover();
        spool.slot.write(&mut spool.mapping);
        Ok(spool)
    }

    fn ring(&self) -> u64 {
        (self.mapping.len() - RING_START) as u64
    }

    /// Bytes that wait for the store.
    #[must_use]
    pub const fn used(&self) -> u64 {
        self.head.offset.saturating_sub(self.slot.acknowledged.offset)
    }

    /// The number that the next record gets.
    #[must_use]
    pub const fn next_number(&self) -> u64 {
        self.head.number
    }

    /// The number after the last record that the store has.
    #[must_use]
    pub const fn acknowledged_number(&self) -> u64 {
        self.slot.acknowledged.number
    }

    /// Finds the end of what a process before us wrote.
    fn recover(&mut self) {
        while let Some((_, next)) = self.entry(self.head) {
            self.head = next;
        }
    }

    /// The line of the entry at `at` and the position after it.
    fn entry(&self, at: Position) -> Option<(&[u8], Position)> {
        let at = self.unskip(at);
        let start = self.physical(at.offset);
        let length = self.mapping.u32(start)? as usize;
        let line = self.mapping.slice(start + ENTRY_HEAD, length)?;
        let number = self.mapping.slice(start + 8, 8)?;
        let whole = self.mapping.u32(start + 4)? == checksum(number, line);
        let expected = number == at.number.to_le_bytes();
        let next = Position { offset: at.offset + entry_size(length), number: at.number + 1, ..at };
        (length > 0 && length <= LINE_LIMIT && whole && expected).then_some((line, next))
    }

    /// Follows a skip mark to the start of the ring.
    fn unskip(&self, at: Position) -> Position {
        let start = self.physical(at.offset);
        let rest = self.mapping.len() - start;
        let skipped = rest < ENTRY_HEAD || self.mapping.u32(start) == Some(SKIP);
        if skipped { Position { offset: at.offset + rest as u64, ..at } } else { at }
    }

    fn physical(&self, offset: u64) -> usize {
        RING_START + usize::try_from(offset % self.ring()).unwrap_or_default()
    }

    /// Writes one record; `event` is its JSON, in parts. Returns the record's number.
    ///
    /// # Errors
    /// When there is no room, or the record is too long. Nothing is written then.
    pub fn append(&mut self, time: u64, event: &[&[u8]]) -> Result<u64, SpoolError> {
        let number = self.head.number;
        let (mut in_order, mut at_time) = (Decimal::default(), Decimal::default());
        let before = [
            b"{\"number\":".as_slice(),
            in_order.write(number),
            b",\"time\":".as_slice(),
            at_time.write(time),
            b",\"event\":".as_slice(),
        ];
        let parts = || before.iter().chain(event).copied().chain([b"}\n".as_slice()]);
        let length: usize = parts().map(<[u8]>::len).sum();
        if length > LINE_LIMIT {
            return Err(SpoolError::TooLong(length));
        }
        let at = self.place(length)?;
        let start = self.physical(at.offset);
        let number_bytes = number.to_le_bytes();
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&number_bytes);
        let mut to = start + ENTRY_HEAD;
        for part in parts() {
            hasher.update(part);
            self.mapping.put(to, part);
            to += part.len();
        }
        self.mapping.put(start + 8, &number_bytes);
        self.mapping.put(start + 4, &hasher.finalize().to_le_bytes());
        // Last, so that a torn entry is not one.
        let length_bytes = u32::try_from(length).unwrap_or(SKIP).to_le_bytes();
        self.mapping.put(start, &length_bytes);
        self.head = Position { offset: at.offset + entry_size(length), number: number + 1, ..at };
        Ok(number)
    }

    /// Finds room for an entry whose line has `length` bytes, behind a skip mark if need be.
    fn place(&mut self, length: usize) -> Result<Position, SpoolError> {
        let needed = entry_size(length);
        let start = self.physical(self.head.offset);
        let rest = (self.mapping.len() - start) as u64;
        let skip = if rest < needed { rest } else { 0 };
        if self.used() + skip + needed > self.ring() {
            return Err(SpoolError::Full { used: self.used() });
        }
        if skip >= 4 {
            self.mapping.put(start, &SKIP.to_le_bytes());
        }
        Ok(Position { offset: self.head.offset + skip, ..self.head })
    }

    /// Begins a batch: of what waits, or of what was sealed before and not acknowledged yet. The bytes of the
    /// latter are the same as before, also after a restart.
    pub(crate) fn begin(&self) -> Gathering {
        let from = self.slot.acknowledged;
        let until = self.slot.sealed.map(|sealed| sealed.number);
        Gathering { chain: self.slot.chain, from, until, at: from, lines: Vec::new() }
    }

    /// Takes some records into the batch; false when it has all that it gets.
    pub(crate) fn gather(&self, batch: &mut Gathering) -> bool {
        let pause = batch.at.offset + GATHER_LIMIT;
        while batch.wants_more() {
            if batch.at.offset >= pause {
                return true;
            }
            let entry = self.entry(batch.at).filter(|_| batch.at.number < self.head.number);
            let Some((line, next)) = entry else { return false };
            batch.lines.extend_from_slice(line);
            batch.at = next;
        }
        false
    }

    /// Remembers a batch as sealed: until it is acknowledged, no other one is made.
    pub(crate) fn sealed(&mut self, batch: &Gathering, hash: Hash) {
        self.slot.sealed = Some(Position { batch: batch.from.batch + 1, hash, ..batch.at });
        self.slot.write(&mut self.mapping);
    }

    /// The store has the batch of that number: its room is free again. Any other number changes nothing.
    pub fn acknowledge(&mut self, sequence: u64) {
        let fits = self.slot.acknowledged.batch == sequence;
        if let Some(sealed) = self.slot.sealed.filter(|_| fits) {
            self.release(self.slot.acknowledged.offset, sealed.offset);
            self.slot.acknowledged = sealed;
            self.slot.sealed = None;
            self.slot.write(&mut self.mapping);
        }
    }

    /// What is acknowledged need not stay in this process's memory; the file keeps it.
    fn release(&self, from: u64, until: u64) {
        let (start, end) = (self.physical(from), self.physical(until));
        if start <= end && until - from < self.ring() {
            self.mapping.release(start, end);
        } else {
            self.mapping.release(start, self.mapping.len());
            self.mapping.release(RING_START, end);
        }
    }

    /// A second handle to the file, for [`flush`] without holding the spool.
    ///
    /// # Errors
    /// When the operating system refuses another handle.
    pub fn file(&self) -> Result<File, SpoolError> {
        self.mapping.file().map_err(SpoolError::Flush)
    }
}

/// Writes everything that was appended through to the disk.
///
/// # Errors
/// When the disk refuses.
pub fn flush(file: &File) -> Result<(), SpoolError> {
    file.sync_data().map_err(SpoolError::Flush)
}

fn checksum(number: &[u8], line: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(number);
    hasher.update(line);
    hasher.finalize()
}

/// A number in decimal digits, without allocating.
#[derive(Default)]
struct Decimal([u8; 20]);

impl Decimal {
    fn write(&mut self, mut number: u64) -> &[u8] {
        let mut at = self.0.len();
        for place in self.0.iter_mut().rev() {
            *place = b'0' + u8::try_from(number % 10).unwrap_or_default();
            at -= 1;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.0.get(at..).unwrap_or_default()
    }
}

/// Entries begin at multiples of eight bytes.
const fn entry_size(line: usize) -> u64 {
    (ENTRY_HEAD + line).next_multiple_of(8) as u64
}

/// The hash that a fresh chain starts from.
const START: Hash = Hash::START;

#[cfg(test)]
mod tests;
