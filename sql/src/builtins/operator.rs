//! Built-in operators and casts.

use super::function::function_by_oid;
use super::table::{Versions, range, table};
use super::version::Version;

/// An operator in `pg_catalog`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltinOperator {
    /// The name.
    pub name: &'static str,
    /// OID of the left operand's type; 0 for a prefix operator.
    pub left: u32,
    /// OID of the right operand's type; 0 for a postfix operator.
    pub right: u32,
    /// OID of the type of its result.
    pub result: u32,
    /// OID of its function.
    pub function: u32,
    pub(super) versions: Versions,
}

impl BuiltinOperator {
    /// Whether the function behind it is harmless.
    #[must_use]
    pub fn harmless(&self) -> bool {
        function_by_oid(self.versions.first(), self.function).is_some_and(super::BuiltinFunction::harmless)
    }
}

/// A cast between built-in types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltinCast {
    /// OID of the type it starts from.
    pub source: u32,
    /// OID of the type it ends at.
    pub target: u32,
    /// `i`mplicit, in `a`ssignments, or `e`xplicit only.
    pub context: char,
    /// OID of its function; 0 where the bytes stay or go through text.
    pub function: u32,
    pub(super) versions: Versions,
}

/// Every built-in operator of a version.
pub fn all_operators(version: Version) -> impl Iterator<Item = &'static BuiltinOperator> {
    table().operators.iter().filter(move |operator| operator.versions.has(version))
}

/// The operators of a name.
pub fn operators(version: Version, name: &str) -> impl Iterator<Item = &'static BuiltinOperator> {
    let all = range(&table().operators, |operator| operator.name.cmp(name));
    all.iter().filter(move |operator| operator.versions.has(version))
}

/// Whether there is an operator of a name.
#[must_use]
pub fn operator_exists(version: Version, name: &str) -> bool {
    operators(version, name).next().is_some()
}

/// Whether every operator of a name is harmless; false where there is none.
#[must_use]
pub fn operator_harmless(version: Version, name: &str) -> bool {
    operator_exists(version, name) && operators(version, name).all(BuiltinOperator::harmless)
}

/// The casts that a version has.
pub fn casts(version: Version) -> impl Iterator<Item = &'static BuiltinCast> {
    table().casts.iter().filter(move |cast| cast.versions.has(version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtins::ALL_VERSIONS;

    #[test]
    fn operators_are_found_by_name() {
        let plus: Vec<_> =
            operators(Version::V15, "+").filter(|op| op.left == 23 && op.right == 23).collect();
        assert_eq!(plus.len(), 1);
        assert_eq!(plus[0].result, 23);
        assert!(operators(Version::V15, "-").any(|op| op.left == 0));
        assert!(operator_harmless(Version::V13, "~~*") && operator_harmless(Version::V18, "@>"));
        assert!(!operator_exists(Version::V15, "=?=") && !operator_harmless(Version::V15, "=?="));
    }

    #[test]
    fn every_operator_and_cast_is_harmless() {
        for version in ALL_VERSIONS {
            for operator in all_operators(version) {
                assert!(operator.harmless(), "{operator:?}");
            }
            for cast in casts(version).filter(|cast| cast.function != 0) {
                assert!(function_by_oid(version, cast.function).is_some_and(|f| f.harmless()), "{cast:?}");
            }
        }
    }
}
