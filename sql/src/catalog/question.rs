//! The queries. Every function, type, operator and relation in them is qualified, so that no search path can
//! turn them into something else, and names become quoted literals. They run on every version from 13.
//!
//! Rows are `(tag, …)` in text, of one width; `answer` reads them.

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

/// Our queries are written with `@.` for `pg_catalog.`, `@=` and the like for operators, and `'^` for a literal
/// of type text.
fn shorthand(sql: &str) -> String {
    sql.replace("@=", "OPERATOR(pg_catalog.=)")
        .replace("@>=", "OPERATOR(pg_catalog.>=)")
        .replace("@>", "OPERATOR(pg_catalog.>)")
        .replace("@||", "OPERATOR(pg_catalog.||)")
        .replace("@<>", "OPERATOR(pg_catalog.<>)")
        .replace("@-", "OPERATOR(pg_catalog.-)")
        .replace("'^", "'::pg_catalog.text")
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
            '^' => out.push_str("\\x5e"),
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
        out += &format!("{comma}({schema}::@.name, {name}::@.name)");
    }
    out.push_str(") AS w(s, n)");
    out
}

/// A join that keeps the rows of the wanted names.
fn by_name(name: &str, namespace: &str, names: &[(String, String)]) -> String {
    let wanted = wanted(names);
    format!(
        "JOIN {wanted} ON w.n @= {name} JOIN @.pg_namespace ns ON ns.nspname @= w.s AND ns.oid @= {namespace}"
    )
}

fn by_oid(oid: &str, oids: &[u32]) -> String {
    let values: Vec<String> = oids.iter().map(|oid| format!("({oid}::@.oid)")).collect();
    format!("JOIN (VALUES {}) AS w(o) ON w.o @= {oid}", values.join(", "))
}

/// `SELECT` of a tag and columns, filled up to the common width.
fn row(tag: char, columns: &[&str], from: &str) -> String {
    let mut out = format!("SELECT '{tag}'^");
    for index in 0..WIDTH - 1 {
        let column = columns.get(index).copied().unwrap_or("NULL");
        out += &format!(", ({column})::@.text");
    }
    out + " " + from
}

fn extension(class: &str, oid: &str) -> String {
    format!(
        "(SELECT e.extname FROM @.pg_depend d JOIN @.pg_extension e ON e.oid @= d.refobjid \
         WHERE d.classid @= '@.{class}'::@.regclass::@.oid AND d.objid @= {oid} AND d.objsubid @= 0 \
         AND d.refclassid @= '@.pg_extension'::@.regclass::@.oid AND d.deptype @= 'e'::@.\"char\" LIMIT 1)"
    )
}

/// The common table expression `t(oid)`: the user's own types among those that `seeds` selects, with the
/// types they are made of. That a value is equal to itself tells the planner to expect few: else it takes the whole
/// for a large query and compiles it, which costs half a second.
fn type_closure(seeds: &str) -> String {
    let parts = parts();
    format!(
        "t(oid) AS (SELECT z.oid FROM ({seeds}) AS z(oid) WHERE z.oid @>= {FIRST_USER_OID}::@.oid \
         UNION SELECT x.oid FROM t JOIN @.pg_type y ON y.oid @= t.oid AND t.oid @= ANY (ARRAY[t.oid]) \
         CROSS JOIN LATERAL ({parts}) AS x(oid) \
         WHERE x.oid @>= {FIRST_USER_OID}::@.oid)"
    )
}

/// What the type `y` is made of. Domains and arrays say it themselves.
fn parts() -> String {
    format!("SELECT y.typbasetype UNION ALL SELECT y.typelem UNION ALL {FIELDS}")
}

/// Whose values a value of the type `y` is read into: the fields of a row, the bounds of a range, the ranges of a
/// multirange.
const FIELDS: &str = "SELECT a.atttypid FROM @.pg_attribute a WHERE a.attrelid @= y.typrelid \
     AND y.typtype @= 'c'::@.\"char\" AND a.attnum @> 0 AND NOT a.attisdropped \
     UNION ALL SELECT g.rngsubtype FROM @.pg_range g WHERE g.rngtypid @= y.oid \
     UNION ALL SELECT p.refobjid FROM @.pg_depend p WHERE p.classid @= '@.pg_type'::@.regclass::@.oid \
     AND p.objid @= y.oid AND y.typtype @= 'm'::@.\"char\" AND p.refclassid @= '@.pg_type'::@.regclass::@.oid";

