//! Rows of an answer to objects. A row that does not have the form asked for spoils the whole answer.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use policy::RelationName;

use super::CatalogError;
use super::object::{Cast, Column, Function, Kind, Operator, Relation, Type, View};

/// One answer, put together.
#[derive(Debug, Default)]
pub(super) struct Answer {
    relations: HashMap<u32, Relation>,
    pub(super) functions: BTreeMap<u32, Arc<Function>>,
    pub(super) operators: Vec<Arc<Operator>>,
    pub(super) types: BTreeMap<u32, Arc<Type>>,
    pub(super) casts: Vec<Arc<Cast>>,
    cascades: Vec<[String; 4]>,
}

/// One row behind its tag.
struct Row<'a>(&'a [Option<String>]);

impl Row<'_> {
    fn optional(&self, at: usize) -> Option<&str> {
        self.0.get(at).and_then(Option::as_deref)
    }

    fn text(&self, at: usize) -> Result<&str, CatalogError> {
        self.optional(at).ok_or(CatalogError::Row)
    }

    fn number<T: std::str::FromStr>(&self, at: usize) -> Result<T, CatalogError> {
        self.text(at)?.parse().map_err(|_| CatalogError::Row)
    }

    fn letter(&self, at: usize) -> Result<char, CatalogError> {
        self.text(at)?.chars().next().ok_or(CatalogError::Row)
    }
}

/// What waits for other rows.
#[derive(Default)]
struct Loose {
    columns: BTreeMap<(u32, i32), Column>,
    children: BTreeMap<u32, Vec<RelationName>>,
    arguments: BTreeMap<(u32, u32), String>,
    checks: Vec<(u32, String)>,
    path: BTreeMap<u32, String>,
    types: Vec<Type>,
    functions: Vec<Function>,
    relations: Vec<(u32, Relation, Option<String>)>,
    operators: Vec<(Operator, u32)>,
    casts: Vec<(Cast, u32)>,
}

impl Answer {
    pub(super) fn read(rows: &[Vec<Option<String>>]) -> Result<Self, CatalogError> {
        let mut loose = Loose::default();
        let mut answer = Self::default();
        for cells in rows {
            let (tag, rest) = cells.split_first().ok_or(CatalogError::Row)?;
            let row = Row(rest);
            match tag.as_deref() {
                Some("r") => loose.relation(&row)?,
                Some("c") => loose.column(&row)?,
                Some("i") => loose.child(&row)?,
                Some("t") => loose.type_row(&row)?,
                Some("k") => loose.checks.push((row.number(0)?, row.text(1)?.to_owned())),
                Some("p") => {
                    loose.path.insert(row.number(0)?, row.text(1)?.to_owned());
                }
                Some("f") => loose.function(&row)?,
                Some("a") => {
                    loose.arguments.insert((row.number(0)?, row.number(1)?), row.text(2)?.to_owned());
                }
                Some("o") => loose.operator(&row)?,
                Some("s") => loose.cast(&row)?,
                Some("x") => answer.cascades.push([
                    row.text(0)?.to_owned(),
                    row.text(1)?.to_owned(),
                    row.text(2)?.to_owned(),
                    row.text(3)?.to_owned(),
                ]),
                _ => return Err(CatalogError::Row),
            }
        }
        answer.assemble(loose)?;
        Ok(answer)
    }

    fn assemble(&mut self, mut loose: Loose) -> Result<(), CatalogError> {
        let path: Vec<String> = loose.path.into_values().collect();
        for mut relation in loose.relations {
            let (oid, ref mut inner, definition) = (relation.0, &mut relation.1, relation.2);
            let columns = loose.columns.range((oid, i32::MIN)..=(oid, i32::MAX));
            inner.columns = columns.map(|(_, column)| column.clone()).collect();
            inner.children = loose.children.remove(&oid).unwrap_or_default();
            inner.view = definition.map(|text| view(text, &path));
            self.relations.insert(oid, relation.1);
        }
        for mut of in loose.types {
            let own = loose.checks.iter().filter(|(oid, _)| *oid == of.oid);
            of.checks = own.map(|(_, check)| view(format!("SELECT {check}"), &path)).collect();
            self.types.insert(of.oid, Arc::new(of));
        }
        for mut function in loose.functions {
            let spelled = loose.arguments.range((function.oid, 0)..=(function.oid, u32::MAX));
            function.spelled = spelled.map(|(_, text)| text.clone()).collect();
            if function.spelled.len() != function.arguments.len() {
                return Err(CatalogError::Row);
            }
            self.functions.insert(function.oid, Arc::new(function));
        }
        for (mut operator, oid) in loose.operators {
            operator.function = Arc::clone(self.functions.get(&oid).ok_or(CatalogError::Row)?);
            self.operators.push(Arc::new(operator));
        }
        for (mut cast, oid) in loose.casts {
            if oid != 0 {
                cast.function = Some(Arc::clone(self.functions.get(&oid).ok_or(CatalogError::Row)?));
            }
            self.casts.push(Arc::new(cast));
        }
        Ok(())
    }

