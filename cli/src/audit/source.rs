//! Where segments are read from: the operator's replicas, or directories.

use std::{fmt, fs, path::PathBuf, sync::Arc};

use anyhow::Context;
use serde::Deserialize;

use crate::{
    args::{ClusterArguments, SourceArguments},
    cluster::Cluster,
};

/// One store of segments.
pub(crate) enum Source {
    /// A replica of the operator.
    Replica { cluster: Arc<Cluster>, name: String },
    /// A directory: a standalone sidecar's, or a copy of a replica's volume.
    Directory(PathBuf),
}

#[derive(Deserialize)]
struct Page {
    names: Vec<String>,
    more: bool,
}

impl Source {
    /// Every store that the arguments mean.
    pub(crate) async fn open_all(
        cluster: &ClusterArguments,
        arguments: &SourceArguments,
    ) -> anyhow::Result<Vec<Self>> {
        if !arguments.directories.is_empty() {
            return Ok(arguments.directories.iter().cloned().map(Self::Directory).collect());
        }
        let cluster = Arc::new(Cluster::connect(cluster).await?);
        let names = cluster.replicas().await?.into_iter().filter_map(|pod| pod.metadata.name);
        Ok(names.map(|name| Self::Replica { cluster: Arc::clone(&cluster), name }).collect())
    }

    /// The names of segments behind `after`, in order.
    pub(crate) async fn names_after(&self, after: &str) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Directory(path) => {
                let mut names = Vec::new();
                let entries = fs::read_dir(path).with_context(|| format!("reading `{}`", path.display()))?;
                for entry in entries {
                    let name = entry?.file_name().to_string_lossy().into_owned();
                    if name.ends_with(".segment.jsonl") && name.as_str() > after {
                        names.push(name);
                    }
                }
                names.sort();
                Ok(names)
            }
            Self::Replica { cluster, name } => {
                let mut names: Vec<String> = Vec::new();
                loop {
                    let last = names.last().map_or(after, String::as_str);
                    let page = cluster.read(name, &format!("/v1/segments?after={last}")).await?;
                    let page: Page = serde_json::from_slice(&page)?;
                    names.extend(page.names);
                    if !page.more {
                        return Ok(names);
                    }
                }
            }
        }
    }

    /// One segment's bytes.
    pub(crate) async fn read(&self, segment: &str) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Directory(path) => {
                let file = path.join(segment);
                fs::read(&file).with_context(|| format!("reading `{}`", file.display()))
            }
            Self::Replica { cluster, name } => cluster.read(name, &format!("/v1/segments/{segment}")).await,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replica { name, .. } => f.write_str(name),
            Self::Directory(path) => path.display().fmt(f),
        }
    }
}
