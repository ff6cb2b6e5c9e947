//! The command line: [`Args`] is what was typed, [`Config`] is what it means. Nothing else reads the
//! environment.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};

use crate::webhook::settings::Ports as PodPorts;

/// Operator of Chaperone: webhooks, controllers, control channel, collector.
#[derive(Clone, Debug, Parser)]
#[command(name = "chaperone-operator", version)]
pub struct Args {
    /// Namespace that the operator runs in.
    #[arg(long, env = "POD_NAMESPACE", default_value = "chaperone-system")]
    namespace: String,
    /// This replica's pod; without it (outside a cluster) no pod is labelled as leader.
    #[arg(long, env = "POD_NAME")]
    pod_name: Option<String>,
    /// Port of the webhooks.
    #[arg(long, default_value_t = 8443)]
    webhook_port: u16,
    /// Port of the control channel.
    #[arg(long, default_value_t = 9443)]
    channel_port: u16,
    /// Port of metrics and health.
    #[arg(long, default_value_t = 8080)]
    admin_port: u16,
    /// Loopback port on which records are read.
    #[arg(long, default_value_t = 8081)]
    records_port: u16,
    /// Directory in which records are stored.
    #[arg(long, default_value = "/var/lib/chaperone/records")]
    records_dir: PathBuf,
    /// Service in front of the webhooks.
    #[arg(long, default_value = "chaperone-webhook")]
    webhook_service: String,
    /// Service in front of the leader's control channel.
    #[arg(long, default_value = "chaperone-channel")]
    channel_service: String,
    /// Webhook configurations, mutating and validating, whose caBundle the operator keeps.
    #[arg(long, default_value = "chaperone")]
    webhook_configuration: String,
    /// Lease by which the leader is chosen.
    #[arg(long, default_value = "chaperone-leader")]
    leader_lease: String,
    /// Image of the sidecar.
    #[arg(long)]
    sidecar_image: String,
    /// Pull policy of the sidecar's image: Always, IfNotPresent or Never.
    #[arg(long, default_value = "IfNotPresent")]
    sidecar_image_pull_policy: String,
    /// Resource requests of fence and sidecar.
    #[arg(long, value_name = "NAME=QUANTITY", value_delimiter = ',', default_value = "cpu=10m,memory=32Mi")]
    sidecar_requests: Vec<String>,
    /// Resource limits of fence and sidecar.
    #[arg(long, value_name = "NAME=QUANTITY", value_delimiter = ',', default_value = "memory=256Mi")]
    sidecar_limits: Vec<String>,
    /// Ports that sidecars take in their pods: identity, capture, dns, metrics, health. What is not named keeps
    /// its default.
    #[arg(long, value_name = "NAME=PORT", value_delimiter = ',')]
    sidecar_ports: Vec<String>,
    /// Log level of sidecars whose pod says nothing else.
    #[arg(long, default_value = "info")]
    sidecar_log_level: String,
    /// Size limit of a sidecar's volume for records on their way, in MiB; half of it is used.
    #[arg(long, default_value_t = 64)]
    spool_mebibytes: u32,
    /// Names outside Connections that pods may resolve.
    #[arg(long, value_enum, ignore_case = true, default_value_t = Dns::Cluster)]
    dns: Dns,
    /// How long sidecars go on without the operator, such as 1h, 30m or 90s.
    #[arg(long, value_parser = parse_duration, default_value = "1h")]
    stale_after: Duration,
    /// Log level of the operator, or a filter such as `info,kube=debug`.
    #[arg(long, env = "CHAPERONE_LOG_LEVEL", default_value = "info")]
    log_level: String,
    /// Form of the log.
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    log_format: LogFormat,
}

/// Names outside Connections that pods may resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Dns {
    /// None.
    ConnectionsOnly,
    /// Names of the cluster.
    Cluster,
    /// All names.
    All,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// Everything that the operator was told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The operator's namespace.
    pub namespace: String,
    /// This replica's pod.
    pub pod_name: Option<String>,
    /// Ports.
    pub ports: Ports,
    /// Where records are stored.
    pub records_dir: PathBuf,
    /// Names of the operator's own objects.
    pub names: Names,
    /// What sidecars are made of.
    pub sidecar: SidecarConfig,
    /// Which names sidecars resolve.
    pub dns: Dns,
    /// How long sidecars go on without the operator.
    pub stale_after: Duration,
    /// Log filter.
    pub log_level: String,
    /// Form of the log.
    pub log_format: LogFormat,
}

