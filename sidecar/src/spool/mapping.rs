//! The mapped file, and the only `unsafe` of the sidecar.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use memmap2::{MmapMut, UncheckedAdvice};

use super::SIZE_MIN;

/// Pages are this large, or a part of it.
const PAGE: usize = 64 * 1024;

/// Why a file cannot be mapped.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The file cannot be opened or made.
    #[error("opening it failed: {0}")]
    Open(io::Error),
    /// Another process writes to it.
    #[error("another process uses it")]
    InUse,
    /// There is not enough room on the volume.
    #[error("its {size} bytes cannot be allocated: {source}")]
    Allocate {
        /// The size that was asked for.
        size: usize,
        /// Why.
        source: io::Error,
    },
    /// The operating system refuses the mapping.
    #[error("mapping it failed: {0}")]
    Map(io::Error),
}

/// A file of fixed size in memory, locked against other processes.
#[derive(Debug)]
pub(super) struct Mapping {
    map: MmapMut,
    file: File,
}

impl Mapping {
    pub(super) fn open(path: &Path, size: usize) -> Result<Self, MapError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(MapError::Open)?;
        file.try_lock().map_err(|_| MapError::InUse)?;
        // A spool that is there keeps its size: positions in it depend on that.
        let found = file.metadata().map_err(MapError::Open)?.len();
        let size = usize::try_from(found).ok().filter(|found| *found >= SIZE_MIN).unwrap_or(size);
        let flags = rustix::fs::FallocateFlags::empty();
        rustix::fs::fallocate(&file, flags, 0, size as u64)
            .and_then(|()| rustix::fs::ftruncate(&file, size as u64))
            .map_err(|error| MapError::Allocate { size, source: error.into() })?;
        #[expect(
            unsafe_code,
            reason = "the file is ours alone: made with mode 0600 on the sidecar's own volume, locked above, \
                      never truncated while mapped, and its blocks are allocated"
        )]
        let map = unsafe { MmapMut::map_mut(&file) }.map_err(MapError::Map)?;
        Ok(Self { map, file })
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn slice(&self, at: usize, length: usize) -> Option<&[u8]> {
        self.map.get(at..at.checked_add(length)?)
    }

    pub(super) fn u32(&self, at: usize) -> Option<u32> {
        self.slice(at, 4)?.try_into().ok().map(u32::from_le_bytes)
    }

    /// Writes bytes; positions are checked by the callers, and a wrong one writes nothing.
    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.map.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    /// Takes whole pages between two positions out of this process's resident memory.
    pub(super) fn release(&self, start: usize, end: usize) {
        let (first, last) = (start.next_multiple_of(PAGE), end / PAGE * PAGE);
        let Some(length) = last.checked_sub(first).filter(|length| *length > 0) else { return };
        #[expect(
            unsafe_code,
            reason = "the mapping is shared with its file, so the pages come back with the same bytes when they are \
                      touched; nothing borrows them here, since writing takes the spool's lock, which is held"
        )]
        // SAFETY: see the reason; and a refusal changes nothing.
        let advised = unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, first, length) };
        // It is advice: when it is not taken, memory stays in use.
        advised.unwrap_or_default();
    }

    pub(super) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}
