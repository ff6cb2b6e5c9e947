//! A real PostgreSQL for the tests of `--catalog-from`, in a directory of its own.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A running server. It listens on a socket in its directory, and with a certificate on loopback.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    bin: PathBuf,
    port: u16,
    /// The root of its certificate, as PEM.
    pub(crate) root: String,
}

impl Server {
    pub(crate) fn start(schema: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("explain-test").tempdir_in("/tmp").unwrap();
        let bin = PathBuf::from("/usr/lib/postgresql/15/bin");
        assert!(bin.join("initdb").exists(), "install postgresql-15");
        let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let root = signed.cert.pem();
        for (name, text) in [("server.crt", &root), ("server.key", &signed.signing_key.serialize_pem())] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        run("chmod", &["600", folder.path().join("server.key").to_str().unwrap()]);
        if is_root() {
            run("chown", &["-R", "postgres", folder.path().to_str().unwrap()]);
        }
        // Freed again at once; nobody else is given it so soon.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { folder, bin, port, root };
        let at = |name: &str| server.path(name);
        server.as_postgres(
            "initdb",
            &["-D", &at("data"), "-A", "trust", "-E", "UTF8", "--no-locale", "-N", "-U", "postgres"],
        );
        let options = format!(
            "-c listen_addresses=localhost -p {port} -c fsync=off -k {} -c ssl=on -c ssl_cert_file={} -c ssl_key_file={}",
            server.folder.path().display(),
            at("server.crt"),
            at("server.key")
        );
        server.as_postgres("pg_ctl", &["-D", &at("data"), "-o", &options, "-l", &at("log"), "-w", "start"]);
        std::fs::write(at("schema.sql"), schema).unwrap();
        let host = server.folder.path().to_str().unwrap().to_owned();
        let port = port.to_string();
        server.as_postgres(
            "psql",
            &[
                "-h",
                &host,
                "-p",
                &port,
                "-U",
                "postgres",
                "-d",
                "postgres",
                "-v",
                "ON_ERROR_STOP=1",
                "-q",
                "-f",
                &at("schema.sql"),
            ],
        );
        server
    }

    /// By its socket, in the clear.
    pub(crate) fn url(&self) -> String {
        let folder = self.folder.path().to_str().unwrap().replace('/', "%2F");
        format!("postgres://postgres@{folder}:{}/postgres", self.port)
    }

    /// Over TCP.
    pub(crate) fn tcp(&self, host: &str) -> String {
        format!("postgres://postgres@{host}:{}/postgres", self.port)
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn as_postgres(&self, program: &str, arguments: &[&str]) {
        let program = self.bin.join(program);
        let program = program.to_str().unwrap();
        if !is_root() {
            return run(program, arguments);
        }
        let mut all = vec!["-u", "postgres", "--", program];
        all.extend(arguments);
        run("runuser", &all);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.path("data");
        self.as_postgres("pg_ctl", &["-D", &data, "-m", "immediate", "-w", "stop"]);
    }
}

/// The server refuses to run as root: then it runs as its package's user.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

fn run(program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).current_dir(Path::new("/tmp"));
    // The server keeps its parent's output open: no pipe.
    let log = tempfile::NamedTempFile::new().unwrap();
    command.stdout(log.reopen().unwrap()).stderr(log.reopen().unwrap());
    let status = command.status().unwrap();
    assert!(status.success(), "{program} {arguments:?}: {}", std::fs::read_to_string(log.path()).unwrap());
}