/// The operator's ports.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Webhooks, all addresses.
    pub webhook: u16,
    /// Control channel, all addresses.
    pub channel: u16,
    /// Metrics and health, all addresses.
    pub admin: u16,
    /// Records, loopback only.
    pub records: u16,
}

/// Names of the operator's own objects in the cluster.
#[derive(Clone, Debug)]
pub struct Names {
    /// Service in front of the webhooks.
    pub webhook_service: String,
    /// Service in front of the control channel.
    pub channel_service: String,
    /// Mutating and validating webhook configuration.
    pub webhook_configuration: String,
    /// The leader's Lease.
    pub leader_lease: String,
}

/// What sidecars are made of.
#[derive(Clone, Debug)]
pub struct SidecarConfig {
    /// Image.
    pub image: String,
    /// Pull policy.
    pub image_pull_policy: String,
    /// Requests and limits.
    pub resources: ResourceRequirements,
    /// Ports in the pod.
    pub ports: PodPorts,
    /// Log level.
    pub log_level: String,
    /// Size limit of the spool's volume.
    pub spool_mebibytes: u32,
}

impl Args {
    /// What was typed, checked.
    ///
    /// # Errors
    /// When an option makes no sense; the message names it and says what to write.
    pub fn resolve(self) -> anyhow::Result<Config> {
        let policy = self.sidecar_image_pull_policy;
        if !["Always", "IfNotPresent", "Never"].contains(&policy.as_str()) {
            bail!("--sidecar-image-pull-policy is `{policy}`; write Always, IfNotPresent or Never");
        }
        if self.stale_after < Duration::from_secs(60) {
            bail!("--stale-after is shorter than a minute; a leader may take that long to come back");
        }
        if self.spool_mebibytes < 2 {
            bail!("--spool-mebibytes is `{}`; write 2 or more", self.spool_mebibytes);
        }
        let ports = Ports {
            webhook: self.webhook_port,
            channel: self.channel_port,
            admin: self.admin_port,
            records: self.records_port,
        };
        ports.check()?;
        let resources = ResourceRequirements {
            requests: Some(quantities("--sidecar-requests", &self.sidecar_requests)?),
            limits: Some(quantities("--sidecar-limits", &self.sidecar_limits)?),
            ..ResourceRequirements::default()
        };
        Ok(Config {
            namespace: self.namespace,
            pod_name: self.pod_name.filter(|name| !name.is_empty()),
            ports,
            records_dir: self.records_dir,
            names: Names {
                webhook_service: self.webhook_service,
                channel_service: self.channel_service,
                webhook_configuration: self.webhook_configuration,
                leader_lease: self.leader_lease,
            },
            sidecar: SidecarConfig {
                image: self.sidecar_image,
                image_pull_policy: policy,
                resources,
                ports: pod_ports(&self.sidecar_ports)?,
                log_level: self.sidecar_log_level,
                spool_mebibytes: self.spool_mebibytes,
            },
            dns: self.dns,
            stale_after: self.stale_after,
            log_level: self.log_level,
            log_format: self.log_format,
        })
    }
}

impl Ports {
    fn check(self) -> anyhow::Result<()> {
        let mut all = [self.webhook, self.channel, self.admin, self.records];
        all.sort_unstable();
        if all.windows(2).any(|pair| pair.first() == pair.last()) {
            bail!("two of --webhook-port, --channel-port, --admin-port and --records-port are the same");
        }
        Ok(())
    }
}

impl Config {
    /// This replica's name among the replicas: its pod, or the process when there is none.
    #[must_use]
    pub fn identity(&self) -> String {
        let process = || format!("process-{}-{}", std::process::id(), uuid::Uuid::new_v4().simple());
        self.pod_name.clone().unwrap_or_else(process)
    }

