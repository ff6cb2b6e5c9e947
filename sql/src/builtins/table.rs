//! `catalog.tsv`, parsed once.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::str::Split;
use std::sync::OnceLock;

use super::function::{BuiltinFunction, FunctionKind};
use super::operator::{BuiltinCast, BuiltinOperator};
use super::relation::BuiltinRelation;
use super::review::Review;
use super::types::BuiltinType;
use super::version::Version;

const CATALOG: &str = include_str!("../../builtins/catalog.tsv");
const HARMLESS: &str = include_str!("../../builtins/harmless.txt");
const REFUSED: &str = include_str!("../../builtins/refused.txt");

/// The versions that have a thing, first and last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Versions(Version, Version);

impl Versions {
    pub(super) fn has(self, version: Version) -> bool {
        self.0 <= version && version <= self.1
    }

    pub(super) const fn first(self) -> Version {
        self.0
    }

    /// `FIRST-LAST`, or nothing for all.
    pub(super) fn read(text: Option<&str>) -> Option<Self> {
        let Some(text) = text else { return Some(Self(Version::V13, Version::V18)) };
        let (first, last) = text.split_once('-')?;
        Some(Self(Version::from_major(first.parse().ok()?)?, Version::from_major(last.parse().ok()?)?))
    }
}

/// Everything that is built in, sorted for binary search.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// By name.
    pub(super) types: Vec<BuiltinType>,
    /// OIDs and places in `types`, by OID.
    pub(super) type_oids: Vec<(u32, usize)>,
    /// By schema and name.
    pub(super) functions: Vec<BuiltinFunction>,
    /// OIDs and places in `functions`, by OID.
    pub(super) function_oids: Vec<(u32, usize)>,
    /// By name.
    pub(super) operators: Vec<BuiltinOperator>,
    pub(super) casts: Vec<BuiltinCast>,
    /// By schema and name.
    pub(super) relations: Vec<BuiltinRelation>,
}

/// The table. Were the file damaged it would be empty: nothing is harmless then.
pub(super) fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| parse(CATALOG, &Review::read(HARMLESS, REFUSED)).unwrap_or_default())
}

/// The elements of a sorted list that compare as equal.
pub(super) fn range<T>(sorted: &[T], compare: impl Fn(&T) -> Ordering) -> &[T] {
    let start = sorted.partition_point(|item| compare(item).is_lt());
    let rest = sorted.get(start..).unwrap_or_default();
    rest.get(..rest.partition_point(|item| compare(item).is_le())).unwrap_or_default()
}

/// A line that is not of its form, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine(usize);

/// Lines of the file, and the OIDs of types by name.
struct Reader<'r> {
    oids: HashMap<&'static str, Vec<(Versions, u32)>>,
    review: &'r Review<'r>,
}

fn parse(text: &'static str, review: &Review<'_>) -> Result<Table, BadLine> {
    let mut table = Table::default();
    let mut reader = Reader { oids: HashMap::new(), review };
    let lines = || text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
    // Types first: all else is written with their names.
    for (number, line) in lines().filter(|(_, line)| line.starts_with("t\t")) {
        let of = BuiltinType::read(line).ok_or(BadLine(number + 1))?;
        reader.oids.entry(of.name).or_default().push((of.versions, of.oid));
        table.types.push(of);
    }
    for (number, line) in lines().filter(|(_, line)| !line.starts_with("t\t")) {
        reader.line(line, &mut table).ok_or(BadLine(number + 1))?;
    }
    table.sort();
    Ok(table)
}

impl Table {
    fn sort(&mut self) {
        self.types.sort_by_key(|of| of.name);
        self.functions.sort_by_key(|function| (function.schema, function.name));
        self.operators.sort_by_key(|operator| operator.name);
        self.relations.sort_by_key(|relation| (relation.schema, relation.name));
        self.type_oids = self.types.iter().enumerate().map(|(at, of)| (of.oid, at)).collect();
        self.type_oids.sort_unstable();
        let functions = self.functions.iter().enumerate().filter(|(_, function)| function.oid != 0);
        self.function_oids = functions.map(|(at, function)| (function.oid, at)).collect();
        self.function_oids.sort_unstable();
    }
}

