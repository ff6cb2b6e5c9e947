//! A real PostgreSQL for one test binary: made in a temporary folder, reached over its socket, gone at the end.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail this way")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use chaperone_sql::builtins::{ALL_VERSIONS, Version};
use chaperone_sql::{Catalog, Doubt, Facts, Needs, Scope, SessionNames, Statement, Unready};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// A running server.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    bin: PathBuf,
    pub(crate) version: Version,
}

/// A session on it, with a catalog of what was asked through it.
pub(crate) struct Session {
    client: Client,
    runtime: tokio::runtime::Runtime,
    pub(crate) catalog: Catalog,
    pub(crate) names: SessionNames,
    /// Questions asked so far.
    pub(crate) asked: usize,
}

impl Server {
    /// Starts the server that the truth tables are written for.
    pub(crate) fn start() -> Self {
        let (bin, version) = installed().remove(0);
        Self::start_one(&bin, version)
    }

    /// Starts one server for each version that is installed or was fetched by `builtins/servers.sh`.
    pub(crate) fn start_all() -> Vec<Self> {
        installed().into_iter().map(|(bin, version)| Self::start_one(&bin, version)).collect()
    }

    fn start_one(bin: &Path, version: Version) -> Self {
        let folder = tempfile::Builder::new().prefix("sql-test").tempdir_in("/tmp").unwrap();
        let own = folder.path().join("server");
        let own = own.to_str().unwrap();
        // A fetched server may lie where its own user cannot read it.
        let bin = if bin.starts_with("/usr") {
            bin.to_owned()
        } else {
            run("cp", &["-r", bin.parent().unwrap().to_str().unwrap(), own]);
            Path::new(own).join("bin")
        };
        if is_root() {
            run("chown", &["-R", "postgres", folder.path().to_str().unwrap()]);
        }
        let server = Self { folder, bin, version };
        let data = server.path("data");
        server.as_postgres(
            "initdb",
            &["-D", &data, "-A", "trust", "-E", "UTF8", "--no-locale", "-N", "-U", "postgres"],
        );
        let options = format!(
            "-c listen_addresses='' -c fsync=off -c log_statement=all -c log_line_prefix=@@ -k {}",
            server.folder.path().display()
        );
        server
            .as_postgres("pg_ctl", &["-D", &data, "-o", &options, "-l", &server.path("log"), "-w", "start"]);
        server
    }

    /// Runs a client program against it, and gives the statements that it sent.
    pub(crate) fn statements_of(&self, program: &str, arguments: &[&str]) -> Vec<String> {
        let log = self.path("log");
        let before = std::fs::read_to_string(&log).unwrap().len();
        let host = self.folder.path().to_str().unwrap();
        let mut all = vec!["-h", host, "-U", "postgres", "-d", "postgres"];
        all.extend(arguments);
        self.as_postgres(program, &all);
        let text = std::fs::read_to_string(&log).unwrap();
        let entries = text.get(before..).unwrap().split("@@");
        let statements = entries.filter_map(|entry| {
            entry
                .strip_prefix("LOG:  statement: ")
                .or_else(|| entry.strip_prefix("LOG:  execute <unnamed>: "))
        });
        statements.map(|sql| sql.replace("\n\t", "\n")).collect()
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn as_postgres(&self, program: &str, arguments: &[&str]) {
        let own = self.bin.join(program);
        let program = if own.exists() { own } else { PathBuf::from(program) };
        let program = program.to_str().unwrap();
        if !is_root() {
            return run(program, arguments);
        }
        let mut all = vec!["-u", "postgres", "--", program];
        all.extend(arguments);
        run("runuser", &all);
    }

    /// Runs a script of statements as the superuser.
    pub(crate) fn script(&self, sql: &str) {
        let session = self.connect();
        session.runtime.block_on(session.client.batch_execute(sql)).unwrap_or_else(|e| panic!("{e:?}"));
    }

    pub(crate) fn connect(&self) -> Session {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let config = format!("host={} user=postgres dbname=postgres", self.folder.path().display());
        let (client, connection) = runtime.block_on(tokio_postgres::connect(&config, NoTls)).unwrap();
        runtime.spawn(async move { drop(connection.await) });
        let catalog = Catalog::new(self.version);
        Session { client, runtime, catalog, names: SessionNames::default(), asked: 0 }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.path("data");
        self.as_postgres("pg_ctl", &["-D", &data, "-m", "immediate", "-w", "stop"]);
    }
}

impl Session {
    pub(crate) fn run(&self, sql: &str) {
        self.runtime.block_on(self.client.batch_execute(sql)).unwrap_or_else(|e| panic!("{e:?}: {sql}"));
    }

