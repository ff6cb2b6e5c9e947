//! The data path's threads: one current-thread runtime per core. A connection stays on the thread that it
//! was handed to, so its two directions never wake each other across cores.

use std::{
    io,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{runtime, sync::mpsc};
use tokio_util::task::TaskTracker;
use tracing::error;

/// Connections that may wait for one worker to take them. Beyond, they are refused.
const WAITING: usize = 1024;

type Job = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// The threads. They end when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct Workers {
    threads: Arc<[mpsc::Sender<Job>]>,
    next: Arc<AtomicUsize>,
    running: TaskTracker,
}

/// All workers are busy beyond measure, or have ended.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no worker can take another connection")]
pub struct Busy;

impl Workers {
    /// Starts `count` threads, at least one.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be made.
    pub fn start(count: usize) -> io::Result<Self> {
        let running = TaskTracker::new();
        let threads = (0..count.max(1)).map(|number| worker(number, running.clone()));
        let threads = threads.collect::<io::Result<Vec<_>>>()?.into();
        Ok(Self { threads, next: Arc::default(), running })
    }

    /// Runs a job on the next thread in turn. `job` is called there, so it may use that thread's runtime.
    ///
    /// # Errors
    /// When that thread has too many jobs waiting.
    pub fn hand<F>(&self, job: impl FnOnce() -> F + Send + 'static) -> Result<(), Busy>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.threads.len().max(1);
        let thread = self.threads.get(turn).ok_or(Busy)?;
        thread.try_send(Box::new(|| job().boxed())).map_err(|_| Busy)
    }

    /// Returns once every job has ended. New ones may still be handed in.
    pub async fn idle(&self) {
        self.running.close();
        self.running.wait().await;
        self.running.reopen();
    }

    /// How many jobs run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }
}

fn worker(number: usize, running: TaskTracker) -> io::Result<mpsc::Sender<Job>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (sender, mut jobs) = mpsc::channel::<Job>(WAITING);
    thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        runtime.block_on(async {
            while let Some(job) = jobs.recv().await {
                running.spawn(contained(job()));
            }
        });
    })?;
    Ok(sender)
}

/// A panic in one connection ends that connection only.
async fn contained(job: BoxFuture<'static, ()>) {
    if AssertUnwindSafe(job).catch_unwind().await.is_err() {
        error!("a connection ended by a defect of the sidecar");
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, thread::ThreadId, time::Duration};

    use super::*;

    #[tokio::test]
    async fn jobs_take_turns_and_a_panic_touches_no_other() {
        let workers = Workers::start(2).unwrap();
        let seen: Arc<Mutex<Vec<ThreadId>>> = Arc::default();
        workers.hand(|| async { panic!("one") }).unwrap();
        for _ in 0..3 {
            let seen = Arc::clone(&seen);
            workers.hand(|| async move { seen.lock().unwrap().push(thread::current().id()) }).unwrap();
        }
        let all_ran = async {
            while seen.lock().unwrap().len() < 3 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), all_ran).await.unwrap();
        workers.idle().await;
        let seen = seen.lock().unwrap();
        let distinct: std::collections::HashSet<_> = seen.iter().collect();
        assert_eq!(distinct.len(), 2);
    }

    #[test]
    fn too_many_waiting_connections_are_refused() {
        let workers = Workers::start(1).unwrap();
        let (block, blocked) = std::sync::mpsc::channel::<()>();
        workers.hand(move || async move { blocked.recv().unwrap_or_default() }).unwrap();
        let refused = (0..2 * WAITING).any(|_| workers.hand(|| async {}).is_err());
        drop(block);
        assert!(refused);
    }
}
