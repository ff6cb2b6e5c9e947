//! Who calls: a service-account token of our audience, bound to a living pod, as the API server confirms.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tonic::{Status, metadata::MetadataMap};

use crate::distribute::PodIdentity;

/// A confirmed token counts this long without another question.
const KEPT: Duration = Duration::from_secs(30);
/// Confirmed tokens that are remembered; beyond it, all are asked about again.
const REMEMBERED: usize = 20_000;
/// Questions to the API server at once, and how long one may take.
const CONCURRENT: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);
/// Longer tokens are none.
const TOKEN: usize = 16 * 1024;
/// Where TokenReview says which pod a token is bound to.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Asks the API server who callers are.
pub(super) struct Identities {
    client: Client,
    known: Mutex<HashMap<[u8; 32], (PodIdentity, Instant)>>,
    slots: Arc<Semaphore>,
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identities").finish_non_exhaustive()
    }
}

impl Identities {
    pub(super) fn new(client: Client) -> Self {
        Self { client, known: Mutex::default(), slots: Arc::new(Semaphore::new(CONCURRENT)) }
    }

    /// The pod whose token came with a call.
    pub(super) async fn of(&self, metadata: &MetadataMap) -> Result<PodIdentity, Status> {
        let token = metadata.get("authorization").and_then(|value| value.to_str().ok());
        let token =
            token.and_then(|value| value.strip_prefix("Bearer ")).filter(|token| token.len() <= TOKEN);
        let token = token.ok_or_else(|| Status::unauthenticated("a bearer token is needed"))?;
        let hash = compile::digest(token.as_bytes());
        if let Some(known) = self.remembered(&hash) {
            return Ok(known);
        }
        let identity = self.review(token).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(hash, (identity.clone(), Instant::now()));
        Ok(identity)
    }

    fn remembered(&self, hash: &[u8; 32]) -> Option<PodIdentity> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (identity, at) = known.get(hash)?;
        (at.elapsed() < KEPT).then(|| identity.clone())
    }

    async fn review(&self, token: &str) -> Result<PodIdentity, Status> {
        let unavailable = |_| Status::unavailable("the token cannot be checked now");
        let _slot = self.slots.acquire().await.map_err(|_| Status::unavailable("the channel is ending"))?;
        let spec = TokenReviewSpec {
            token: Some(token.to_owned()),
            audiences: Some(vec![::channel::TOKEN_AUDIENCE.to_owned()]),
        };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let params = PostParams::default();
        let asked = timeout(PATIENCE, reviews.create(&params, &review)).await;
        let answer = asked
            .map_err(|_| Status::unavailable("the token cannot be checked now"))?
            .map_err(unavailable)?;
        identity(&answer)
            .ok_or_else(|| Status::unauthenticated("the token is not one of a pod for this audience"))
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
