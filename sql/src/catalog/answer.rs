//! Rows of an answer to objects. A row that does not have the form asked for spoils the whole answer.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use policy::{Columns, RelationName};

use super::CatalogError;
use super::object::{Cast, Column, Function, Kind, Operator, Relation, Type, View, spelling};

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
    ancestors: BTreeMap<u32, Vec<RelationName>>,
    arguments: BTreeMap<(u32, u32), String>,
    /// Functions that the checks of a type call.
    checks: Vec<(u32, u32)>,
    /// Types of the fields of a row type, built-in ones left out.
    fields: Vec<(u32, u32)>,
    /// Views, and the functions, relations and columns of each.
    views: BTreeMap<u32, LooseView>,
    types: Vec<Type>,
    functions: Vec<Function>,
    relations: Vec<(u32, Relation)>,
    operators: Vec<(Operator, u32)>,
    casts: Vec<(Cast, u32)>,
}

/// A view's rows.
#[derive(Default)]
struct LooseView {
    relations: Vec<RelationName>,
    columns: BTreeMap<RelationName, Columns>,
    origins: Vec<(i32, RelationName, String)>,
    functions: Vec<u32>,
    /// The users' types that it names.
    types: Vec<u32>,
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
                Some("k") => loose.checks.push((row.number(0)?, row.number(1)?)),
                Some("y") => loose.fields.push((row.number(0)?, row.number(1)?)),
                Some("q") => {
                    loose.views.entry(row.number(0)?).or_default();
                }
                Some("w") => loose.view(&row)?.relations.push(RelationName::new(row.text(1)?, row.text(2)?)),
                Some("v") => loose.view_column(&row)?,
                Some("m") => {
                    let origin = (
                        row.number(1)?,
                        RelationName::new(row.text(2)?, row.text(3)?),
                        row.text(4)?.to_owned(),
                    );
                    loose.view(&row)?.origins.push(origin);
                }
                Some("e") => loose.view(&row)?.functions.push(row.number(1)?),
                Some("d") => loose.view(&row)?.types.push(row.number(1)?),
                Some("p") => {
                    let ancestor = RelationName::new(row.text(1)?, row.text(2)?);
                    loose.ancestors.entry(row.number(0)?).or_default().push(ancestor);
                }
                Some("f") => loose.function(&row)?,
                Some("a") => {
                    let spelled = spelling(row.text(2)?, row.text(3)?) + row.text(4)?;
                    loose.arguments.insert((row.number(0)?, row.number(1)?), spelled);
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
        loose.count_checks_of_views();
        loose.put_in_order();
        self.cascades.sort_unstable();
        for mut function in std::mem::take(&mut loose.functions) {
            let spelled = loose.arguments.range((function.oid, 0)..=(function.oid, u32::MAX));
            function.spelled = spelled.map(|(_, text)| text.clone()).collect();
            if function.spelled.len() != function.arguments.len() {
                return Err(CatalogError::Row);
            }
            self.functions.insert(function.oid, Arc::new(function));
        }
        for (oid, mut relation) in std::mem::take(&mut loose.relations) {
            let columns = loose.columns.range((oid, i32::MIN)..=(oid, i32::MAX));
            relation.columns = columns.map(|(_, column)| column.clone()).collect();
            relation.children = loose.children.remove(&oid).unwrap_or_default();
            relation.ancestors = loose.ancestors.remove(&oid).unwrap_or_default();
            let view = loose.views.remove(&oid);
            if view.is_none() && relation.kind == Kind::View {
                // A view that shows no tree would pass for a table.
                return Err(CatalogError::Row);
            }
            relation.view = view.map(|view| self.view(view)).transpose()?;
            self.relations.insert(oid, relation);
        }
        for mut of in loose.types {
            let own = loose.checks.iter().filter(|(oid, _)| *oid == of.oid);
            of.fields = loose.fields.iter().filter(|(oid, _)| *oid == of.oid).map(|(_, of)| *of).collect();
            of.checks = own.map(|(_, function)| self.function(*function)).collect::<Result<_, _>>()?;
            self.types.insert(of.oid, Arc::new(of));
        }
        for (mut operator, oid) in loose.operators {
            operator.function = self.function(oid)?;
            self.operators.push(Arc::new(operator));
        }
        for (mut cast, oid) in loose.casts {
            if oid != 0 {
                cast.function = Some(self.function(oid)?);
            }
            self.casts.push(Arc::new(cast));
        }
        Ok(())
    }

