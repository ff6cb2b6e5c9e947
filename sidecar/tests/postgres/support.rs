//! A PostgreSQL of this machine's packages and a sidecar before it, both in a directory of their own.

use std::{
    fmt::Write as _,
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls};

use crate::server::{Server, free_port};

/// How long anything may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const PASSWORD: &str = "only-the-sidecar-knows";

/// One Connection of a world.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) name: &'static str,
    pub(crate) host: &'static str,
    /// Another upstream than the world's server.
    pub(crate) upstream_port: Option<u16>,
    pub(crate) database: &'static str,
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
    /// As in the resource.
    pub(crate) tls: &'static str,
    /// Where agents reach it.
    pub(crate) port: u16,
}

impl Route {
    /// To the server's database `shop`, in the clear.
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            host: "127.0.0.1",
            upstream_port: None,
            database: "shop",
            user: "app",
            password: PASSWORD,
            tls: "{mode: Disable}",
            port: free_port(),
        }
    }
}

/// What a world is made of.
pub(crate) struct Plan<'a> {
    pub(crate) schema: &'a str,
    pub(crate) rules: &'a str,
    /// Run as the superuser before anything else.
    pub(crate) roles: &'a str,
    /// `pg_hba.conf`.
    pub(crate) hba: &'a str,
    /// Settings of the server.
    pub(crate) settings: &'a [&'a str],
    /// The first is the one that [`World::agent`] takes.
    pub(crate) routes: Vec<Route>,
    /// The server's certificate and key.
    pub(crate) identity: Option<(String, String)>,
    /// Root certificates, as the ConfigMaps `ours` and `foreign`.
    pub(crate) roots: &'a [(&'a str, String)],
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self {
            schema: "",
            rules: "  - {name: read, verdict: Allow, sql: {verbs: [Read], relations: [public.*]}}",
            roles: "",
            hba: "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n",
            settings: &[],
            routes: vec![Route::new("db")],
            identity: None,
            roots: &[],
        }
    }
}

/// A server and a sidecar; both end when this is dropped.
pub(crate) struct World {
    dir: TempDir,
    server: Server,
    sidecar: Option<Child>,
    routes: Vec<Route>,
    roots: String,
    rules: String,
}

