//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Chaperone on Kubernetes: check, grant, explain and audit.
#[derive(Debug, Parser)]
#[command(name = "kubectl-chaperone", bin_name = "kubectl chaperone", version, about)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) cluster: ClusterArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which cluster, and where in it.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClusterArguments {
    /// The kubeconfig's context; the current one by default.
    #[arg(long, global = true)]
    pub(crate) context: Option<String>,
    /// The namespace; the context's by default.
    #[arg(long, short, global = true)]
    pub(crate) namespace: Option<String>,
    /// Where the operator runs.
    #[arg(long, global = true, default_value = "chaperone-system")]
    pub(crate) operator_namespace: String,
    /// The control socket of a standalone sidecar, instead of a cluster.
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read and verify the records.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print or apply the right to read one Secret, for the operator.
    Grant(GrantArguments),
    /// Print the versions of this plugin and of what runs.
    Version,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Print records, the newest last.
    Tail(TailArguments),
    /// Check that no record was edited, deleted or reordered.
    Verify(SourceArguments),
}

/// Where records are read from.
#[derive(Clone, Debug, Args)]
pub(crate) struct SourceArguments {
    /// A directory of segments, instead of the operator's replicas; may be repeated.
    #[arg(long = "dir", value_name = "DIR")]
    pub(crate) directories: Vec<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TailArguments {
    #[command(flatten)]
    pub(crate) source: SourceArguments,
    /// Go on printing what comes.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// How many records to begin with.
    #[arg(long, default_value_t = 50)]
    pub(crate) last: usize,
    /// Only records of this pod.
    #[arg(long)]
    pub(crate) pod: Option<String>,
    /// Only refusals.
    #[arg(long)]
    pub(crate) refused: bool,
    /// One JSON object per record.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct GrantArguments {
    /// The Secret that a Connection names.
    #[arg(value_name = "SECRET")]
    pub(crate) secret: String,
    /// The kind that holds it.
    #[arg(long, value_enum, default_value_t = GrantKind::Secret)]
    pub(crate) kind: GrantKind,
    /// Apply it instead of printing it.
    #[arg(long)]
    pub(crate) apply: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum GrantKind {
    /// A Secret with a credential or a CA bundle.
    Secret,
    /// A ConfigMap with a CA bundle.
    ConfigMap,
}
