//! The store of a standalone sidecar: sealed segments in a directory, one file each, chained.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use audit::{Hash, Segment};
use uuid::Uuid;

use crate::{recorder::ship::Store, spool::Sealed};

/// What a segment's file is called: its number, so that names sort as the chain does.
const SUFFIX: &str = ".segment.jsonl";

/// Why segments cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory or a file in it cannot be used.
    #[error("`{path}` cannot be used: {source}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The newest segment is damaged, so nothing can be chained to it.
    #[error(
        "the newest segment `{path}` is damaged: {reason}; move the directory's content away to begin a new chain"
    )]
    Damaged {
        /// Which.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A segment cannot be sealed.
    #[error("a segment cannot be sealed: {0}")]
    Seal(#[from] serde_json::Error),
}

/// A directory of segments, continued where it ends.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    writer: Uuid,
    next: u64,
    previous: Hash,
}

impl Directory {
    /// Opens the directory, makes it if need be, and reads its newest segment.
    ///
    /// # Errors
    /// When the directory cannot be used, or its newest segment is damaged.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Io { path: path.display().to_string(), source };
        fs::create_dir_all(path).map_err(failed)?;
        let mut newest: Option<PathBuf> = None;
        for entry in fs::read_dir(path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            let is_segment = file.file_name().is_some_and(|name| name.to_string_lossy().ends_with(SUFFIX));
            if is_segment && newest.as_ref().is_none_or(|newest| *newest < file) {
                newest = Some(file);
            }
        }
        let path = path.to_owned();
        let Some(newest) = newest else {
            return Ok(Self { path, writer: Uuid::new_v4(), next: 0, previous: Hash::START });
        };
        let shown = || newest.display().to_string();
        let bytes = fs::read(&newest).map_err(|source| StoreError::Io { path: shown(), source })?;
        let segment = Segment::open(&bytes)
            .map_err(|error| StoreError::Damaged { path: shown(), reason: error.to_string() })?;
        let header = segment.header;
        Ok(Self { path, writer: header.writer, next: header.sequence + 1, previous: segment.hash })
    }

    /// Writes a segment so that it is whole or not there, also after a crash of the machine.
    fn write(&mut self, batch: &[u8]) -> Result<(), StoreError> {
        let (bytes, hash) = Segment::seal(self.writer, self.next, self.previous, batch)?;
        let file = self.path.join(format!("{:012}{SUFFIX}", self.next));
        let partial = file.with_extension("tmp");
        let write = || -> io::Result<()> {
            let mut out = OpenOptions::new().write(true).create(true).truncate(true).open(&partial)?;
            out.write_all(&bytes)?;
            out.sync_all()?;
            fs::rename(&partial, &file)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|source| StoreError::Io { path: file.display().to_string(), source })?;
        self.next += 1;
        self.previous = hash;
        Ok(())
    }
}

impl Store for Directory {
    type Error = StoreError;

    async fn store(&mut self, batch: &Sealed) -> Result<(), StoreError> {
        // Small files on a local disk, on the runtime that serves no connections.
        self.write(&batch.bytes)
    }
}
