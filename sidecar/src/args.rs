//! The command line. Nothing else reads the environment.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

/// Chaperone's sidecar.
#[derive(Debug, Parser)]
#[command(name = "chaperone-sidecar", version, about)]
pub struct Arguments {
    /// What to log: error, warn, info, debug, trace, or a filter by module.
    #[arg(long, global = true, env = "CHAPERONE_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Put up the rules that leave the sidecar as the pod's only way out, and exit.
    Fence(FenceArguments),
    /// Serve the pod, or, with `--standalone`, this machine.
    Run(Box<RunArguments>),
    /// Read the resources in a directory, say what is wrong with them, and print the effective rules.
    Check(CheckArguments),
}

/// For `fence`.
#[derive(Clone, Copy, Debug, Args)]
pub struct FenceArguments {
    /// The user that the sidecar runs as, and nothing else in the pod.
    #[arg(long, env = "CHAPERONE_SIDECAR_UID")]
    pub sidecar_uid: u32,
    /// Where captured TCP connections go.
    #[arg(long, env = "CHAPERONE_CAPTURE_PORT", default_value_t = 15006)]
    pub capture_port: u16,
    /// Where DNS goes.
    #[arg(long, env = "CHAPERONE_DNS_PORT", default_value_t = 15053)]
    pub dns_port: u16,
}

/// For `run`.
#[derive(Clone, Debug, Args)]
pub struct RunArguments {
    /// Read resources (and Secrets) from the YAML files of this directory instead of an operator.
    #[arg(long, value_name = "DIR")]
    pub standalone: Option<PathBuf>,
    /// Where the operator's control channel is: `https://HOST:PORT`.
    #[arg(long, env = "CHAPERONE_OPERATOR_ADDRESS", required_unless_present = "standalone")]
    pub operator_address: Option<String>,
    /// The operator's root certificates, PEM.
    #[arg(
        long,
        env = "CHAPERONE_OPERATOR_ROOT",
        required_unless_present = "standalone",
        hide_env_values = true
    )]
    pub operator_root: Option<String>,
    /// The file with the token that proves whose sidecar this is.
    #[arg(long, env = "CHAPERONE_TOKEN_FILE", default_value = "/var/run/secrets/chaperone.dev/token")]
    pub token_file: PathBuf,
    /// The directory of the spool. Default in standalone mode: the audit directory.
    #[arg(long, env = "CHAPERONE_SPOOL_DIR", required_unless_present = "standalone")]
    pub spool_dir: Option<PathBuf>,
    /// The size of the spool in bytes; all of it is allocated at start.
    #[arg(long, env = "CHAPERONE_SPOOL_SIZE", default_value_t = 32 * 1024 * 1024)]
    pub spool_size: usize,
    /// Threads that serve connections; 0 means one per core.
    #[arg(long, env = "CHAPERONE_WORKERS", default_value_t = 0)]
    pub workers: usize,
    /// Where captured TCP connections arrive, on loopback.
    #[arg(long, env = "CHAPERONE_CAPTURE_PORT", default_value_t = 15006)]
    pub capture_port: u16,
    /// Where DNS arrives, on loopback.
    #[arg(long, env = "CHAPERONE_DNS_PORT", default_value_t = 15053)]
    pub dns_port: u16,
    /// Where health is told, on all addresses.
    #[arg(long, env = "CHAPERONE_HEALTH_PORT", default_value_t = 15021)]
    pub health_port: u16,
    /// Where metrics are told, on all addresses.
    #[arg(long, env = "CHAPERONE_METRICS_PORT", default_value_t = 15020)]
    pub metrics_port: u16,
    /// For `--standalone`.
    #[command(flatten)]
    pub local: StandaloneArguments,
}

/// For `run --standalone`.
#[derive(Clone, Debug, Args)]
pub struct StandaloneArguments {
    /// The pod's name that policies see.
    #[arg(long, default_value = "local")]
    pub pod: String,
    /// The namespace that policies see; resources without one belong to it.
    #[arg(long, default_value = "default")]
    pub namespace: String,
    /// The service account that policies see.
    #[arg(long, default_value = "default")]
    pub service_account: String,
    /// A label that policies see, `KEY=VALUE`; may be repeated.
    #[arg(long = "labels", value_name = "KEY=VALUE", value_parser = key_value, value_delimiter = ',')]
    pub labels: Vec<(String, String)>,
    /// Where records are stored. Default: `audit` beside the resources' directory.
    #[arg(long, value_name = "DIR")]
    pub audit: Option<PathBuf>,
    /// The control socket. Default: `DIR.sock` beside the resources' directory.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The addresses that `agent.port` listens on.
    #[arg(long, value_name = "ADDRESS", default_values = ["127.0.0.1", "::1"])]
    pub listen: Vec<IpAddr>,
}

/// For `check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArguments {
    /// The directory with the resources.
    #[arg(long, value_name = "DIR")]
    pub standalone: PathBuf,
    /// The namespace that policies see; resources without one belong to it.
    #[arg(long, default_value = "default")]
    pub namespace: String,
    /// The service account that policies see.
    #[arg(long, default_value = "default")]
    pub service_account: String,
    /// A label that policies see, `KEY=VALUE`; may be repeated.
    #[arg(long = "labels", value_name = "KEY=VALUE", value_parser = key_value, value_delimiter = ',')]
    pub labels: Vec<(String, String)>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) =
        text.split_once('=').ok_or_else(|| format!("`{text}` must be written as KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}
