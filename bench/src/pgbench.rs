//! Runs of pgbench.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use crate::world::{DATABASE, PASSWORD, ROLE};

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    pub(crate) port: u16,
    pub(crate) mode: &'a str,
    pub(crate) clients: u32,
    pub(crate) seconds: u32,
}

impl Run<'_> {
    fn command(&self) -> Command {
        let mut command = base(self.port);
        command.args(["-n", "-S", "-j", "2", "-M", self.mode]);
        command.args(["-c", &self.clients.to_string(), "-T", &self.seconds.to_string()]);
        command
    }

    /// Transactions per second, without the time to connect, and how many there were.
    pub(crate) fn throughput(&self) -> Result<(f64, f64)> {
        let told = run(self.command())?;
        let number = |before: &str| {
            let line = told.lines().find_map(|line| line.strip_prefix(before));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.split('/').next()?.parse::<f64>().ok())
        };
        let failed = number("number of failed transactions: ").unwrap_or_default();
        ensure!(failed == 0.0, "transactions failed:\n{told}");
        let tps = number("tps = ").zip(number("number of transactions actually processed: "));
        tps.with_context(|| format!("pgbench cannot be understood:\n{told}"))
    }

    /// How long each transaction took, in milliseconds, at a fixed rate. Counted from when pgbench sent it: its
    /// own lateness is not the way's.
    pub(crate) fn latencies(&self, rate: u32, scratch: &Path) -> Result<Vec<f64>> {
        let dir = tempfile::tempdir_in(scratch)?;
        let mut command = self.command();
        command.args(["--rate", &rate.to_string(), "-l", "--log-prefix"]).arg(dir.path().join("log"));
        run(command)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(dir.path())? {
            for line in fs::read_to_string(entry?.path())?.lines() {
                // client, number, time, script, epoch seconds, microseconds, lateness
                let columns: Vec<&str> = line.split(' ').collect();
                let number = |at: usize| columns.get(at).and_then(|column| column.parse::<f64>().ok());
                let (time, late) = number(2).zip(number(6)).context("pgbench's log cannot be understood")?;
                found.push((time - late) / 1000.0);
            }
        }
        ensure!(!found.is_empty(), "pgbench logged nothing");
        Ok(found)
    }
}

/// Fills the tables.
pub(crate) fn fill(port: u16, scale: u32) -> Result<()> {
    let mut command = base(port);
    command.args(["-i", "-q", "-s", &scale.to_string()]);
    run(command).map(drop)
}

fn base(port: u16) -> Command {
    let mut command = Command::new("pgbench");
    command.env("PGPASSWORD", PASSWORD).env("PGSSLMODE", "disable").env("PGGSSENCMODE", "disable");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", ROLE, DATABASE]);
    command
}

fn run(mut command: Command) -> Result<String> {
    let output = command.output().context("pgbench cannot be started; run make setup")?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "pgbench failed:\n{told}{complained}");
    Ok(told)
}