    /// Makes a view anew, if the server takes its text.
    pub(crate) fn makes_view(&self, name: &str, query: &str) -> bool {
        self.run(&format!("DROP VIEW IF EXISTS {name}"));
        self.makes(&format!("CREATE VIEW {name} AS {query}"))
    }

    /// Whether the server takes a definition.
    pub(crate) fn makes(&self, sql: &str) -> bool {
        self.runtime.block_on(self.client.batch_execute(sql)).is_ok()
    }

    pub(crate) fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let messages = self.runtime.block_on(self.client.simple_query(sql));
        let messages = messages.unwrap_or_else(|e| panic!("{e:?}: {sql}"));
        let rows = messages
            .into_iter()
            .filter_map(|message| if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None });
        rows.map(|row| (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()).collect()
    }

    pub(crate) fn ask(&mut self, needs: &Needs) {
        for question in needs.questions() {
            let rows = self.rows(question.sql());
            self.asked += 1;
            self.catalog.answer(&question, &rows).unwrap_or_else(|e| panic!("{e}: {rows:?}"));
        }
    }

    pub(crate) fn search_path(&self) -> Vec<String> {
        let rows = self.rows("SELECT pg_catalog.unnest(pg_catalog.current_schemas(true))");
        rows.into_iter().filter_map(|mut row| row.remove(0)).collect()
    }

    /// The facts of a statement, asking as often as it takes.
    pub(crate) fn facts(
        &mut self,
        statement: &Arc<Statement>,
        doubt: Doubt,
    ) -> Result<Facts, chaperone_sql::Refused> {
        let path = self.search_path();
        let temp = path.iter().find(|schema| schema.starts_with("pg_temp_")).cloned();
        for _ in 0..20 {
            let scope = Scope {
                version: self.catalog.version(),
                search_path: &path,
                temp_schema: temp.as_deref(),
                catalog: &self.catalog,
                session: &self.names,
                parameter_types: &[],
                user: "postgres",
                database: "postgres",
                doubt,
            };
            match chaperone_sql::facts(statement, &scope) {
                Ok(facts) => return Ok(facts),
                Err(Unready::Refused(refused)) => return Err(refused),
                Err(Unready::Needs(needs)) => self.ask(&needs),
            }
        }
        panic!("the same names are needed again and again");
    }
}

/// The servers there are, PostgreSQL 15 first where it is among them.
fn installed() -> Vec<(PathBuf, Version)> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    let cache = cache.unwrap_or_default().join("chaperone/postgres");
    let mut all = Vec::new();
    for version in ALL_VERSIONS {
        let number = version.major().to_string();
        let places = [Path::new("/usr/lib/postgresql").join(&number), cache.join(&number)];
        let bin = places.into_iter().map(|place| place.join("bin")).find(|bin| bin.join("initdb").exists());
        all.extend(bin.map(|bin| (bin, version)));
    }
    assert!(!all.is_empty(), "install postgresql-15, or run sql/builtins/servers.sh 15");
    all.sort_by_key(|(_, version)| (*version != Version::V15, *version));
    all
}

/// The server refuses to run as root: then it runs as its package's user.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

fn run(program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).current_dir("/tmp");
    // The server keeps its parent's output open: no pipe.
    let log = tempfile::NamedTempFile::new().unwrap();
    command.stdout(log.reopen().unwrap()).stderr(log.reopen().unwrap());
    let status = command.status().unwrap();
    assert!(status.success(), "{program} {arguments:?}: {}", std::fs::read_to_string(log.path()).unwrap());
}