    pub(super) fn relation(&self, schema: &str, name: &str) -> Option<Arc<Relation>> {
        self.relations.values().find(|r| r.schema == schema && r.name == name).cloned().map(Arc::new)
    }

    /// What a TRUNCATE … CASCADE of the relation reaches, itself left out.
    pub(super) fn reached(&self, schema: &str, name: &str) -> Vec<(String, String)> {
        let own = self.cascades.iter().filter(|[s, n, ..]| s == schema && n == name);
        let other = own.filter(|[s, n, rs, rn]| (s, n) != (rs, rn));
        other.map(|[_, _, schema, name]| (schema.clone(), name.clone())).collect()
    }
}

fn view(text: String, path: &[String]) -> View {
    let parsed = crate::parse(&text).ok().filter(|syntax| syntax.statements.len() == 1);
    View { statement: parsed.and_then(|syntax| syntax.statements.into_iter().next()), text, path: path.to_vec() }
}

impl Loose {
    fn relation(&mut self, row: &Row<'_>) -> Result<(), CatalogError> {
        let kind = match row.letter(3)? {
            'v' => Kind::View,
            'p' => Kind::Partitioned,
            _ => Kind::Other,
        };
        let relation = Relation {
            schema: row.text(1)?.to_owned(),
            name: row.text(2)?.to_owned(),
            kind,
            row_type: row.number(4)?,
            columns: Vec::new(),
            children: Vec::new(),
            view: None,
        };
        self.relations.push((row.number(0)?, relation, row.optional(5).map(str::to_owned)));
        Ok(())
    }

    fn column(&mut self, row: &Row<'_>) -> Result<(), CatalogError> {
        let column = Column { name: row.text(2)?.to_owned(), of: row.number(3)? };
        self.columns.insert((row.number(0)?, row.number(1)?), column);
        Ok(())
    }

    fn child(&mut self, row: &Row<'_>) -> Result<(), CatalogError> {
        let child = RelationName::new(row.text(1)?, row.text(2)?);
        self.children.entry(row.number(0)?).or_default().push(child);
        Ok(())
    }

    fn type_row(&mut self, row: &Row<'_>) -> Result<(), CatalogError> {
        self.types.push(Type {
            oid: row.number(0)?,
            schema: row.text(1)?.to_owned(),
            name: row.text(2)?.to_owned(),
            kind: row.letter(3)?,
            base: row.number(4)?,
            element: row.number(5)?,
            checks: Vec::new(),
        });
        Ok(())
    }

    fn function(&mut self, row: &Row<'_>) -> Result<(), CatalogError> {
        let arguments = row.text(4)?.split_ascii_whitespace().map(|oid| oid.parse().map_err(|_| CatalogError::Row));
        self.functions.push(Function {
            oid: row.number(0)?,
            schema: row.text(1)?.to_owned(),
            name: row.text(2)?.to_owned(),
            procedure: row.letter(3)? == 'p',
            arguments: arguments.collect::<Result<_, _>>()?,
            spelled: Vec::new(),
            defaults: row.number(5)?,
            variadic: row.number::<u32>(6)? != 0,
            result: row.number(7)?,
            extension: row.optional(8).map(str::to_owned),
        });
        Ok(())
    }

    fn operator(&mut self, row: &Row<'_>) -> Result<(), CatalogError> {
        let operator = Operator {
            schema: row.text(0)?.to_owned(),
            name: row.text(1)?.to_owned(),
            left: row.number(2)?,
            right: row.number(3)?,
            result: row.number(4)?,
            function: Arc::new(nothing()),
        };
        self.operators.push((operator, row.number(5)?));
        Ok(())
    }

    fn cast(&mut self, row: &Row<'_>) -> Result<(), CatalogError> {
        let cast = Cast { source: row.number(0)?, target: row.number(1)?, context: row.letter(2)?, function: None };
        self.casts.push((cast, row.number(3)?));
        Ok(())
    }
}

/// Stands in until the operator's function row is found.
const fn nothing() -> Function {
    Function {
        oid: 0,
        schema: String::new(),
        name: String::new(),
        procedure: false,
        arguments: Vec::new(),
        spelled: Vec::new(),
        defaults: 0,
        variadic: false,
        result: 0,
        extension: None,
    }
}
