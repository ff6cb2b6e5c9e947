//! Forwarding without a decision does not compile.
//!
//! Each case names in its first line the error that the compiler must find in it. `allowed.rs` must compile, so
//! that no case fails for want of a library.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where cargo put this test, and so the libraries that it was built with.
fn libraries() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// The newest build of a library: the one that this test was built with.
fn library(name: &str) -> PathBuf {
    let prefix = format!("lib{name}-");
    let entries = fs::read_dir(libraries()).unwrap().map(|entry| entry.unwrap().path());
    let builds = entries.filter(|path| {
        let file = path.file_name().unwrap().to_string_lossy();
        file.starts_with(&prefix) && file.ends_with(".rlib")
    });
    builds.max_by_key(|path| path.metadata().unwrap().modified().unwrap()).expect("the library was built")
}

/// What the compiler says of a case; nothing when it compiles.
fn compile(case: &Path) -> String {
    let out = tempfile::tempdir().unwrap();
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition=2024", "--crate-type=lib", "--emit=metadata"]).arg(case);
    rustc.arg("--out-dir").arg(out.path()).arg("-L").arg(format!("dependency={}", libraries().display()));
    for (name, of) in [
        ("chaperone_sidecar", "chaperone_sidecar"),
        ("policy", "chaperone_policy"),
        ("wire", "chaperone_wire"),
    ] {
        rustc.arg("--extern").arg(format!("{name}={}", library(of).display()));
    }
    let output = rustc.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("rustc runs");
    if output.status.success() { String::new() } else { String::from_utf8(output.stderr).unwrap() }
}

#[test]
fn forging_a_clearance_or_a_permit_or_spending_one_twice_does_not_compile() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail");
    let said = compile(&cases.join("allowed.rs"));
    assert!(said.is_empty(), "{said}");
    let mut refused = 0;
    for case in fs::read_dir(cases).unwrap().map(|entry| entry.unwrap().path()) {
        let text = fs::read_to_string(&case).unwrap();
        let Some(expected) = text.lines().next().and_then(|line| line.strip_prefix("// ")) else { continue };
        let said = compile(&case);
        assert!(said.contains(expected), "{}: not `{expected}` but: {said}", case.display());
        assert_eq!(said.matches("error[").count(), 1, "{}: more is wrong: {said}", case.display());
        refused += 1;
    }
    assert_eq!(refused, 4);
}
