//! What Chaperone remembers: records, the chains that make tampering evident, and their verification.
//!
//! ```text
//!  record, record, …  ->  batch (one per sealing, chained per sidecar)  ->  segment (chained per writer)
//! ```
//! A sidecar numbers its records and seals them in batches; every batch names the hash of the one before.
//! A collector stores batches in segments; every segment names the hash of the one before. So an edit breaks
//! a hash, and a deletion or a reordering breaks a chain. Everything is JSON Lines: one line per record,
//! readable without any tool of ours.
//!
//! No I/O here: `sidecar` and `operator` read and write, this crate says what.

mod batch;
mod hash;
mod record;
mod segment;
mod verify;

pub use batch::{Batch, BatchError, BatchHeader, PodRef};
pub use hash::{Hash, HashError};
pub use record::{
    Event, OpaqueStart, Record, Refused, RefusedKind, SessionEnd, SessionStart, Statement, StatementKind,
    StatementText, StatementVerdict,
};
pub use segment::{Segment, SegmentError, SegmentHeader};
pub use verify::{Finding, Report, Verifier};
