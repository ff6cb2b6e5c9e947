//! A real sidecar, standalone, before an upstream that nobody looks at.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    dir: TempDir,
    sidecar: Child,
    upstream: u16,
    port: u16,
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.sidecar.kill());
        drop(self.sidecar.wait());
    }
}

/// An upstream that says everything back, in capitals, until its client has ended.
fn shouting() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("has an address").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("accepts");
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    let heard = buffer.get(..read).unwrap_or_default().to_ascii_uppercase();
                    if stream.write_all(&heard).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

impl World {
    fn start(rules: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = free.local_addr().expect("has an address").port();
        drop(free);
        fs::create_dir(dir.path().join("resources")).expect("makes");
        let (upstream, log) = (shouting(), fs::File::create(dir.path().join("log")).expect("makes"));
        write(dir.path(), (upstream, port), rules);
        let mut command = Command::new(env!("CARGO_BIN_EXE_chaperone-sidecar"));
        command.args(["run", "--namespace", "shop", "--standalone"]).arg(dir.path().join("resources"));
        command.arg("--audit").arg(dir.path().join("audit")).stdin(Stdio::null()).stderr(log);
        let sidecar = command.spawn().expect("starts");
        Self { dir, sidecar, upstream, port }
    }

    fn change(&self, rules: &str) {
        write(self.dir.path(), (self.upstream, self.port), rules);
    }

    fn connect(&self) -> TcpStream {
        let stream = until("the sidecar listens", || TcpStream::connect(("127.0.0.1", self.port)).ok());
        stream.set_read_timeout(Some(PATIENCE)).expect("is set");
        stream
    }

    /// The events of a kind that are stored, oldest first.
    fn events(&self, kind: &str) -> Vec<Value> {
        let mut files: Vec<_> = fs::read_dir(self.dir.path().join("audit"))
            .expect("is there")
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.to_string_lossy().ends_with(".segment.jsonl"))
            .collect();
        files.sort();
        let texts = files.iter().map(|path| fs::read_to_string(path).expect("reads")).collect::<String>();
        let lines = texts.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter_map(|line| line.pointer(&format!("/event/{kind}")).cloned()).collect()
    }

    /// Waits for the first event of a kind.
    fn event(&self, kind: &str) -> Value {
        until(kind, || self.events(kind).first().cloned())
    }
}

fn write(dir: &Path, (upstream, port): (u16, u16), rules: &str) {
    let text = format!(
        "apiVersion: chaperone.dev/v1alpha1\nkind: Connection\nmetadata: {{name: api}}\nspec:\n  protocol: Opaque\n  \
         upstream: {{host: 127.0.0.1, port: {upstream}}}\n  credential: {{none: {{}}}}\n  agent: {{port: {port}}}\n---\n\
         apiVersion: chaperone.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{name: p}}\nspec:\n  \
         subjects: [{{serviceAccounts: [\"*\"]}}]\n  connections: {{names: [api]}}\n  rules:\n{rules}"
    );
    fs::write(dir.join("resources/all.yaml"), text).expect("writes");
}

/// Looks until there is something.
fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn field<'a>(event: &'a Value, name: &str) -> &'a Value {
    event.get(name).unwrap_or_else(|| panic!("{event} has no {name}"))
}

const ALLOW: &str = "  - {name: pass, verdict: Allow, opaque: {}}\n";
const STATEMENTS: &str =
    "  - {name: read, verdict: Allow, sql: {verbs: [\"*\"], relations: [\"*.*\"], functions: [\"*\"]}}\n";

#[test]
fn bytes_pass_and_the_session_is_recorded_with_its_rule_and_counts() {
    let world = World::start(ALLOW);
    let mut client = world.connect();
    // Nothing that a protocol of ours begins with, and more than any buffer.
    let sent: Vec<u8> = b"\x16\x03\x01 hello, ".iter().copied().cycle().take(200_000).collect();
    let mut writer = client.try_clone().expect("is cloned");
    let count = sent.len();
    let expected = sent.to_ascii_uppercase();
    let writing = thread::spawn(move || {
        writer.write_all(&sent).expect("writes");
        writer.shutdown(std::net::Shutdown::Write).expect("ends");
    });
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).expect("reads");
    writing.join().expect("has written");
    assert!(heard == expected, "{} of {count} bytes", heard.len());
    let (start, end) = (world.event("opaqueStart"), world.event("sessionEnd"));
    assert_eq!(field(&start, "session"), field(&end, "session"));
    assert_eq!(field(&start, "connection"), "shop/api");
    assert_eq!(field(&start, "rules"), &serde_json::json!(["shop/p:pass"]));
    assert_eq!(field(&start, "upstream"), &serde_json::json!(format!("127.0.0.1:{}", world.upstream)));
    for direction in ["bytesFromClient", "bytesToClient"] {
        assert_eq!(field(&end, direction), count, "{end}");
    }
}

#[test]
fn without_a_rule_of_its_own_nothing_passes_and_that_is_recorded() {
    let world = World::start(STATEMENTS);
    let mut client = world.connect();
    let mut heard = Vec::new();
    // Closed at once, or reset when the bytes come too late.
    drop(client.write_all(b"hello"));
    drop(client.read_to_end(&mut heard));
    assert!(heard.is_empty(), "{heard:?}");
    let refused = world.event("refused");
    let reason = field(&refused, "reason").as_str().expect("is text");
    assert!(reason.contains("`shop/api`") && reason.contains("no rule allows"), "{reason}");
    assert!(world.events("opaqueStart").is_empty());
}

#[test]
fn a_session_ends_when_its_rule_goes_though_nobody_speaks() {
    let world = World::start(ALLOW);
    let mut client = world.connect();
    client.write_all(b"hello").expect("writes");
    let mut heard = [0; 5];
    client.read_exact(&mut heard).expect("reads");
    world.change(STATEMENTS);
    assert_eq!(client.read(&mut heard).expect("is closed in order"), 0);
    let end = world.event("sessionEnd");
    assert!(field(&end, "reason").as_str().is_some_and(|reason| reason.contains("no rule allows")), "{end}");
}
