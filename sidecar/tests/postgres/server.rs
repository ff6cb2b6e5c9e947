//! A PostgreSQL of this machine's packages.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::support::run;

/// A server; ends when this is dropped.
pub(crate) struct Server {
    bin: PathBuf,
    data: PathBuf,
    pub(crate) port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let stop = unprivileged(&self.bin.join("pg_ctl"))
            .arg("-D")
            .arg(&self.data)
            .args(["-m", "immediate", "stop"])
            .output();
        drop(stop);
    }
}

impl Server {
    /// In `dir`, with its log in the file `log` there.
    pub(crate) fn start(
        dir: &Path,
        hba: &str,
        settings: &[&str],
        identity: Option<(String, String)>,
    ) -> Self {
        let bin = bin();
        let data = dir.join("data");
        let given = settings.iter().find_map(|setting| setting.strip_prefix("port = ")?.parse().ok());
        let port = given.unwrap_or_else(free_port);
        give_away(dir);
        run(Command::new("cp").arg("-a").arg(initialised()).arg(&data));
        fs::write(data.join("pg_hba.conf"), hba).expect("writes");
        let mut text = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nlog_statement = all\n\
             log_connections = on\nfsync = off\nmax_connections = 100\n",
            dir.display()
        );
        for setting in settings {
            text.push_str(setting);
            text.push('\n');
        }
        if let Some((certificate, key)) = identity {
            text.push_str("ssl = on\n");
            install(&data, &certificate, &key);
        }
        fs::write(data.join("postgresql.auto.conf"), text).expect("writes");
        let log = dir.join("log");
        run(unprivileged(&bin.join("pg_ctl")).arg("-D").arg(&data).arg("-l").arg(log).args(["-w", "start"]));
        Self { bin, data, port }
    }

    /// Gives it another certificate; it counts once the server has reloaded its configuration.
    pub(crate) fn change_identity(&self, certificate: &str, key: &str) {
        install(&self.data, certificate, key);
        run(unprivileged(&self.bin.join("pg_ctl")).arg("-D").arg(&self.data).arg("reload"));
    }
}

fn install(data: &Path, certificate: &str, key: &str) {
    for (name, text) in [("server.crt", certificate), ("server.key", key)] {
        let path = data.join(name);
        fs::write(&path, text).expect("writes");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("changes");
        give_away(&path);
    }
}

fn bin() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed: run make setup");
    let mut versions: Vec<PathBuf> =
        versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    versions.sort();
    versions.pop().expect("PostgreSQL is installed: run make setup")
}

/// An empty cluster of data, made once for all tests.
fn initialised() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let version = Command::new(bin().join("postgres")).arg("--version").output().expect("starts").stdout;
        let version: String =
            String::from_utf8_lossy(&version).chars().filter(char::is_ascii_alphanumeric).collect();
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("initdb-{version}"));
        if made.exists() {
            return made;
        }
        let dir = tempfile::tempdir().expect("a directory");
        give_away(dir.path());
        let data = dir.path().join("data");
        run(unprivileged(&bin().join("initdb")).arg("-D").arg(&data).args([
            "-U",
            "postgres",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "-A",
            "trust",
            "--no-sync",
            "--wal-segsize=1",
        ]));
        let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("initdb-{}", std::process::id()));
        run(Command::new("cp").arg("-a").arg(&data).arg(&new));
        // Another run may have been quicker.
        if fs::rename(&new, &made).is_err() {
            drop(fs::remove_dir_all(&new));
        }
        made
    })
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// The server refuses to run as root.
pub(crate) fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program);
    command
}

/// To the user that the server runs as.
pub(crate) fn give_away(path: &Path) {
    if !is_root() {
        return;
    }
    let passwd = fs::read_to_string("/etc/passwd").expect("reads");
    let line = passwd.lines().find(|line| line.starts_with("postgres:")).expect("PostgreSQL's user is there");
    let uid = line.split(':').nth(2).and_then(|uid| uid.parse().ok());
    chown(path, Some(uid.expect("has a number")), None).expect("changes");
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("has an address").port()
}
