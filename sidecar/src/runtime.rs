//! What each command does: builds the parts, joins them, and ends them in order.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use ::policy::Durability;
use anyhow::Context;
use audit::{Event, PodRef};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    admin::{Admin, Face},
    args::{CheckArguments, FenceArguments, RunArguments},
    capture,
    connection::{Connections, Handles},
    control::{self, Endpoint, Link, Upload},
    credentials::Credentials,
    dns::{self, Dns, resolver::ResolvConf},
    exit::Failure,
    fence::Fence,
    policy::{Documents, PodIdentity},
    recorder::{Recorder, ship},
    standalone,
};

/// How long live sessions get to finish when the process ends.
const DRAIN: Duration = Duration::from_secs(10);
/// How long the last records get to reach the store.
const LAST_RECORDS: Duration = Duration::from_secs(5);

/// `fence`.
///
/// # Errors
/// When the kernel refuses the rules.
pub fn fence(arguments: FenceArguments) -> Result<(), Failure> {
    let FenceArguments { sidecar_uid, capture_port, dns_port } = arguments;
    let fence = Fence { sidecar_uid, capture_port, dns_port };
    fence.raise().context("the fence cannot be put up")?;
    info!(sidecar_uid, capture_port, dns_port, "the fence is up");
    Ok(())
}

/// `check`.
///
/// # Errors
/// When a resource cannot be used.
pub fn check(arguments: &CheckArguments) -> Result<(), Failure> {
    standalone::check(arguments)
}

/// `run`.
///
/// # Errors
/// When a part cannot be started, or fails for good.
pub fn run(arguments: RunArguments) -> Result<(), Failure> {
    // Fails only when a provider was chosen before, and nothing did.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        warn!(error = %error, "core dumps of this process cannot be turned off");
    }
    // The data path has threads of its own; see `workers`.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("the runtime cannot be started")?;
    runtime.block_on(async {
        match arguments.standalone.clone() {
            Some(dir) => run_standalone(arguments, dir).await,
            None => run_in_pod(arguments).await,
        }
    })
}

/// The parts that both modes share.
struct Parts {
    handles: Handles,
    connections: Connections,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Parts {
    fn start(arguments: &RunArguments, spool: &Path) -> Result<Self, Failure> {
        let recorder = Recorder::open(spool, arguments.spool_size).context("the spool cannot be opened")?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        // Survives in the spool; nobody waits for it.
        drop(
            recorder
                .record(&Event::ProcessStart { version }, Durability::Process)
                .context("the spool is full")?,
        );
        let handles = Handles {
            documents: Documents::new(),
            credentials: Credentials::new(),
            recorder,
            shutdown: CancellationToken::new(),
        };
        let workers = match arguments.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let connections =
            Connections::start(handles.clone(), workers).context("workers cannot be started")?;
        Ok(Self { handles, connections, tasks: JoinSet::new() })
    }

    /// Runs until a signal or a part that fails for good; then drains.
    async fn serve(mut self) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate()).context("signals cannot be received")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("signals cannot be received")?;
        let ended = tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            Some(task) = self.tasks.join_next() => task.context("a part of the sidecar ended by a defect").flatten(),
        };
        info!(sessions = self.connections.open(), "ending");
        self.handles.shutdown.cancel();
        if !self.connections.drained(DRAIN).await {
            warn!(sessions = self.connections.open(), "sessions are cut off");
        }
        drop(self.handles.recorder.record(&Event::ProcessEnd, Durability::Process));
        ended
    }
}

