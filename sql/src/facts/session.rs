//! Statements about the session: transactions, prepared statements, cursors, notifications.

use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::{
    DeclareCursorStmt, DiscardMode, DiscardStmt, ExecuteStmt, ExplainStmt, FetchStmt, Node, PrepareStmt,
    TransactionStmt, TransactionStmtKind,
};
use policy::{Object, Verb};

use super::types::Ty;
use super::walk::Walk;
use super::{Effect, Facts, Reason};
use crate::syntax::with_room;
use crate::{Prepared, Statement};

/// `CURSOR_OPT_HOLD`.
const HOLD: i32 = 0x20;

impl Walk<'_> {
    pub(super) fn transaction(&mut self, statement: &TransactionStmt) {
        use TransactionStmtKind as Kind;
        let name = statement.savepoint_name.clone();
        let chain = statement.chain;
        let effect = match statement.kind() {
            Kind::TransStmtBegin | Kind::TransStmtStart => Effect::Begin,
            Kind::TransStmtCommit => Effect::Commit { chain },
            Kind::TransStmtRollback => Effect::Rollback { chain },
            Kind::TransStmtSavepoint => Effect::Savepoint(name),
            Kind::TransStmtRelease => Effect::Release(name),
            Kind::TransStmtRollbackTo => Effect::RollbackTo(name),
            Kind::TransStmtPrepare => {
                self.plain(Verb::TwoPhase, Object::Session, statement.location);
                self.effects.push(Effect::PrepareTransaction);
                return;
            }
            Kind::TransStmtCommitPrepared | Kind::TransStmtRollbackPrepared | Kind::Undefined => {
                self.plain(Verb::TwoPhase, Object::Session, statement.location);
                return;
            }
        };
        self.baseline(Verb::Transaction, Object::Session);
        self.effects.push(effect);
        self.transaction_modes(&statement.options, false);
    }

    pub(super) fn prepare(&mut self, prepare: &PrepareStmt, statement: &Statement) {
        self.baseline(Verb::Cursor, Object::Session);
        let Some(inner) = statement.prepared() else {
            self.unknown("PREPARE of nothing");
            return;
        };
        let types: Vec<u32> = prepare
            .argtypes
            .iter()
            .map(|node| match &node.node {
                Some(NodeEnum::TypeName(name)) => match self.type_name(name) {
                    Ty::Known(oid) => oid,
                    Ty::Unknown | Ty::Literal => 0,
                },
                _ => 0,
            })
            .collect();
        let outer = std::mem::replace(&mut self.parameters, types.clone());
        let effects = self.effects.len();
        if let Some(node) = inner.node() {
            self.preparable(node);
        }
        // Nothing runs before EXECUTE.
        self.effects.truncate(effects);
        self.parameters = outer;
        let (name, statement) = (prepare.name.clone(), Arc::clone(inner));
        self.effects.push(Effect::Prepare { name, statement, types });
    }

    /// What PREPARE, EXPLAIN and DECLARE take.
    fn preparable(&mut self, node: &NodeEnum) {
        match node {
            NodeEnum::SelectStmt(_)
            | NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_)
            | NodeEnum::MergeStmt(_) => {
                self.query_node(node);
            }
            NodeEnum::CreateTableAsStmt(statement) => self.create_table_as(statement),
            NodeEnum::ExecuteStmt(statement) => self.execute_prepared(statement),
            NodeEnum::DeclareCursorStmt(statement) => self.declare(statement),
            NodeEnum::RefreshMatViewStmt(statement) => self.refresh(statement),
            _ => self.unknown("a query of an unknown kind"),
        }
    }

    /// EXECUTE: what the statement behind the name does now, with the arguments' own accesses.
    pub(super) fn execute_prepared(&mut self, execute: &ExecuteStmt) {
        self.baseline(Verb::Cursor, Object::Session);
        let arguments = self.expressions(&execute.params);
        let session = self.scope.session;
        let Some(Prepared { statement, types }) = session.statements.get(&execute.name) else {
            let message = format!("prepared statement `{}` does not exist", execute.name);
            self.refuse(Reason::NoSuchName, message, -1);
            return;
        };
        for (from, to) in arguments.iter().zip(types) {
            self.cast(*from, Ty::of(*to), 'a', -1);
        }
        self.effects.push(Effect::Execute { name: execute.name.clone() });
        // Its own path is this session's, and its text is another.
        let outer = std::mem::replace(&mut self.parameters, types.clone());
        // It may be deep where the EXECUTE of it is not.
        let walked = with_room(statement.deep(), || {
            self.apart(None, |walk| match statement.node() {
                Some(node) => walk.statement_node(node, statement),
                None => walk.unknown("a prepared statement without a tree"),
            });
        });
        if walked.is_none() {
            self.refuse(Reason::TooDeep, "no thread to look at a deep statement on", -1);
        }
        self.parameters = outer;
    }

    pub(super) fn declare(&mut self, declare: &DeclareCursorStmt) {
        if !self.explaining {
            self.baseline(Verb::Cursor, Object::Session);
            let hold = declare.options & HOLD != 0;
            self.effects.push(Effect::DeclareCursor { name: declare.portalname.clone(), hold });
        }
        let effects = self.effects.len();
        if let Some(node) = declare.query.as_deref() {
            self.query(node);
        }
        self.at_some_time(effects);
    }

    /// What a cursor's query does to the session happens at a FETCH, at the end of the transaction, or never.
    fn at_some_time(&mut self, effects: usize) {
        if self.effects.len() > effects {
            self.effects.truncate(effects);
            self.effects.push(Effect::SearchPathMayChange);
        }
    }

    pub(super) fn fetch(&mut self, fetch: &FetchStmt) {
        self.baseline(Verb::Cursor, Object::Session);
        let session = self.scope.session;
        let Some(facts) = session.cursors.get(&fetch.portalname) else {
            let message = format!("cursor `{}` does not exist", fetch.portalname);
            self.refuse(Reason::NoSuchCursor, message, -1);
            return;
        };
        self.again(facts);
        self.effects.push(Effect::Fetch(fetch.portalname.clone()));
    }

    /// The accesses of a cursor's opening, and its effects, which come with its rows.
    fn again(&mut self, facts: &Facts) {
        for access in &facts.accesses {
            self.access(policy::Access { position: None, ..access.clone() });
        }
        let later = |effect: &&Effect| !matches!(effect, Effect::DeclareCursor { .. });
        self.effects.extend(facts.effects.iter().filter(later).cloned());
    }

    pub(super) fn discard(&mut self, discard: &DiscardStmt) {
        self.baseline(Verb::Discard, Object::Session);
        match discard.target() {
            DiscardMode::DiscardAll => self.effects.push(Effect::DiscardAll),
            DiscardMode::DiscardTemp => self.effects.push(Effect::DiscardTemp),
            DiscardMode::DiscardPlans | DiscardMode::DiscardSequences => {}
            DiscardMode::Undefined => self.unknown("DISCARD of an unknown kind"),
        }
    }

    pub(super) fn explain(&mut self, explain: &ExplainStmt) {
        let executes = explain.options.iter().any(analyzes);
        let outer = self.explaining;
        self.explaining = outer || !executes;
        if let Some(node) = explain.query.as_deref().and_then(|node| node.node.as_ref()) {
            let effects = self.effects.len();
            self.preparable(node);
            if !executes {
                self.effects.truncate(effects);
            }
        }
        self.explaining = outer;
    }
}

/// ANALYZE that is not plainly false.
fn analyzes(option: &Node) -> bool {
    let Some(NodeEnum::DefElem(element)) = &option.node else { return true };
    if !element.defname.eq_ignore_ascii_case("analyze") {
        return false;
    }
    let Some(value) = element.arg.as_deref().and_then(|node| node.node.as_ref()) else { return true };
    let off = |text: &str| matches!(text.to_ascii_lowercase().as_str(), "false" | "off" | "0");
    match value {
        NodeEnum::String(text) => !off(&text.sval),
        NodeEnum::Integer(number) => number.ival != 0,
        NodeEnum::Boolean(value) => value.boolval,
        _ => true,
    }
}
