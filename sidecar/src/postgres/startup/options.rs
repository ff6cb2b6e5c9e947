//! The startup parameter `options`: a command line for the server. Only settings are understood.

/// Why `options` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OptionsError {
    /// Something other than a setting.
    #[error("`{0}` in `options` is not a setting")]
    Unknown(String),
    /// A switch without its value.
    #[error("`-c` in `options` lacks its `name=value`")]
    Incomplete,
}

/// The settings in it, in order: `-c name=value`, `-cname=value` or `--name=value`; a dash in a name written
/// with two of them is an underscore, as in the server.
pub(super) fn settings(options: &str) -> Result<Vec<(String, String)>, OptionsError> {
    let mut settings = Vec::new();
    let mut words = words(options).into_iter();
    while let Some(word) = words.next() {
        let setting = if word == "-c" {
            words.next().ok_or(OptionsError::Incomplete)?
        } else if let Some(rest) = word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            rest.to_owned()
        } else {
            return Err(OptionsError::Unknown(word));
        };
        let Some((name, value)) = setting.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(OptionsError::Unknown(word));
        };
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

/// Split at white space; a backslash keeps the character after it.
fn words(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        let kept = match character {
            '\\' => characters.next(),
            // What C's isspace() says, as the server asks it.
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' => {
                words.extend(word.take());
                continue;
            }
            other => Some(other),
        };
        word.get_or_insert_default().extend(kept);
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::none("", &[])]
    #[case::separate("-c a=b", &[("a", "b")])]
    #[case::joined(" -ca=b  --c-d=e=f ", &[("a", "b"), ("c_d", "e=f")])]
    #[case::escaped(r"-c DateStyle=ISO,\ MDY -c x=a\\b", &[("DateStyle", "ISO, MDY"), ("x", r"a\b")])]
    fn settings_are_read_as_the_server_reads_them(#[case] options: &str, #[case] expected: &[(&str, &str)]) {
        let expected = expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        assert_eq!(settings(options), Ok(expected.collect()));
    }

    #[rstest]
    #[case("-c")]
    #[case("-c a")]
    #[case("-c =b")]
    #[case("-f x")]
    #[case("a=b")]
    #[case("-")]
    fn everything_else_is_refused(#[case] options: &str) {
        assert!(settings(options).is_err());
    }
}
