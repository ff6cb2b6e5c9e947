//! One task for several futures, without asking all of them whenever one is woken.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// A future that is polled only when it was itself woken. After it was ready it may be given another one.
pub(super) struct Quiet<F> {
    future: F,
    bell: Arc<Bell>,
    /// Rings the bell.
    waker: Waker,
    /// The task that the bell wakes.
    task: Waker,
}

#[derive(Debug)]
struct Bell {
    rung: AtomicBool,
    task: Mutex<Waker>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        self.task.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
    }
}

/// Whether it was woken only.
impl<F> std::fmt::Debug for Quiet<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quiet").field("bell", &self.bell).finish_non_exhaustive()
    }
}

impl<F> Quiet<F> {
    pub(super) fn new(future: F) -> Self {
        let task = Waker::noop().clone();
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: Mutex::new(task.clone()) });
        Self { future, waker: Waker::from(Arc::clone(&bell)), bell, task }
    }

    /// Goes on with another future.
    pub(super) fn set(&mut self, future: F) {
        self.future = future;
        self.bell.rung.store(true, Ordering::SeqCst);
    }
}

impl<F: Future + Unpin> Future for Quiet<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if !self.task.will_wake(context.waker()) {
            self.task.clone_from(context.waker());
            self.bell.task.lock().unwrap_or_else(PoisonError::into_inner).clone_from(context.waker());
        }
        // After the task is known: a bell that rings from here on wakes it.
        if !self.bell.rung.swap(false, Ordering::SeqCst) {
            return Poll::Pending;
        }
        let Self { future, waker, .. } = &mut *self;
        Pin::new(future).poll(&mut Context::from_waker(waker))
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_future_is_polled_when_it_was_woken_and_not_otherwise() {
        let (one, other, polls) = (Notify::new(), Notify::new(), Cell::new(0));
        let mut notified = Box::pin(one.notified());
        let counted = Box::pin(poll_fn(|context| {
            polls.set(polls.get() + 1);
            notified.as_mut().poll(context)
        }));
        let mut quiet = Quiet::new(counted);
        let noisy = async {
            for _ in 0..10 {
                other.notify_one();
                other.notified().await;
                tokio::task::yield_now().await;
            }
            one.notify_one();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = &mut quiet => {}
            () = noisy => {}
        }
        assert_eq!(polls.get(), 2);
    }

    #[tokio::test]
    async fn another_task_takes_it_over() {
        let notify = Arc::new(Notify::new());
        let waits = Arc::clone(&notify);
        let mut quiet = Quiet::new(Box::pin(async move { waits.notified().await }));
        let first = poll_fn(|context| Poll::Ready(Pin::new(&mut quiet).poll(context)));
        assert!(first.await.is_pending());
        let other = tokio::spawn(quiet);
        tokio::task::yield_now().await;
        notify.notify_one();
        tokio::time::timeout(std::time::Duration::from_secs(10), other)
            .await
            .expect("woken")
            .expect("no panic");
    }

    #[tokio::test]
    async fn another_future_is_polled_at_once() {
        let mut quiet = Quiet::new(std::future::ready(1));
        assert_eq!((&mut quiet).await, 1);
        quiet.set(std::future::ready(2));
        assert_eq!((&mut quiet).await, 2);
    }
}
