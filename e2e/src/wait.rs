//! Waiting for something to become true. The only place that sleeps.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};

/// How long anything may take on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(90);
const AGAIN: Duration = Duration::from_millis(100);

/// Asks until there is an answer. An error is not an answer yet; the last one is told when time is up.
///
/// # Errors
/// When there is none within [`PATIENCE`].
pub async fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    within(PATIENCE, what, probe).await
}

/// The same, for as long as the caller says.
///
/// # Errors
/// When there is no answer in time.
pub async fn within<T>(
    time: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + time;
    loop {
        let last = probe().await;
        if let Ok(Some(answer)) = last {
            return Ok(answer);
        }
        if Instant::now() >= end {
            last.with_context(|| format!("{what}: not within {time:?}"))?;
            bail!("{what}: not within {time:?}");
        }
        sleep(AGAIN).await;
    }
}

/// Whether something is true, as an answer for [`eventually`].
#[must_use]
pub const fn when(holds: bool) -> Option<()> {
    if holds { Some(()) } else { None }
}
