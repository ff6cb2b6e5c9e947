//! Builds the parts, joins them, and ends them in order: first leadership, then webhooks.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use kube::Client;
use object_store::{ObjectStore, local::LocalFileSystem};
use policy::DnsMode;
use rustls::version::{TLS12, TLS13};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{oneshot, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

use crate::{
    admin,
    args::{Config, Dns, LogFormat},
    certs::{Certs, Place, bundle},
    channel::{Service, Sources},
    collector::Collector,
    controller::{self, Operator, Parts},
    distribute::Distributor,
    leader::{Election, Term, label::Label},
    leases::Leases,
    listen::{self, Limits},
    metrics::Metrics,
    records_api,
    webhook::{self, Webhooks, settings},
};

/// The Secret with the operator's roots.
const CERTIFICATES: &str = "chaperone-certificates";
/// Connections of sidecars: two each, and one for each Connection.
const CHANNEL: Limits =
    Limits { connections: 16_384, of_one_peer: Some(256), drain: Duration::from_millis(500) };

/// Starts logging and chooses the crypto library.
///
/// # Errors
/// When the log level is none.
pub fn init(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log_level)
        .with_context(|| format!("--log-level `{}` is no level or filter", config.log_level))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Json => log.json().init(),
        LogFormat::Text => log.init(),
    }
    // Fails only when a provider was chosen before, and nothing did.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    Ok(())
}

/// What a term of leadership needs.
#[derive(Clone)]
struct Leading {
    client: Client,
    config: Arc<Config>,
    certs: Certs,
    store: Arc<dyn ObjectStore>,
    label: Label,
    metrics: Metrics,
}

/// Runs the operator until it is told to end.
///
/// # Errors
/// When a part cannot be started, or fails for good.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let client = Client::try_default().await.context("the API server cannot be reached")?;
    let stop = CancellationToken::new();
    let metrics = Metrics::new();
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let address = any_address(config.ports.admin);
    let serving = admin::serve(metrics.clone(), address);
    tasks.spawn(async move { serving.await.context("health cannot be served") });

    let (certs, in_place) = certificates(&client, &config, &mut tasks).await?;
    tasks.spawn(tell_end_of_root(metrics.clone(), certs.clone()));
    let store = store(&config)?;
    serve_records(&config, Arc::clone(&store), &mut tasks).await?;
    let webhooks = serve_webhooks(&client, &config, (&certs, &metrics), stop.clone()).await?;
    tasks.spawn(ready(metrics.clone(), in_place));

    let label = Label::new(client.clone(), &config.namespace, config.pod_name.clone());
    label.remove().await.context("this replica's own pod cannot be labelled")?;
    let names = &config.names;
    let election = Election::new(client.clone(), &config.namespace, &names.leader_lease, &config.identity());
    let leading = Leading { client, config: Arc::clone(&config), certs, store, label, metrics };
    let mut campaign = std::pin::pin!(election.run(&stop, |term| lead(leading.clone(), term)));
    let ended = tokio::select! {
        ended = until_told(&mut tasks) => ended,
        () = &mut campaign => return Ok(()),
    };
    stop.cancel();
    // Ends the term and releases the Lease, so that the next leader need not wait for its end.
    campaign.await;
    drop(webhooks.await);
    ended
}

async fn until_told(tasks: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        Some(task) = tasks.join_next() => task.context("a part of the operator ended by a defect")?,
    }
}

/// Certificates, and the bundle in the webhook configurations that follows them.
async fn certificates(
    client: &Client,
    config: &Config,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<(Certs, watch::Receiver<usize>)> {
    let names = [&config.names.webhook_service, &config.names.channel_service];
    let names = names.into_iter().flat_map(|service| {
        let namespace = &config.namespace;
        [format!("{service}.{namespace}.svc"), format!("{service}.{namespace}.svc.cluster.local")]
    });
    let place = Place {
        namespace: config.namespace.clone(),
        secret: CERTIFICATES.to_owned(),
        names: names.collect(),
    };
    let (certs, keeper) = Certs::open(client, place).await.context("certificates cannot be made")?;
    let configurations = bundle::Configurations {
        mutating: config.names.webhook_configuration.clone(),
        validating: config.names.webhook_configuration.clone(),
    };
    let (count, in_place) = watch::channel(0);
    let keeping = bundle::keep(client.clone(), configurations, certs.roots(), count);
    tasks.spawn(async {
        keeper.run().await;
        Ok(())
    });
    tasks.spawn(async {
        keeping.await;
        Ok(())
    });
    Ok((certs, in_place))
}

/// Ready is who can be called: once the API server has the roots that the webhooks' certificate comes from.
async fn ready(metrics: Metrics, mut in_place: watch::Receiver<usize>) -> anyhow::Result<()> {
    // Their keeper lives as long as the operator.
    drop(in_place.wait_for(|count| *count == bundle::CONFIGURATIONS).await);
    metrics.serves.set(1);
    std::future::pending().await
}

/// Counts down for whoever watches.
async fn tell_end_of_root(metrics: Metrics, certs: Certs) -> anyhow::Result<()> {
    let mut roots = certs.roots();
    loop {
        certs.signing_ends().iter().for_each(|ends| metrics.root_ends(*ends));
        // Their keeper lives as long as the operator.
        roots.changed().await.context("nobody keeps the certificates")?;
    }
}

fn store(config: &Config) -> anyhow::Result<Arc<dyn ObjectStore>> {
    let dir = &config.records_dir;
    std::fs::create_dir_all(dir).with_context(|| format!("`{}` cannot be made", dir.display()))?;
    let store = LocalFileSystem::new_with_prefix(dir).context("the record store cannot be opened")?;
    Ok(Arc::new(store.with_fsync(true)))
}

async fn serve_records(
    config: &Config,
    store: Arc<dyn ObjectStore>,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.ports.records)).await;
    let listener = listener.context("the records port cannot be opened")?;
    tasks.spawn(async move {
        axum::serve(listener, records_api::router(store)).await.context("records cannot be served")
    });
    Ok(())
}

