//! The log: JSON lines on standard error. Never statement text, parameters, tokens or secrets.

use tracing_subscriber::EnvFilter;

use crate::exit::Failure;

/// Starts logging.
///
/// # Errors
/// When the level is none.
pub fn start(level: &str) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(level).map_err(|error| {
        Failure::Arguments(format!(
            "--log-level `{level}` is not a level: {error}; write error, warn, info, debug or trace"
        ))
    })?;
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}
