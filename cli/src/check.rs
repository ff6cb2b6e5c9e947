//! `check`: whether an installation is healthy, and what to do where it is not.
//!
//! It only reads; the one pod that it creates is a dry run. What the person may not see is a warning that says so.

mod certificate;
mod kubernetes;
mod operator;
mod report;
mod resources;
mod webhooks;
mod workloads;

use std::process::ExitCode;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::{
    args::{CheckArguments, ClusterArguments, Output},
    cluster::Cluster,
    output::line,
};
use report::{Level, Report};

/// What one check found that others need.
#[derive(Default)]
struct Seen {
    /// The operator's running pods.
    replicas: Vec<Pod>,
    /// The operator's version.
    version: Option<String>,
}

pub(crate) async fn run(cluster: &ClusterArguments, arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let trial = cluster.namespace.as_deref();
    let cluster = Cluster::connect(cluster).await?;
    let report = look(&cluster, trial).await;
    match arguments.output {
        Output::Json => line(&serde_json::to_string_pretty(&report.json())?)?,
        Output::Text => report.lines().iter().try_for_each(|text| line(text))?,
    }
    Ok(if report.worst() == Level::Fail { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// `trial` is the namespace in which a pod is tried, if the person named one.
async fn look(cluster: &Cluster, trial: Option<&str>) -> Report {
    let mut report = Report::default();
    let mut seen = Seen::default();
    if !kubernetes::server(cluster, &mut report).await {
        return report;
    }
    let installed = kubernetes::definitions(cluster, &mut report).await;
    operator::replicas(cluster, &mut report, &mut seen).await;
    operator::leader(cluster, &mut report, Timestamp::now()).await;
    operator::channel(cluster, &mut report).await;
    operator::records(cluster, &mut report, &seen).await;
    webhooks::configurations(cluster, &mut report, &seen).await;
    webhooks::answer(cluster, &mut report, trial).await;
    workloads::namespaces(cluster, &mut report).await;
    workloads::versions(cluster, &mut report, &seen).await;
    if installed {
        resources::connections(cluster, &mut report).await;
        resources::policies(cluster, &mut report).await;
    }
    report
}