/// Waits a moment for the store to take what is left. The rest stays in the spool.
async fn last_records(recorder: &Recorder) {
    let empty = async {
        while recorder.waiting_bytes() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(LAST_RECORDS, empty).await.is_err() {
        warn!(bytes = recorder.waiting_bytes(), "records stay in the spool");
    }
}

async fn run_in_pod(arguments: RunArguments) -> Result<(), Failure> {
    let directory = arguments.spool_dir.clone().unwrap_or_default();
    let spool = directory.join("spool");
    let mut parts = Parts::start(&arguments, &spool)?;
    let endpoint = Endpoint {
        address: arguments.operator_address.clone().unwrap_or_default(),
        roots: arguments.operator_root.clone().unwrap_or_default(),
        roots_file: directory.join("roots.pem"),
        token_file: arguments.token_file.clone(),
    };
    let link = Link::new(endpoint).map_err(|error| Failure::Arguments(error.to_string()))?;
    let Handles { documents, credentials, recorder, shutdown: _ } = parts.handles.clone();
    serve_pod(&mut parts, &arguments).await?;
    // These outlive the drain: the last records go up after the last session ended.
    let mut channel = JoinSet::new();
    let (identity, known) = watch::channel(None);
    channel.spawn(control::follow_documents(link.clone(), documents.clone(), identity));
    channel.spawn(control::follow_leases(link.clone(), documents, credentials));
    channel.spawn(ship_records(recorder.clone(), known, Upload::new(link)));
    let ended = parts.serve().await;
    last_records(&recorder).await;
    ended.map_err(Failure::from)
}

/// The listeners that only a pod has: captured traffic, DNS, health, metrics.
async fn serve_pod(parts: &mut Parts, arguments: &RunArguments) -> anyhow::Result<()> {
    let Handles { documents, recorder, .. } = parts.handles.clone();
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let resolv = fs::read_to_string("/etc/resolv.conf").context("resolv.conf cannot be read")?;
    let dns = Dns::new(documents.clone(), recorder.clone(), ResolvConf::parse(&resolv));
    for address in loopback {
        let capture_at = SocketAddr::new(address, arguments.capture_port);
        let dns_at = SocketAddr::new(address, arguments.dns_port);
        let bound =
            async { io::Result::Ok((TcpListener::bind(capture_at).await?, dns::bind(dns_at).await?)) };
        let (captured, (udp, tcp)) = match bound.await {
            Ok(bound) => bound,
            // A node without IPv6 has no ::1, and nothing to capture there.
            Err(error) if address.is_ipv6() && error.kind() == io::ErrorKind::AddrNotAvailable => continue,
            Err(error) => return Err(error).with_context(|| format!("listening on {address} failed")),
        };
        let connections = parts.connections.clone();
        let captured = capture::serve_captured(captured, connections);
        parts.tasks.spawn(async {
            captured.await;
            Ok(())
        });
        let (by_udp, by_tcp) = (dns.clone(), dns.clone());
        parts.tasks.spawn(async move { by_udp.serve_udp(udp).await.context("DNS failed") });
        parts.tasks.spawn(async move { by_tcp.serve_tcp(tcp).await.context("DNS failed") });
    }
    let explicit = capture::serve_explicit(documents.clone(), loopback.to_vec(), parts.connections.clone());
    parts.tasks.spawn(async {
        explicit.await;
        Ok(())
    });
    let admin = Admin::new(documents, recorder);
    for (port, face) in [(arguments.health_port, Face::Health), (arguments.metrics_port, Face::Metrics)] {
        let server = admin.clone().serve(SocketAddr::new(any_address(), port), face);
        parts.tasks.spawn(async move { server.await.context("telling health failed") });
    }
    Ok(())
}

/// `::` where the kernel has IPv6, which serves IPv4 too; else `0.0.0.0`.
fn any_address() -> IpAddr {
    let with_v6 = std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
    if with_v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

/// Ships records once it is known whose they are.
async fn ship_records(recorder: Recorder, mut identity: watch::Receiver<Option<PodIdentity>>, store: Upload) {
    let Ok(pod) = identity.wait_for(Option::is_some).await.map(|pod| pod.clone().unwrap_or_default()) else {
        return;
    };
    let PodIdentity { namespace, pod, uid, service_account } = pod;
    ship::run(recorder, PodRef { namespace, pod, uid, service_account }, store).await;
}

async fn run_standalone(arguments: RunArguments, dir: PathBuf) -> Result<(), Failure> {
    let beside = dir.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    let audit = arguments.local.audit.clone().unwrap_or_else(|| beside.join("audit"));
    fs::create_dir_all(&audit).with_context(|| format!("`{}` cannot be made", audit.display()))?;
    let spool = arguments.spool_dir.clone().unwrap_or_else(|| audit.clone()).join("spool");
    let store = standalone::store::Directory::open(&audit).context("the audit directory cannot be used")?;
    let mut parts = Parts::start(&arguments, &spool)?;
    let local = &arguments.local;
    let socket = local.socket.clone().unwrap_or_else(|| dir.with_extension("sock"));
    let Handles { documents, credentials, recorder, shutdown: _ } = parts.handles.clone();
    let source = standalone::Source::new(dir, local, documents.clone(), credentials);
    let pod = source.pod_ref();
    let reloads = source.start(&mut parts.tasks).await?;
    let control = standalone::socket::serve(socket.clone(), documents.clone(), reloads);
    parts.tasks.spawn(async move {
        control.await.with_context(|| format!("the control socket `{}` failed", socket.display()))
    });
    let explicit = capture::serve_explicit(documents, local.listen.clone(), parts.connections.clone());
    parts.tasks.spawn(async {
        explicit.await;
        Ok(())
    });
    let shipping = tokio::spawn(ship::run(recorder.clone(), pod, store));
    let ended = parts.serve().await;
    last_records(&recorder).await;
    shipping.abort();
    ended.map_err(Failure::from)
}
