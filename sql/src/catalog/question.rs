//! The queries. Every function, type, operator and relation in them is qualified, so that no search path can
//! turn them into something else, and names become quoted literals. They run on every version from 13.
//!
//! Rows are `(tag, …)` in text, of one width; `answer` reads them.

use std::fmt::Write as _;

/// What a question asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Relations(Vec<(String, String)>),
    Functions(Vec<(String, String)>),
    FunctionOids(Vec<u32>),
    Operators(Vec<(String, String)>),
    Types(Vec<(String, String)>),
    TypeOids(Vec<u32>),
    Casts,
    Cascades(Vec<(String, String)>),
}

/// One query for the server; its rows go to [`crate::Catalog::answer`]. Every name in it is qualified, every
/// literal quoted, it takes no parameters and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    subject: Subject,
    sql: String,
}

/// Columns of every row: the tag and ten more.
const WIDTH: usize = 11;

/// OIDs below this are PostgreSQL's own.
const FIRST_USER_OID: u32 = 16_384;

impl Question {
    pub(super) fn new(subject: Subject) -> Self {
        let sql = match &subject {
            Subject::Relations(names) => relations(names),
            Subject::Functions(names) => functions(&by_name("p.proname", "p.pronamespace", names)),
            Subject::FunctionOids(oids) => functions(&by_oid("p.oid", oids)),
            Subject::Operators(names) => operators(names),
            Subject::Types(names) => types(&by_name("y.typname", "y.typnamespace", names)),
            Subject::TypeOids(oids) => types(&by_oid("y.oid", oids)),
            Subject::Casts => casts(),
            Subject::Cascades(names) => cascades(names),
        };
        Self { subject, sql: shorthand(&sql) }
    }

    /// The text to run; results are wanted in text format.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    pub(super) const fn subject(&self) -> &Subject {
        &self.subject
    }
}

/// Our queries are written with `@.` for `pg_catalog.`, `:t` for a cast to text, and `@=` for operators.
fn shorthand(sql: &str) -> String {
    sql.replace(":t", "::pg_catalog.text")
        .replace("@=", "OPERATOR(pg_catalog.=)")
        .replace("@>=", "OPERATOR(pg_catalog.>=)")
        .replace("@>", "OPERATOR(pg_catalog.>)")
        .replace("@||", "OPERATOR(pg_catalog.||)")
        .replace("@.", "pg_catalog.")
}

