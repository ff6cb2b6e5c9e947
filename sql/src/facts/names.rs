//! Names of relations and types to what they mean, the way PostgreSQL searches its path.

use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, RangeVar};
use policy::{Object, Verb};

use super::builtin;
use super::target::Source;
use super::walk::Walk;
use super::{Reason, UnresolvedKind};
use crate::builtins;
use crate::catalog::Type;

/// What one schema says to a name.
enum Said<T> {
    Here(T),
    NotHere,
    /// The server must be asked.
    Unknown,
}

/// The strings of a qualified name.
pub(super) fn strings(nodes: &[Node]) -> Vec<&str> {
    nodes.iter().filter_map(string).collect()
}

pub(super) fn string(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::String(s)) => Some(&s.sval),
        _ => None,
    }
}

/// Schema and name of a qualified name, the database left out.
pub(super) fn qualified<'n>(names: &[&'n str]) -> (Option<&'n str>, &'n str) {
    match names {
        [.., schema, name] => (Some(schema), name),
        [name] => (None, name),
        [] => (None, ""),
    }
}

impl<'a> Walk<'a> {
    /// The relation that a name means, for a verb on it.
    pub(super) fn relation(&mut self, name: &RangeVar, verb: Verb) -> Source {
        let schema = (!name.schemaname.is_empty()).then_some(name.schemaname.as_str());
        if !name.catalogname.is_empty() && name.catalogname != self.scope.database {
            let full = format!("{}.{}.{}", name.catalogname, name.schemaname, name.relname);
            self.missing(UnresolvedKind::Relation, verb, &full, name.location);
            return Source::Missing;
        }
        self.relation_named(schema, &name.relname, verb, name.location)
    }

    pub(super) fn relation_named(
        &mut self,
        schema: Option<&str>,
        name: &str,
        verb: Verb,
        location: i32,
    ) -> Source {
        let schemas = self.schemas(schema, name, location);
        let mut hits = Vec::new();
        let mut pending = false;
        for schema in &schemas {
            match self.relation_in(schema, name) {
                Said::Here(source) => {
                    hits.push(source);
                    if !self.scope.doubt.path {
                        break;
                    }
                }
                Said::NotHere => {}
                Said::Unknown => pending = true,
            }
        }
        if pending {
            return Source::Missing;
        }
        self.single(&hits, name, location);
        let Some(source) = hits.into_iter().next() else {
            let full = schema.map_or_else(|| name.to_owned(), |schema| format!("{schema}.{name}"));
            self.missing(UnresolvedKind::Relation, verb, &full, location);
            self.suggest_relation(&schemas, name);
            return Source::Missing;
        };
        if self.scope.doubt.catalog && matches!(source, Source::Known(_)) {
            self.plain(verb, Object::Unresolved(name.to_owned()), location);
        }
        source
    }

    /// With a path of which the server may skip some, a name must be in one place only.
    fn single<T>(&mut self, hits: &[T], name: &str, location: i32) {
        if self.scope.doubt.path && hits.len() > 1 {
            let message = format!("which `{name}` is meant depends on a search_path set in the same string");
            self.refuse(Reason::Doubt, message, location);
        }
    }

    fn suggest_relation(&mut self, schemas: &[String], name: &str) {
        let catalog = self.scope.catalog;
        let known = schemas.iter().flat_map(|schema| catalog.relation_names(schema)).map(str::to_owned);
        let close = super::suggest::closest(name, known);
        if let Some(last) = self.unresolved.last_mut() {
            last.suggestion = close;
        }
    }

    /// The schemas in which a relation or type is looked for.
    fn schemas(&mut self, schema: Option<&str>, name: &str, location: i32) -> Vec<String> {
        match schema {
            Some("pg_temp") => self.scope.temp_schema.map(str::to_owned).into_iter().collect(),
            Some(schema) => self.named_schema(schema),
            None => {
                if self.scope.doubt.names {
                    let message =
                        format!("`{name}` without a schema is uncertain here; write `schema.{name}`");
                    self.refuse(Reason::Doubt, message, location);
                }
                self.path.clone()
            }
        }
    }