    fn function(&self, oid: u32) -> Result<Arc<Function>, CatalogError> {
        self.functions.get(&oid).cloned().ok_or(CatalogError::Row)
    }

    /// A relation whose columns could not be told is read whole.
    fn view(&self, mut loose: LooseView) -> Result<View, CatalogError> {
        let reads = loose.relations.into_iter().map(|name| {
            let columns = loose.columns.remove(&name).unwrap_or(Columns::All);
            (name, columns)
        });
        let reads = reads.collect();
        let functions =
            loose.functions.into_iter().map(|oid| self.function(oid)).collect::<Result<_, _>>()?;
        Ok(View { reads, functions, origins: loose.origins })
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

impl Loose {
    /// A view that names a type may run the checks of it and of all that it is made of.
    fn count_checks_of_views(&mut self) {
        for view in self.views.values_mut() {
            let mut types = std::mem::take(&mut view.types);
            let mut next = 0;
            while let Some(oid) = types.get(next).copied() {
                next += 1;
                let own = self.types.iter().filter(|of| of.oid == oid).flat_map(|of| [of.base, of.element]);
                let fields = self.fields.iter().filter(|(of, _)| *of == oid).map(|(_, field)| *field);
                let parts: Vec<u32> = own.chain(fields).filter(|part| *part != 0).collect();
                types.extend(parts.into_iter().filter(|part| !types.contains(part)).collect::<Vec<_>>());
                let checks = self.checks.iter().filter(|(of, _)| *of == oid);
                view.functions.extend(checks.map(|(_, function)| *function));
            }
        }
    }

    /// Rows come in whatever order the server likes: equal objects are to be equal.
    fn put_in_order(&mut self) {
        for names in self.children.values_mut().chain(self.ancestors.values_mut()) {
            names.sort_unstable();
        }
        self.checks.sort_unstable();
        self.fields.sort_unstable();
        for view in self.views.values_mut() {
            view.relations.sort_unstable();
            view.origins.sort_unstable();
            view.functions.sort_unstable();
            view.functions.dedup();
        }
        self.operators.sort_unstable_by_key(|(operator, oid)| (operator.left, operator.right, *oid));
        self.casts.sort_unstable_by_key(|(cast, _)| (cast.source, cast.target));
    }

    fn view(&mut self, row: &Row<'_>) -> Result<&mut LooseView, CatalogError> {
        Ok(self.views.entry(row.number(0)?).or_default())
    }

    /// A column of a relation that a view reads: none at all, the whole row, or by name.
    fn view_column(&mut self, row: &Row<'_>) -> Result<(), CatalogError> {
        let name = RelationName::new(row.text(1)?, row.text(2)?);
        let columns = match (row.optional(3), row.optional(4)) {
            (None, _) => Columns::none(),
            (Some(_), Some(column)) => Columns::Set(std::iter::once(column.to_owned()).collect()),
            (Some(_), None) => Columns::All,
        };
        self.view(row)?.columns.entry(name).or_insert_with(Columns::none).unite(columns);
        Ok(())
    }

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
            ancestors: Vec::new(),
            view: None,
            assumed: false,
        };
        self.relations.push((row.number(0)?, relation));
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
            fields: Vec::new(),
            checks: Vec::new(),
        });
        Ok(())
    }

    fn function(&mut self, row: &Row<'_>) -> Result<(), CatalogError> {
        let arguments =
            row.text(4)?.split_ascii_whitespace().map(|oid| oid.parse().map_err(|_| CatalogError::Row));
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
        let cast =
            Cast { source: row.number(0)?, target: row.number(1)?, context: row.letter(2)?, function: None };
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
