//! A catalog without a server: names are taken to be what they look like. For tools that explain a statement where
//! no database can be asked; nothing that decides what goes upstream may use it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::object::{Column, Kind};
use super::{Catalog, Function, Needs, Relation, Type};
use crate::{Unresolved, UnresolvedKind};

/// OIDs of types that are assumed, far from those that servers give.
const FIRST_TYPE: u32 = 0x7000_0000;
/// `pg_catalog.any`.
const ANY: u32 = 2276;

/// What names without a server behind them are taken to be: relations are plain tables, each with all columns that
/// are mentioned; functions take any arguments; types have no checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assumed {
    /// Tables, as (schema, name).
    pub relations: BTreeSet<(String, String)>,
    /// Functions, as (schema, name).
    pub functions: BTreeSet<(String, String)>,
    /// Types, as (schema, name).
    pub types: BTreeSet<(String, String)>,
    /// Columns that stand behind an alias: `o.id`.
    pub columns: BTreeSet<String>,
    /// Columns that stand alone. Where several tables are in sight, each counts as having them.
    pub bare_columns: BTreeSet<String>,
    /// Tables of a TRUNCATE ... CASCADE, taken to reach nothing else.
    pub cascades: BTreeSet<(String, String)>,
}

impl Assumed {
    /// How an assumed function's arguments are spelled.
    pub const ARGUMENTS: &'static str = "...";

    /// Takes in names that could not be resolved; those without a schema belong to the first of the path. Whether
    /// anything is new: then the facts are to be found again, with an empty catalog.
    pub fn learn(&mut self, unresolved: &[Unresolved], search_path: &[String]) -> bool {
        let mut new = false;
        for Unresolved { kind, name, .. } in unresolved {
            let place = || {
                let own = search_path.iter().find(|schema| !schema.starts_with("pg_"));
                let (schema, name) = name.split_once('.').or(Some((own?, name)))?;
                Some((schema.to_owned(), name.to_owned()))
            };
            new |= match kind {
                UnresolvedKind::Column => self.learn_column(name),
                UnresolvedKind::Relation => place().is_some_and(|place| self.relations.insert(place)),
                UnresolvedKind::Type => place().is_some_and(|place| self.types.insert(place)),
                // Of an operator nothing can be assumed: it is not known which function is behind it.
                UnresolvedKind::Function if !name.starts_with(|c: char| c == '_' || c.is_alphabetic()) => {
                    false
                }
                UnresolvedKind::Function => place().is_some_and(|place| self.functions.insert(place)),
            };
        }
        new
    }

    fn learn_column(&mut self, name: &str) -> bool {
        match name.split_once('.') {
            // Not a column: the alias itself is missing, or a list whose columns only the server knows.
            Some((_, column)) if column == "*" || column.starts_with('(') => false,
            Some((_, column)) => self.columns.insert(column.to_owned()),
            None => !name.contains(' ') && self.bare_columns.insert(name.to_owned()),
        }
    }

    fn relation(&self, schema: &str, name: &str) -> Relation {
        let columns = self.columns.union(&self.bare_columns);
        Relation {
            schema: schema.to_owned(),
            name: name.to_owned(),
            kind: Kind::Other,
            row_type: 0,
            columns: columns.map(|name| Column { name: name.clone(), of: 0 }).collect(),
            children: Vec::new(),
            ancestors: Vec::new(),
            view: None,
            assumed: true,
        }
    }
}

fn function(schema: &str, name: &str) -> Function {
    Function {
        oid: 0,
        schema: schema.to_owned(),
        name: name.to_owned(),
        procedure: false,
        arguments: vec![ANY],
        spelled: vec![Assumed::ARGUMENTS.to_owned()],
        defaults: 1,
        variadic: true,
        result: 0,
        extension: None,
    }
}

impl Catalog {
    /// Answers needs as if a server had what is assumed, and nothing else.
    pub fn assume(&mut self, needs: &Needs, assumed: &mut Assumed) {
        for name in &needs.relations {
            let known =
                assumed.relations.contains(name).then(|| Arc::new(assumed.relation(&name.0, &name.1)));
            self.set_named(|c| &mut c.relations, &name.0, &name.1, known);
        }
        for name in &needs.functions {
            let known = assumed.functions.contains(name).then(|| Arc::new(function(&name.0, &name.1)));
            self.set_named(|c| &mut c.functions, &name.0, &name.1, known.into_iter().collect());
        }
        for (schema, name) in &needs.operators {
            self.set_named(|c| &mut c.operators, schema, name, Vec::new().into());
        }
        assumed.cascades.extend(needs.cascades.iter().cloned());
        for (schema, name) in &needs.cascades {
            self.set_named(|c| &mut c.cascades, schema, name, Vec::new().into());
        }
        for name in &needs.types {
            self.set_named(|c| &mut c.types, &name.0, &name.1, assumed_type(assumed, name));
        }
        for oid in &needs.type_oids {
            let known = assumed.types.iter().filter_map(|name| assumed_type(assumed, name));
            let known = known.into_iter().find(|of| of.oid == *oid);
            self.set(|c| &mut c.type_oids, *oid, known);
        }
        for oid in &needs.function_oids {
            self.set(|c| &mut c.function_oids, *oid, None);
        }
        if needs.casts {
            self.casts = Some(Vec::new().into());
        }
    }
}

/// An assumed type: as good as an enumeration.
fn assumed_type(assumed: &Assumed, name: &(String, String)) -> Option<Arc<Type>> {
    let at = assumed.types.iter().position(|known| known == name)?;
    Some(Arc::new(Type {
        oid: FIRST_TYPE + u32::try_from(at).ok()?,
        schema: name.0.clone(),
        name: name.1.clone(),
        kind: 'e',
        base: 0,
        element: 0,
        fields: Vec::new(),
        checks: Vec::new(),
    }))
}