async fn serve_webhooks(
    client: &Client,
    config: &Config,
    (certs, metrics): (&Certs, &Metrics),
    stop: CancellationToken,
) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let listener = TcpListener::bind(any_address(config.ports.webhook)).await;
    let listener = listener.context("the webhook port cannot be opened")?;
    let tls = certs.server_config(&[&TLS13, &TLS12], &["h2", "http/1.1"])?;
    let webhooks = Webhooks::new(client.clone(), injected(config), certs.clone(), metrics.clone());
    Ok(tokio::spawn(webhook::serve(listener, tls, webhooks, stop)))
}

/// What every injected pod gets.
fn injected(config: &Config) -> settings::Settings {
    settings::Settings {
        image: config.sidecar.image.clone(),
        image_pull_policy: config.sidecar.image_pull_policy.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        operator_address: config.channel_address(),
        ports: config.sidecar.ports,
        resources: config.sidecar.resources.clone(),
        log_level: config.sidecar.log_level.clone(),
        spool_mebibytes: config.sidecar.spool_mebibytes,
        dns: match config.dns {
            Dns::ConnectionsOnly => settings::Dns::ConnectionsOnly,
            Dns::Cluster => settings::Dns::Cluster,
            Dns::All => settings::Dns::All,
        },
    }
}

/// One term of leadership.
async fn lead(leading: Leading, term: Term) {
    leading.metrics.leads.set(1);
    if let Err(error) = serve_term(&leading, &term).await {
        error!(error = format!("{error:#}"), "this replica cannot lead");
        unlabel(&leading.label).await;
    }
    leading.metrics.leads.set(0);
}

async fn unlabel(label: &Label) {
    if let Err(error) = label.remove().await {
        warn!(error = %error, "the leader's label stays until the next leader removes it");
    }
}

async fn serve_term(leading: &Leading, term: &Term) -> anyhow::Result<()> {
    let Leading { client, config, certs: _, store, label, metrics } = leading;
    label.remove_from_others().await.context("others cannot be unlabelled")?;
    let collector = Collector::open(Arc::clone(store)).await.context("records cannot be collected")?;
    let distributor = Distributor::new(term.epoch, config.stale_after);
    let leases = Leases::new();
    let parts = Parts {
        client: client.clone(),
        distributor: distributor.clone(),
        leases: leases.clone(),
        dns: match config.dns {
            Dns::ConnectionsOnly => DnsMode::ConnectionsOnly,
            Dns::Cluster => DnsMode::Cluster,
            Dns::All => DnsMode::All,
        },
        stale_after: config.stale_after,
        operator: Operator { namespace: config.namespace.clone(), instance: config.identity() },
        metrics: metrics.clone(),
    };
    let (primed, known) = oneshot::channel();
    let controllers = controller::run(parts, term.ended.clone(), primed);
    let channel = serve_channel(leading, term, Shares { distributor, leases, collector }, known);
    // Sidecars are sent elsewhere while the last streams are closed.
    let unlabelled = async {
        term.ended.cancelled().await;
        unlabel(label).await;
    };
    let ((), served, ()) = tokio::join!(controllers, channel, unlabelled);
    served
}

/// What the channel serves from.
struct Shares {
    distributor: Distributor,
    leases: Leases,
    collector: Collector,
}

/// The control channel, from when everything is known to the end of the term.
async fn serve_channel(
    leading: &Leading,
    term: &Term,
    shares: Shares,
    known: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    if known.await.is_err() {
        return Ok(());
    }
    let opened = open_channel(leading, term, shares).await;
    // Without a channel the term is of no use: another replica may do better.
    opened.inspect_err(|_| term.ended.cancel())?.await;
    Ok(())
}

async fn open_channel(
    leading: &Leading,
    term: &Term,
    shares: Shares,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let Leading { client, config, certs, store: _, label, metrics } = leading;
    let listener = TcpListener::bind(any_address(config.ports.channel)).await;
    let listener = listener.context("the channel's port cannot be opened")?;
    let tls = certs.server_config(&[&TLS13], &["h2"])?;
    let Shares { distributor, leases, collector } = shares;
    let sources = Sources { distributor, leases, collector, roots: certs.roots() };
    let service = Service::new(client.clone(), sources, metrics.clone(), term.ended.clone());
    label.give().await.context("this replica's pod cannot be labelled")?;
    info!(epoch = term.epoch, "the control channel is open");
    Ok(listen::serve(listener, tls, service.into_router(), term.ended.clone(), CHANNEL))
}

/// `::` where the kernel has IPv6, which serves IPv4 too; else `0.0.0.0`.
fn any_address(port: u16) -> SocketAddr {
    let with_v6 = std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
    if with_v6 { (Ipv6Addr::UNSPECIFIED, port).into() } else { (Ipv4Addr::UNSPECIFIED, port).into() }
}