impl Reader<'_> {
    fn line(&self, line: &'static str, table: &mut Table) -> Option<()> {
        let (tag, rest) = line.split_once('\t')?;
        let fields = rest.split('\t');
        let schema = if matches!(tag, "F" | "R") { "information_schema" } else { "pg_catalog" };
        match tag {
            "f" | "F" => table.functions.push(self.function(schema, fields)?),
            "o" => table.operators.push(self.operator(fields)?),
            "c" => table.casts.push(self.cast(fields)?),
            "r" | "R" => table.relations.push(self.relation(schema, fields)?),
            _ => return None,
        }
        Some(())
    }

    fn function(&self, schema: &'static str, mut fields: Split<'static, char>) -> Option<BuiltinFunction> {
        let [name, arguments, result, oid, form] = take(&mut fields)?;
        let versions = Versions::read(fields.next())?;
        let arguments = if arguments == "-" { "" } else { arguments };
        let oids: Option<Box<[u32]>> =
            arguments.split(' ').filter(|of| !of.is_empty()).map(|of| self.oid(of, versions)).collect();
        let mut form = form.chars();
        let kind = FunctionKind::from_char(form.next()?)?;
        let form = form.as_str();
        let (set, form) = form.strip_prefix('s').map_or((false, form), |form| (true, form));
        let (variadic, form) = form.strip_prefix('v').map_or((false, form), |form| (true, form));
        // What the server keeps from PUBLIC is for the tests.
        let form = form.strip_prefix('!').unwrap_or(form);
        Some(BuiltinFunction {
            schema,
            name,
            arguments: oids?,
            defaults: if form.is_empty() { 0 } else { form.parse().ok()? },
            variadic,
            result: self.oid(result, versions)?,
            set,
            kind,
            oid: oid.parse().ok()?,
            class: self.review.class(name, arguments, result),
            versions,
        })
    }

    fn operator(&self, mut fields: Split<'static, char>) -> Option<BuiltinOperator> {
        let [name, left, right, result, function] = take(&mut fields)?;
        let versions = Versions::read(fields.next())?;
        let side = |of| if of == "-" { Some(0) } else { self.oid(of, versions) };
        Some(BuiltinOperator {
            name,
            left: side(left)?,
            right: side(right)?,
            result: self.oid(result, versions)?,
            function: function.parse().ok()?,
            versions,
        })
    }

    fn cast(&self, mut fields: Split<'static, char>) -> Option<BuiltinCast> {
        let [source, target, context, function] = take(&mut fields)?;
        let versions = Versions::read(fields.next())?;
        Some(BuiltinCast {
            source: self.oid(source, versions)?,
            target: self.oid(target, versions)?,
            context: context.chars().next()?,
            function: function.parse().ok()?,
            versions,
        })
    }

    fn relation(&self, schema: &'static str, mut fields: Split<'static, char>) -> Option<BuiltinRelation> {
        let [name, oid, kind, columns] = take(&mut fields)?;
        let versions = Versions::read(fields.next())?;
        let column = |column: &'static str| {
            let (name, of) = column.rsplit_once(':')?;
            // Arrays of rows are not among the types.
            Some((name, self.oid(of, versions).unwrap_or(0)))
        };
        Some(BuiltinRelation {
            schema,
            name,
            oid: oid.parse().ok()?,
            kind: kind.chars().next()?,
            columns: columns.split(' ').map(column).collect::<Option<_>>()?,
            versions,
        })
    }

    /// The OID of a type in the first of the versions.
    fn oid(&self, name: &str, versions: Versions) -> Option<u32> {
        let oids = self.oids.get(name)?;
        oids.iter().find(|(of, _)| of.has(versions.first())).map(|(_, oid)| *oid)
    }
}

/// The next fields.
pub(super) fn take<const N: usize>(fields: &mut Split<'static, char>) -> Option<[&'static str; N]> {
    let mut taken = [""; N];
    for place in &mut taken {
        *place = fields.next()?;
    }
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_whole() {
        let table = parse(CATALOG, &Review::read(HARMLESS, REFUSED)).unwrap();
        let lines = CATALOG.lines().filter(|line| !line.starts_with('#')).count();
        let parsed = table.types.len() + table.functions.len() + table.operators.len() + table.casts.len();
        assert_eq!(parsed + table.relations.len(), lines);
        assert!(CATALOG.len() + HARMLESS.len() + REFUSED.len() < 400_000);
    }

    #[test]
    fn a_damaged_line_is_named() {
        let review = Review::read("", "");
        for text in [
            "x\ty",
            "t\tint4\ttwentythree\tb\t-\tinteger",
            "f\tf\tmissing_type\tint4\t1\tf",
            "f\tf",
            "t\tint4\t23\tb\t-\tinteger\t15-99",
        ] {
            assert_eq!(parse(text, &review).unwrap_err(), BadLine(1), "{text}");
        }
    }

    #[test]
    fn ranges_hold_all_that_is_equal() {
        let sorted = [1, 3, 3, 5];
        assert_eq!(range(&sorted, |n| n.cmp(&3)), [3, 3]);
        assert_eq!(range(&sorted, |n| n.cmp(&4)), [0; 0]);
        assert_eq!(range(&sorted, |n| n.cmp(&5)), [5]);
    }
}
