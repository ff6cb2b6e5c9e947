//! What is printed.

use std::io::{self, Write};

use crate::figures::Spread;

pub(crate) fn heading(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "\n== {text}")
}

pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{text}")?;
    out.flush()
}

/// `1.02 (0.99-1.05)`.
pub(crate) fn spread(of: Option<Spread>, digits: usize) -> String {
    of.map_or_else(
        || "-".to_owned(),
        |Spread { min, median, max }| format!("{median:.digits$} ({min:.digits$}-{max:.digits$})"),
    )
}

/// Columns, the first to the left and the others to the right.
pub(crate) fn row(columns: &[String]) -> io::Result<()> {
    let mut columns = columns.iter();
    let first = columns.next().map(String::as_str).unwrap_or_default();
    let rest: String = columns.map(|column| format!("{column:>23}")).collect();
    line(&format!("{first:<16}{rest}"))
}
