//! How much room the sidecar takes, and how soon it is there.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{args::Arguments, daemon::Daemon, figures::Spread, report, session::Session, world::World};

/// Sessions that are held open.
const SESSIONS: usize = 100;
/// How often the sidecar is started.
const STARTS: usize = 20;
/// How long a process rests before its memory is read.
const REST: Duration = Duration::from_millis(500);

/// Resident memory of a sidecar of its own, which nothing has used before.
pub(crate) fn memory(world: &World) -> Result<()> {
    report::heading("resident memory, MiB: all (anonymous, files and spool)")?;
    let sidecar = world.another_sidecar()?;
    thread::sleep(REST);
    resident(&sidecar, "idle")?;
    let mut sessions = (0..SESSIONS).map(|_| Session::open(sidecar.address())).collect::<Result<Vec<_>>>()?;
    thread::sleep(REST);
    resident(&sidecar, &format!("{SESSIONS} sessions, fresh"))?;
    for _ in 0..20 {
        for (number, session) in sessions.iter_mut().enumerate() {
            session.run(&format!("SELECT abalance FROM pgbench_accounts WHERE aid = {};", number + 1))?;
        }
    }
    thread::sleep(REST);
    resident(&sidecar, &format!("{SESSIONS} sessions, used"))?;
    Ok(())
}

fn resident(sidecar: &Daemon, when: &str) -> Result<()> {
    let (all, own) = (sidecar.mebibytes("VmRSS")?, sidecar.mebibytes("RssAnon")?);
    Ok(report::line(&format!("{when:<24}{all:>8.1} ({own:.1}, {:.1})", all - own))?)
}

/// From exec to the first accepted connection.
pub(crate) fn start(world: &World) -> Result<()> {
    let starts = (0..STARTS).map(|_| Ok(world.another_sidecar()?.ready_after.as_secs_f64() * 1000.0));
    let starts = starts.collect::<Result<Vec<f64>>>()?;
    report::heading("from exec to ready")?;
    Ok(report::line(&format!("{} ms of {STARTS} starts", report::spread(Spread::of(starts), 1)))?)
}

/// As a registry would keep it.
pub(crate) fn image(arguments: &Arguments) -> Result<()> {
    report::heading("size")?;
    let binary = fs::metadata(&arguments.sidecar).context("the sidecar's binary")?.len();
    report::line(&format!("binary                  {:>8.1} MB", megabytes(binary)))?;
    let Some(image) = &arguments.image else {
        return Ok(report::line("image                   not made; run make images")?);
    };
    let packed = Command::new("gzip").args(["-9", "-c"]).arg(image).stderr(Stdio::inherit()).output()?;
    ensure!(packed.status.success(), "gzip failed");
    let packed = u64::try_from(packed.stdout.len())?;
    Ok(report::line(&format!("image, compressed       {:>8.1} MB", megabytes(packed)))?)
}

fn megabytes(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let bytes = bytes as f64;
    bytes / 1e6
}
