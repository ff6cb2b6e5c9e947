//! Extensions whose functions were reviewed like built-in ones: they compute from their arguments and nothing
//! else. Without them citext's `=` would refuse every WHERE.

/// The reviewed extensions.
const EXTENSIONS: [&str; 17] = [
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "earthdistance",
    "fuzzystrmatch",
    "hstore",
    "intarray",
    "isn",
    "ltree",
    "pg_trgm",
    "pgcrypto",
    "seg",
    "unaccent",
    "uuid-ossp",
    "vector",
    "tsm_system_rows",
];

/// Their functions that change a setting.
const LEFT_OUT: [&str; 2] = ["set_limit", "isn_weak"];

/// Whether a function of an extension counts as a harmless built-in.
pub(super) fn harmless(extension: &str, function: &str) -> bool {
    EXTENSIONS.contains(&extension) && !LEFT_OUT.contains(&function)
}