    /// Where sidecars find the leader.
    #[must_use]
    pub fn channel_address(&self) -> String {
        format!("https://{}.{}.svc:{}", self.names.channel_service, self.namespace, self.ports.channel)
    }
}

fn quantities(
    option: &str,
    entries: &[String],
) -> anyhow::Result<std::collections::BTreeMap<String, Quantity>> {
    let pair = |entry: &String| {
        let (name, quantity) = entry
            .split_once('=')
            .filter(|(name, quantity)| !name.is_empty() && !quantity.is_empty())
            .with_context(|| format!("{option} has `{entry}`; write NAME=QUANTITY, such as memory=64Mi"))?;
        Ok((name.to_owned(), Quantity(quantity.to_owned())))
    };
    entries.iter().filter(|entry| !entry.is_empty()).map(pair).collect()
}

fn pod_ports(entries: &[String]) -> anyhow::Result<PodPorts> {
    let mut ports = PodPorts::default();
    for entry in entries.iter().filter(|entry| !entry.is_empty()) {
        let pair = entry.split_once('=').and_then(|(name, port)| Some((name, port.parse().ok()?)));
        // The sidecar has no right to lower ones.
        let (name, port) = pair.filter(|(_, port)| *port >= 1024_u16).with_context(|| {
            format!("--sidecar-ports has `{entry}`; write NAME=PORT from 1024, such as capture=15006")
        })?;
        let slot = match name {
            "identity" => &mut ports.identity,
            "capture" => &mut ports.capture,
            "dns" => &mut ports.dns,
            "metrics" => &mut ports.metrics,
            "health" => &mut ports.health,
            other => {
                bail!("--sidecar-ports names `{other}`; write identity, capture, dns, metrics or health")
            }
        };
        *slot = port;
    }
    let mut all = ports.named().map(|(_, port)| port);
    all.sort_unstable();
    if all.windows(2).any(|pair| pair.first() == pair.last()) {
        bail!("two of --sidecar-ports are the same; each needs a port of its own");
    }
    Ok(ports)
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration; write a number and h, m or s, such as 1h");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let scale = match unit {
        'h' => 3600,
        'm' => 60,
        's' => 1,
        _ => return Err(wrong()),
    };
    let number: u64 = text.trim_end_matches(unit).parse().map_err(|_| wrong())?;
    number.checked_mul(scale).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(more: &[&str]) -> Result<Config, String> {
        let all = ["chaperone-operator", "--sidecar-image=image:1"].iter().chain(more);
        let args = Args::try_parse_from(all).map_err(|error| error.to_string())?;
        args.resolve().map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_enough_with_an_image() {
        let config = resolve(&[]).unwrap();
        assert_eq!(config.stale_after, Duration::from_secs(3600));
        assert_eq!(config.channel_address(), "https://chaperone-channel.chaperone-system.svc:9443");
        assert_eq!(config.sidecar.ports, PodPorts::default());
    }

    #[rstest::rstest]
    #[case(&["--sidecar-requests=cpu"], "write NAME=QUANTITY")]
    #[case(&["--sidecar-ports=dns"], "write NAME=PORT from 1024")]
    #[case(&["--sidecar-ports=dns=53"], "write NAME=PORT from 1024")]
    #[case(&["--sidecar-ports=proxy=15000"], "write identity, capture, dns, metrics or health")]
    #[case(&["--sidecar-ports=dns=15006"], "are the same")]
    #[case(&["--stale-after=soon"], "write a number and h, m or s")]
    #[case(&["--stale-after=5s"], "shorter than a minute")]
    #[case(&["--admin-port=8443"], "are the same")]
    #[case(&["--sidecar-image-pull-policy=Maybe"], "write Always, IfNotPresent or Never")]
    #[case(&["--dns=Some"], "ConnectionsOnly")]
    #[case(&["--spool-mebibytes=0"], "write 2 or more")]
    fn bad_options_say_what_to_write(#[case] more: &[&str], #[case] expected: &str) {
        let error = resolve(more).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}
