//! The review of built-in functions: harmless, or why not.

use std::collections::HashMap;

/// What the review says of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// May be called with any rule that allows something.
    Harmless,
    /// Needs a rule that names it.
    Refused(Why),
}

/// Why a function is not harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// Runs SQL, or reads what its arguments name as text or OID.
    SqlText,
    /// Reads or lists files of the server.
    File,
    /// Acts on another session, or shows what it does.
    OtherSession,
    /// Changes a setting.
    Setting,
    /// Reads or writes large objects.
    LargeObject,
    /// Moves or reads a sequence.
    Sequence,
    /// Takes or gives back a lock.
    Lock,
    /// Changes or shows replication.
    Replication,
    /// Waits.
    Waits,
    /// Sends a notification.
    Notifies,
    /// Steers the server.
    Server,
    /// Writes.
    Writes,
    /// Shows what a refused system relation shows.
    ShowsHidden,
    /// Works inside a trigger only.
    TriggerOnly,
    /// For the server's own use.
    Internal,
    /// Nobody has looked at it.
    Unreviewed,
}

impl Why {
    /// The reason in words, to go after a function's name.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::SqlText => "runs SQL or reads what its arguments name",
            Self::File => "reads files of the server",
            Self::OtherSession => "acts on other sessions or shows what they do",
            Self::Setting => "changes a setting",
            Self::LargeObject => "reads or writes large objects",
            Self::Sequence => "moves or reads a sequence",
            Self::Lock => "takes or gives back a lock",
            Self::Replication => "changes or shows replication",
            Self::Waits => "waits",
            Self::Notifies => "sends a notification",
            Self::Server => "steers the server",
            Self::Writes => "writes",
            Self::ShowsHidden => "shows what is hidden",
            Self::TriggerOnly => "works inside a trigger only",
            Self::Internal => "is for the server's own use",
            Self::Unreviewed => "has not been reviewed",
        }
    }

    /// The reason that heads a section of `refused.txt`.
    fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "SqlText" => Self::SqlText,
            "File" => Self::File,
            "OtherSession" => Self::OtherSession,
            "Setting" => Self::Setting,
            "LargeObject" => Self::LargeObject,
            "Sequence" => Self::Sequence,
            "Lock" => Self::Lock,
            "Replication" => Self::Replication,
            "Waits" => Self::Waits,
            "Notifies" => Self::Notifies,
            "Server" => Self::Server,
            "Writes" => Self::Writes,
            "ShowsHidden" => Self::ShowsHidden,
            "TriggerOnly" => Self::TriggerOnly,
            "Internal" => Self::Internal,
            _ => return None,
        })
    }
}

/// The lists: names, and `name(type,type)` for single overloads.
#[derive(Debug)]
pub(super) struct Review<'t> {
    listed: HashMap<&'t str, Class>,
}

impl<'t> Review<'t> {
    /// Reads `harmless.txt` and `refused.txt`. What both name is refused.
    pub(super) fn read(harmless: &'t str, refused: &'t str) -> Self {
        let mut listed: HashMap<&'t str, Class> =
            words(harmless).map(|word| (word, Class::Harmless)).collect();
        let mut why = Why::Unreviewed;
        for word in words(refused) {
            match word.strip_prefix('[').and_then(|word| word.strip_suffix(']')) {
                Some(section) => why = Why::from_word(section).unwrap_or(Why::Unreviewed),
                None => drop(listed.insert(word, Class::Refused(why))),
            }
        }
        Self { listed }
    }

    /// The class of a function, its argument types written as in `catalog.tsv`.
    pub(super) fn class(&self, name: &str, arguments: &str, result: &str) -> Class {
        let signature = format!("{name}({})", arguments.replace(' ', ","));
        if let Some(class) = self.listed.get(signature.as_str()) {
            return *class;
        }
        if let Some(why) = by_signature(arguments, result) {
            return Class::Refused(why);
        }
        self.listed.get(name).copied().unwrap_or(Class::Refused(Why::Unreviewed))
    }
}

/// What arguments and result alone tell: such a function cannot be called from SQL, or only to no purpose.
fn by_signature(arguments: &str, result: &str) -> Option<Why> {
    match result {
        "trigger" | "event_trigger" => return Some(Why::TriggerOnly),
        "internal" | "cstring" | "fdw_handler" | "index_am_handler" | "table_am_handler"
        | "language_handler" | "tsm_handler" => return Some(Why::Internal),
        _ => {}
    }
    let internal = arguments.split(' ').any(|of| matches!(of, "internal" | "cstring" | "_cstring"));
    internal.then_some(Why::Internal)
}

/// The words of a list, comments left out.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overload_counts_before_a_signature_rule_and_that_before_a_name() {
        let review = Review::read("# a comment\nf g sample(internal)", "[Waits]\nf(text)\n[File]\nh");
        assert_eq!(review.class("f", "int4", "int4"), Class::Harmless);
        assert_eq!(review.class("f", "text", "int4"), Class::Refused(Why::Waits));
        assert_eq!(review.class("g", "internal int4", "int4"), Class::Refused(Why::Internal));
        assert_eq!(review.class("g", "", "trigger"), Class::Refused(Why::TriggerOnly));
        assert_eq!(review.class("sample", "internal", "tsm_handler"), Class::Harmless);
        assert_eq!(review.class("h", "", "text"), Class::Refused(Why::File));
        assert_eq!(review.class("new", "", "text"), Class::Refused(Why::Unreviewed));
    }

    #[test]
    fn what_both_lists_name_is_refused() {
        let review = Review::read("f", "[Sequence]\nf");
        assert_eq!(review.class("f", "", "text"), Class::Refused(Why::Sequence));
    }
}
