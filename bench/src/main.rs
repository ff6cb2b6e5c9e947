//! Figures of the sidecar, side by side with what it is measured against, in one run. It starts what it needs on
//! loopback, prints, and never judges: a figure is read by a person, on a machine that is known.

mod args;
mod daemon;
mod figures;
mod latency;
mod pgbench;
mod report;
mod session;
mod size;
mod throughput;
mod world;

use anyhow::Result;
use clap::Parser;

use args::{Arguments, Part};
use world::World;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let world = World::start(&arguments)?;
    report::heading(&format!(
        "{} rounds of {} s, pgbench -S on scale {}, everything on loopback",
        arguments.rounds, arguments.seconds, arguments.scale
    ))?;
    for part in &arguments.parts {
        match part {
            Part::Throughput => throughput::measure(&world, &arguments)?,
            Part::Latency => latency::measure(&world, &arguments)?,
            Part::Memory => size::memory(&world)?,
            Part::Start => size::start(&world)?,
            Part::Image => size::image(&arguments)?,
        }
    }
    Ok(())
}
