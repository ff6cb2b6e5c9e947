//! Built-in functions.

use super::review::Class;
use super::table::{Versions, range, table};
use super::types::type_by_oid;
use super::version::Version;

/// What kind of function it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FunctionKind {
    /// A function.
    Function,
    /// An aggregate.
    Aggregate,
    /// A window function.
    Window,
    /// A procedure.
    Procedure,
}

impl FunctionKind {
    /// From `prokind`.
    pub(super) const fn from_char(kind: char) -> Option<Self> {
        match kind {
            'f' => Some(Self::Function),
            'a' => Some(Self::Aggregate),
            'w' => Some(Self::Window),
            'p' => Some(Self::Procedure),
            _ => None,
        }
    }
}

/// A function in `pg_catalog` or `information_schema`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltinFunction {
    /// `pg_catalog` or `information_schema`.
    pub schema: &'static str,
    /// The name.
    pub name: &'static str,
    /// OIDs of the types of its input arguments; domains count as their base types.
    pub arguments: Box<[u32]>,
    /// How many of the last arguments have defaults.
    pub defaults: usize,
    /// The last argument takes the rest.
    pub variadic: bool,
    /// OID of the type of its result.
    pub result: u32,
    /// It returns a set.
    pub set: bool,
    /// Function, aggregate, window function or procedure.
    pub kind: FunctionKind,
    /// The OID, or 0 where it differs from one installation to the next.
    pub oid: u32,
    /// What the review says.
    pub class: Class,
    pub(super) versions: Versions,
}

impl BuiltinFunction {
    /// Whether any rule that allows something allows it.
    #[must_use]
    pub fn harmless(&self) -> bool {
        self.class == Class::Harmless
    }

    /// The fewest arguments that a call may give. A variadic argument may be left out.
    #[must_use]
    pub fn required(&self) -> usize {
        self.arguments.len().saturating_sub(self.defaults.max(usize::from(self.variadic)))
    }

    /// Its argument types as `format_type` spells them.
    pub fn spelled(&self) -> impl Iterator<Item = &'static str> {
        let version = self.versions.first();
        self.arguments.iter().map(move |oid| type_by_oid(version, *oid).map_or("unknown", |of| of.spelled))
    }
}

/// Every built-in function of a version.
pub fn all_functions(version: Version) -> impl Iterator<Item = &'static BuiltinFunction> {
    table().functions.iter().filter(move |function| function.versions.has(version))
}

/// The functions of a schema and name: `pg_catalog`, or `information_schema`, which has helpers of its own.
#[must_use]
pub fn functions(version: Version, schema: &str, name: &str) -> Vec<&'static BuiltinFunction> {
    let all = range(&table().functions, |function| (function.schema, function.name).cmp(&(schema, name)));
    all.iter().filter(|function| function.versions.has(version)).collect()
}

/// The function of an OID. OIDs from 12000 differ from one installation to the next and are not known here.
#[must_use]
pub fn function_by_oid(version: Version, oid: u32) -> Option<&'static BuiltinFunction> {
    let table = table();
    let places = range(&table.function_oids, |(known, _)| known.cmp(&oid));
    places
        .iter()
        .filter_map(|(_, at)| table.functions.get(*at))
        .find(|function| function.versions.has(version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtins::Why;

    fn class(version: Version, name: &str) -> Vec<Class> {
        functions(version, "pg_catalog", name).iter().map(|function| function.class).collect()
    }

    #[test]
    fn forms_are_as_the_server_has_them() {
        let of = |name| functions(Version::V15, "pg_catalog", name).first().map(|f| (*f).clone()).unwrap();
        let populate = of("json_populate_record");
        assert_eq!((populate.arguments.len(), populate.defaults, populate.required()), (3, 1, 2));
        let concat = of("concat_ws");
        assert!(concat.variadic && !concat.set);
        assert_eq!((concat.arguments.len(), concat.required()), (2, 1));
        assert!(of("generate_series").set);
        assert_eq!(of("count").kind, FunctionKind::Aggregate);
        assert_eq!(of("row_number").kind, FunctionKind::Window);
        assert_eq!(of("pg_sleep").spelled().collect::<Vec<_>>(), ["double precision"]);
    }

    #[test]
    fn versions_differ() {
        assert!(functions(Version::V15, "pg_catalog", "any_value").is_empty());
        assert_eq!(functions(Version::V16, "pg_catalog", "any_value").len(), 1);
        assert_eq!(functions(Version::V13, "pg_catalog", "pg_start_backup").len(), 1);
        assert!(functions(Version::V15, "pg_catalog", "pg_start_backup").is_empty());
        assert_eq!(function_by_oid(Version::V15, 2626).map(|f| f.name), Some("pg_sleep"));
        assert_eq!(function_by_oid(Version::V15, 0), None);
        assert!(functions(Version::V15, "information_schema", "_pg_expandarray")[0].harmless());
    }

    #[test]
    fn overloads_may_differ_in_class() {
        let classes = class(Version::V15, "ts_rewrite");
        assert!(classes.contains(&Class::Harmless) && classes.contains(&Class::Refused(Why::SqlText)));
    }
}
