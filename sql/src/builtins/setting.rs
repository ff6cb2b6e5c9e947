//! Settings that the baseline lets be set.

use std::collections::HashMap;
use std::sync::OnceLock;

const SETTINGS: &str = include_str!("../../builtins/settings.txt");

/// What the baseline lets a setting be set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingRule {
    /// Anything that the server takes.
    AnyValue,
    /// One of these, compared by letters and digits only, whatever their case.
    OneOf(&'static str),
}

impl SettingRule {
    /// Whether a value is among them. RESET and DEFAULT have none and return to what the login pinned.
    #[must_use]
    pub fn accepts(self, value: &str) -> bool {
        match self {
            Self::AnyValue => true,
            Self::OneOf(values) => values.split(' ').any(|known| plain(known).eq(plain(value))),
        }
    }

    /// What may be written, for a message; nothing where anything may.
    #[must_use]
    pub fn values(self) -> Option<&'static str> {
        match self {
            Self::AnyValue => None,
            Self::OneOf(values) => Some(values),
        }
    }
}

fn plain(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_lowercase())
}

/// The rule for a setting that the baseline lets be set; names are compared whatever their case.
#[must_use]
pub fn baseline_setting(name: &str) -> Option<SettingRule> {
    static RULES: OnceLock<HashMap<&str, SettingRule>> = OnceLock::new();
    let rules = RULES.get_or_init(|| SETTINGS.lines().filter_map(read).collect());
    rules.get(name.to_ascii_lowercase().as_str()).copied()
}

/// `name`, or `name = value value`.
fn read(line: &'static str) -> Option<(&'static str, SettingRule)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    Some(match line.split_once(" = ") {
        Some((name, values)) => (name, SettingRule::OneOf(values)),
        None => (line, SettingRule::AnyValue),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drivers_set_is_listed() {
        for name in [
            "application_name",
            "DateStyle",
            "TimeZone",
            "search_path",
            "extra_float_digits",
            "jit",
            "row_security",
        ] {
            assert_eq!(baseline_setting(name), Some(SettingRule::AnyValue), "{name}");
        }
    }

    #[test]
    fn what_changes_rights_or_reading_is_not() {
        for name in [
            "role",
            "session_authorization",
            "session_replication_role",
            "backslash_quote",
            "log_statement",
            "local_preload_libraries",
            "work_mem",
            "temp_file_limit",
            "lo_compat_privileges",
            "app.user",
            "",
            "# x",
        ] {
            assert_eq!(baseline_setting(name), None, "{name}");
        }
    }

    #[test]
    fn the_encoding_stays_utf8_and_strings_stay_standard() {
        let encoding = baseline_setting("CLIENT_ENCODING").unwrap();
        for value in ["UTF8", "utf-8", "Utf_8", "unicode", "'utf8'"] {
            assert!(encoding.accepts(value), "{value}");
        }
        for value in ["", "LATIN1", "utf8x", "utf16", "SQL_ASCII", "ütf8", "UTF8 UNICODE"] {
            assert!(!encoding.accepts(value), "{value}");
        }
        let strings = baseline_setting("standard_conforming_strings").unwrap();
        assert!(
            strings.accepts("ON")
                && strings.accepts("true")
                && !strings.accepts("off")
                && !strings.accepts("")
        );
    }
}