    /// A schema that is named, unless it is another session's temporary one. Nobody but that session may ask what
    /// is in it: what others learnt would be out of date for its owner.
    fn named_schema(&self, schema: &str) -> Vec<String> {
        let temporary = schema.starts_with("pg_temp_") || schema.starts_with("pg_toast_temp_");
        let own = Some(schema) == self.scope.temp_schema;
        if temporary && !own { Vec::new() } else { vec![schema.to_owned()] }
    }

    /// Whether the server is known to have no relation of that name in the path.
    pub(super) fn relation_is_absent(&mut self, schema: Option<&str>, name: &str) -> bool {
        let schemas = self.schemas(schema, name, -1);
        schemas.iter().all(|schema| matches!(self.relation_in(schema, name), Said::NotHere))
    }

    fn relation_in(&mut self, schema: &str, name: &str) -> Said<Source> {
        if let Some(relation) = builtins::relation(self.scope.version, schema, name) {
            return Said::Here(Source::System(relation));
        }
        match self.scope.catalog.relation(schema, name) {
            Some(Some(relation)) => Said::Here(Source::Known(Arc::clone(relation))),
            Some(None) => Said::NotHere,
            None if schema == "information_schema" => Said::NotHere,
            None => {
                self.needs.relations.insert((schema.to_owned(), name.to_owned()));
                Said::Unknown
            }
        }
    }

    /// The type that a name means: its OID, or nothing where the server must be asked or has none.
    pub(super) fn type_named(&mut self, schema: Option<&str>, name: &str, location: i32) -> Option<u32> {
        let schemas = self.schemas(schema, name, location);
        let mut hits = Vec::new();
        let mut pending = false;
        for schema in &schemas {
            match self.type_in(schema, name) {
                Said::Here(oid) => {
                    hits.push(oid);
                    if !self.scope.doubt.path {
                        break;
                    }
                }
                Said::NotHere => {}
                Said::Unknown => pending = true,
            }
        }
        if pending {
            return None;
        }
        self.single(&hits, name, location);
        if hits.is_empty() {
            let full = schema.map_or_else(|| name.to_owned(), |schema| format!("{schema}.{name}"));
            self.missing(UnresolvedKind::Type, Verb::Execute, &full, location);
        }
        let own = hits.first().copied();
        if self.scope.doubt.catalog && own.is_some_and(|oid| oid >= super::types::FIRST_USER) {
            self.plain(Verb::Execute, Object::Unresolved(name.to_owned()), location);
        }
        own
    }

    fn type_in(&mut self, schema: &str, name: &str) -> Said<u32> {
        if schema == "pg_catalog"
            && let Some(oid) = builtin::type_named(self.scope.version, name)
        {
            return Said::Here(oid);
        }
        match self.scope.catalog.type_named(schema, name) {
            Some(Some(of)) => Said::Here(of.oid),
            Some(None) => Said::NotHere,
            None => {
                self.needs.types.insert((schema.to_owned(), name.to_owned()));
                Said::Unknown
            }
        }
    }

    /// A type of the user's own, by OID; nothing for built-in ones and for those not yet read.
    pub(super) fn user_type(&mut self, oid: u32) -> Option<Arc<Type>> {
        if oid < super::types::FIRST_USER {
            return None;
        }
        match self.scope.catalog.type_of(oid) {
            Some(known) => known.cloned(),
            None => {
                self.needs.type_oids.insert(oid);
                None
            }
        }
    }

    /// The schemas in which functions and operators are looked for: temporary ones never count.
    pub(super) fn function_schemas(&self, schema: Option<&str>) -> Vec<String> {
        match schema {
            Some("pg_temp") => self.scope.temp_schema.map(str::to_owned).into_iter().collect(),
            Some(schema) => self.named_schema(schema),
            None => self.path.iter().filter(|schema| !schema.starts_with("pg_temp_")).cloned().collect(),
        }
    }
}
