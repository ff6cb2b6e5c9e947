//! Runs the plugin as a person would.

use std::process::{Command, Stdio};

/// What it said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the plugin with an environment of its own, away from any cluster but that of `kubeconfig`.
pub(crate) fn plugin(arguments: &[&str], kubeconfig: Option<&str>) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-chaperone"));
    command.args(arguments).env_clear().env("HOME", "/nonexistent").stdin(Stdio::null());
    command.env("KUBECONFIG", kubeconfig.unwrap_or("/nonexistent/kubeconfig"));
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}
