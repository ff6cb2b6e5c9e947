//! What the tests of injection and admission share.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use chaperone_operator::webhook::settings::{Dns, Ports, Settings};
use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};
use serde::Deserialize;

/// What every injected pod gets.
pub(crate) fn settings() -> Settings {
    let amount = |cpu: &str, memory: &str| {
        BTreeMap::from(
            [("cpu", cpu), ("memory", memory)].map(|(k, v)| (k.to_owned(), Quantity(v.to_owned()))),
        )
    };
    Settings {
        image: "chaperone-sidecar:0.1.0".to_owned(),
        image_pull_policy: "IfNotPresent".to_owned(),
        version: "0.1.0".to_owned(),
        operator_address: "https://chaperone-channel.chaperone-system.svc:9443".to_owned(),
        ports: Ports::default(),
        resources: ResourceRequirements {
            requests: Some(amount("10m", "32Mi")),
            limits: Some(BTreeMap::from([("memory".to_owned(), Quantity("256Mi".to_owned()))])),
            claims: None,
        },
        log_level: "info".to_owned(),
        spool_mebibytes: 64,
        dns: Dns::Cluster,
    }
}

/// The cases' folder.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inject")
}

/// Reads a YAML file.
pub(crate) fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
