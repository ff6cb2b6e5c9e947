//! The servers of a run, all on loopback, in a directory that goes with them.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    args::{Arguments, Way},
    daemon::{Daemon, User, command, free_port},
    pgbench,
};

pub(crate) const ROLE: &str = "bench";
pub(crate) const PASSWORD: &str = "only for this run";
pub(crate) const DATABASE: &str = "bench";
/// Durability of the database is not what is measured.
const SETTINGS: &str = "fsync = off\nsynchronous_commit = off\nshared_buffers = 256MB\nmax_connections = 400\n\
    autovacuum = off\nlisten_addresses = '127.0.0.1'\npassword_encryption = 'scram-sha-256'\n";
const RESOURCES: &str = include_str!("../resources.yaml");
const HAPROXY: &str = include_str!("../haproxy.cfg");
const PGBOUNCER: &str = include_str!("../pgbouncer.ini");

/// Everything that runs. Fields end in the order in which they are written.
#[derive(Debug)]
pub(crate) struct World {
    chaperone: Daemon,
    pgbouncer: Daemon,
    haproxy: Daemon,
    postgres: Daemon,
    sidecar: PathBuf,
    dir: TempDir,
}

impl World {
    pub(crate) fn start(arguments: &Arguments) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("chaperone-bench-").tempdir()?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        let user = User::unprivileged()?;
        let postgres = postgres(dir.path(), user)?;
        pgbench::fill(postgres.port(), arguments.scale).context("the tables cannot be filled")?;
        let haproxy = haproxy(dir.path(), postgres.port())?;
        let pgbouncer = pgbouncer(dir.path(), postgres.port(), user)?;
        let sidecar = fs::canonicalize(&arguments.sidecar)
            .with_context(|| format!("no sidecar `{}`; run make binaries", arguments.sidecar.display()))?;
        let chaperone = chaperone(&sidecar, dir.path(), postgres.port())?;
        Ok(Self { chaperone, pgbouncer, haproxy, postgres, sidecar, dir })
    }

    /// The server that pgbench talks to.
    pub(crate) const fn way(&self, way: Way) -> &Daemon {
        match way {
            Way::Direct => &self.postgres,
            Way::Haproxy => &self.haproxy,
            Way::Pgbouncer => &self.pgbouncer,
            Way::Chaperone => &self.chaperone,
        }
    }

    /// A sidecar that nothing has used before.
    pub(crate) fn another_sidecar(&self) -> Result<Daemon> {
        chaperone(&self.sidecar, self.dir.path(), self.postgres.port())
    }

    /// Where files may be made.
    pub(crate) fn scratch(&self) -> &Path {
        self.dir.path()
    }
}

fn postgres(dir: &Path, user: Option<User>) -> Result<Daemon> {
    let bin = newest_postgres()?;
    let home = subdirectory(dir, "postgres", user)?;
    let (data, secret) = (home.join("data"), home.join("password"));
    write(&secret, PASSWORD, user)?;
    let mut initdb = command(&bin.join("initdb"), user);
    initdb.args(["--encoding=UTF8", "--locale=C.UTF-8", "-A", "scram-sha-256", "-U", ROLE]);
    initdb.arg("-D").arg(&data).arg(format!("--pwfile={}", secret.display()));
    run(initdb)?;
    let port = free_port()?;
    let settings = format!("port = {port}\nunix_socket_directories = ''\n{SETTINGS}");
    write(&data.join("postgresql.auto.conf"), &settings, user)?;
    let mut server = command(&bin.join("postgres"), user);
    server.arg("-D").arg(&data);
    let daemon = Daemon::start(server, port, &dir.join("postgres.log"), Signal::INT)?;
    // The server listens a moment before it lets anybody in.
    let mut tries = 0;
    while let Err(error) = run(create_database(port)) {
        tries += 1;
        ensure!(tries < 100, error);
        thread::sleep(Duration::from_millis(50));
    }
    Ok(daemon)
}

fn create_database(port: u16) -> Command {
    let mut psql = Command::new("psql");
    psql.env("PGPASSWORD", PASSWORD).args(["-qX", "-h", "127.0.0.1", "-U", ROLE, "-d", "postgres"]);
    psql.args(["-p", &port.to_string(), "-c", &format!("CREATE DATABASE {DATABASE}")]);
    psql
}

fn newest_postgres() -> Result<PathBuf> {
    let all = fs::read_dir("/usr/lib/postgresql").context("PostgreSQL is not installed; run make setup")?;
    let mut versions: Vec<(u32, PathBuf)> = all
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            path.join("bin/postgres").exists().then(|| (version, path.join("bin")))
        })
        .collect();
    versions.sort();
    Ok(versions.pop().context("PostgreSQL is not installed; run make setup")?.1)
}

fn haproxy(dir: &Path, upstream: u16) -> Result<Daemon> {
    let port = free_port()?;
    let config = dir.join("haproxy.cfg");
    write(&config, &filled(HAPROXY, port, upstream), None)?;
    let mut server = Command::new("/usr/sbin/haproxy");
    server.arg("-db").arg("-f").arg(&config);
    Daemon::start(server, port, &dir.join("haproxy.log"), Signal::TERM)
}

fn pgbouncer(dir: &Path, upstream: u16, user: Option<User>) -> Result<Daemon> {
    let port = free_port()?;
    let home = subdirectory(dir, "pgbouncer", user)?;
    let (config, users) = (home.join("pgbouncer.ini"), home.join("users.txt"));
    write(&users, &format!("\"{ROLE}\" \"{PASSWORD}\"\n"), user)?;
    let text = filled(PGBOUNCER, port, upstream).replace("@USERS@", &users.display().to_string());
    write(&config, &text, user)?;
    let mut server = command(Path::new("/usr/sbin/pgbouncer"), user);
    server.arg("-q").arg(&config);
    Daemon::start(server, port, &dir.join("pgbouncer.log"), Signal::INT)
}

fn chaperone(binary: &Path, dir: &Path, upstream: u16) -> Result<Daemon> {
    let port = free_port()?;
    let home = dir.join(format!("chaperone-{port}"));
    let resources = home.join("resources");
    fs::create_dir_all(&resources)?;
    write(&resources.join("bench.yaml"), &filled(RESOURCES, port, upstream), None)?;
    let mut server = Command::new(binary);
    server.arg("run").arg("--standalone").arg(&resources).args(["--namespace", "bench"]);
    server.arg("--audit").arg(home.join("audit")).args(["--listen", "127.0.0.1"]);
    Daemon::start(server, port, &dir.join(format!("chaperone-{port}.log")), Signal::TERM)
}

fn filled(template: &str, port: u16, upstream: u16) -> String {
    let filled = template.replace("@PORT@", &port.to_string()).replace("@UPSTREAM@", &upstream.to_string());
    filled.replace("@ROLE@", ROLE).replace("@PASSWORD@", PASSWORD).replace("@DATABASE@", DATABASE)
}

fn subdirectory(dir: &Path, name: &str, user: Option<User>) -> Result<PathBuf> {
    let path = dir.join(name);
    fs::create_dir(&path)?;
    own(&path, user)?;
    Ok(path)
}

fn write(path: &Path, text: &str, user: Option<User>) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())?;
    own(path, user)
}

fn own(path: &Path, user: Option<User>) -> Result<()> {
    let Some(User { uid, gid }) = user else { return Ok(()) };
    Ok(chown(path, Some(uid), Some(gid))?)
}

fn run(mut command: Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("`{name}` cannot be started"))?;
    ensure!(output.status.success(), "`{name}` failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
