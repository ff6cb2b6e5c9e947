//! Which statement does what: from a statement's node to the file that knows it.

use pg_query::NodeEnum;
use policy::{Columns, Object, Verb};

use super::grammar::{Role, role};
use super::range::Outputs;
use super::target::Deed;
use super::walk::Walk;
use super::{Effect, names};
use crate::Statement;

impl Walk<'_> {
    /// A statement by its node; `statement` holds what PREPARE stores.
    pub(super) fn statement_node(&mut self, node: &NodeEnum, statement: &Statement) {
        match role(node) {
            Role::Query => {
                let outputs = self.query_node(node);
                self.returns_rows |= !outputs.columns.is_empty() || outputs.open;
            }
            Role::Session => self.session_statement(node, statement),
            Role::Definition => self.definition(node),
            Role::Grant => self.grant_statement(node),
            Role::Maintenance => self.maintenance(node),
            Role::Administration => {
                self.plain(Verb::Admin, Object::Session, -1);
                self.effects.push(Effect::Ddl);
            }
            Role::Part => self.unknown("a form of its own"),
        }
    }

    /// A query or a writing statement at the top.
    pub(super) fn query_node(&mut self, node: &NodeEnum) -> Outputs {
        match node {
            NodeEnum::SelectStmt(statement) => self.on_new_level(|walk| walk.select(statement)),
            NodeEnum::InsertStmt(statement) => self.insert(statement),
            NodeEnum::UpdateStmt(statement) => self.update(statement),
            NodeEnum::DeleteStmt(statement) => self.delete(statement),
            NodeEnum::MergeStmt(statement) => self.merge(statement),
            _ => {
                self.unknown("a query of an unknown kind");
                Outputs::default()
            }
        }
    }

    fn session_statement(&mut self, node: &NodeEnum, statement: &Statement) {
        match node {
            NodeEnum::TransactionStmt(transaction) => self.transaction(transaction),
            NodeEnum::VariableSetStmt(set) => self.variable_set(set),
            NodeEnum::VariableShowStmt(_) => {
                self.returns_rows = true;
                self.baseline(Verb::Show, Object::Session);
            }
            NodeEnum::ConstraintsSetStmt(_) => self.baseline(Verb::Transaction, Object::Session),
            NodeEnum::DiscardStmt(discard) => self.discard(discard),
            NodeEnum::PrepareStmt(prepare) => self.prepare(prepare, statement),
            NodeEnum::ExecuteStmt(execute) => {
                self.returns_rows = true;
                self.execute_prepared(execute);
            }
            NodeEnum::DeclareCursorStmt(declare) => self.declare(declare),
            NodeEnum::FetchStmt(fetch) => {
                self.returns_rows = !fetch.ismove;
                self.fetch(fetch);
            }
            NodeEnum::ExplainStmt(explain) => {
                self.returns_rows = true;
                self.explain(explain);
            }
            NodeEnum::CopyStmt(copy) => self.copy(copy),
            NodeEnum::DoStmt(_) => {
                self.plain(Verb::Do, Object::Session, -1);
                self.opaque();
            }
            NodeEnum::CallStmt(call) => self.call_procedure(call),
            _ => self.name_statement(node),
        }
    }

    /// Statements about one name of the session.
    fn name_statement(&mut self, node: &NodeEnum) {
        match node {
            NodeEnum::DeallocateStmt(deallocate) => {
                self.baseline(Verb::Cursor, Object::Session);
                let all = deallocate.isall || deallocate.name.is_empty();
                self.effects.push(Effect::Deallocate((!all).then(|| deallocate.name.clone())));
            }
            NodeEnum::ClosePortalStmt(close) => {
                self.baseline(Verb::Cursor, Object::Session);
                let name = (!close.portalname.is_empty()).then(|| close.portalname.clone());
                self.effects.push(Effect::CloseCursor(name));
            }
            NodeEnum::ListenStmt(listen) => {
                self.plain(Verb::Listen, Object::Channel(listen.conditionname.clone()), -1);
                self.effects.push(Effect::Listen(listen.conditionname.clone()));
            }
            NodeEnum::UnlistenStmt(unlisten) => {
                self.baseline(Verb::Discard, Object::Session);
                let name = (!unlisten.conditionname.is_empty()).then(|| unlisten.conditionname.clone());
                self.effects.push(Effect::Unlisten(name));
            }
            NodeEnum::NotifyStmt(notify) => {
                self.plain(Verb::Notify, Object::Channel(notify.conditionname.clone()), -1);
            }
            NodeEnum::LockStmt(lock) => self.lock_table(lock),
            NodeEnum::TruncateStmt(truncate) => self.truncate(truncate),
            _ => self.unknown("a form of its own"),
        }
    }

    /// What procedural code may have done to the session.
    pub(super) fn opaque(&mut self) {
        self.effects.push(Effect::Ddl);
        self.effects.push(Effect::SearchPathMayChange);
    }

    fn call_procedure(&mut self, call: &pg_query::protobuf::CallStmt) {
        let Some(call) = call.funccall.as_deref() else {
            self.unknown("CALL of nothing");
            return;
        };
        self.returns_rows = true;
        let arguments = self.expressions(&call.args);
        let named = call.args.iter().any(|node| matches!(node.node, Some(NodeEnum::NamedArgExpr(_))));
        let unknown = vec![super::types::Ty::Unknown; arguments.len()];
        let arguments = if named { &unknown } else { &arguments };
        let form = super::functions::Form::new(arguments).procedure();
        self.call_form(&names::strings(&call.funcname), form, call.location);
        self.opaque();
    }

    fn lock_table(&mut self, lock: &pg_query::protobuf::LockStmt) {
        /// `AccessShareLock`: what SELECT takes.
        const ACCESS_SHARE: i32 = 1;
        let verb = if lock.mode == ACCESS_SHARE { Verb::Select } else { Verb::Lock };
        let none = Columns::none();
        for node in &lock.relations {
            let Some(NodeEnum::RangeVar(name)) = &node.node else { continue };
            let source = self.relation(name, verb);
            let position = self.position(name.location);
            self.deed(&source, Deed { inherits: name.inh, position, ..Deed::new(verb, &none) });
            // A view is locked with all that it reads.
            let first = self.targets.len();
            self.unfold(&source);
            if verb == Verb::Lock {
                let under: Vec<usize> = (first..self.targets.len()).collect();
                self.lock(&under);
            }
        }
    }

    fn truncate(&mut self, truncate: &pg_query::protobuf::TruncateStmt) {
        use pg_query::protobuf::DropBehavior;
        let none = Columns::none();
        for node in &truncate.relations {
            let Some(NodeEnum::RangeVar(name)) = &node.node else { continue };
            let source = self.relation(name, Verb::Truncate);
            let position = self.position(name.location);
            let deed = Deed { inherits: name.inh, position, ..Deed::new(Verb::Truncate, &none) };
            self.deed(&source, deed);
            if truncate.behavior() == DropBehavior::DropCascade {
                self.cascade(&source, name.location);
            }
        }
    }

    /// What TRUNCATE … CASCADE reaches through foreign keys.
    fn cascade(&mut self, source: &super::target::Source, location: i32) {
        let super::target::Source::Known(relation) = source else { return };
        let (schema, name) = (&relation.schema, &relation.name);
        match self.scope.catalog.cascades(schema, name) {
            Some(reached) => {
                for (schema, name) in reached.iter() {
                    let object = Object::Relation(self.named(schema, name));
                    self.plain(Verb::Truncate, object, location);
                }
            }
            None => {
                self.needs.cascades.insert((schema.clone(), name.clone()));
            }
        }
    }
}
