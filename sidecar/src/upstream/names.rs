//! The addresses of upstreams' names, remembered for a moment. Every login needs them, and a datagram that was lost
//! on the way to the name server costs five seconds: then the C library asks again.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    net::lookup_host,
    time::{Instant, timeout},
};

use super::UpstreamError;

/// An answer counts this long.
const FRESH: Duration = Duration::from_secs(5);
/// An answer of the last half minute counts while the name server says nothing. If it says that there is no such
/// name, there is none.
const STALE: Duration = Duration::from_secs(30);
/// How long a login waits for news where it has such an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it waits where it has none: long enough for a second question after a lost one.
const RESOLVE: Duration = Duration::from_secs(12);
/// Names that are remembered; beyond it, the map starts anew.
const REMEMBERED: usize = 1024;

/// One for the process: every session asks for the same few names.
static NAMES: LazyLock<Names> = LazyLock::new(Names::default);

/// The addresses of a name.
///
/// # Errors
/// When it has none, or the name server does not answer.
pub(super) async fn addresses(host: String, port: u16) -> Result<Vec<SocketAddr>, UpstreamError> {
    let key = (host.clone(), port);
    NAMES.find(key, async move { Ok(lookup_host((host, port)).await?.collect()) }).await
}

type Key = (String, u16);
/// The addresses of each name, and when they were learnt.
type Known = HashMap<Key, (Vec<SocketAddr>, Instant)>;

#[derive(Clone, Debug, Default)]
struct Names {
    known: Arc<Mutex<Known>>,
}

impl Names {
    async fn find(
        &self,
        key: Key,
        resolve: impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    ) -> Result<Vec<SocketAddr>, UpstreamError> {
        let known = self.lock().get(&key).cloned();
        let known = known.map(|(addresses, at)| (addresses, at.elapsed()));
        if let Some((addresses, _)) = known.as_ref().filter(|(_, age)| *age <= FRESH) {
            return Ok(addresses.clone());
        }
        let stale = known.filter(|(_, age)| *age <= STALE).map(|(addresses, _)| addresses);
        let patience = if stale.is_some() { PATIENCE } else { RESOLVE };
        let names = self.clone();
        // A task of its own: an answer that comes late serves the next login.
        let answer = tokio::spawn(async move {
            let found = resolve.await;
            names.remember(key, found.as_ref().ok());
            found
        });
        match timeout(patience, answer).await {
            Ok(Ok(found)) => found.map_err(|error| UpstreamError::Resolve(Some(error))),
            Ok(Err(_)) => Err(UpstreamError::Resolve(None)),
            Err(_) => stale.ok_or(UpstreamError::Timeout),
        }
    }

    fn remember(&self, key: Key, found: Option<&Vec<SocketAddr>>) {
        let mut known = self.lock();
        match found {
            Some(addresses) => {
                if known.len() >= REMEMBERED {
                    known.clear();
                }
                known.insert(key, (addresses.clone(), Instant::now()));
            }
            None => drop(known.remove(&key)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::advance;

    use super::*;

    fn key() -> Key {
        ("db.shop.svc.".to_owned(), 5432)
    }

    fn at(last: u8) -> Vec<SocketAddr> {
        vec![SocketAddr::from(([10, 0, 0, last], 5432))]
    }

    async fn find(
        names: &Names,
        answer: io::Result<Vec<SocketAddr>>,
    ) -> Result<Vec<SocketAddr>, UpstreamError> {
        names.find(key(), async { answer }).await
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_for_a_moment() {
        let names = Names::default();
        assert_eq!(find(&names, Ok(at(1))).await.unwrap(), at(1));
        assert_eq!(find(&names, Ok(at(2))).await.unwrap(), at(1));
        advance(FRESH + Duration::from_millis(1)).await;
        assert_eq!(find(&names, Ok(at(2))).await.unwrap(), at(2));
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_name_server_is_silent_the_last_answer_counts_for_half_a_minute() {
        let names = Names::default();
        assert_eq!(find(&names, Ok(at(1))).await.unwrap(), at(1));
        advance(STALE - PATIENCE).await;
        assert_eq!(names.find(key(), pending()).await.unwrap(), at(1));
        advance(PATIENCE).await;
        assert!(matches!(names.find(key(), pending()).await, Err(UpstreamError::Timeout)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_is_gone_is_gone() {
        let names = Names::default();
        assert_eq!(find(&names, Ok(at(1))).await.unwrap(), at(1));
        advance(FRESH + Duration::from_millis(1)).await;
        let gone = || Err(io::Error::other("no such name"));
        assert!(matches!(find(&names, gone()).await, Err(UpstreamError::Resolve(Some(_)))));
        assert!(matches!(names.find(key(), pending()).await, Err(UpstreamError::Timeout)));
    }
}
