//! The log: JSON lines on standard error. Never statement text, parameters, tokens or secrets.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;

use crate::exit::Failure;

/// Starts logging.
///
/// # Errors
/// When the level is none, or standard error cannot be had.
pub fn start(level: &str) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(level).map_err(|error| {
        Failure::Arguments(format!(
            "--log-level `{level}` is not a level: {error}; write error, warn, info, debug or trace"
        ))
    })?;
    // A descriptor of our own: the parser of statements turns the process's standard error away while it works.
    let own = std::io::stderr().as_fd().try_clone_to_owned().map_err(anyhow::Error::from)?;
    let writer = Mutex::new(File::from(own));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(writer).init();
    Ok(())
}
