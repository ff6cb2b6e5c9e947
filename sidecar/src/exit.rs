//! Exit codes: 0 in order, 64 bad arguments, 65 a bad resource, 70 everything else.

use std::{io::Write, process::ExitCode};

/// Why the process ends out of order.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An argument cannot be used.
    #[error("{0}")]
    Arguments(String),
    /// A resource cannot be used; one line per finding.
    #[error("{0}")]
    Resource(String),
    /// Anything else.
    #[error("{0:#}")]
    Internal(#[from] anyhow::Error),
}

impl Failure {
    const fn code(&self) -> u8 {
        match self {
            Self::Arguments(_) => 64,
            Self::Resource(_) => 65,
            Self::Internal(_) => 70,
        }
    }
}

/// Ends with clap's own text: on standard output for `--help` and `--version`, else as a bad argument.
#[must_use]
pub fn arguments(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell when the terminal is gone.
    drop(error.print());
    if error.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS }
}

/// Says why and ends with the code of the failure.
#[must_use]
pub fn failed(failure: &Failure) -> ExitCode {
    drop(writeln!(std::io::stderr(), "chaperone-sidecar: {failure}"));
    ExitCode::from(failure.code())
}
