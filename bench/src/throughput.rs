//! Transactions per second: each way in turn, round after round, so that the machine's moods meet all of them.

use anyhow::Result;

use crate::{
    args::{Arguments, Way},
    figures::{Spread, geometric_mean},
    pgbench::Run,
    report,
    world::World,
};

/// One measurement.
#[derive(Clone, Copy, Debug)]
struct Sample {
    tps: f64,
    /// User and system time of the proxy per 1,000 transactions, in milliseconds.
    cpu: Option<f64>,
}

/// One mode with one number of clients.
struct Cell {
    name: String,
    /// By way, then by round.
    samples: Vec<Vec<Sample>>,
}

pub(crate) fn measure(world: &World, arguments: &Arguments) -> Result<()> {
    let mut cells = Vec::new();
    for mode in &arguments.modes {
        for clients in &arguments.clients {
            let run = Run { port: 0, mode, clients: *clients, seconds: arguments.seconds };
            cells.push(cell(world, arguments, run)?);
        }
    }
    report::heading("throughput: transactions per second, median (min-max)")?;
    table(&cells, &arguments.ways, |cell, way| report::spread(Spread::of(cell.tps(way)), 0))?;
    if let Some(copier) = arguments.ways.iter().position(|way| *way == Way::Haproxy) {
        ratios(&cells, &arguments.ways, copier)?;
    }
    report::heading("CPU of the proxy: user + system milliseconds per 1,000 transactions")?;
    table(&cells, &arguments.ways, |cell, way| report::spread(Spread::of(cell.cpu(way)), 1))
}

fn cell(world: &World, arguments: &Arguments, run: Run<'_>) -> Result<Cell> {
    let mut samples = vec![Vec::new(); arguments.ways.len()];
    let ways: Vec<(usize, Way)> = arguments.ways.iter().copied().enumerate().collect();
    for round in 0..arguments.rounds {
        // Nobody is always the first.
        let (before, after) = ways.split_at(round % ways.len().max(1));
        for (index, way) in after.iter().chain(before) {
            let daemon = world.way(*way);
            let before = daemon.cpu()?;
            let (tps, count) = Run { port: daemon.port(), ..run }.throughput()?;
            let spent = daemon.cpu()? - before;
            let cpu = (*way != Way::Direct).then_some(spent * 1e6 / count);
            if let Some(samples) = samples.get_mut(*index) {
                samples.push(Sample { tps, cpu });
            }
        }
    }
    Ok(Cell { name: format!("{} / {}", run.mode, run.clients), samples })
}

impl Cell {
    fn of(&self, way: usize) -> impl Iterator<Item = Sample> {
        self.samples.get(way).into_iter().flatten().copied()
    }

    fn tps(&self, way: usize) -> impl Iterator<Item = f64> {
        self.of(way).map(|sample| sample.tps)
    }

    fn cpu(&self, way: usize) -> impl Iterator<Item = f64> {
        self.of(way).filter_map(|sample| sample.cpu)
    }

    /// Of the same round each.
    fn ratio(&self, way: usize, to: usize) -> Option<Spread> {
        Spread::of(self.tps(way).zip(self.tps(to)).map(|(tps, to)| tps / to))
    }
}

fn ratios(cells: &[Cell], ways: &[Way], copier: usize) -> Result<()> {
    report::heading("against HAProxy, which only copies bytes: median (min-max) of paired rounds")?;
    table(cells, ways, |cell, way| report::spread(cell.ratio(way, copier), 3))?;
    let mut means = vec!["geometric mean".to_owned()];
    let mut worst = vec!["worst".to_owned()];
    for way in 0..ways.len() {
        let medians: Vec<f64> =
            cells.iter().filter_map(|cell| cell.ratio(way, copier)).map(|ratio| ratio.median).collect();
        let shown = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), |n| format!("{n:.3}"));
        means.push(shown(geometric_mean(&medians)));
        worst.push(shown(Spread::of(medians).map(|spread| spread.min)));
    }
    report::row(&means)?;
    Ok(report::row(&worst)?)
}

fn table(cells: &[Cell], ways: &[Way], shown: impl Fn(&Cell, usize) -> String) -> Result<()> {
    let names = ways.iter().map(|way| way.name().to_owned());
    report::row(&std::iter::once("mode / clients".to_owned()).chain(names).collect::<Vec<_>>())?;
    for cell in cells {
        let figures = (0..ways.len()).map(|way| shown(cell, way));
        report::row(&std::iter::once(cell.name.clone()).chain(figures).collect::<Vec<_>>())?;
    }
    Ok(())
}
