//! `kubectl chaperone`: the plugin.

mod args;
mod audit;
mod check;
mod cluster;
mod explain;
mod grant;
mod output;
mod version;

use std::process::ExitCode;

use args::{Arguments, Command};
use clap::Parser;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Fails only when a provider was chosen before, and nothing did.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run(arguments)));
    done.unwrap_or_else(|error| {
        output::complain(&error);
        ExitCode::FAILURE
    })
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { cluster, command } = arguments;
    match command {
        Command::Audit(audit) => audit::run(&cluster, audit).await,
        Command::Check(check) => check::run(&cluster, &check).await,
        Command::Explain(explain) => Box::pin(explain::run(&cluster, &explain)).await,
        Command::Grant(grant) => grant::run(&cluster, &grant).await,
        Command::Version => version::run(&cluster).await,
    }
}
