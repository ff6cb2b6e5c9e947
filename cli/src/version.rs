//! `version`: this plugin's, and the operator's by its image.

use std::process::ExitCode;

use crate::{args::ClusterArguments, cluster::Cluster, output::line};

pub(crate) async fn run(arguments: &ClusterArguments) -> anyhow::Result<ExitCode> {
    line(&format!("plugin    {}", env!("CARGO_PKG_VERSION")))?;
    let replicas = match Cluster::connect(arguments).await {
        Ok(cluster) => cluster.replicas().await,
        Err(error) => Err(error),
    };
    match replicas {
        Ok(pods) => {
            for pod in pods {
                let name = pod.metadata.name.unwrap_or_default();
                let images = pod.spec.into_iter().flat_map(|spec| spec.containers).filter_map(|c| c.image);
                line(&format!("operator  {name}  {}", images.collect::<Vec<_>>().join(", ")))?;
            }
        }
        Err(error) => line(&format!("operator  unknown: {error:#}"))?,
    }
    Ok(ExitCode::SUCCESS)
}
