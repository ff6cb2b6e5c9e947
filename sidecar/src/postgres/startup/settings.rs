//! Settings that a client may give at startup: the ones that the Standard baseline lets it SET.

/// What may be given for a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Anything that the server takes.
    Any,
    /// Only UTF-8, in any spelling: the parser relies on it.
    Utf8,
    /// Only a form of "on": the parser relies on it.
    On,
}

/// What may be given for the setting with this lower-case name; none when it may not be given at all.
#[must_use]
pub fn allowed(name: &str) -> Option<Values> {
    match name {
        "client_encoding" => Some(Values::Utf8),
        "standard_conforming_strings" => Some(Values::On),
        "application_name"
        | "bytea_output"
        | "client_min_messages"
        | "datestyle"
        | "default_transaction_deferrable"
        | "default_transaction_isolation"
        | "default_transaction_read_only"
        | "extra_float_digits"
        | "geqo"
        | "idle_in_transaction_session_timeout"
        | "idle_session_timeout"
        | "intervalstyle"
        | "jit"
        | "lock_timeout"
        | "row_security"
        | "search_path"
        | "statement_timeout"
        | "timezone"
        | "transaction_timeout"
        | "xmloption" => Some(Values::Any),
        _ => None,
    }
}

impl Values {
    /// Whether this value may be given.
    #[must_use]
    pub fn include(self, value: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Utf8 => {
                // The server compares names of encodings by their letters and digits alone.
                let plain = value.chars().filter(char::is_ascii_alphanumeric);
                let plain = plain.collect::<String>().to_ascii_lowercase();
                value.is_ascii() && matches!(plain.as_str(), "utf8" | "unicode")
            }
            Self::On => matches!(value.to_ascii_lowercase().as_str(), "on" | "true" | "yes" | "1"),
        }
    }
}
