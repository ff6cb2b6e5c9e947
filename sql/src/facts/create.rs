//! CREATE, ALTER, DROP and their kin, by kind of object.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AlterDomainStmt, CreateDomainStmt, CreateFunctionStmt, CreateTrigStmt, DefineStmt, DropBehavior,
    DropStmt, FunctionParameterMode, Node, ObjectType, RenameStmt, RuleStmt, ViewStmt,
};
use policy::{FunctionName, Object, Verb};

use super::Effect;
use super::names::{qualified, strings};
use super::objects::{arguments_of, name_parts};
use super::range::{Item, Outputs};
use super::walk::Walk;

impl Walk<'_> {
    pub(super) fn definition(&mut self, node: &NodeEnum) {
        use NodeEnum as N;
        match node {
            N::CreateStmt(create) => self.create_table(create),
            N::CreateForeignTableStmt(create) => {
                if let Some(base) = &create.base_stmt {
                    self.create_table(base);
                }
                self.on_database(Verb::Create);
            }
            N::CreateTableAsStmt(create) => self.create_table_as(create),
            N::IndexStmt(index) => self.create_index(index),
            N::AlterTableStmt(alter) => self.alter_table(alter),
            N::ViewStmt(view) => self.create_view(view),
            N::CreateSeqStmt(sequence) => {
                if let Some(name) = &sequence.sequence {
                    self.new_relation(name, Verb::Create);
                }
            }
            N::AlterSeqStmt(sequence) => {
                if let Some(name) = &sequence.sequence {
                    self.on_relation(name, Verb::Alter);
                }
            }
            N::CreateSchemaStmt(create) => {
                self.on_schema(&create.schemaname, Verb::Create);
                if create.schemaname.is_empty() {
                    self.on_database(Verb::Create);
                }
                self.schema_elements(&create.schemaname, &create.schema_elts);
            }
            N::CreateFunctionStmt(create) => self.create_function(create),
            N::AlterFunctionStmt(alter) => {
                if let Some(function) = &alter.func {
                    let arguments = (!function.args_unspecified).then_some(&function.objargs[..]);
                    self.on_functions(&strings(&function.objname), arguments, Verb::Alter);
                }
            }
            N::CreateTrigStmt(trigger) => self.create_trigger(trigger),
            N::RuleStmt(rule) => self.create_rule(rule),
            N::CreatePolicyStmt(policy) => {
                self.row_policy(
                    policy.table.as_ref(),
                    [policy.qual.as_deref(), policy.with_check.as_deref()],
                );
            }
            N::AlterPolicyStmt(policy) => {
                self.row_policy(
                    policy.table.as_ref(),
                    [policy.qual.as_deref(), policy.with_check.as_deref()],
                );
            }
            N::DropStmt(drop) => self.drop_objects(drop),
            _ => self.altering(node),
        }
    }

    /// Statements that name their object by kind.
    fn altering(&mut self, node: &NodeEnum) {
        use NodeEnum as N;
        match node {
            N::CommentStmt(comment) => {
                self.on_object(comment.objtype(), comment.object.as_deref(), Verb::Alter)
            }
            N::SecLabelStmt(label) => self.on_object(label.objtype(), label.object.as_deref(), Verb::Alter),
            N::RenameStmt(rename) => self.rename(rename),
            N::AlterObjectSchemaStmt(alter) => {
                let relation = alter.relation.as_ref();
                self.altered(alter.object_type(), relation, alter.object.as_deref());
                self.moved(
                    relation.map(|name| name.relname.as_str()),
                    &alter.newschema,
                    alter.object.as_deref(),
                );
            }
            N::AlterOwnerStmt(alter) => {
                self.altered(alter.object_type(), alter.relation.as_ref(), alter.object.as_deref());
                self.plain(Verb::Grant, Object::Session, -1);
            }
            N::AlterObjectDependsStmt(alter) => {
                self.altered(alter.object_type(), alter.relation.as_ref(), alter.object.as_deref());
            }
            N::CreateDomainStmt(domain) => self.create_domain(domain),
            N::AlterDomainStmt(domain) => self.alter_domain(domain),
            N::CreateEnumStmt(create) => self.new_in_schema(&strings(&create.type_name), Verb::Create),
            N::CreateRangeStmt(create) => {
                self.new_in_schema(&strings(&create.type_name), Verb::Create);
                self.used_functions(&create.params);
            }
            N::CompositeTypeStmt(create) => {
                if let Some(name) = &create.typevar {
                    let schema = (!name.schemaname.is_empty()).then_some(name.schemaname.as_str());
                    let names: Vec<&str> = schema.into_iter().chain([name.relname.as_str()]).collect();
                    self.new_in_schema(&names, Verb::Create);
                }
            }
            N::DefineStmt(define) => self.define(define),
            N::CreateOpClassStmt(create) => {
                self.new_in_schema(&strings(&create.opclassname), Verb::Create);
                self.on_database(Verb::Create);
            }
            N::CreateOpFamilyStmt(create) => self.new_in_schema(&strings(&create.opfamilyname), Verb::Create),
            N::CreateConversionStmt(create) => {
                self.new_in_schema(&strings(&create.conversion_name), Verb::Create);
                self.on_database(Verb::Create);
            }
            N::ImportForeignSchemaStmt(import) => {
                self.on_schema(&import.local_schema, Verb::Create);
                self.on_database(Verb::Create);
            }
            _ => self.altering_in_schema(node),
        }
    }

    fn altering_in_schema(&mut self, node: &NodeEnum) {
        use NodeEnum as N;
        match node {
            N::CreateStatsStmt(create) => {
                self.new_in_schema(&strings(&create.defnames), Verb::Create);
                for node in &create.relations {
                    if let Some(NodeEnum::RangeVar(name)) = &node.node {
                        self.on_relation(name, Verb::Alter);
                    }
                }
                self.on_open_level(|walk| {
                    for node in &create.exprs {
                        if let Some(NodeEnum::StatsElem(element)) = &node.node {
                            walk.optional(element.expr.as_deref());
                        }
                    }
                });
            }
            N::AlterStatsStmt(alter) => self.in_schema(&strings(&alter.defnames), Verb::Alter),
            N::AlterEnumStmt(alter) => self.on_type(&strings(&alter.type_name), Verb::Alter),
            N::AlterTypeStmt(alter) => self.on_type(&strings(&alter.type_name), Verb::Alter),
            N::AlterCollationStmt(alter) => self.in_schema(&strings(&alter.collname), Verb::Alter),
            N::AlterTsdictionaryStmt(alter) => self.in_schema(&strings(&alter.dictname), Verb::Alter),
            N::AlterTsconfigurationStmt(alter) => self.in_schema(&strings(&alter.cfgname), Verb::Alter),
            N::AlterOpFamilyStmt(alter) => {
                self.in_schema(&strings(&alter.opfamilyname), Verb::Alter);
                self.on_database(Verb::Alter);
            }
            N::AlterOperatorStmt(alter) => {
                let names = alter.opername.as_ref().map_or_else(Vec::new, |name| strings(&name.objname));
                self.in_schema(&names, Verb::Alter);
                self.on_database(Verb::Alter);
            }
            // Extensions, languages, wrappers, servers, user mappings, event triggers, access methods, casts,
            // transforms: they change what runs anywhere in the database.
            _ => self.on_database(Verb::Create),
        }
    }

    fn schema_elements(&mut self, schema: &str, elements: &[Node]) {
        // What is made inside CREATE SCHEMA goes to the new schema.
        let path = self.path.clone();
        self.path.insert(0, schema.to_owned());
        for node in elements {
            match &node.node {
                Some(NodeEnum::GrantStmt(_)) => self.unknown("GRANT inside CREATE SCHEMA"),
                Some(inner) => self.definition(inner),
                None => {}
            }
        }
        self.path = path;
    }

    fn create_view(&mut self, view: &ViewStmt) {
        if let Some(name) = &view.view {
            self.new_relation(name, Verb::Create);
        }
        if let Some(node) = view.query.as_deref() {
            self.kept_for_later(|walk| {
                walk.on_new_level(|walk| walk.query(node));
            });
        }
    }

    fn create_function(&mut self, create: &CreateFunctionStmt) {
        let names = strings(&create.funcname);
        let (schema, name) = qualified(&names);
        let mut arguments = Vec::new();
        for node in &create.parameters {
            let Some(NodeEnum::FunctionParameter(parameter)) = &node.node else { continue };
            self.on_open_level(|walk| walk.optional(parameter.defexpr.as_deref()));
            let out = matches!(
                parameter.mode(),
                FunctionParameterMode::FuncParamOut | FunctionParameterMode::FuncParamTable
            );
            if !out {
                arguments.push(parameter.arg_type.as_ref().map_or_else(String::new, |of| self.spelled(of)));
            }
        }
        for schema in self.new_schemas(schema, -1) {
            let schema = self.schema_name(&schema).to_owned();
            let arguments = arguments.clone();
            let function = FunctionName { schema, name: name.to_owned(), arguments, extension: None };
            self.plain(Verb::Create, Object::Function(function), -1);
        }
        self.effects.push(Effect::Ddl);
    }

    /// CREATE AGGREGATE, OPERATOR, TYPE and the like. An aggregate is a function.
    fn define(&mut self, define: &DefineStmt) {
        let names = strings(&define.defnames);
        if define.kind() == ObjectType::ObjectAggregate {
            let (schema, name) = qualified(&names);
            for schema in self.new_schemas(schema, -1) {
                let schema = self.schema_name(&schema).to_owned();
                let (name, arguments) = (name.to_owned(), self.aggregate_arguments(&define.args));
                let function = FunctionName { schema, name, arguments, extension: None };
                self.plain(Verb::Create, Object::Function(function), -1);
            }
            self.effects.push(Effect::Ddl);
        } else {
            self.new_in_schema(&names, Verb::Create);
        }
        self.used_functions(&define.definition);
    }

    fn aggregate_arguments(&mut self, nodes: &[Node]) -> Vec<String> {
        let parameters = nodes.iter().flat_map(|node| match &node.node {
            Some(NodeEnum::List(list)) => list.items.as_slice(),
            _ => &[],
        });
        let types = parameters.filter_map(|node| match &node.node {
            Some(NodeEnum::FunctionParameter(parameter)) => parameter.arg_type.as_ref(),
            _ => None,
        });
        types.map(|of| self.spelled(of)).collect()
    }

    /// Functions that run whenever what is defined is used.
    fn used_functions(&mut self, definition: &[Node]) {
        const PLACES: [&str; 20] = [
            "sfunc",
            "sfunc1",
            "finalfunc",
            "combinefunc",
            "serialfunc",
            "deserialfunc",
            "msfunc",
            "minvfunc",
            "mfinalfunc",
            "procedure",
            "function",
            "restrict",
            "join",
            "input",
            "output",
            "receive",
            "send",
            "canonical",
            "subtype_diff",
            "analyze",
        ];
        for node in definition {
            let Some(NodeEnum::DefElem(element)) = &node.node else { continue };
            if !PLACES.contains(&element.defname.as_str()) {
                continue;
            }
            let names = match element.arg.as_deref() {
                Some(node) => name_parts(node),
                None => continue,
            };
            self.on_functions(&names, None, Verb::Execute);
        }
    }

    fn create_trigger(&mut self, trigger: &CreateTrigStmt) {
        for name in [trigger.relation.as_ref(), trigger.constrrel.as_ref()].into_iter().flatten() {
            self.on_relation(name, Verb::Alter);
        }
        self.on_functions(&strings(&trigger.funcname), Some(&[]), Verb::Execute);
        self.on_open_level(|walk| walk.optional(trigger.when_clause.as_deref()));
    }

    /// A rule runs its actions for whoever uses the relation.
    fn create_rule(&mut self, rule: &RuleStmt) {
        if let Some(name) = &rule.relation {
            self.on_relation(name, Verb::Alter);
        }
        self.on_new_level(|walk| {
            for alias in ["new", "old"] {
                walk.level.items.push(Item::made(alias, &Outputs { open: true, ..Outputs::default() }));
            }
            walk.kept_for_later(|walk| walk.rule_actions(rule));
        });
        self.on_database(Verb::Create);
    }

    fn rule_actions(&mut self, rule: &RuleStmt) {
        self.optional(rule.where_clause.as_deref());
        for node in &rule.actions {
            match &node.node {
                Some(NodeEnum::NotifyStmt(notify)) => {
                    self.plain(Verb::Notify, Object::Channel(notify.conditionname.clone()), -1);
                }
                Some(_) => {
                    self.on_new_level(|walk| walk.query(node));
                }
                None => {}
            }
        }
    }

    fn row_policy(&mut self, table: Option<&pg_query::protobuf::RangeVar>, expressions: [Option<&Node>; 2]) {
        if let Some(name) = table {
            self.on_relation(name, Verb::Alter);
        }
        self.on_open_level(|walk| {
            for node in expressions {
                walk.optional(node);
            }
        });
    }

    fn create_domain(&mut self, domain: &CreateDomainStmt) {
        self.new_in_schema(&strings(&domain.domainname), Verb::Create);
        self.on_open_level(|walk| {
            for node in &domain.constraints {
                if let Some(NodeEnum::Constraint(constraint)) = &node.node {
                    walk.constraint(constraint);
                }
            }
        });
    }

    fn alter_domain(&mut self, domain: &AlterDomainStmt) {
        self.on_type(&strings(&domain.type_name), Verb::Alter);
        self.cascades(domain.behavior());
        self.on_open_level(|walk| match domain.def.as_deref().and_then(|node| node.node.as_ref()) {
            Some(NodeEnum::Constraint(constraint)) => walk.constraint(constraint),
            _ => walk.optional(domain.def.as_deref()),
        });
    }

    fn drop_objects(&mut self, drop: &DropStmt) {
        for object in &drop.objects {
            if drop.missing_ok && self.is_absent(drop.remove_type(), object) {
                self.would_drop(&name_parts(object));
            } else {
                self.on_object(drop.remove_type(), Some(object), Verb::Drop);
            }
        }
        self.cascades(drop.behavior());
    }

    /// CASCADE drops whatever depends on it, wherever that is.
    pub(super) fn cascades(&mut self, behaviour: DropBehavior) {
        if behaviour == DropBehavior::DropCascade {
            self.plain(Verb::Drop, Object::Unresolved("what CASCADE reaches".to_owned()), -1);
        }
    }

    /// Whether a relation of that name is known not to exist.
    fn is_absent(&mut self, kind: ObjectType, object: &Node) -> bool {
        let relation = matches!(
            kind,
            ObjectType::ObjectTable
                | ObjectType::ObjectView
                | ObjectType::ObjectMatview
                | ObjectType::ObjectSequence
                | ObjectType::ObjectIndex
                | ObjectType::ObjectForeignTable
        );
        let names = name_parts(object);
        let (schema, name) = qualified(&names);
        relation && !name.is_empty() && self.relation_is_absent(schema, name)
    }

    /// DROP … IF EXISTS of what does not exist: as if it were where it would be made.
    fn would_drop(&mut self, names: &[&str]) {
        let (schema, name) = qualified(names);
        for schema in self.new_schemas(schema, -1) {
            let object = Object::Relation(self.named(&schema, name));
            self.plain(Verb::Drop, object, -1);
        }
    }

    fn altered(
        &mut self,
        kind: ObjectType,
        name: Option<&pg_query::protobuf::RangeVar>,
        object: Option<&Node>,
    ) {
        match name {
            Some(name) => {
                self.on_relation(name, Verb::Alter);
            }
            None => self.on_object(kind, object, Verb::Alter),
        }
    }

    /// Under its new name an object may fall to other rules: it is made there.
    fn rename(&mut self, rename: &RenameStmt) {
        let inside = matches!(
            rename.rename_type(),
            ObjectType::ObjectColumn
                | ObjectType::ObjectTabconstraint
                | ObjectType::ObjectTrigger
                | ObjectType::ObjectRule
                | ObjectType::ObjectPolicy
                | ObjectType::ObjectAttribute
        );
        if rename.rename_type() == ObjectType::ObjectSchema {
            self.on_schema(&rename.subname, Verb::Alter);
        } else {
            self.altered(rename.rename_type(), rename.relation.as_ref(), rename.object.as_deref());
        }
        if inside {
            return;
        }
        match (&rename.relation, rename.object.as_deref()) {
            (Some(name), _) => {
                if let super::target::Source::Known(known) = self.relation(name, Verb::Alter) {
                    let made = self.named(&known.schema, &rename.newname);
                    self.plain(Verb::Create, Object::Relation(made), name.location);
                }
            }
            (None, Some(object)) => match rename.rename_type() {
                ObjectType::ObjectFunction | ObjectType::ObjectProcedure | ObjectType::ObjectRoutine => {
                    let known = self.functions_named(&name_parts(object), arguments_of(object));
                    for function in known {
                        let made = FunctionName { name: rename.newname.clone(), ..function };
                        self.plain(Verb::Create, Object::Function(made), -1);
                    }
                }
                _ => {}
            },
            (None, None) if rename.rename_type() == ObjectType::ObjectSchema => {
                self.on_schema(&rename.newname, Verb::Create);
            }
            (None, None) => self.on_database(Verb::Alter),
        }
    }

    /// The same for SET SCHEMA.
    fn moved(&mut self, relation: Option<&str>, schema: &str, object: Option<&Node>) {
        let schema = self.schema_name(schema).to_owned();
        match (relation, object) {
            (Some(name), _) => {
                let made = self.named(&schema, name);
                self.plain(Verb::Create, Object::Relation(made), -1);
            }
            (None, Some(object)) if matches!(object.node, Some(NodeEnum::ObjectWithArgs(_))) => {
                for function in self.functions_named(&name_parts(object), arguments_of(object)) {
                    let made = FunctionName { schema: schema.clone(), ..function };
                    self.plain(Verb::Create, Object::Function(made), -1);
                }
            }
            _ => self.plain(Verb::Create, Object::Schema(schema), -1),
        }
    }
}
