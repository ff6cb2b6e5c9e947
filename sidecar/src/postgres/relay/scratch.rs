//! Where a thread reads into: sessions have no buffer of their own while nothing of them is under way.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

use crate::stream::ReadHalf;

/// What is read at once, in bytes.
const SIZE: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SIZE].into_boxed_slice());
}

/// Reads what has come and gives it to `take`, which must not read. An empty slice is the end.
pub(super) fn poll_read<T>(
    reader: &mut ReadHalf,
    context: &mut Context<'_>,
    take: impl FnOnce(&[u8], &mut Context<'_>) -> T,
) -> Poll<io::Result<T>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(reader).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(take(buffer.filled(), context)))
    })
}
