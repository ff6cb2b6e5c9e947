//! The programs that people use: kubectl, helm, and the plugin.

use std::process::Stdio;

use anyhow::{Context, Result};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::exec::Output;

/// Names the plugin where it is not on the PATH.
const PLUGIN: &str = "CHAPERONE_PLUGIN";

/// Runs kubectl.
///
/// # Errors
/// When it cannot be started.
pub async fn kubectl(arguments: &[&str], input: &str) -> Result<Output> {
    run("kubectl", arguments, input).await
}

/// Runs helm.
///
/// # Errors
/// When it cannot be started.
pub async fn helm(arguments: &[&str]) -> Result<Output> {
    run("helm", arguments, "").await
}

/// Runs `kubectl chaperone`.
///
/// # Errors
/// When it cannot be started.
pub async fn plugin(arguments: &[&str]) -> Result<Output> {
    let program = std::env::var(PLUGIN).unwrap_or_else(|_| "kubectl-chaperone".to_owned());
    run(&program, arguments, "").await
}

/// Runs a line of shell, as the environment gives it.
///
/// # Errors
/// When it cannot be started.
pub async fn shell(line: &str) -> Result<Output> {
    run("sh", &["-c", line], "").await
}

async fn run(program: &str, arguments: &[&str], input: &str) -> Result<Output> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting `{program}`"))?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    let write = async {
        // A program that reads nothing may have ended.
        drop(stdin.write_all(input.as_bytes()).await);
        drop(stdin);
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    let output = output?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().unwrap_or(-1);
    Ok(Output { code, stdout: text(&output.stdout), stderr: text(&output.stderr) })
}
