//! What is measured, and how long. Nothing else reads the environment.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Benchmarks of the sidecar.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// The sidecar's binary, in release form.
    #[arg(long, env = "BENCH_SIDECAR")]
    pub(crate) sidecar: PathBuf,
    /// The sidecar's image, as `make images` makes it.
    #[arg(long, env = "BENCH_IMAGE")]
    pub(crate) image: Option<PathBuf>,
    /// How often everything is measured.
    #[arg(long, env = "BENCH_ROUNDS", default_value_t = 5)]
    pub(crate) rounds: usize,
    /// How long one measurement takes, in seconds.
    #[arg(long, env = "BENCH_SECONDS", default_value_t = 3)]
    pub(crate) seconds: u32,
    /// Transactions per second at which latency is measured.
    #[arg(long, env = "BENCH_RATE", default_value_t = 5000)]
    pub(crate) rate: u32,
    /// pgbench's scale: 100,000 rows each.
    #[arg(long, env = "BENCH_SCALE", default_value_t = 10)]
    pub(crate) scale: u32,
    /// What is measured.
    #[arg(long = "parts", env = "BENCH_PARTS", value_enum, value_delimiter = ',', default_values = ["throughput", "latency", "memory", "start", "image"])]
    pub(crate) parts: Vec<Part>,
    /// Against what.
    #[arg(long = "ways", env = "BENCH_WAYS", value_enum, value_delimiter = ',', default_values = ["direct", "haproxy", "pgbouncer", "chaperone"])]
    pub(crate) ways: Vec<Way>,
    /// How pgbench sends its statements.
    #[arg(long = "modes", env = "BENCH_MODES", value_delimiter = ',', default_values = ["simple", "extended", "prepared"])]
    pub(crate) modes: Vec<String>,
    /// With how many clients.
    #[arg(long = "clients", env = "BENCH_CLIENTS", value_delimiter = ',', default_values = ["1", "8", "50"])]
    pub(crate) clients: Vec<u32>,
}

/// The parts of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Transactions per second, as ratios.
    Throughput,
    /// Added latency at a fixed rate.
    Latency,
    /// Resident memory.
    Memory,
    /// From exec to ready.
    Start,
    /// The compressed image.
    Image,
}

/// The ways from pgbench to PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// Straight.
    Direct,
    /// HAProxy, which only copies bytes.
    Haproxy,
    /// PgBouncer in session mode.
    Pgbouncer,
    /// Chaperone, with policy and recording on.
    Chaperone,
}

impl Way {
    /// Its name in the report.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Haproxy => "HAProxy",
            Self::Pgbouncer => "PgBouncer",
            Self::Chaperone => "Chaperone",
        }
    }
}
