//! A server that this run started: ended with it, and looked at through `/proc`.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to listen.
const READY: Duration = Duration::from_secs(30);
/// How often that is looked at.
const LOOK: Duration = Duration::from_micros(200);
/// The unit of times in `/proc/PID/stat`, the same on every Linux of today.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running server.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    port: u16,
    /// From before exec to the first accepted connection.
    pub(crate) ready_after: Duration,
    stop: Signal,
}

/// Who a server runs as, when not as who started this.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// The user `postgres` when this runs as root, which PostgreSQL and PgBouncer refuse to be.
    pub(crate) fn unprivileged() -> Result<Option<Self>> {
        if !rustix::process::getuid().is_root() {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
        let line = passwd.lines().find(|line| line.starts_with("postgres:"));
        let mut fields = line.context("there is no user `postgres`; run make setup")?.split(':').skip(2);
        let mut number = || -> Option<u32> { fields.next()?.parse().ok() };
        let (uid, gid) = number().zip(number()).context("/etc/passwd cannot be understood")?;
        Ok(Some(Self { uid, gid }))
    }
}

/// A command as that user.
pub(crate) fn command(program: &Path, user: Option<User>) -> Command {
    let mut command = Command::new(program);
    if let Some(User { uid, gid }) = user {
        command.uid(uid).gid(gid).current_dir("/");
    }
    command
}

impl Daemon {
    /// Starts a server and waits until it accepts connections on `port`.
    pub(crate) fn start(mut command: Command, port: u16, log: &Path, stop: Signal) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let out = fs::File::create(log).with_context(|| log.display().to_string())?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let begun = Instant::now();
        let child = command.spawn().with_context(|| format!("`{name}` cannot be started"))?;
        let mut daemon = Self { child, port, ready_after: Duration::ZERO, stop };
        while TcpStream::connect(daemon.address()).is_err() {
            if let Some(status) = daemon.child.try_wait()? {
                bail!("`{name}` ended ({status}): {}", fs::read_to_string(log).unwrap_or_default());
            }
            ensure!(begun.elapsed() < READY, "`{name}` does not listen on port {port}");
            thread::sleep(LOOK);
        }
        daemon.ready_after = begun.elapsed();
        Ok(daemon)
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// User and system time so far, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name, in brackets, may hold anything; utime and stime are fields 14 and 15.
        let (_, rest) = stat.rsplit_once(')').context("/proc cannot be understood")?;
        let ticks: Vec<f64> =
            rest.split_whitespace().skip(11).take(2).filter_map(|n| n.parse().ok()).collect();
        ensure!(ticks.len() == 2, "/proc cannot be understood");
        Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
    }

    /// A line of `/proc/PID/status` that counts KiB, in MiB.
    pub(crate) fn mebibytes(&self, field: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        Ok(kibibytes.with_context(|| format!("/proc has no `{field}`"))? / 1024.0)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // One that has ended already needs no signal.
            kill_process(pid, self.stop).unwrap_or_default();
        }
        drop(self.child.wait());
    }
}

/// A port that is free now.
pub(crate) fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
