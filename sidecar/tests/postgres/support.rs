//! A PostgreSQL of this machine's packages and a sidecar before it, both in a directory of their own.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls};

/// How long anything may take to come up.
const PATIENCE: Duration = Duration::from_secs(20);
const PASSWORD: &str = "only-the-sidecar-knows";

/// A server and a sidecar; both end when this is dropped.
pub(crate) struct World {
    dir: TempDir,
    server: Server,
    sidecar: Child,
    pub(crate) port: u16,
}

struct Server {
    bin: PathBuf,
    data: PathBuf,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.data.display().to_string();
        let stop = unprivileged(&self.bin.join("pg_ctl"))
            .args(["-D", &data, "-m", "immediate", "-w", "stop"])
            .output();
        drop(stop);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.sidecar.kill());
        drop(self.sidecar.wait());
    }
}

/// The server refuses to run as root.
fn unprivileged(program: &Path) -> Command {
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program);
    command
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("has an address").port()
}

fn run(command: &mut Command) {
    let output = command.output().expect("starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Server {
    fn start(dir: &Path) -> Self {
        let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
            .expect("PostgreSQL is installed: run make setup")
            .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
            .collect();
        versions.sort();
        let bin = versions.pop().expect("PostgreSQL is installed: run make setup");
        let data = dir.join("data");
        let port = free_port();
        std::os::unix::fs::chown(dir, Some(postgres_uid()), None).ok();
        let shown = data.display().to_string();
        run(unprivileged(&bin.join("initdb")).args([
            "-D",
            &shown,
            "-U",
            "postgres",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "-A",
            "trust",
        ]));
        let settings = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c log_statement=all -c fsync=off -c max_connections=100",
            dir.display()
        );
        fs::write(data.join("pg_hba.conf"), "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
            .expect("writes");
        let log = dir.join("log").display().to_string();
        run(unprivileged(&bin.join("pg_ctl"))
            .args(["-D", &shown, "-l", &log, "-o", &settings, "-w", "start"]));
        Self { bin, data, port }
    }
}

fn postgres_uid() -> u32 {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = passwd.lines().find(|line| line.starts_with("postgres:")).unwrap_or_default();
    line.split(':').nth(2).and_then(|uid| uid.parse().ok()).unwrap_or_default()
}

impl World {
    /// Starts both, with this schema (as the role `app`) and without resources.
    async fn new(schema: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        open_to_all(dir.path());
        let home = dir.path().join("server");
        fs::create_dir(&home).expect("makes");
        let server = Server::start(&home);
        let port = free_port();
        let resources = dir.path().join("resources");
        fs::create_dir(&resources).expect("makes");
        let sidecar = start_sidecar(dir.path(), &resources);
        let world = Self { dir, server, sidecar, port };
        let admin = world.admin("postgres").await;
        admin.batch_execute(&format!("CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'")).await.expect("runs");
        admin.batch_execute("CREATE DATABASE shop OWNER app").await.expect("runs");
        world.admin("shop").await.batch_execute(&format!("SET ROLE app; {schema}")).await.expect("runs");
        world
    }

    /// A server with this schema (as the role `app`), and a sidecar with these rules before it.
    pub(crate) async fn ready(schema: &str, rules: &str) -> Self {
        let mut world = Self::new(schema).await;
        world.write_rules(rules);
        world.restart_sidecar().await;
        world
    }

    fn resources(&self) -> PathBuf {
        self.dir.path().join("resources")
    }

    /// Ends the sidecar without a word and starts it again.
    pub(crate) async fn restart_sidecar(&mut self) {
        drop(self.sidecar.kill());
        drop(self.sidecar.wait());
        self.sidecar = start_sidecar(self.dir.path(), &self.resources());
        let started = Instant::now();
        while self.try_agent().await.is_err() {
            assert!(started.elapsed() < PATIENCE, "the sidecar does not come up: {}", self.sidecar_log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn sidecar_log(&self) -> String {
        fs::read_to_string(self.dir.path().join("sidecar.log")).unwrap_or_default()
    }

    /// What reached the server.
    pub(crate) fn server_log(&self) -> String {
        fs::read_to_string(self.dir.path().join("server/log")).expect("reads")
    }

    /// Where records are stored.
    pub(crate) fn audit(&self) -> PathBuf {
        self.dir.path().join("audit")
    }

    fn write_rules(&self, rules: &str) {
        let Server { port, .. } = self.server;
        let agent_port = self.port;
        let text = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{username: app, password: {PASSWORD}}}\n---\n\
             apiVersion: chaperone.dev/v1alpha1\nkind: Connection\nmetadata: {{name: db}}\nspec:\n  protocol: Postgres\n  \
             upstream: {{host: 127.0.0.1, port: {port}, tls: {{mode: Disable}}}}\n  postgres: {{database: shop}}\n  \
             credential: {{secretRef: {{name: s}}}}\n  agent: {{port: {agent_port}}}\n---\n\
             apiVersion: chaperone.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{name: p}}\nspec:\n  \
             subjects: [{{serviceAccounts: [\"*\"]}}]\n  connections: {{names: [db]}}\n  rules:\n{rules}\n"
        );
        fs::write(self.resources().join("all.yaml"), text).expect("writes");
    }

    /// Changes the rules and waits until live sessions use them.
    pub(crate) fn change_rules(&self, rules: &str) {
        self.write_rules(rules);
        let socket = self.dir.path().join("resources.sock").display().to_string();
        run(Command::new("curl").args([
            "-sSf",
            "--unix-socket",
            &socket,
            "-X",
            "POST",
            "http://sidecar/reload",
        ]));
    }

    /// A session as the superuser, straight to the server.
    pub(crate) async fn admin(&self, database: &str) -> Client {
        let mut config = Config::new();
        config
            .host_path(self.dir.path().join("server"))
            .port(self.server.port)
            .user("postgres")
            .dbname(database);
        connect(&config).await.expect("connects")
    }

    /// A session of an agent, through the sidecar.
    pub(crate) async fn agent(&self) -> Client {
        self.try_agent().await.expect("connects")
    }

    async fn try_agent(&self) -> Result<Client, tokio_postgres::Error> {
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(self.port)
            .user("agent")
            .dbname("shop")
            .connect_timeout(Duration::from_secs(2));
        connect(&config).await
    }

    /// A program that is pointed at the sidecar by the usual environment.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "agent")
            .env("PGDATABASE", "shop")
            .env_remove("PGPASSWORD")
            .stdin(Stdio::null());
        command
    }
}

async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn open_to_all(dir: &Path) {
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(dir, permissions).expect("changes");
}

fn start_sidecar(dir: &Path, resources: &Path) -> Child {
    let log = fs::File::create(dir.join("sidecar.log")).expect("makes");
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaperone-sidecar"));
    command.args(["run", "--namespace", "shop", "--standalone"]).arg(resources);
    command.arg("--audit").arg(dir.join("audit")).stdin(Stdio::null()).stderr(log).stdout(Stdio::null());
    command.spawn().expect("starts")
}
