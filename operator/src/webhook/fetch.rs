//! What the webhooks ask the API server: always live, since a watch may lag behind the very objects
//! that were applied together with the pod.

use k8s_openapi::api::{
    authentication::v1::UserInfo,
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    core::v1 as core,
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};

use super::{connections::Found, settings::Namespace};

/// The API server did not say.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be found out")]
pub(super) struct FetchError {
    what: String,
    source: Box<kube::Error>,
}

/// Reads what admission depends on.
#[derive(Clone)]
pub(super) struct Fetch {
    client: Client,
}

impl std::fmt::Debug for Fetch {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Fetch")
    }
}

impl Fetch {
    pub(super) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// A namespace with its labels.
    pub(super) async fn namespace(&self, name: &str) -> Result<Namespace, FetchError> {
        let namespaces: Api<core::Namespace> = Api::all(self.client.clone());
        let found = namespaces
            .get_metadata(name)
            .await
            .map_err(|error| failed(format!("the namespace `{name}`"), error))?;
        Ok(Namespace { name: name.to_owned(), labels: found.metadata.labels.unwrap_or_default() })
    }

    /// A Connection, if it is there.
    pub(super) async fn connection(&self, key: &str) -> Result<Option<Found>, FetchError> {
        let (namespace, name) = key.split_once('/').unwrap_or(("", key));
        let connections: Api<Found> = Api::namespaced(self.client.clone(), namespace);
        connections.get_opt(name).await.map_err(|error| failed(format!("the Connection `{key}`"), error))
    }

    /// All Connections of a namespace.
    pub(super) async fn connections(&self, namespace: &str) -> Result<Vec<Found>, FetchError> {
        let connections: Api<Found> = Api::namespaced(self.client.clone(), namespace);
        let found = connections.list(&ListParams::default()).await;
        let found = found.map_err(|error| failed(format!("the Connections of `{namespace}`"), error))?;
        Ok(found.items)
    }

    /// Whether this user may `get` the Secret.
    pub(super) async fn may_read_secret(
        &self,
        user: &UserInfo,
        namespace: &str,
        name: &str,
    ) -> Result<bool, FetchError> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: user.username.clone(),
                uid: user.uid.clone(),
                groups: user.groups.clone(),
                extra: user.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(namespace.to_owned()),
                    verb: Some("get".to_owned()),
                    resource: Some("secrets".to_owned()),
                    version: Some("v1".to_owned()),
                    name: Some(name.to_owned()),
                    ..Default::default()
                }),
                ..Default::default()
            },
            ..Default::default()
        };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|error| failed(format!("who may read the secret `{name}`"), error))?;
        Ok(answer.status.is_some_and(|status| status.allowed && status.denied != Some(true)))
    }
}

fn failed(what: String, error: kube::Error) -> FetchError {
    FetchError { what, source: Box::new(error) }
}
