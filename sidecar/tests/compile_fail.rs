//! Forwarding without a decision does not compile.
//!
//! Each case names in its first line the error that the compiler must find in it. `allowed.rs` must compile, so
//! that no case fails for want of a library.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot be set up fails"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where cargo put this test, and so the libraries that it was built with.
fn libraries() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// The builds of a library, the newest first. A target folder keeps those of other sets of features, too.
fn builds(name: &str) -> Vec<PathBuf> {
    let prefix = format!("lib{name}-");
    let entries = fs::read_dir(libraries()).unwrap().map(|entry| entry.unwrap().path());
    let mut builds: Vec<_> = entries
        .filter(|path| {
            let file = path.file_name().unwrap().to_string_lossy();
            file.starts_with(&prefix) && file.ends_with(".rlib")
        })
        .collect();
    builds.sort_by_key(|path| std::cmp::Reverse(path.metadata().unwrap().modified().unwrap()));
    builds
}

/// The libraries that a case is compiled with.
struct Libraries {
    sidecar: PathBuf,
    policy: PathBuf,
    wire: PathBuf,
}

impl Libraries {
    /// The newest sidecar, and the builds of the others that it was made with: those that `allowed` compiles with.
    fn that_compile(allowed: &Path) -> Self {
        let sidecar = builds("chaperone_sidecar").into_iter().next().expect("the sidecar was built");
        let mut said = String::new();
        for policy in builds("chaperone_policy") {
            for wire in builds("chaperone_wire") {
                let libraries = Self { sidecar: sidecar.clone(), policy: policy.clone(), wire };
                said = libraries.compile(allowed);
                if said.is_empty() {
                    return libraries;
                }
            }
        }
        panic!("{} does not compile: {said}", allowed.display());
    }

    /// What the compiler says of a case; nothing when it compiles.
    fn compile(&self, case: &Path) -> String {
        let out = tempfile::tempdir().unwrap();
        let mut rustc = Command::new("rustc");
        rustc.args(["--edition=2024", "--crate-type=lib", "--emit=metadata"]).arg(case);
        rustc.arg("--out-dir").arg(out.path()).arg("-L").arg(format!("dependency={}", libraries().display()));
        for (name, library) in
            [("chaperone_sidecar", &self.sidecar), ("policy", &self.policy), ("wire", &self.wire)]
        {
            rustc.arg("--extern").arg(format!("{name}={}", library.display()));
        }
        let output = rustc.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("rustc runs");
        if output.status.success() { String::new() } else { String::from_utf8(output.stderr).unwrap() }
    }
}

#[test]
fn forging_a_clearance_or_a_permit_or_spending_one_twice_does_not_compile() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail");
    let libraries = Libraries::that_compile(&cases.join("allowed.rs"));
    let mut refused = 0;
    for case in fs::read_dir(cases).unwrap().map(|entry| entry.unwrap().path()) {
        let text = fs::read_to_string(&case).unwrap();
        let Some(expected) = text.lines().next().and_then(|line| line.strip_prefix("// ")) else { continue };
        let said = libraries.compile(&case);
        assert!(said.contains(expected), "{}: not `{expected}` but: {said}", case.display());
        assert_eq!(said.matches("error[").count(), 1, "{}: more is wrong: {said}", case.display());
        refused += 1;
    }
    assert_eq!(refused, 4);
}
