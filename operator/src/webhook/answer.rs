//! From a question to its answer: fetch, then decide.

use k8s_openapi::api::core::v1::Pod;

use super::{
    Webhooks,
    admit::{
        ours::is_part_of,
        pod::{self, Expectation},
        resources, secrets,
    },
    connections,
    fetch::FetchError,
    inject,
    review::{Answer, Operation, Request},
    settings::{Injection, Namespace, Refusal, UIDS, Variable},
    wanted::Wanted,
};

/// Why there is no yes.
pub(super) enum No {
    Refused(Refusal),
    Unknown(FetchError),
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<FetchError> for No {
    fn from(error: FetchError) -> Self {
        Self::Unknown(error)
    }
}

impl Webhooks {
    /// Changes a pod that is created.
    pub(super) async fn inject(&self, request: &Request) -> Result<Answer, No> {
        if request.operation != Operation::Create || request.sub_resource.is_some() {
            return Ok(Answer::admitted());
        }
        let object = request.new_object()?;
        let namespace = self.fetch.namespace(&request.namespace).await?;
        let environment = self.environment(&inject::read(object)?, &namespace).await?;
        let roots = self.certs.bundle();
        let injection = Injection {
            settings: &self.settings,
            roots: &roots,
            namespace: &namespace,
            environment: &environment,
            sidecar_uid: rand::random_range(UIDS),
        };
        let injected = inject::inject(object, &injection)?;
        Ok(Answer::Admitted { patch: injected.patch, warnings: injected.warnings })
    }

    /// Checks a pod after every mutation, and changes of and connections to living ones.
    pub(super) async fn validate_pod(&self, request: &Request) -> Result<Answer, No> {
        let subresource = request.sub_resource.as_deref();
        match (request.operation, subresource) {
            // What ends a pod or gives it to a node changes nothing of it.
            (Operation::Delete, _) | (_, Some("eviction" | "binding")) => {}
            (Operation::Connect, subresource) => {
                let namespace = self.fetch.namespace(&request.namespace).await?;
                pod::connected(subresource.unwrap_or_default(), request.new_object()?, &namespace)?;
            }
            (Operation::Create, None) => self.validate_new_pod(request).await?,
            (Operation::Create | Operation::Update, _) => {
                let namespace = self.fetch.namespace(&request.namespace).await?;
                pod::updated(request.previous_object()?, request.new_object()?, &namespace, &self.settings)?;
            }
        }
        Ok(Answer::admitted())
    }

    async fn validate_new_pod(&self, request: &Request) -> Result<(), No> {
        let object = request.new_object()?;
        let namespace = self.fetch.namespace(&request.namespace).await?;
        // Another replica may have read new roots before this one.
        if pod::operator_roots(object).is_some_and(|roots| !is_part_of(roots, &self.certs.bundle())) {
            self.certs.refresh().await;
        }
        let roots = self.certs.bundle();
        let expectation = Expectation { settings: &self.settings, roots: &roots, namespace: &namespace };
        let admitted = pod::created(object, expectation)?;
        let secrets = admitted.as_ref().map(secrets::of_agents).unwrap_or_default();
        if !secrets.is_empty() {
            let connections = self.fetch.connections(&namespace.name).await?;
            secrets::check(&secrets, &connections)?;
        }
        Ok(())
    }

    /// Checks a Connection, and that its author may read the Secrets that it sends.
    pub(super) async fn validate_connection(&self, request: &Request) -> Result<Answer, No> {
        let old = request.old_object.as_ref();
        if request.operation == Operation::Delete {
            return Ok(Answer::admitted());
        }
        let object = request.new_object()?;
        if resources::is_unchanged(old, object) {
            return Ok(Answer::admitted());
        }
        let connection = resources::connection(object)?;
        resources::in_pods(&connection, &self.settings.ports)?;
        for secret in resources::secrets_to_read(old, object, &connection) {
            if !self.fetch.may_read_secret(&request.user_info, &request.namespace, secret).await? {
                let user = request.user_info.username.as_deref().unwrap_or_default();
                return Err(resources::unreadable_secret(user, &request.namespace, secret).into());
            }
        }
        Ok(Answer::Admitted {
            patch: json_patch::Patch::default(),
            warnings: resources::warnings(&connection),
        })
    }

    /// From the Connections that the pod names; empty if it is not to be injected.
    async fn environment(&self, pod: &Pod, namespace: &Namespace) -> Result<Vec<Variable>, No> {
        if Wanted::by(namespace, &pod.metadata)? == Wanted::No {
            return Ok(Vec::new());
        }
        let Some(named) = connections::named(pod, &namespace.name)? else { return Ok(Vec::new()) };
        let mut found = Vec::with_capacity(named.len());
        for key in named {
            let connection = connections::usable(&key, self.fetch.connection(&key).await?, &namespace.name)?;
            found.push((key, connection));
        }
        Ok(connections::environment(&found, pod, &namespace.name)?)
    }
}

/// Checks an AccessPolicy.
pub(super) fn validate_policy(request: &Request) -> Result<Answer, No> {
    if request.operation == Operation::Delete {
        return Ok(Answer::admitted());
    }
    let object = request.new_object()?;
    if resources::is_unchanged(request.old_object.as_ref(), object) {
        return Ok(Answer::admitted());
    }
    let policy = resources::policy(object)?;
    let warnings = resources::policy_warnings(&policy);
    Ok(Answer::Admitted { patch: json_patch::Patch::default(), warnings })
}
