//! Entry point.

use chaperone_operator::{args::Args, runtime};
use clap::Parser;

fn main() -> anyhow::Result<()> {
    let config = Args::parse().resolve()?;
    runtime::init(&config)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(runtime::run(config))
}
