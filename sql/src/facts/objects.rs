//! Objects that definitions name: which access stands for making, changing or dropping one.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, ObjectType, RangeVar};
use policy::{Access, Columns, FunctionName, Object, RelationName, Verb};

use super::names::{qualified, string, strings};
use super::target::{Deed, Source};
use super::walk::Walk;
use super::{Effect, Reason, UnresolvedKind};
use crate::builtins;

impl<'a> Walk<'a> {
    /// A relation that exists: done to it and its children.
    pub(super) fn on_relation(&mut self, name: &RangeVar, verb: Verb) -> Source {
        let source = self.relation(name, verb);
        self.done_to(&source, verb, name.location);
        source
    }

    fn done_to(&mut self, source: &Source, verb: Verb, location: i32) {
        let none = Columns::none();
        let position = self.position(location);
        self.deed(source, Deed { position, ..Deed::new(verb, &none) });
        let temp = match source {
            Source::Known(relation) => Some(relation.schema.as_str()) == self.scope.temp_schema,
            Source::System(_) | Source::Missing => false,
        };
        self.effects.push(if temp { Effect::TempDdl } else { Effect::Ddl });
    }

    /// A relation that is made: the names it may get.
    pub(super) fn new_relation(&mut self, name: &RangeVar, verb: Verb) -> Vec<RelationName> {
        let temporary = name.relpersistence == "t" || name.schemaname == "pg_temp";
        let schemas = if temporary {
            self.effects.push(Effect::TempDdl);
            self.effects.push(Effect::SearchPathMayChange);
            vec!["pg_temp".to_owned()]
        } else {
            self.effects.push(Effect::Ddl);
            let schema = (!name.schemaname.is_empty()).then_some(name.schemaname.as_str());
            self.new_schemas(schema, name.location)
        };
        let names: Vec<RelationName> =
            schemas.iter().map(|schema| self.named(schema, &name.relname)).collect();
        for name_of in &names {
            self.plain(verb, Object::Relation(name_of.clone()), name.location);
        }
        names
    }

    /// The schema that a new object goes to: the first of the path that is not implied.
    pub(super) fn new_schemas(&mut self, schema: Option<&str>, location: i32) -> Vec<String> {
        if let Some(schema) = schema {
            return vec![schema.to_owned()];
        }
        if self.scope.doubt.names {
            self.refuse(Reason::Doubt, "the schema of a new object is uncertain here; write it", location);
        }
        let own = |schema: &&String| *schema != "pg_catalog" && !schema.starts_with("pg_temp_");
        let mut schemas: Vec<String> = self.path.iter().filter(own).cloned().collect();
        if schemas.is_empty() {
            self.missing(UnresolvedKind::Relation, Verb::Create, "a schema to create in", location);
        }
        if !self.scope.doubt.path {
            schemas.truncate(1);
        }
        schemas
    }

    /// Something new that is neither relation nor function.
    pub(super) fn new_in_schema(&mut self, names: &[&str], verb: Verb) {
        let (schema, _) = qualified(names);
        for schema in self.new_schemas(schema, -1) {
            let object = Object::Schema(self.schema_name(&schema).to_owned());
            self.plain(verb, object, -1);
        }
        self.effects.push(Effect::Ddl);
    }

    /// Something that exists and is neither relation nor function: every schema that it may be in.
    pub(super) fn in_schema(&mut self, names: &[&str], verb: Verb) {
        let (schema, _) = qualified(names);
        let schemas = match schema {
            Some(schema) => vec![schema.to_owned()],
            None => self.path.iter().filter(|schema| *schema != "pg_catalog").cloned().collect(),
        };
        for schema in schemas {
            let object = Object::Schema(self.schema_name(&schema).to_owned());
            self.plain(verb, object, -1);
        }
        self.effects.push(Effect::Ddl);
    }

    /// A type that exists: the schema that it is in.
    pub(super) fn on_type(&mut self, names: &[&str], verb: Verb) {
        let (schema, name) = qualified(names);
        let oid = self.type_named(schema, name, -1);
        match oid.and_then(|oid| self.user_type(oid)) {
            Some(of) => self.in_schema(&[of.schema.as_str(), name], verb),
            None => self.in_schema(names, verb),
        }
    }

    /// Something of the whole database that changes what code runs: also administration.
    pub(super) fn on_database(&mut self, verb: Verb) {
        self.plain(verb, Object::Session, -1);
        self.plain(Verb::Admin, Object::Session, -1);
        self.effects.push(Effect::Ddl);
    }

