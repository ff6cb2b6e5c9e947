//! Commands in containers.

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::AttachParams};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What a command said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// What it said, if it succeeded.
    ///
    /// # Errors
    /// When it did not.
    pub fn success(self) -> Result<String> {
        match self.code {
            0 => Ok(self.stdout.trim_end().to_owned()),
            code => bail!("exit code {code}\n{}{}", self.stdout, self.stderr),
        }
    }

    /// What it complained about, if it failed.
    ///
    /// # Errors
    /// When it succeeded.
    pub fn failure(self) -> Result<String> {
        match self.code {
            0 => bail!("this should have failed, and said:\n{}{}", self.stdout, self.stderr),
            _ => Ok(format!("{}{}", self.stdout, self.stderr)),
        }
    }
}

/// Runs a command in a container and waits for its end.
///
/// # Errors
/// When it cannot be started. That it fails is no error here.
pub async fn run(pods: &Api<Pod>, pod: &str, container: &str, command: &[&str]) -> Result<Output> {
    let params = AttachParams::default().container(container);
    let mut attached = pods
        .exec(pod, command.iter().copied(), &params)
        .await
        .with_context(|| format!("exec in `{pod}`/`{container}`"))?;
    let status = attached.take_status().context("exec reports no status")?;
    let (stdout, stderr) = (attached.stdout(), attached.stderr());
    let (stdout, stderr, status) = tokio::join!(read(stdout), read(stderr), status);
    // The status is the last message; what remains is the end of the connection.
    drop(attached);
    Ok(Output { code: code(status)?, stdout: stdout?, stderr: stderr? })
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> Result<String> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The exit code is in the causes of a failure.
fn code(status: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Status>) -> Result<i32> {
    let status = status.context("the connection ended before the command")?;
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status.details.and_then(|details| details.causes).unwrap_or_default();
    let code = causes.into_iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    match code.and_then(|cause| cause.message?.parse().ok()) {
        Some(code) => Ok(code),
        None => bail!("the command could not be run: {}", status.message.unwrap_or_default()),
    }
}
