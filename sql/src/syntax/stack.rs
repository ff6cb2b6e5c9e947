//! Room for deep recursion: what may nest deeply runs on a thread of its own with a big stack.

use std::mem::ManuallyDrop;

/// Address space of the big stack; only what is used takes memory.
const STACK: usize = 256 << 20;

/// Runs `work` here, or on a big stack when it may recurse deeply. None when no thread can be had, or when
/// `work` panicked there.
pub(crate) fn with_room<T: Send>(deep: bool, work: impl FnOnce() -> T + Send) -> Option<T> {
    if !deep {
        return Some(work());
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("sql".to_owned()).stack_size(STACK);
        thread.spawn_scoped(scope, work).ok()?.join().ok()
    })
}

/// A value whose drop may recurse deeply.
#[derive(Debug)]
pub(crate) struct Deep<T: Send + 'static> {
    value: ManuallyDrop<Option<Box<T>>>,
    deep: bool,
}

impl<T: Send + 'static> Deep<T> {
    pub(crate) fn new(value: T, deep: bool) -> Self {
        Self { value: ManuallyDrop::new(Some(Box::new(value))), deep }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.value.as_deref()
    }
}

impl<T: Send + 'static> Drop for Deep<T> {
    fn drop(&mut self) {
        let Some(value) = self.value.take() else { return };
        if self.deep {
            // A thread that cannot be had drops its closure, and the value with it, here: leak it instead.
            let value = ManuallyDrop::new(value);
            let thread = std::thread::Builder::new().name("sql".to_owned()).stack_size(STACK);
            drop(thread.spawn(move || drop(ManuallyDrop::into_inner(value))));
        } else {
            drop(value);
        }
    }
}