/// Rows that describe the types in `t`, and the functions that their checks call. The trees of checks and views
/// are read as text: the functions that would print them run queries of their own in the session's search path.
fn type_rows() -> String {
    let types = row(
        't',
        &["y.oid", "ns.nspname", "y.typname", "y.typtype", "y.typbasetype", "y.typelem"],
        "FROM t JOIN @.pg_type y ON y.oid @= t.oid JOIN @.pg_namespace ns ON ns.oid @= y.typnamespace",
    );
    let checks = row('k', &["k.type", "k.function"], "FROM k");
    let fields = row(
        'y',
        &["t.oid", "x.oid"],
        &format!(
            "FROM t JOIN @.pg_type y ON y.oid @= t.oid CROSS JOIN LATERAL ({FIELDS}) AS x(oid) \
             WHERE x.oid @>= {FIRST_USER_OID}::@.oid"
        ),
    );
    format!("{types} UNION ALL {checks} UNION ALL {fields}")
}

/// The common table expression `k(type, function)`: what the checks of the types in `t` call.
fn checks() -> String {
    let called = called("k.conbin");
    format!(
        "k(type, function) AS (SELECT k.contypid, g.oid FROM t JOIN @.pg_constraint k ON k.contypid @= t.oid \
         AND k.contype @= 'c'::@.\"char\" CROSS JOIN LATERAL ({called}) AS g(oid))"
    )
}

/// A query for the functions that a stored tree calls.
fn called(tree: &str) -> String {
    format!(
        "SELECT x.m[1]::@.oid FROM @.regexp_matches({tree}::@.text, \
         ':(?:funcid|opfuncid|aggfnoid|winfnoid|tsmhandler) ([1-9][0-9]*)'^, 'g'^) AS x(m) \
         UNION SELECT o.oprcode::@.oid FROM @.regexp_matches({tree}::@.text, ':opnos [(]o([ 0-9]+)[)]'^, 'g'^) AS x(m) \
         CROSS JOIN LATERAL @.string_to_array(@.btrim(x.m[1]), ' '^) AS l(oids) \
         CROSS JOIN LATERAL @.unnest(l.oids) AS u(oid) JOIN @.pg_operator o ON o.oid @= u.oid::@.oid"
    )
}

fn relations(names: &[(String, String)]) -> String {
    let wanted = by_name("c.relname", "c.relnamespace", names);
    let named = named_types();
    let closure = type_closure(&format!(
        "SELECT a.atttypid FROM r JOIN @.pg_attribute a ON a.attrelid @= r.oid UNION ALL SELECT r.reltype FROM r \
         UNION ALL SELECT p.refobjid {named}"
    ));
    let relations = row('r', &["r.oid", "r.nspname", "r.relname", "r.relkind", "r.reltype"], "FROM r");
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
    let ancestors = row(
        'p',
        &["up.top", "ns.nspname", "c.relname"],
        "FROM up JOIN @.pg_class c ON c.oid @= up.parent JOIN @.pg_namespace ns ON ns.oid @= c.relnamespace",
    );
    let (functions, types, views, checks, called) =
        (function_rows(), type_rows(), view_rows(), checks(), called("v.tree"));
    format!(
        "WITH RECURSIVE r AS (SELECT c.oid, ns.nspname, c.relname, c.relkind, c.reltype FROM @.pg_class c {wanted}), \
         i(top, child) AS (SELECT r.oid, h.inhrelid FROM r JOIN @.pg_inherits h ON h.inhparent @= r.oid \
         UNION SELECT i.top, h.inhrelid FROM i JOIN @.pg_inherits h ON h.inhparent @= i.child), \
         up(top, parent) AS (SELECT r.oid, h.inhparent FROM r JOIN @.pg_inherits h ON h.inhrelid @= r.oid \
         UNION SELECT up.top, h.inhparent FROM up JOIN @.pg_inherits h ON h.inhrelid @= up.parent), \
         v AS MATERIALIZED (SELECT r.oid, w.oid AS rule, w.ev_action::@.text AS tree FROM r JOIN @.pg_rewrite w \
         ON w.ev_class @= r.oid AND w.rulename @= '_RETURN'::@.name AND r.relkind @= 'v'::@.\"char\"), \
         {closure}, {checks}, \
         e(view, function) AS (SELECT v.oid, g.oid FROM v CROSS JOIN LATERAL ({called}) AS g(oid)), \
         f AS (SELECT e.function AS oid FROM e UNION SELECT k.function FROM k) \
         {relations} UNION ALL {columns} UNION ALL {children} UNION ALL {ancestors} UNION ALL {views} UNION ALL {functions} \
         UNION ALL {types}"
    )
}

