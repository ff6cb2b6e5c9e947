//! Who calls: a service-account token of our audience, bound to a living pod, as the API server confirms.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::{Mutex as Turn, Semaphore},
    time::{Instant, timeout},
};
use tonic::{Extensions, Status, metadata::MetadataMap};

use super::limit::Limiter;
use crate::{distribute::PodIdentity, listen::Peer, metrics::Metrics};

/// A confirmed token counts this long without another question, a denied one so long.
const KEPT: Duration = Duration::from_secs(30);
const DENIED: Duration = Duration::from_secs(5);
/// Tokens that are remembered; beyond it, those that have to be asked about again are forgotten.
const REMEMBERED: usize = 20_000;
/// Questions to the API server at once, and how long one may take.
const CONCURRENT: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions that one address may cause at once, and then.
const QUESTIONS: (u32, Duration) = (8, Duration::from_secs(2));
/// Streams that one pod may open at once, and then: it needs one for each Connection, and two.
const STREAMS: (u32, Duration) = (256, Duration::from_millis(250));
/// Longer tokens are none.
const TOKEN: usize = 16 * 1024;
/// Where TokenReview says which pod a token is bound to.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Asks the API server who callers are.
pub(super) struct Identities {
    client: Client,
    known: Mutex<HashMap<[u8; 32], Arc<Seen>>>,
    slots: Semaphore,
    questions: Limiter<IpAddr>,
    streams: Limiter<String>,
    metrics: Metrics,
}

/// One token. Who comes with it while it is asked about waits for the same answer.
#[derive(Default)]
struct Seen(Turn<Option<(Option<PodIdentity>, Instant)>>);

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identities").finish_non_exhaustive()
    }
}

impl Identities {
    pub(super) fn new(client: Client, metrics: Metrics) -> Self {
        Self {
            client,
            known: Mutex::default(),
            slots: Semaphore::new(CONCURRENT),
            questions: Limiter::new(QUESTIONS.0, QUESTIONS.1),
            streams: Limiter::new(STREAMS.0, STREAMS.1),
            metrics,
        }
    }

    /// The pod whose token came with a call.
    pub(super) async fn of(
        &self,
        metadata: &MetadataMap,
        extensions: &Extensions,
    ) -> Result<PodIdentity, Status> {
        let token = metadata.get("authorization").and_then(|value| value.to_str().ok());
        let token =
            token.and_then(|value| value.strip_prefix("Bearer ")).filter(|token| token.len() <= TOKEN);
        let token = token.ok_or_else(|| Status::unauthenticated("a bearer token is needed"))?;
        let peer = extensions.get::<Peer>().map(|Peer(address)| *address);
        let identity = self.identify(token, peer).await?;
        let identity = identity
            .ok_or_else(|| Status::unauthenticated("the token is not one of a pod for this audience"))?;
        if !self.streams.take(identity.uid.clone(), Instant::now()) {
            self.metrics.token("limited");
            return Err(Status::resource_exhausted("the pod opens too many streams; it may try again"));
        }
        Ok(identity)
    }

    /// Whose token it is; nobody's when the API server says so.
    async fn identify(&self, token: &str, peer: Option<IpAddr>) -> Result<Option<PodIdentity>, Status> {
        let seen = self.seen(compile::digest(token.as_bytes()));
        let mut turn = seen.0.lock().await;
        if let Some((answer, at)) = &*turn
            && at.elapsed() < if answer.is_some() { KEPT } else { DENIED }
        {
            self.metrics.token("remembered");
            return Ok(answer.clone());
        }
        if peer.is_some_and(|peer| !self.questions.take(peer, Instant::now())) {
            self.metrics.token("limited");
            return Err(Status::resource_exhausted(
                "too many tokens come from this address; it may try again",
            ));
        }
        let answer = self.review(token).await.inspect_err(|_| self.metrics.token("unavailable"))?;
        self.metrics.token(if answer.is_some() { "confirmed" } else { "denied" });
        *turn = Some((answer.clone(), Instant::now()));
        Ok(answer)
    }

