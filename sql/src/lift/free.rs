//! Which constants of a tree are free: only those that are found here, in places where nothing that is said of a
//! statement can depend on more than their class.

#![expect(clippy::wildcard_enum_match_arm, reason = "constants in any other place stay pinned")]

use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, Node, ReturningClause, SelectStmt, WithClause};

use crate::Statement;
use crate::syntax::with_room;

/// Operators whose operands are free.
const OPERATORS: [&str; 10] = ["=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/"];

/// Where the free constants stand in the text, in bytes.
pub(super) fn free(statement: &Statement) -> Vec<usize> {
    let walked = with_room(statement.deep(), || {
        let mut walk = Walk::default();
        if let Some(node) = statement.node() {
            walk.statement(node);
        }
        walk
    });
    walked.map(|walk| walk.found).unwrap_or_default()
}

#[derive(Default)]
struct Walk {
    found: Vec<usize>,
}

impl Walk {
    fn statement(&mut self, node: &NodeEnum) {
        match node {
            NodeEnum::SelectStmt(select) => self.select(select),
            NodeEnum::InsertStmt(insert) => {
                self.with(insert.with_clause.as_ref());
                self.optional(insert.select_stmt.as_deref());
                if let Some(conflict) = &insert.on_conflict_clause {
                    self.items(&conflict.target_list);
                    self.optional(conflict.where_clause.as_deref());
                }
                self.returning(insert.returning_clause.as_ref());
            }
            NodeEnum::UpdateStmt(update) => {
                self.with(update.with_clause.as_ref());
                self.items(&update.target_list);
                self.all(&update.from_clause);
                self.optional(update.where_clause.as_deref());
                self.returning(update.returning_clause.as_ref());
            }
            NodeEnum::DeleteStmt(delete) => {
                self.with(delete.with_clause.as_ref());
                self.all(&delete.using_clause);
                self.optional(delete.where_clause.as_deref());
                self.returning(delete.returning_clause.as_ref());
            }
            NodeEnum::MergeStmt(merge) => {
                self.with(merge.with_clause.as_ref());
                self.optional(merge.source_relation.as_deref());
                self.optional(merge.join_condition.as_deref());
                self.all(&merge.merge_when_clauses);
                self.returning(merge.returning_clause.as_ref());
            }
            _ => {}
        }
    }

    fn with(&mut self, with: Option<&WithClause>) {
        self.all(with.map(|with| with.ctes.as_slice()).unwrap_or_default());
    }

    fn returning(&mut self, returning: Option<&ReturningClause>) {
        self.all(returning.map(|returning| returning.exprs.as_slice()).unwrap_or_default());
    }

    fn select(&mut self, select: &SelectStmt) {
        self.with(select.with_clause.as_ref());
        for row in &select.values_lists {
            if let Some(NodeEnum::List(row)) = &row.node {
                self.items(&row.items);
            }
        }
        self.all(&select.target_list);
        self.all(&select.from_clause);
        self.optional(select.where_clause.as_deref());
        self.all(&select.group_clause);
        self.optional(select.having_clause.as_deref());
        self.all(&select.sort_clause);
        for bound in [&select.limit_count, &select.limit_offset].into_iter().flatten() {
            self.operand(bound);
        }
        for side in [&select.larg, &select.rarg].into_iter().flatten() {
            self.select(side);
        }
    }

    fn all(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.node(node);
        }
    }

    fn optional(&mut self, node: Option<&Node>) {
        if let Some(node) = node {
            self.node(node);
        }
    }

    /// Items of VALUES or SET.
    fn items(&mut self, nodes: &[Node]) {
        for node in nodes {
            match &node.node {
                Some(NodeEnum::ResTarget(target)) => {
                    if let Some(value) = target.val.as_deref() {
                        self.operand(value);
                    }
                }
                _ => self.operand(node),
            }
        }
    }

    /// A place where a constant is free.
    fn operand(&mut self, node: &Node) {
        match &node.node {
            Some(NodeEnum::AConst(constant)) => self.found.extend(usize::try_from(constant.location).ok()),
            _ => self.node(node),
        }
    }

    fn operation(&mut self, operation: &AExpr) {
        use AExprKind as K;
        let name = match operation.name.as_slice() {
            [Node { node: Some(NodeEnum::String(name)) }] => name.sval.as_str(),
            _ => "",
        };
        let free = match operation.kind() {
            K::AexprOp => OPERATORS.contains(&name),
            K::AexprIn
            | K::AexprLike
            | K::AexprBetween
            | K::AexprNotBetween
            | K::AexprBetweenSym
            | K::AexprNotBetweenSym => true,
            _ => false,
        };
        for side in [&operation.lexpr, &operation.rexpr].into_iter().flatten() {
            match &side.node {
                Some(NodeEnum::List(list)) if free => self.items(&list.items),
                _ if free => self.operand(side),
                _ => self.node(side),
            }
        }
    }

    /// A place where a constant is pinned; inside it there may be free ones.
    fn node(&mut self, node: &Node) {
        use NodeEnum as N;
        let Some(inner) = &node.node else { return };
        match inner {
            N::AExpr(operation) => self.operation(operation),
            N::BoolExpr(expression) => self.all(&expression.args),
            N::NullTest(test) => self.optional(test.arg.as_deref()),
            N::BooleanTest(test) => self.optional(test.arg.as_deref()),
            N::SubLink(link) => {
                self.optional(link.testexpr.as_deref());
                self.optional(link.subselect.as_deref());
            }
            N::CaseExpr(case) => {
                self.optional(case.arg.as_deref());
                self.all(&case.args);
                self.optional(case.defresult.as_deref());
            }
            N::CaseWhen(when) => {
                self.optional(when.expr.as_deref());
                self.optional(when.result.as_deref());
            }
            N::CoalesceExpr(expression) => self.all(&expression.args),
            N::MinMaxExpr(expression) => self.all(&expression.args),
            N::TypeCast(cast) => self.optional(cast.arg.as_deref()),
            N::CollateClause(collate) => self.optional(collate.arg.as_deref()),
            N::RowExpr(row) => self.all(&row.args),
            N::AArrayExpr(array) => self.all(&array.elements),
            N::List(list) => self.all(&list.items),
            N::ResTarget(target) => self.optional(target.val.as_deref()),
            N::SortBy(sort) => self.optional(sort.node.as_deref()),
            N::FuncCall(call) => {
                self.all(&call.args);
                self.optional(call.agg_filter.as_deref());
            }
            _ => self.source(inner),
        }
    }

    /// Items of FROM, WITH and MERGE.
    fn source(&mut self, node: &NodeEnum) {
        match node {
            NodeEnum::JoinExpr(join) => {
                self.optional(join.larg.as_deref());
                self.optional(join.rarg.as_deref());
                self.optional(join.quals.as_deref());
            }
            NodeEnum::RangeSubselect(query) => self.optional(query.subquery.as_deref()),
            NodeEnum::CommonTableExpr(cte) => self.optional(cte.ctequery.as_deref()),
            NodeEnum::MergeWhenClause(when) => {
                self.optional(when.condition.as_deref());
                self.items(&when.target_list);
                self.items(&when.values);
            }
            statement => self.statement(statement),
        }
    }
}
