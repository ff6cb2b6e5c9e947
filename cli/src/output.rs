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
        drop(writeln!(std::io::stderr(), "error: {}", plain(&reason(error))));
    }
}

/// An error with what is behind it. Of what an API server refused only its message is said: the rest repeats it.
pub(crate) fn reason(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let said = match cause.downcast_ref() {
            Some(kube::Error::Api(status)) => status.message.clone(),
            _ => cause.to_string(),
        };
        if !text.contains(&said) {
            text = if text.is_empty() { said } else { format!("{text}: {said}") };
        }
        if let Some(kube::Error::Api(_)) = cause.downcast_ref() {
            break;
        }
    }
    text
}

/// Text on one line that cannot steer a terminal: control and bidirectional characters are escaped.
pub(crate) fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .flat_map(|c| match c {
            '\n' | '\t' => vec![' '],
            c if steers(c) => c.escape_unicode().collect(),
            c => vec![c],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn text_cannot_steer_a_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\u{202e}c\nd"), "a\\u{1b}[31mb\\u{202e}c d");
    }
}