impl Drop for World {
    fn drop(&mut self) {
        self.end_sidecar();
        let log = self.sidecar_log();
        if !std::thread::panicking() {
            assert!(
                self.routes.iter().all(|route| !log.contains(route.password)),
                "a password is in the log"
            );
        }
    }
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) {
    let output = command.output().expect("starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < PATIENCE, "this never came true: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl World {
    /// A server with this schema (as the role `app`), and a sidecar with these rules before it.
    pub(crate) async fn ready(schema: &str, rules: &str) -> Self {
        Self::new(Plan { schema, rules, ..Plan::default() }).await
    }

    /// As planned.
    pub(crate) async fn new(plan: Plan<'_>) -> Self {
        let Plan { schema, rules, roles, hba, settings, routes, identity, roots } = plan;
        let dir = tempfile::tempdir().expect("a directory");
        open_to_all(dir.path());
        let home = dir.path().join("server");
        fs::create_dir(&home).expect("makes");
        let server = Server::start(&home, hba, settings, identity);
        fs::create_dir(dir.path().join("resources")).expect("makes");
        let mut config_maps = String::new();
        for (name, pem) in roots {
            let pem = pem.trim_end().replace('\n', "\n    ");
            write!(
                config_maps,
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n  ca.crt: |\n    {pem}\n---\n"
            )
            .expect("writes");
        }
        let (roots, rules) = (config_maps, rules.to_owned());
        let mut world = Self { dir, server, sidecar: None, routes, roots, rules };
        let admin = world.admin("postgres").await;
        admin
            .batch_execute(&format!("CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'; {roles}"))
            .await
            .expect("runs");
        admin.batch_execute("CREATE DATABASE shop OWNER app").await.expect("runs");
        world.admin("shop").await.batch_execute(&format!("SET ROLE app; {schema}")).await.expect("runs");
        world.write_resources();
        world.restart_sidecar().await;
        world
    }

    fn resources(&self) -> PathBuf {
        self.dir.path().join("resources")
    }

    fn end_sidecar(&mut self) {
        if let Some(mut sidecar) = self.sidecar.take() {
            drop(sidecar.kill());
            drop(sidecar.wait());
        }
    }

    /// Ends the sidecar without a word and starts it again.
    pub(crate) async fn restart_sidecar(&mut self) {
        self.end_sidecar();
        self.sidecar = Some(start_sidecar(self.dir.path(), &self.resources()));
        for route in &self.routes {
            eventually("the sidecar listens", async || TcpStream::connect(("127.0.0.1", route.port)).is_ok())
                .await;
        }
    }

    /// The most memory that the sidecar ever had, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let pid = self.sidecar.as_ref().expect("runs").id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("reads");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("is there");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    pub(crate) fn sidecar_log(&self) -> String {
        fs::read_to_string(self.dir.path().join("sidecar.log")).unwrap_or_default()
    }

    /// What reached the server.
    pub(crate) fn server_log(&self) -> String {
        fs::read_to_string(self.dir.path().join("server/log")).expect("reads")
    }

    /// The server itself.
    pub(crate) const fn server(&self) -> &Server {
        &self.server
    }

    /// Everything that is stored of records by now.
    pub(crate) fn records(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.dir.path().join("audit")).into_iter().flatten().filter_map(Result::ok);
        let files = files.map(|file| file.path());
        files.filter(|file| file.extension().is_some_and(|extension| extension == "jsonl")).collect()
    }

    /// Waits until this is part of a stored record.
    pub(crate) async fn recorded(&self, part: &str) {
        let found = async || {
            let mut texts = self.records().into_iter().filter_map(|file| fs::read_to_string(file).ok());
            texts.any(|text| text.contains(part))
        };
        eventually(&format!("`{part}` is recorded"), found).await;
    }

    fn write_resources(&self) {
        let mut text = self.roots.clone();
        let names: Vec<&str> = self.routes.iter().map(|route| route.name).collect();
        for route in &self.routes {
            let Route { name, host, upstream_port, database, user, password, tls, port } = route;
            let upstream_port = upstream_port.unwrap_or(self.server.port);
            write!(
                text,
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{username: {user}, password: '{password}'}}\n---\n\
                 apiVersion: chaperone.dev/v1alpha1\nkind: Connection\nmetadata: {{name: {name}}}\nspec:\n  protocol: Postgres\n  \
                 upstream: {{host: {host}, port: {upstream_port}, tls: {tls}}}\n  postgres: {{database: {database}}}\n  \
                 credential: {{secretRef: {{name: {name}}}}}\n  agent: {{port: {port}}}\n---\n"
            )
            .expect("writes");
        }
        write!(
            text,
            "apiVersion: chaperone.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{name: p}}\nspec:\n  \
             subjects: [{{serviceAccounts: [\"*\"]}}]\n  connections: {{names: [{}]}}\n  rules:\n{}\n",
            names.join(", "),
            self.rules
        )
        .expect("writes");
        fs::write(self.resources().join("all.yaml"), text).expect("writes");
    }

    fn reload(&self) {
        let socket = self.dir.path().join("resources.sock").display().to_string();
        let url = "http://sidecar/reload";
        run(Command::new("curl").args(["-sSf", "--unix-socket", &socket, "-X", "POST", url]));
    }

    /// Changes the rules and waits until live sessions use them.
    pub(crate) fn change_rules(&mut self, rules: &str) {
        rules.clone_into(&mut self.rules);
        self.write_resources();
        self.reload();
    }

    /// Changes the password that the sidecar has for a Connection.
    pub(crate) fn change_password(&mut self, name: &str, password: &'static str) {
        for route in self.routes.iter_mut().filter(|route| route.name == name) {
            route.password = password;
        }
        self.write_resources();
        self.reload();
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

    /// Where agents reach a Connection.
    pub(crate) fn port(&self, name: &str) -> u16 {
        self.routes.iter().find(|route| route.name == name).expect("is planned").port
    }

    /// A session of an agent, through the sidecar.
    pub(crate) async fn agent(&self) -> Client {
        self.try_agent(self.routes.first().expect("is planned").name).await.expect("connects")
    }

    /// A session of an agent on this Connection, if there is one.
    pub(crate) async fn try_agent(&self, name: &str) -> Result<Client, tokio_postgres::Error> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port(name)).user("agent").connect_timeout(Duration::from_secs(20));
        connect(&config).await
    }

    /// What an agent is told instead of a session.
    pub(crate) async fn told(&self, name: &str) -> tokio_postgres::error::DbError {
        let error = self.try_agent(name).await.expect_err("gives no session");
        error.as_db_error().unwrap_or_else(|| panic!("`{name}`: {error}")).clone()
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
    let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("sidecar.log")).expect("makes");
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaperone-sidecar"));
    // Everything is logged that can be, so that every test also shows what must not be.
    command.args(["--log-level", "trace", "run", "--namespace", "shop", "--standalone"]).arg(resources);
    command.arg("--audit").arg(dir.join("audit")).stdin(Stdio::null()).stderr(log).stdout(Stdio::null());
    command.spawn().expect("starts")
}