    /// Functions that a definition names: all overloads with that many arguments.
    pub(super) fn on_functions(&mut self, names: &[&str], arguments: Option<&[Node]>, verb: Verb) {
        let pending = self.needs.clone();
        let functions = self.functions_named(names, arguments);
        if functions.is_empty() && pending == self.needs {
            self.missing(UnresolvedKind::Function, verb, &names.join("."), -1);
        }
        for function in functions {
            let baseline = verb == Verb::Execute && self.is_harmless(&function);
            let access = Access::new(self.verb(verb), Object::Function(function));
            self.access(Access { baseline, via: self.via.clone(), ..access });
        }
        self.effects.push(Effect::Ddl);
    }

    /// Whether a function is a reviewed built-in.
    fn is_harmless(&self, function: &FunctionName) -> bool {
        let all = builtins::functions(self.scope.version, &function.schema, &function.name);
        !all.is_empty() && all.iter().all(|known| known.harmless())
    }

    /// An object as DROP, COMMENT, ALTER … RENAME and their kin name it.
    pub(super) fn on_object(&mut self, kind: ObjectType, object: Option<&Node>, verb: Verb) {
        use ObjectType as O;
        let names = object.map_or_else(Vec::new, name_parts);
        match kind {
            O::ObjectTable
            | O::ObjectView
            | O::ObjectMatview
            | O::ObjectSequence
            | O::ObjectIndex
            | O::ObjectForeignTable => self.on_relation_named(&names, verb),
            O::ObjectColumn
            | O::ObjectTabconstraint
            | O::ObjectTrigger
            | O::ObjectRule
            | O::ObjectPolicy
            | O::ObjectDefault
            | O::ObjectPublicationRel => {
                let relation = names.split_last().map_or(&[][..], |(_, rest)| rest);
                self.on_relation_named(relation, verb);
            }
            O::ObjectFunction | O::ObjectProcedure | O::ObjectRoutine | O::ObjectAggregate => {
                self.on_functions(&names, object.and_then(arguments_of), verb);
            }
            O::ObjectType | O::ObjectDomain | O::ObjectAttribute | O::ObjectDomconstraint => {
                self.on_type(&names, verb);
            }
            O::ObjectOperator
            | O::ObjectCollation
            | O::ObjectConversion
            | O::ObjectStatisticExt
            | O::ObjectTsconfiguration
            | O::ObjectTsdictionary
            | O::ObjectTsparser
            | O::ObjectTstemplate => self.in_schema(&names, verb),
            O::ObjectOpclass | O::ObjectOpfamily | O::ObjectAmop | O::ObjectAmproc => {
                self.in_schema(names.get(1..).unwrap_or_default(), verb);
            }
            O::ObjectSchema => self.on_schema(names.last().copied().unwrap_or_default(), verb),
            O::ObjectRole => self.plain(Verb::Grant, Object::Session, -1),
            _ => self.on_database(verb),
        }
    }

    pub(super) fn on_schema(&mut self, name: &str, verb: Verb) {
        let object = Object::Schema(self.schema_name(name).to_owned());
        self.plain(verb, object, -1);
        self.effects.push(Effect::Ddl);
        self.effects.push(Effect::SearchPathMayChange);
    }

    fn on_relation_named(&mut self, names: &[&str], verb: Verb) {
        let (schema, name) = qualified(names);
        if name.is_empty() {
            self.unknown("an object without a name");
            return;
        }
        let source = self.relation_named(schema, name, verb, -1);
        self.done_to(&source, verb, -1);
    }
}

/// The parts of an object's name, whichever node holds them.
pub(super) fn name_parts(object: &Node) -> Vec<&str> {
    match &object.node {
        Some(NodeEnum::List(list)) => match list.items.first().and_then(|first| first.node.as_ref()) {
            // A constraint of a domain: the type's name, then its own.
            Some(NodeEnum::TypeName(name)) => strings(&name.names),
            _ => strings(&list.items),
        },
        Some(NodeEnum::TypeName(name)) => strings(&name.names),
        Some(NodeEnum::ObjectWithArgs(object)) => strings(&object.objname),
        Some(NodeEnum::RangeVar(name)) if name.schemaname.is_empty() => vec![&name.relname],
        Some(NodeEnum::RangeVar(name)) => vec![&name.schemaname, &name.relname],
        _ => string(object).into_iter().collect(),
    }
}

/// The types of arguments that an object's name gives, where it gives any.
pub(super) fn arguments_of(object: &Node) -> Option<&[Node]> {
    match &object.node {
        Some(NodeEnum::ObjectWithArgs(object)) if !object.args_unspecified => Some(&object.objargs),
        _ => None,
    }
}