/// The user's own types that the views in `v` name: the checks of those that are domains, or made of them, may run.
fn named_types() -> String {
    format!(
        "FROM v JOIN @.pg_depend p ON p.classid @= '@.pg_rewrite'::@.regclass::@.oid AND p.objid @= v.rule \
         AND p.refclassid @= '@.pg_type'::@.regclass::@.oid AND p.refobjid @>= {FIRST_USER_OID}::@.oid"
    )
}

/// Rows that describe what the views in `v(oid, rule, tree)` do: that there is a tree, the relations in it, the columns
/// that are read of each, where the view's own columns come from, and what it calls.
fn view_rows() -> String {
    /// What stands between a relation and its columns, which changed between versions.
    const BETWEEN: &str = "(?: :(?:relkind|rellockmode|tablesample|lateral|inh|inFromCl|requiredPerms|checkAsUser) [a-z0-9<>]+)*";
    let relation = "JOIN @.pg_class c ON c.oid @= z.rel JOIN @.pg_namespace ns ON ns.oid @= c.relnamespace";
    let trees = row('q', &["v.oid"], "FROM v");
    let reads = format!(
        "FROM (SELECT DISTINCT v.oid, x.m[1]::@.oid AS rel FROM v \
         CROSS JOIN LATERAL @.regexp_matches(v.tree, ':relid ([1-9][0-9]*)'^, 'g'^) AS x(m)) AS z {relation} \
         WHERE z.rel @<> z.oid"
    );
    let reads = row('w', &["z.oid", "ns.nspname", "c.relname"], &reads);
    let columns = format!(
        "FROM (SELECT DISTINCT v.oid, x.m[1]::@.oid AS rel, u.bit::@.int4 @- 7 AS number FROM v \
         CROSS JOIN LATERAL @.regexp_matches(v.tree, ':relid ([1-9][0-9]*){BETWEEN} :selectedCols [(]b([ 0-9]*)[)]'^, 'g'^) \
         AS x(m) LEFT JOIN LATERAL @.unnest(@.string_to_array(@.btrim(x.m[2]), ' '^)) AS u(bit) ON true) AS z \
         {relation} LEFT JOIN @.pg_attribute a ON a.attrelid @= z.rel AND a.attnum @= z.number WHERE z.rel @<> z.oid"
    );
    let columns = row('v', &["z.oid", "ns.nspname", "c.relname", "z.number", "a.attname"], &columns);
    let origins = format!(
        "FROM (SELECT DISTINCT v.oid, x.m[1] AS number, x.m[2]::@.oid AS rel, x.m[3]::@.int4 AS col FROM v \
         CROSS JOIN LATERAL @.regexp_matches(v.tree, ':resno ([0-9]+) :resname (?:[^ \\\\]|\\\\.)+ :ressortgroupref [0-9]+ \
         :resorigtbl ([1-9][0-9]*) :resorigcol ([0-9]+)'^, 'g'^) AS x(m)) AS z {relation} \
         JOIN @.pg_attribute a ON a.attrelid @= z.rel AND a.attnum @= z.col"
    );
    let origins = row('m', &["z.oid", "z.number", "ns.nspname", "c.relname", "a.attname"], &origins);
    let calls = row('e', &["e.view", "e.function"], "FROM e");
    let types = row('d', &["v.oid", "p.refobjid"], &named_types());
    format!(
        "{trees} UNION ALL {reads} UNION ALL {columns} UNION ALL {origins} UNION ALL {calls} UNION ALL {types}"
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
    // Not format_type: what it says depends on the search path.
    let arguments = row(
        'a',
        &[
            "p.oid",
            "u.at",
            "COALESCE(en.nspname, ns.nspname)",
            "COALESCE(e.typname, y.typname)",
            "CASE WHEN e.oid IS NULL THEN '' ELSE '[]' END",
        ],
        "FROM (SELECT DISTINCT f.oid FROM f) AS f JOIN @.pg_proc p ON p.oid @= f.oid \
         CROSS JOIN LATERAL @.unnest(p.proargtypes::@.oid[]) WITH ORDINALITY AS u(type, at) \
         JOIN @.pg_type y ON y.oid @= u.type JOIN @.pg_namespace ns ON ns.oid @= y.typnamespace \
         LEFT JOIN @.pg_type e ON e.oid @= y.typelem AND e.typarray @= y.oid \
         LEFT JOIN @.pg_namespace en ON en.oid @= e.typnamespace",
    );
    format!("{functions} UNION ALL {arguments}")
}

/// The functions asked for, with those that checks call.
const FUNCTIONS: &str = "f AS (SELECT n.oid FROM n UNION SELECT k.function FROM k)";

/// Types of the arguments and results of the functions in `n`.
const FUNCTION_TYPES: &str = "SELECT u.type FROM n JOIN @.pg_proc p ON p.oid @= n.oid \
     CROSS JOIN LATERAL @.unnest(p.proargtypes::@.oid[]) AS u(type) \
     UNION ALL SELECT p.prorettype FROM n JOIN @.pg_proc p ON p.oid @= n.oid";

fn functions(wanted: &str) -> String {
    let closure = type_closure(FUNCTION_TYPES);
    let (functions, types, checks) = (function_rows(), type_rows(), checks());
    format!(
        "WITH RECURSIVE n AS (SELECT p.oid FROM @.pg_proc p {wanted}), {closure}, {checks}, {FUNCTIONS} \
         {functions} UNION ALL {types}"
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
    let (functions, types, checks) = (function_rows(), type_rows(), checks());
    format!(
        "WITH RECURSIVE o AS (SELECT o.oid, ns.nspname, o.oprname, o.oprleft, o.oprright, o.oprresult, o.oprcode \
         FROM @.pg_operator o {wanted} WHERE o.oprcode::@.oid @> 0::@.oid), n AS (SELECT o.oprcode::@.oid AS oid FROM o), \
         {closure}, {checks}, {FUNCTIONS} {operators} UNION ALL {functions} UNION ALL {types}"
    )
}

fn types(wanted: &str) -> String {
    let closure = type_closure(&format!("SELECT y.oid FROM @.pg_type y {wanted}"));
    let (functions, types, checks) = (function_rows(), type_rows(), checks());
    format!(
        "WITH RECURSIVE {closure}, {checks}, f AS (SELECT k.function AS oid FROM k) {functions} UNION ALL {types}"
    )
}

fn casts() -> String {
    let closure = type_closure(
        "SELECT x.oid FROM s CROSS JOIN LATERAL (VALUES (s.castsource), (s.casttarget)) AS x(oid)",
    );
    let casts = row('s', &["s.castsource", "s.casttarget", "s.castcontext", "s.castfunc"], "FROM s");
    let (functions, types, checks) = (function_rows(), type_rows(), checks());
    format!(
        "WITH RECURSIVE s AS (SELECT s.castsource, s.casttarget, s.castcontext, s.castfunc FROM @.pg_cast s \
         WHERE s.oid @>= {FIRST_USER_OID}::@.oid), n AS (SELECT s.castfunc AS oid FROM s), {closure}, {checks}, \
         {FUNCTIONS} {casts} UNION ALL {functions} UNION ALL {types}"
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
        assert_eq!(literal("a'b\\c@.^"), "E'a''b\\\\c\\x40.\\x5e'");
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
            let qualified = "Node { node: Some(String(String { sval: \"pg_catalog\" })) }";
            for what in ["FuncCall { funcname: [", "TypeName { names: ["] {
                for found in tree.split(what).skip(1) {
                    assert!(
                        found.starts_with(qualified),
                        "{what} {}: {sql}",
                        found.get(..120).unwrap_or(found)
                    );
                }
            }
            for found in tree.split("AExpr { kind: ").skip(1) {
                let name = found.split_once("name: [").map_or("", |(_, name)| name);
                assert!(name.starts_with(qualified), "{}: {sql}", found.get(..120).unwrap_or(found));
            }
            // A relation without a schema must be one of the question's own.
            for found in tree.split("RangeVar { ").skip(1) {
                let own = |name: &str| found.contains(&format!("relname: \"{name}\", inh"));
                let named = found.contains("schemaname: \"pg_catalog\"");
                let names = ["r", "i", "up", "t", "k", "v", "e", "f", "n", "o", "s", "x"];
                assert!(named || names.iter().any(|name| own(name)), "{}", found.get(..200).unwrap_or(found));
            }
        }
    }
}
