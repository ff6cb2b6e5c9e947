//! Built-in types.

use super::table::{Versions, range, table, take};
use super::version::Version;

/// A type in `pg_catalog` whose OID is the same in every installation of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltinType {
    /// The name in `pg_type`: `int4`, `_int4`.
    pub name: &'static str,
    /// The OID.
    pub oid: u32,
    /// `typtype`: `b`ase, `c`omposite, `r`ange, `m`ultirange, `p`seudo.
    pub kind: char,
    /// The name of an array's element type.
    pub element: Option<&'static str>,
    /// As `format_type` spells it: `integer`, `integer[]`.
    pub spelled: &'static str,
    pub(super) versions: Versions,
}

impl BuiltinType {
    /// Reads a line of `catalog.tsv`.
    pub(super) fn read(line: &'static str) -> Option<Self> {
        let mut fields = line.split('\t');
        let [_, name, oid, kind, element, spelled] = take(&mut fields)?;
        Some(Self {
            name,
            oid: oid.parse().ok()?,
            kind: kind.chars().next()?,
            element: (element != "-").then_some(element),
            spelled,
            versions: Versions::read(fields.next())?,
        })
    }
}

/// Every built-in type of a version.
pub fn types(version: Version) -> impl Iterator<Item = &'static BuiltinType> {
    table().types.iter().filter(move |of| of.versions.has(version))
}

/// The type of a name in `pg_type`, such as `int4`. The grammar has turned `int` into that already.
#[must_use]
pub fn type_by_name(version: Version, name: &str) -> Option<&'static BuiltinType> {
    range(&table().types, |of| of.name.cmp(name)).iter().find(|of| of.versions.has(version))
}

/// The type of an OID.
#[must_use]
pub fn type_by_oid(version: Version, oid: u32) -> Option<&'static BuiltinType> {
    let table = table();
    let places = range(&table.type_oids, |(known, _)| known.cmp(&oid));
    places.iter().filter_map(|(_, at)| table.types.get(*at)).find(|of| of.versions.has(version))
}

/// The type that people mean by a spelling: `int`, `character varying(20)`, `timestamptz[]`. Not for names from
/// a parsed statement, where `"int"` is no type.
#[must_use]
pub fn type_spelled(version: Version, spelling: &str) -> Option<&'static BuiltinType> {
    let plain = without_modifier(spelling);
    let (element, array) =
        plain.strip_suffix("[]").map_or((plain.as_str(), false), |element| (element, true));
    let name = match element {
        "\"char\"" => "char",
        "char" | "character" => "bpchar",
        "int" => "int4",
        "dec" | "decimal" => "numeric",
        "float" => "float8",
        "char varying" => "varchar",
        "time" => "time",
        "timestamp" => "timestamp",
        other => types(version).find(|of| of.spelled == other).map_or(other, |of| of.name),
    };
    if !array {
        return type_by_name(version, name);
    }
    types(version).find(|of| of.element == Some(name) && of.name.starts_with('_'))
}

/// A spelling in lower case, with single spaces and without `(…)`.
fn without_modifier(spelling: &str) -> String {
    let mut depth = 0_usize;
    let mut plain = String::with_capacity(spelling.len());
    for c in spelling.trim().chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            c if c.is_whitespace() => {
                if !plain.ends_with(' ') {
                    plain.push(' ');
                }
            }
            c => plain.push(c.to_ascii_lowercase()),
        }
    }
    plain.trim_end().replace(" []", "[]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_found_by_name_and_oid() {
        let int4 = type_by_name(Version::V13, "int4").unwrap();
        assert_eq!((int4.oid, int4.kind, int4.spelled, int4.element), (23, 'b', "integer", None));
        let array = type_by_name(Version::V18, "_int4").unwrap();
        assert_eq!((array.oid, array.spelled, array.element), (1007, "integer[]", Some("int4")));
        assert_eq!(type_by_oid(Version::V15, 3802).map(|of| of.name), Some("jsonb"));
        assert_eq!(type_by_name(Version::V15, "int"), None);
        assert_eq!(type_by_name(Version::V13, "int4multirange"), None);
        assert!(type_by_name(Version::V14, "int4multirange").is_some());
        assert_eq!(type_by_name(Version::V15, "name").and_then(|of| of.element), None);
    }

    #[test]
    fn types_are_found_by_spelling() {
        for (spelling, name) in [
            ("int", "int4"),
            ("INTEGER", "int4"),
            ("bigint", "int8"),
            ("varchar", "varchar"),
            ("character  varying (20)", "varchar"),
            ("char(3)", "bpchar"),
            ("\"char\"", "char"),
            ("numeric(10, 2)", "numeric"),
            ("timestamp(3) with time zone", "timestamptz"),
            ("timestamp", "timestamp"),
            ("double precision", "float8"),
            ("text[]", "_text"),
            ("int []", "_int4"),
            ("varchar(5)[]", "_varchar"),
        ] {
            let found = type_spelled(Version::V15, spelling).map(|of| of.name);
            assert_eq!(found, Some(name), "{spelling}");
        }
        assert_eq!(type_spelled(Version::V15, "no such type"), None);
    }
}
