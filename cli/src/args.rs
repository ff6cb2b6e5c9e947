//! The command line.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use crate::explain::database::Url;

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
    #[arg(long, short, global = true, value_parser = object_name)]
    pub(crate) namespace: Option<String>,
    /// Where the operator runs.
    #[arg(long, global = true, default_value = "chaperone-system", value_parser = object_name)]
    pub(crate) operator_namespace: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read and verify the records.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Check that the installation is healthy, and say what to do where it is not.
    ///
    /// Exit code 0 when nothing failed (warnings are possible), 1 when something did.
    Check(CheckArguments),
    /// Say what a statement does, and whether a pod may send it.
    ///
    /// Exit code 0 when it is allowed, 1 when it is refused, 2 when that cannot be decided or found out.
    ///
    /// Resources are read from the cluster, or with --file from files. What names mean is answered by the database
    /// of --catalog-from, exactly as a sidecar asks it. Without one names are taken to be what they look like:
    /// plain tables with the columns that the statement mentions. The output says which of the two it was.
    #[command(verbatim_doc_comment)]
    Explain(Box<ExplainArguments>),
    /// Print or apply the right to read one Secret, for the operator.
    Grant(GrantArguments),
    /// Print the versions of this plugin and of what runs.
    Version,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Print records, the newest last.
    Tail(TailArguments),
    /// Check that no record was edited, deleted or reordered; exit code 1 when one was.
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
pub(crate) struct CheckArguments {
    /// How to print what was found.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("sender").required(true).args(["pod", "service_account"]))]
pub(crate) struct ExplainArguments {
    /// The statement, or several as one string; `-` reads it from standard input.
    #[arg(value_name = "STATEMENT")]
    pub(crate) statement: String,
    /// The Connection, as NAME or NAMESPACE/NAME. May be left out where the pod has only one.
    #[arg(long, value_name = "NAME", value_parser = connection_name)]
    pub(crate) connection: Option<String>,
    /// The pod that sends it.
    #[arg(long, conflicts_with = "labels", value_parser = object_name)]
    pub(crate) pod: Option<String>,
    /// Instead of a pod: the service account that policies see.
    #[arg(long, value_name = "NAME", value_parser = object_name)]
    pub(crate) service_account: Option<String>,
    /// With --service-account: a label that policies see; may be repeated.
    #[arg(long = "labels", value_name = "KEY=VALUE", value_parser = key_value, value_delimiter = ',')]
    pub(crate) labels: Vec<(String, String)>,
    /// Read the resources from this file, or from every .yaml of this directory, instead of the cluster; may be
    /// repeated. Resources without a namespace belong to that of --namespace (or `default`).
    #[arg(long = "file", short = 'f', value_name = "PATH", conflicts_with = "pod")]
    pub(crate) files: Vec<PathBuf>,
    /// A database to ask what names mean: `postgres://USER@HOST:PORT/DATABASE`. What is left out comes from PGHOST,
    /// PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGSSLMODE and PGSSLROOTCERT. It is only read.
    #[arg(long, value_name = "URL", value_parser = Url::parse)]
    pub(crate) catalog_from: Option<Url>,
    /// The schemas that names without one are looked for in. Default: the session's own search path with
    /// --catalog-from, else `public`.
    #[arg(long, value_name = "SCHEMA", value_delimiter = ',', value_parser = schema_name)]
    pub(crate) search_path: Vec<String>,
    /// Without --catalog-from: the major version of the server.
    #[arg(long, value_name = "MAJOR", default_value = "18", value_parser = server_version,
        conflicts_with = "catalog_from")]
    pub(crate) server_version: sql::builtins::Version,
    /// How to print what was found.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct GrantArguments {
    /// What a Connection names: a Secret, or a ConfigMap with --kind config-map.
    #[arg(value_name = "NAME", value_parser = object_name)]
    pub(crate) name: String,
    /// The kind of object.
    #[arg(long, value_enum, default_value_t = GrantKind::Secret)]
    pub(crate) kind: GrantKind,
    /// Apply it instead of printing it.
    #[arg(long)]
    pub(crate) apply: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GrantKind {
    /// A Secret with a credential or a CA bundle.
    Secret,
    /// A ConfigMap with a CA bundle.
    ConfigMap,
}

/// A name that an object in Kubernetes can have.
fn object_name(text: &str) -> Result<String, String> {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inner = |c: char| edge(c) || matches!(c, '-' | '.');
    let fits = text.len() <= 253 && text.starts_with(edge) && text.ends_with(edge) && text.chars().all(inner);
    if fits {
        return Ok(text.to_owned());
    }
    Err("nothing in Kubernetes is called so; write lower-case letters, digits, `-` and `.`, as in `orders-ro`".to_owned())
}

/// `NAME` or `NAMESPACE/NAME`.
fn connection_name(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('/').collect();
    if parts.len() <= 2 && parts.iter().all(|part| object_name(part).is_ok()) {
        return Ok(text.to_owned());
    }
    Err("write the Connection as `orders-db`, or as `shop/orders-db` where it is in another namespace"
        .to_owned())
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or_else(|| "write a label as KEY=VALUE, as in `app=planner`".to_owned())?;
    Ok((key.to_owned(), value.to_owned()))
}

fn schema_name(text: &str) -> Result<String, String> {
    let plain = !text.is_empty() && text.len() < 64 && !text.contains(['"', '\'', '\\', '\0']);
    plain
        .then(|| text.to_owned())
        .ok_or_else(|| "write schemas by name, separated by commas, as in `app,public`".to_owned())
}

fn server_version(text: &str) -> Result<sql::builtins::Version, String> {
    let known = text.parse().ok().and_then(sql::builtins::Version::from_major);
    known.ok_or_else(|| "write the major version of the server, a number from 13 to 18".to_owned())
}
