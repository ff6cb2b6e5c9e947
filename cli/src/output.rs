//! What the plugin says: results on standard output, complaints on standard error.

use std::io::Write;

/// Prints one line. A reader that has gone (`| head`) ends the plugin quietly by its next write's error.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}

/// Says what went wrong.
pub(crate) fn complain(error: &anyhow::Error) {
    let broken_pipe = |e: &std::io::Error| e.kind() == std::io::ErrorKind::BrokenPipe;
    if !error.downcast_ref().is_some_and(broken_pipe) {
        drop(writeln!(std::io::stderr(), "error: {error:#}"));
    }
}
