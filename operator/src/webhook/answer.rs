//! From a question to its answer: fetch, then decide.

use serde_json::Value;

use super::{
    Webhooks,
    admit::pod::{self, Expectation},
    fetch::FetchError,
    inject,
    review::{Answer, Operation, Request},
    settings::{Injection, Refusal, UIDS},
};

/// Ends a fetch with an answer of its own.
type Answered<T> = Result<Result<T, Refusal>, FetchError>;

impl Webhooks {
    pub(super) async fn inject(&self, request: &Request) -> Result<Answer, FetchError> {
        if request.operation != Operation::Create || request.sub_resource.is_some() {
            return Ok(Answer::admitted());
        }
        let object = match request.new_object() {
            Ok(object) => object,
            Err(refusal) => return Ok(Answer::Refused(refusal)),
        };
        let namespace = self.fetch.namespace(&request.namespace).await?;
        let environment = match self.environment(object, &request.namespace).await? {
            Ok(environment) => environment,
            Err(refusal) => return Ok(Answer::Refused(refusal)),
        };
        let roots = self.roots.borrow().clone();
        let injection = Injection {
            settings: &self.settings,
            roots: &roots,
            namespace: &namespace,
            environment: &environment,
            sidecar_uid: rand::random_range(UIDS),
        };
        Ok(match inject::inject(object, &injection) {
            Ok(injected) => Answer::Admitted { patch: injected.patch, warnings: injected.warnings },
            Err(refusal) => Answer::Refused(refusal),
        })
    }

    pub(super) async fn validate_pod(&self, request: &Request) -> Result<Answer, FetchError> {
        let namespace = self.fetch.namespace(&request.namespace).await?;
        let object = match (request.operation, request.new_object()) {
            (Operation::Delete, _) => return Ok(Answer::admitted()),
            (_, Ok(object)) => object,
            (_, Err(refusal)) => return Ok(Answer::Refused(refusal)),
        };
        Ok(match (request.operation, request.sub_resource.as_deref()) {
            (Operation::Connect, subresource) => pod::connected(subresource.unwrap_or_default(), object, &namespace),
            (Operation::Create, None) => {
                let roots = self.roots.borrow().clone();
                pod::created(object, Expectation { settings: &self.settings, roots: &roots, namespace: &namespace })
            }
            (Operation::Create | Operation::Update | Operation::Delete, _) => match &request.old_object {
                Some(old) => pod::updated(old, object, &namespace, &self.settings),
                None => Err(Refusal::new("the request has no old object", "send one")),
            },
        }
        .into())
    }
}
impl Webhooks {
    async fn environment(&self, _: &Value, _: &str) -> Answered<Vec<super::settings::Variable>> { Ok(Ok(vec![])) }
    pub(super) async fn validate_connection(&self, _: &Request) -> Result<Answer, FetchError> { Ok(Answer::Refused(Refusal::new("", ""))) }
    pub(super) fn validate_policy(&self, _: &Request) -> Result<Answer, FetchError> { Ok(Answer::Refused(Refusal::new("", ""))) }
}
