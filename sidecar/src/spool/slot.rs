//! The spool's own state: how far the store is, and what was sealed last.

use audit::Hash;
use uuid::Uuid;

use super::{START, mapping::Mapping};

const MAGIC: &[u8; 8] = b"chapspl1";
const SLOT_SIZE: usize = 512;
const POSITION_SIZE: usize = 56;
const BODY: usize = 8 + 8 + 16 + 1 + 2 * POSITION_SIZE;

/// A place in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Bytes since the beginning of the chain, skipped ones included.
    pub(super) offset: u64,
    /// The number of the next record.
    pub(super) number: u64,
    /// The number of the next batch.
    pub(super) batch: u64,
    /// The hash of the batch before.
    pub(super) hash: Hash,
}

/// One version of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    version: u64,
    pub(super) chain: Uuid,
    pub(super) acknowledged: Position,
    /// What follows once the batch that is under way is acknowledged.
    pub(super) sealed: Option<Position>,
}

impl Slot {
    pub(super) const fn new(chain: Uuid) -> Self {
        let acknowledged = Position { offset: 0, number: 0, batch: 0, hash: START };
        Self { version: 0, chain, acknowledged, sealed: None }
    }

    /// The newest whole version in the file.
    pub(super) fn newest(mapping: &Mapping) -> Option<Self> {
        let slots = [0, SLOT_SIZE].into_iter().filter_map(|at| Self::read(mapping.slice(at, BODY + 4)?));
        slots.max_by_key(|slot| slot.version)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_at_checked(BODY)?;
        if crc32fast::hash(body).to_le_bytes() != crc {
            return None;
        }
        let mut cursor = Cursor(body);
        if cursor.take::<8>()? != *MAGIC {
            return None;
        }
        let version = u64::from_le_bytes(cursor.take()?);
        let chain = Uuid::from_bytes(cursor.take()?);
        let [has_sealed] = cursor.take()?;
        let acknowledged = cursor.position()?;
        let sealed = cursor.position()?;
        Some(Self { version, chain, acknowledged, sealed: (has_sealed == 1).then_some(sealed) })
    }

    /// Writes the next version over the older slot.
    pub(super) fn write(&mut self, mapping: &mut Mapping) {
        self.version += 1;
        let mut bytes = Vec::with_capacity(BODY + 4);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(self.chain.as_bytes());
        bytes.push(u8::from(self.sealed.is_some()));
        for position in [self.acknowledged, self.sealed.unwrap_or(self.acknowledged)] {
            for number in [position.offset, position.number, position.batch] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(position.hash.as_bytes());
        }
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        let at = if self.version.is_multiple_of(2) { 0 } else { SLOT_SIZE };
        mapping.put(at, &bytes);
    }
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn position(&mut self) -> Option<Position> {
        let offset = u64::from_le_bytes(self.take()?);
        let number = u64::from_le_bytes(self.take()?);
        let batch = u64::from_le_bytes(self.take()?);
        let hash = Hash::from_bytes(&self.take::<32>()?)?;
        Some(Position { offset, number, batch, hash })
    }
}