    fn seen(&self, hash: [u8; 32]) -> Arc<Seen> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            // Who holds one now keeps it, and is asked about once more at worst.
            known.retain(|_, seen| {
                seen.0.try_lock().is_ok_and(|seen| seen.as_ref().is_some_and(|(_, at)| at.elapsed() < KEPT))
            });
        }
        if known.len() >= REMEMBERED {
            known.clear();
        }
        Arc::clone(known.entry(hash).or_default())
    }

    async fn review(&self, token: &str) -> Result<Option<PodIdentity>, Status> {
        let unavailable = || Status::unavailable("the token cannot be checked now");
        let _slot = self.slots.acquire().await.map_err(|_| unavailable())?;
        let spec = TokenReviewSpec {
            token: Some(token.to_owned()),
            audiences: Some(vec![::channel::TOKEN_AUDIENCE.to_owned()]),
        };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let params = PostParams::default();
        let asked = timeout(PATIENCE, reviews.create(&params, &review)).await;
        let answer = asked.map_err(|_| unavailable())?.map_err(|_| unavailable())?;
        Ok(identity(&answer))
    }
}

/// The pod that a review confirms; none when anything is missing.
fn identity(review: &TokenReview) -> Option<PodIdentity> {
    let status = review.status.as_ref()?;
    let ours = status.audiences.iter().flatten().any(|audience| audience == ::channel::TOKEN_AUDIENCE);
    if status.authenticated != Some(true) || !ours {
        return None;
    }
    let UserInfo { username, extra, .. } = status.user.as_ref()?;
    let account = username.as_ref()?.strip_prefix("system:serviceaccount:")?;
    let (namespace, service_account) = account.split_once(':')?;
    let one = |key: &str| match extra.as_ref()?.get(key)?.as_slice() {
        [value] => Some(value.clone()),
        _ => None,
    };
    Some(PodIdentity {
        namespace: namespace.to_owned(),
        name: one(POD_NAME)?,
        uid: one(POD_UID)?,
        service_account: service_account.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn review(status: &serde_json::Value) -> Option<PodIdentity> {
        let review = json!({"metadata": {}, "spec": {}, "status": status});
        identity(&serde_json::from_value(review).expect("a review"))
    }

    #[test]
    fn a_bound_token_of_our_audience_names_its_pod() {
        let found = review(&json!({
            "authenticated": true, "audiences": ["chaperone.dev"],
            "user": {"username": "system:serviceaccount:agents:planner",
                "extra": {POD_NAME: ["planner-0"], POD_UID: ["u-1"]}},
        }));
        assert_eq!(
            found.map(|pod| (pod.namespace, pod.name, pod.uid, pod.service_account)),
            Some(("agents".into(), "planner-0".into(), "u-1".into(), "planner".into()))
        );
    }

    #[test]
    fn everything_else_is_nobody() {
        let user =
            json!({"username": "system:serviceaccount:a:b", "extra": {POD_NAME: ["p"], POD_UID: ["u"]}});
        for status in [
            json!({"authenticated": false, "audiences": ["chaperone.dev"], "user": user}),
            json!({"authenticated": true, "audiences": ["https://kubernetes.default.svc"], "user": user}),
            json!({"authenticated": true, "user": user}),
            json!({"authenticated": true, "audiences": ["chaperone.dev"], "user": {"username": "system:admin"}}),
            json!({"authenticated": true, "audiences": ["chaperone.dev"],
                "user": {"username": "system:serviceaccount:a:b", "extra": {POD_NAME: ["p"]}}}),
            json!({"authenticated": true, "audiences": ["chaperone.dev"],
                "user": {"username": "system:serviceaccount:a:b", "extra": {POD_NAME: ["p"], POD_UID: ["u", "v"]}}}),
        ] {
            assert_eq!(review(&status), None, "{status}");
        }
    }
}
