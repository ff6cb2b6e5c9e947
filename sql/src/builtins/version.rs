//! Major versions of the server.

use std::fmt;

/// A major version of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// PostgreSQL 13.
    V13,
    /// PostgreSQL 14.
    V14,
    /// PostgreSQL 15.
    V15,
    /// PostgreSQL 16.
    V16,
    /// PostgreSQL 17.
    V17,
    /// PostgreSQL 18.
    V18,
}

/// Every version that is known, oldest first.
pub const ALL_VERSIONS: [Version; 6] =
    [Version::V13, Version::V14, Version::V15, Version::V16, Version::V17, Version::V18];

/// The server is of a version whose built-ins were never reviewed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server says that it is PostgreSQL `{said}`: use a server of version 13 to 18")]
pub struct UnknownVersion {
    /// What the server said.
    pub said: String,
}

impl Version {
    /// The major version as a number.
    #[must_use]
    pub const fn major(self) -> u32 {
        match self {
            Self::V13 => 13,
            Self::V14 => 14,
            Self::V15 => 15,
            Self::V16 => 16,
            Self::V17 => 17,
            Self::V18 => 18,
        }
    }

    /// The version of a major number.
    #[must_use]
    pub fn from_major(major: u32) -> Option<Self> {
        ALL_VERSIONS.into_iter().find(|version| version.major() == major)
    }

    /// Reads `server_version` as a server reports it: `15.18 (Debian 15.18-0+deb12u1)`, `18beta1`.
    ///
    /// # Errors
    /// When it is not a version from 13 to 18.
    pub fn from_server_version(text: &str) -> Result<Self, UnknownVersion> {
        let digits: String = text.trim_start().chars().take_while(char::is_ascii_digit).collect();
        let known = digits.parse().ok().and_then(Self::from_major);
        known.ok_or_else(|| UnknownVersion { said: text.chars().take(80).collect() })
    }

    /// Reads `server_version_num`, such as 150018.
    ///
    /// # Errors
    /// When it is not a version from 13 to 18.
    pub fn from_num(number: u32) -> Result<Self, UnknownVersion> {
        Self::from_major(number / 10_000).ok_or_else(|| UnknownVersion { said: number.to_string() })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.major().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_servers_report_them() {
        for (text, version) in [
            ("15.18 (Debian 15.18-0+deb12u1)", Version::V15),
            ("13.22", Version::V13),
            ("18beta1", Version::V18),
            ("17devel", Version::V17),
        ] {
            assert_eq!(Version::from_server_version(text), Ok(version));
        }
        assert_eq!(Version::from_num(180_000), Ok(Version::V18));
    }

    #[test]
    fn other_versions_are_refused_by_name() {
        for text in ["12.20", "19devel", "", "fifteen", "9.6.24", "1518", "99999999999"] {
            let error = Version::from_server_version(text).unwrap_err();
            assert_eq!(error.said, text);
        }
        let error = Version::from_num(120_020).unwrap_err().to_string();
        assert_eq!(error, "the server says that it is PostgreSQL `120020`: use a server of version 13 to 18");
    }
}
