//! Without a cluster: the same resources from a directory, the same document, the same data path.
//!
//! The only part of the sidecar that sees `api` and `compile`.

pub mod socket;
pub mod store;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use audit::PodRef;
use compile::{
    Inputs, Pod, document,
    files::{self, Files},
};
use policy::{DnsMode, Document, Generation};
use secrecy::SecretSlice;
use tokio::{sync::mpsc, task::JoinSet, time::interval};
use tracing::{info, warn};

use crate::{
    args::{CheckArguments, StandaloneArguments},
    credentials::{Credentials, Lease},
    exit::Failure,
    policy::{Current, Documents, PodIdentity},
};
use socket::Reload;

/// How often the directory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A directory is always there to be heard: its documents never become stale.
const NEVER_STALE: u64 = 10 * 365 * 24 * 3600;
/// The largest file that is read, in bytes.
const FILE_LIMIT: u64 = 4 * 1024 * 1024;

/// A directory of resources, followed.
#[derive(Debug)]
pub struct Source {
    dir: PathBuf,
    pod: Pod,
    identity: PodIdentity,
    documents: Documents,
    credentials: Credentials,
    generation: Generation,
    seen: Vec<(String, String)>,
}

impl Source {
    /// Follows `dir` for the pod that the arguments name.
    #[must_use]
    pub fn new(
        dir: PathBuf,
        arguments: &StandaloneArguments,
        documents: Documents,
        credentials: Credentials,
    ) -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let identity = PodIdentity {
            namespace: arguments.namespace.clone(),
            pod: arguments.pod.clone(),
            uid: String::new(),
            service_account: arguments.service_account.clone(),
        };
        let pod = pod(&arguments.namespace, &arguments.service_account, &arguments.labels);
        let generation = Generation { epoch, sequence: 0 };
        Self { dir, pod, identity, documents, credentials, generation, seen: Vec::new() }
    }

    /// Whose records these are.
    #[must_use]
    pub fn pod_ref(&self) -> PodRef {
        let PodIdentity { namespace, pod, uid, service_account } = self.identity.clone();
        PodRef { namespace, pod, uid, service_account }
    }

    /// Reads the directory, which must be in order at first, and follows it. Returns the way to ask for a
    /// reload.
    ///
    /// # Errors
    /// When a resource cannot be used.
    pub async fn start(
        mut self,
        tasks: &mut JoinSet<anyhow::Result<()>>,
    ) -> Result<mpsc::Sender<Reload>, Failure> {
        self.load(read_files(&self.dir)?).map_err(Failure::Resource)?;
        let (reloads, asked) = mpsc::channel(1);
        tasks.spawn(self.follow(asked));
        Ok(reloads)
    }

    async fn follow(mut self, mut asked: mpsc::Receiver<Reload>) -> anyhow::Result<()> {
        let mut look = interval(LOOK_EVERY);
        loop {
            let done = tokio::select! {
                _ = look.tick() => None,
                done = asked.recv() => Some(done.context("the control socket ended")?),
            };
            self.documents.heard();
            let loaded = self.look();
            if let Err(problem) = &loaded {
                warn!(problem, "the resources are not taken; the old ones stay in force");
            }
            if let Some(done) = done {
                let documents = self.documents.clone();
                let generation = self.generation;
                tokio::spawn(async move {
                    documents.live(generation).await;
                    // Whoever asked may have gone.
                    drop(done.send(loaded.map(|()| generation.to_string())));
                });
            }
        }
    }

    /// Loads the directory when it has changed since it was last looked at.
    fn look(&mut self) -> Result<(), String> {
        let files = read_files(&self.dir).map_err(|error| error.to_string())?;
        if files == self.seen { Ok(()) } else { self.load(files) }
    }

    fn load(&mut self, texts: Vec<(String, String)>) -> Result<(), String> {
        let files = read(&texts, &self.pod.namespace)?;
        self.seen = texts;
        self.publish_leases(&files);
        self.generation.sequence += 1;
        let generation = self.generation;
        let document = Arc::new(compiled(&files, &self.pod));
        let current = Current { generation, document, pod: self.identity.clone() };
        self.documents.publish(current).map_err(|error| error.to_string())?;
        info!(generation = %generation, "a generation is in force");
        Ok(())
    }

    fn publish_leases(&self, files: &Files) {
        let names: BTreeSet<String> = files.connections().map(str::to_owned).collect();
        self.credentials.retain(&names);
        for name in &names {
            match files.login(name) {
                Ok(None) => {}
                Ok(Some(login)) => {
                    // The password itself is never part of anything that is shown.
                    let version =
                        compile::digest(&[login.username.as_bytes(), b"\0", &login.password].concat());
                    let version = version.iter().map(|byte| format!("{byte:02x}")).collect();
                    let password = SecretSlice::from(login.password.to_vec());
                    let lease = Lease { version, username: login.username, password, valid_for: None };
                    self.credentials.publish(name, lease);
                }
                Err(reason) => self.credentials.withdraw(name, &reason),
            }
        }
    }
}

fn pod(namespace: &str, service_account: &str, labels: &[(String, String)]) -> Pod {
    Pod {
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
        labels: labels.iter().cloned().collect(),
        connections: None,
    }
}

fn compiled(files: &Files, pod: &Pod) -> Document {
    let (connections, policies) = files.inputs();
    let inputs = Inputs {
        connections: &connections,
        policies: &policies,
        dns: DnsMode::ConnectionsOnly,
        stale_after_seconds: NEVER_STALE,
    };
    document(&inputs, pod)
}

/// The resources in some texts, or one line per finding.
fn read(texts: &[(String, String)], namespace: &str) -> Result<Files, String> {
    files::read(texts, namespace).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

/// The YAML files of a directory by name.
fn read_files(dir: &Path) -> Result<Vec<(String, String)>, Failure> {
    let read = || -> io::Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
            if !is_yaml {
                continue;
            }
            if fs::metadata(&path)?.len() > FILE_LIMIT {
                return Err(io::Error::other(format!("{}: larger than {FILE_LIMIT} bytes", path.display())));
            }
            found.push((path.display().to_string(), fs::read_to_string(&path)?));
        }
        found.sort();
        Ok(found)
    };
    read().map_err(|error| Failure::Resource(format!("`{}` cannot be read: {error}", dir.display())))
}

/// `check --standalone`: says what is wrong, or prints the effective rules.
///
/// # Errors
/// When a resource cannot be used, or the terminal is gone.
pub fn check(arguments: &CheckArguments) -> Result<(), Failure> {
    use std::io::Write;

    let texts = read_files(&arguments.standalone)?;
    let files = read(&texts, &arguments.namespace).map_err(Failure::Resource)?;
    let pod = pod(&arguments.namespace, &arguments.service_account, &arguments.labels);
    let text =
        serde_json::to_string_pretty(&compiled(&files, &pod)).context("the document cannot be written")?;
    writeln!(io::stdout(), "{text}").context("standard output")?;
    Ok(())
}
