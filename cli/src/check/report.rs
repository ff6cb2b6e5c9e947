//! What was found, line by line.

use serde::Serialize;
use serde_json::{Value, json};

use crate::output::plain;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Level {
    Ok,
    Warn,
    Fail,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK  ",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

/// One line.
#[derive(Debug, Serialize)]
struct Finding {
    section: &'static str,
    result: Level,
    text: String,
    /// What to do.
    #[serde(rename = "hint", skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// Everything that was looked at, in order.
#[derive(Debug, Default)]
pub(super) struct Report {
    findings: Vec<Finding>,
    /// How many warnings say that something was not looked at.
    unseen: usize,
}

impl Report {
    pub(super) fn ok(&mut self, section: &'static str, text: impl Into<String>) {
        self.findings.push(Finding { section, result: Level::Ok, text: text.into(), hint: None });
    }

    pub(super) fn warn(&mut self, section: &'static str, text: impl Into<String>, hint: impl Into<String>) {
        let hint = Some(hint.into());
        self.findings.push(Finding { section, result: Level::Warn, text: text.into(), hint });
    }

    pub(super) fn fail(&mut self, section: &'static str, text: impl Into<String>, hint: impl Into<String>) {
        let hint = Some(hint.into());
        self.findings.push(Finding { section, result: Level::Fail, text: text.into(), hint });
    }

    /// A warning that something was not looked at.
    pub(super) fn unseen(&mut self, section: &'static str, text: impl Into<String>, hint: impl Into<String>) {
        self.unseen += 1;
        self.warn(section, text, hint);
    }

    /// Something could not be read: by lack of rights it is unknown, by anything else it is broken.
    pub(super) fn unread(&mut self, section: &'static str, what: &str, error: &kube::Error) {
        if let kube::Error::Api(status) = error
            && status.code == 403
        {
            let text = format!("{what}: not looked at, you may not: {}", status.message);
            return self.unseen(section, text, "ask for that right, or have somebody run this who has it");
        }
        let hint = "see whether the API server is healthy: kubectl get --raw /readyz?verbose";
        let error =
            if let kube::Error::Api(status) = error { status.message.clone() } else { error.to_string() };
        self.fail(section, format!("{what}: cannot be read: {error}"), hint);
    }

    pub(super) fn worst(&self) -> Level {
        self.findings.iter().map(|finding| finding.result).max().unwrap_or(Level::Ok)
    }

    /// For people.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut section = "";
        for finding in &self.findings {
            if finding.section != section {
                section = finding.section;
                lines.push(section.to_owned());
            }
            lines.push(format!("  {}  {}", finding.result.word(), plain(&finding.text)));
            lines.extend(finding.hint.iter().map(|hint| format!("        do: {}", plain(hint))));
        }
        let count = |level| self.findings.iter().filter(|finding| finding.result == level).count();
        lines.push(match (count(Level::Fail), count(Level::Warn)) {
            (0, 0) => "healthy".to_owned(),
            (0, warnings) if self.unseen == 0 => format!("healthy, {warnings} warnings"),
            (0, warnings) => format!(
                "nothing that was looked at failed: {warnings} warnings, {} of them about what was not looked at",
                self.unseen
            ),
            (failures, warnings) => format!("NOT healthy: {failures} failures, {warnings} warnings"),
        });
        lines
    }

    pub(super) fn json(&self) -> Value {
        json!({ "result": self.worst(), "checks": self.findings })
    }
}
