//! `audit tail` and `audit verify`.

mod source;
mod tail;

use std::process::ExitCode;

use audit::Verifier;

use crate::{
    args::{AuditCommand, ClusterArguments, SourceArguments},
    output::line,
};
use source::Source;

pub(crate) async fn run(cluster: &ClusterArguments, command: AuditCommand) -> anyhow::Result<ExitCode> {
    match command {
        AuditCommand::Tail(arguments) => tail::run(cluster, arguments).await,
        AuditCommand::Verify(arguments) => verify(cluster, &arguments).await,
    }
}

/// Exit code 1 when something is not as it was written.
async fn verify(cluster: &ClusterArguments, arguments: &SourceArguments) -> anyhow::Result<ExitCode> {
    let mut verifier = Verifier::new();
    for source in Source::open_all(cluster, arguments).await? {
        for name in source.names_after("").await? {
            let bytes = source.read(&name).await?;
            verifier.add(&format!("{source}/{name}"), &bytes);
        }
    }
    let report = verifier.report();
    for finding in &report.findings {
        line(&format!("FOUND   {finding}"))?;
    }
    for pod in &report.open {
        line(&format!(
            "open    {}/{} ({}) still runs, or ended without sending its last records",
            pod.namespace, pod.pod, pod.uid
        ))?;
    }
    let counted =
        format!("{} records of {} sidecars in {} segments", report.records, report.chains, report.segments);
    if report.is_intact() {
        line(&format!("intact  {counted}: nothing was edited, deleted or reordered"))?;
        Ok(ExitCode::SUCCESS)
    } else {
        line(&format!("BROKEN  {counted}: {} findings", report.findings.len()))?;
        Ok(ExitCode::FAILURE)
    }
}
