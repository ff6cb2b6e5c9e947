//! What a way adds to each statement at a rate that the machine can bear.

use anyhow::Result;

use crate::{
    args::{Arguments, Way},
    figures::{Spread, quantile},
    pgbench::Run,
    report,
    world::World,
};

/// How many clients share the rate.
const CLIENTS: u32 = 8;
/// The quantiles that are told.
const QUANTILES: [(&str, f64); 2] = [("p50", 0.5), ("p99", 0.99)];

pub(crate) fn measure(world: &World, arguments: &Arguments) -> Result<()> {
    report::heading(&format!(
        "latency at {} transactions/s over {CLIENTS} clients: milliseconds added to direct, median (min-max)",
        arguments.rate
    ))?;
    let ways: Vec<Way> = arguments.ways.iter().copied().filter(|way| *way != Way::Direct).collect();
    let names = ways.iter().map(|way| way.name().to_owned());
    report::row(&["".to_owned(), "direct itself".to_owned()].into_iter().chain(names).collect::<Vec<_>>())?;
    for mode in &arguments.modes {
        let run = Run { port: 0, mode, clients: CLIENTS, seconds: arguments.seconds };
        // By round, then by way, then by quantile; direct first.
        let mut rounds: Vec<Vec<Vec<f64>>> = Vec::new();
        for _ in 0..arguments.rounds {
            let all = std::iter::once(Way::Direct).chain(ways.iter().copied());
            rounds.push(all.map(|way| quantiles(world, arguments, run, way)).collect::<Result<_>>()?);
        }
        for (index, (name, _)) in QUANTILES.iter().enumerate() {
            let of = |round: &Vec<Vec<f64>>, way: usize| round.get(way)?.get(index).copied();
            let direct = Spread::of(rounds.iter().filter_map(|round| of(round, 0)));
            let mut columns = vec![format!("{mode} {name}"), report::spread(direct, 3)];
            for way in 1..=ways.len() {
                let added = rounds.iter().filter_map(|round| Some(of(round, way)? - of(round, 0)?));
                columns.push(report::spread(Spread::of(added), 3));
            }
            report::row(&columns)?;
        }
    }
    Ok(())
}

fn quantiles(world: &World, arguments: &Arguments, run: Run<'_>, way: Way) -> Result<Vec<f64>> {
    let run = Run { port: world.way(way).port(), ..run };
    let mut latencies = run.latencies(arguments.rate, world.scratch())?;
    Ok(QUANTILES.iter().filter_map(|(_, q)| quantile(&mut latencies, *q)).collect())
}
