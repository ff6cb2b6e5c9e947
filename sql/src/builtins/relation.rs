//! System relations, and what the baseline reads of them.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use policy::Columns;

use super::review::words;
use super::table::{Versions, range, table};
use super::version::Version;

const ALLOW: &str = include_str!("../../builtins/catalog-allow.txt");

/// Columns that every table has; they hold nothing of what it holds.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"];

/// A relation in `pg_catalog` or `information_schema`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltinRelation {
    /// `pg_catalog` or `information_schema`.
    pub schema: &'static str,
    /// The name.
    pub name: &'static str,
    /// The OID, or 0 where it differs from one installation to the next.
    pub oid: u32,
    /// `relkind`: `r` for a table, `v` for a view.
    pub kind: char,
    /// Columns and the OIDs of their types: domains count as their base types, 0 is a type not known here.
    pub columns: Box<[(&'static str, u32)]>,
    pub(super) versions: Versions,
}

impl BuiltinRelation {
    /// The OID of a column's type.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<u32> {
        self.columns.iter().find(|(column, _)| *column == name).map(|(_, of)| *of)
    }
}

/// Every system relation of a version.
pub fn relations(version: Version) -> impl Iterator<Item = &'static BuiltinRelation> {
    table().relations.iter().filter(move |relation| relation.versions.has(version))
}

/// A system relation.
#[must_use]
pub fn relation(version: Version, schema: &str, name: &str) -> Option<&'static BuiltinRelation> {
    let all = range(&table().relations, |relation| (relation.schema, relation.name).cmp(&(schema, name)));
    all.iter().find(|relation| relation.versions.has(version))
}

/// Whether the baseline may read these columns of a system relation.
#[must_use]
pub fn catalog_readable(version: Version, schema: &str, name: &str, columns: &Columns) -> bool {
    let Some(relation) = relation(version, schema, name) else { return false };
    match (allow().get(&(relation.schema, relation.name)), columns) {
        (None, _) | (Some(Readable::These(_)), Columns::All) => false,
        (Some(Readable::Whole), Columns::All) => true,
        (Some(readable), Columns::Set(wanted)) => wanted.iter().all(|column| {
            let system = SYSTEM_COLUMNS.contains(&column.as_str());
            system || (relation.column(column).is_some() && readable.has(column))
        }),
    }
}

/// What the allow-list says of a relation.
#[derive(Debug, PartialEq, Eq)]
enum Readable {
    Whole,
    These(HashSet<&'static str>),
}

impl Readable {
    fn has(&self, column: &str) -> bool {
        match self {
            Self::Whole => true,
            Self::These(columns) => columns.contains(column),
        }
    }
}

type Allow = HashMap<(&'static str, &'static str), Readable>;

fn allow() -> &'static Allow {
    static READ: OnceLock<Allow> = OnceLock::new();
    READ.get_or_init(|| read(ALLOW))
}

/// Reads `catalog-allow.txt`. Sections that are not known name what is refused.
fn read(text: &'static str) -> Allow {
    let mut allow = Allow::new();
    let (mut schema, mut some, mut refused) = ("", false, true);
    let mut of = None;
    let mut hidden = false;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            (schema, some, refused) = match section {
                "pg_catalog" => ("pg_catalog", false, false),
                "pg_catalog columns" => ("pg_catalog", true, false),
                "information_schema" => ("information_schema", false, false),
                _ => ("", false, true),
            };
            of = None;
            continue;
        }
        for word in words(line).filter(|_| !refused) {
            if !some {
                allow.insert((schema, word), Readable::Whole);
            } else if let Some(name) = word.strip_suffix(':') {
                (of, hidden) = (Some(name), false);
                allow.insert((schema, name), Readable::These(HashSet::new()));
            } else if word == "!" {
                hidden = true;
            } else if let (false, Some(name)) = (hidden, of)
                && let Some(Readable::These(columns)) = allow.get_mut(&(schema, name))
            {
                columns.insert(word);
            }
        }
    }
    allow
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(columns: &[&str]) -> Columns {
        Columns::Set(columns.iter().map(|&column| column.to_owned()).collect())
    }

    #[test]
    fn relations_are_as_the_version_has_them() {
        let class = relation(Version::V15, "pg_catalog", "pg_class").unwrap();
        assert_eq!((class.oid, class.kind, class.column("relname")), (1259, 'r', Some(19)));
        assert_eq!(class.columns.first(), Some(&("oid", 26)));
        let tables = relation(Version::V15, "information_schema", "tables").unwrap();
        assert_eq!((tables.kind, tables.column("table_name")), ('v', Some(19)));
        assert!(relation(Version::V13, "pg_catalog", "pg_stat_wal").is_none());
        assert!(relation(Version::V14, "pg_catalog", "pg_stat_wal").is_some());
        assert!(relation(Version::V15, "public", "pg_class").is_none());
    }

    #[test]
    fn hidden_relations_and_columns_are_not_readable() {
        let readable = |name, columns: &Columns| catalog_readable(Version::V15, "pg_catalog", name, columns);
        assert!(readable("pg_class", &Columns::All) && readable("pg_roles", &Columns::All));
        assert!(readable("pg_class", &some(&["tableoid", "oid", "relname"])));
        assert!(!readable("pg_class", &some(&["no_such_column"])));
        assert!(
            readable("pg_stat_activity", &some(&["pid", "state"])) && readable("pg_subscription", &some(&[]))
        );
        assert!(!readable("pg_stat_activity", &some(&["pid", "query"])));
        assert!(!readable("pg_stat_activity", &Columns::All));
        assert!(!readable("pg_subscription", &some(&["subconninfo"])));
        for name in [
            "pg_authid",
            "pg_shadow",
            "pg_statistic",
            "pg_stats",
            "pg_user_mapping",
            "pg_user_mappings",
            "pg_largeobject",
            "pg_hba_file_rules",
            "pg_file_settings",
            "pg_replication_slots",
            "no_such_relation",
        ] {
            assert!(!readable(name, &some(&[])) && !readable(name, &Columns::All), "{name}");
        }
        assert!(!catalog_readable(Version::V15, "information_schema", "user_mapping_options", &Columns::All));
        assert!(!catalog_readable(Version::V13, "pg_catalog", "pg_stat_wal", &Columns::All));
        assert!(!catalog_readable(Version::V15, "pg_toast", "pg_toast_2619", &Columns::All));
    }
}