/// A literal that means the same whatever `standard_conforming_strings` is, and that our own shorthand leaves
/// alone.
fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 4);
    out.push_str("E'");
    for c in text.chars() {
        match c {
            '\'' => out.push_str("''"),
            '\\' => out.push_str("\\\\"),
            ':' => out.push_str("\\x3a"),
            '@' => out.push_str("\\x40"),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

/// `(VALUES …) AS w(s, n)`.
fn wanted(names: &[(String, String)]) -> String {
    let mut out = "(VALUES ".to_owned();
    for (index, (schema, name)) in names.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let (schema, name) = (literal(schema), literal(name));
        let _ = write!(out, "{comma}({schema}::@.name, {name}::@.name)");
    }
    out.push_str(") AS w(s, n)");
    out
}

/// A join that keeps the rows of the wanted names.
fn by_name(name: &str, namespace: &str, names: &[(String, String)]) -> String {
    let wanted = wanted(names);
    format!("JOIN {wanted} ON w.n @= {name} JOIN @.pg_namespace ns ON ns.nspname @= w.s AND ns.oid @= {namespace}")
}

fn by_oid(oid: &str, oids: &[u32]) -> String {
    let values: Vec<String> = oids.iter().map(|oid| format!("({oid}::@.oid)")).collect();
    format!("JOIN (VALUES {}) AS w(o) ON w.o @= {oid}", values.join(", "))
}

/// `SELECT` of a tag and columns, filled up to the common width.
fn row(tag: char, columns: &[&str], from: &str) -> String {
    let mut out = format!("SELECT '{tag}':t");
    for index in 0..WIDTH - 1 {
        let column = columns.get(index).copied().unwrap_or("NULL");
        let _ = write!(out, ", ({column}):t");
    }
    let _ = write!(out, " {from}");
    out
}

fn extension(class: &str, oid: &str) -> String {
    format!(
        "(SELECT e.extname FROM @.pg_depend d JOIN @.pg_extension e ON e.oid @= d.refobjid \
         WHERE d.classid @= '@.{class}'::@.regclass::@.oid AND d.objid @= {oid} AND d.objsubid @= 0 \
         AND d.refclassid @= '@.pg_extension'::@.regclass::@.oid AND d.deptype @= 'e'::@.\"char\" LIMIT 1)"
    )
}

/// The common table expression `t(oid)`: the user's own types among those that `seeds` selects, with the
/// types they are made of.
fn type_closure(seeds: &str) -> String {
    format!(
        "t(oid) AS (SELECT z.oid FROM ({seeds}) AS z(oid) WHERE z.oid @>= {FIRST_USER_OID}::@.oid \
         UNION SELECT x.oid FROM t JOIN @.pg_type y ON y.oid @= t.oid \
         CROSS JOIN LATERAL (VALUES (y.typbasetype), (y.typelem)) AS x(oid) \
         WHERE x.oid @>= {FIRST_USER_OID}::@.oid)"
    )
}

/// Rows that describe the types in `t`, their checks, and the search path that texts are to be read in.
fn type_rows() -> String {
    let types = row(
        't',
        &["y.oid", "ns.nspname", "y.typname", "y.typtype", "y.typbasetype", "y.typelem"],
        "FROM t JOIN @.pg_type y ON y.oid @= t.oid JOIN @.pg_namespace ns ON ns.oid @= y.typnamespace",
    );
    let checks = row(
        'k',
        &["k.contypid", "@.pg_get_expr(k.conbin, 0::@.oid)"],
        "FROM t JOIN @.pg_constraint k ON k.contypid @= t.oid AND k.contype @= 'c'::@.\"char\"",
    );
    let path = row(
        'p',
        &["s.at", "s.name"],
        "FROM @.unnest(@.current_schemas(true)) WITH ORDINALITY AS s(name, at)",
    );
    format!("{types} UNION ALL {checks} UNION ALL {path}")
}

fn relations(names: &[(String, String)]) -> String {
    let wanted = by_name("c.relname", "c.relnamespace", names);
    let closure = type_closure(
        "SELECT a.atttypid FROM r JOIN @.pg_attribute a ON a.attrelid @= r.oid UNION ALL SELECT r.reltype FROM r",
    );
    let relations = row(
        'r',
        &[
            "r.oid",
            "r.nspname",
            "r.relname",
            "r.relkind",
            "r.reltype",
            "CASE WHEN r.relkind @= 'v'::@.\"char\" THEN @.pg_get_viewdef(r.oid) END",
        ],
        "FROM r",
    );
    let columns = row(
        'c',
        &["a.attrelid", "a.attnum", "a.attname", "a.atttypid"],
        "FROM r JOIN @.pg_attribute a ON a.attrelid @= r.oid AND a.attnum @> 0 AND NOT a.attisdropped",
    );
    let children = row(
        'i',
        &["i.top", "ns.nspname", "c.relname"],
        "FROM i JOIN @.pg_class c ON c.oid @= i.child JOIN @.pg_namespace ns ON ns.oid @= c.relnamespace",
    );
    let types = type_rows();
    format!(
        "WITH RECURSIVE r AS (SELECT c.oid, ns.nspname, c.relname, c.relkind, c.reltype FROM @.pg_class c {wanted}), \
         i(top, child) AS (SELECT r.oid, h.inhrelid FROM r JOIN @.pg_inherits h ON h.inhparent @= r.oid \
         UNION SELECT i.top, h.inhrelid FROM i JOIN @.pg_inherits h ON h.inhparent @= i.child), {closure} \
         {relations} UNION ALL {columns} UNION ALL {children} UNION ALL {types}"
    )
}

/// Rows that describe the functions in `f(oid)`.
fn function_rows() -> String {
    let extension = extension("pg_proc", "p.oid");
    let functions = row(
        'f',
        &[
            "p.oid",
            "ns.nspname",
            "p.proname",
            "p.prokind",
            "p.proargtypes",
            "p.pronargdefaults",
            "p.provariadic",
            "p.prorettype",
            &extension,
        ],
        "FROM (SELECT DISTINCT f.oid FROM f) AS f JOIN @.pg_proc p ON p.oid @= f.oid \
         JOIN @.pg_namespace ns ON ns.oid @= p.pronamespace",
    );
    let spelled = "CASE WHEN y.typnamespace @= 'pg_catalog'::@.regnamespace::@.oid THEN @.format_type(y.oid, NULL) \
         WHEN e.oid IS NOT NULL THEN en.nspname @|| '.' @|| e.typname @|| '[]' \
         ELSE ns.nspname @|| '.' @|| y.typname END";
    let arguments = row(
        'a',
        &["p.oid", "u.at", spelled],
        "FROM (SELECT DISTINCT f.oid FROM f) AS f JOIN @.pg_proc p ON p.oid @= f.oid \
         CROSS JOIN LATERAL @.unnest(p.proargtypes::@.oid[]) WITH ORDINALITY AS u(type, at) \
         JOIN @.pg_type y ON y.oid @= u.type JOIN @.pg_namespace ns ON ns.oid @= y.typnamespace \
         LEFT JOIN @.pg_type e ON e.oid @= y.typelem AND e.typarray @= y.oid \
         LEFT JOIN @.pg_namespace en ON en.oid @= e.typnamespace",
    );
    format!("{functions} UNION ALL {arguments}")
}

/// Types of the arguments and results of the functions in `f`.
const FUNCTION_TYPES: &str = "SELECT u.type FROM f JOIN @.pg_proc p ON p.oid @= f.oid \
     CROSS JOIN LATERAL @.unnest(p.proargtypes::@.oid[]) AS u(type) \
     UNION ALL SELECT p.prorettype FROM f JOIN @.pg_proc p ON p.oid @= f.oid";

fn functions(wanted: &str) -> String {
    let closure = type_closure(FUNCTION_TYPES);
    let (functions, types) = (function_rows(), type_rows());
    format!(
        "WITH RECURSIVE f AS (SELECT p.oid FROM @.pg_proc p {wanted}), {closure} {functions} UNION ALL {types}"
    )
}

fn operators(names: &[(String, String)]) -> String {
    let wanted = by_name("o.oprname", "o.oprnamespace", names);
    let closure = type_closure(&format!(
        "{FUNCTION_TYPES} UNION ALL SELECT x.oid FROM o CROSS JOIN LATERAL (VALUES (o.oprleft), (o.oprright)) AS x(oid)"
    ));
    let operators = row(
        'o',
        &["o.nspname", "o.oprname", "o.oprleft", "o.oprright", "o.oprresult", "o.oprcode::@.oid"],
        "FROM o",
    );
    let (functions, types) = (function_rows(), type_rows());
    format!(
        "WITH RECURSIVE o AS (SELECT o.oid, ns.nspname, o.oprname, o.oprleft, o.oprright, o.oprresult, o.oprcode \
         FROM @.pg_operator o {wanted} WHERE o.oprcode::@.oid @> 0::@.oid), f AS (SELECT o.oprcode::@.oid AS oid FROM o), {closure} \
         {operators} UNION ALL {functions} UNION ALL {types}"
    )
}

fn types(wanted: &str) -> String {
    let closure = type_closure(&format!("SELECT y.oid FROM @.pg_type y {wanted}"));
    let types = type_rows();
    format!("WITH RECURSIVE {closure} {types}")
}

fn casts() -> String {
    let closure = type_closure(
        "SELECT x.oid FROM s CROSS JOIN LATERAL (VALUES (s.castsource), (s.casttarget)) AS x(oid)",
    );
    let casts = row('s', &["s.castsource", "s.casttarget", "s.castcontext", "s.castfunc"], "FROM s");
    let (functions, types) = (function_rows(), type_rows());
    format!(
        "WITH RECURSIVE s AS (SELECT s.castsource, s.casttarget, s.castcontext, s.castfunc FROM @.pg_cast s \
         WHERE s.oid @>= {FIRST_USER_OID}::@.oid), f AS (SELECT s.castfunc AS oid FROM s), {closure} \
         {casts} UNION ALL {functions} UNION ALL {types}"
    )
}

fn cascades(names: &[(String, String)]) -> String {
    let wanted = by_name("c.relname", "c.relnamespace", names);
    let reached = row(
        'x',
        &["q.nspname", "q.relname", "ns.nspname", "c.relname"],
        "FROM x JOIN r q ON q.oid @= x.top JOIN @.pg_class c ON c.oid @= x.reached \
         JOIN @.pg_namespace ns ON ns.oid @= c.relnamespace",
    );
    format!(
        "WITH RECURSIVE r AS (SELECT c.oid, ns.nspname, c.relname FROM @.pg_class c {wanted}), \
         x(top, reached) AS (SELECT r.oid, r.oid FROM r UNION SELECT x.top, y.oid FROM x CROSS JOIN LATERAL \
         (SELECT k.conrelid FROM @.pg_constraint k WHERE k.confrelid @= x.reached AND k.contype @= 'f'::@.\"char\" \
         UNION ALL SELECT h.inhrelid FROM @.pg_inherits h WHERE h.inhparent @= x.reached) AS y(oid)) {reached}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_literal() {
        assert_eq!(literal("a'b\\c@.:t"), "E'a''b\\\\c\\x40.\\x3at'");
        let names = vec![("s".to_owned(), "'; DROP TABLE x; --".to_owned())];
        let sql = Question::new(Subject::Relations(names)).sql().to_owned();
        assert!(sql.contains("E'''; DROP TABLE x; --'"), "{sql}");
    }

    #[test]
    fn every_question_parses_and_leaves_nothing_to_the_search_path() {
        let names = vec![("a".to_owned(), "b".to_owned()), ("c".to_owned(), "d".to_owned())];
        let subjects = [
            Subject::Relations(names.clone()),
            Subject::Functions(names.clone()),
            Subject::FunctionOids(vec![1, 2]),
            Subject::Operators(names.clone()),
            Subject::Types(names.clone()),
            Subject::TypeOids(vec![3]),
            Subject::Casts,
            Subject::Cascades(names),
        ];
        for subject in subjects {
            let question = Question::new(subject);
            let sql = question.sql();
            assert!(!sql.contains('@'), "{sql}");
            let parsed = crate::parse(sql).unwrap_or_else(|e| panic!("{e}: {sql}"));
            assert_eq!(parsed.statements.len(), 1);
            let tree = format!("{:?}", parsed.statements[0].node());
            assert!(!tree.contains("kind: AexprOp, name: [Node { node: Some(String(String { sval: \"=\""), "{sql}");
        }
    }
}
