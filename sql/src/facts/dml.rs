//! INSERT, UPDATE, DELETE and MERGE.

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{
    CmdType, DeleteStmt, InferClause, InsertStmt, MergeStmt, MergeWhenClause, Node, OnConflictAction,
    OnConflictClause, RangeVar, ReturningClause, ReturningOptionKind, UpdateStmt,
};
use policy::{Columns, Verb};

use super::UnresolvedKind;
use super::range::{Item, ItemColumns, Outputs};
use super::target::{Deed, Source};
use super::types::Ty;
use super::walk::Walk;
use crate::builtins::Version;

/// The relation that a statement changes.
struct Changed {
    source: Source,
    target: usize,
    item: Item,
    inherits: bool,
    location: i32,
}

impl<'a> Walk<'a> {
    pub(super) fn insert(&mut self, insert: &InsertStmt) -> Outputs {
        let ctes = self.ctes.len();
        self.with(insert.with_clause.as_ref());
        let Some(changed) = self.changed(insert.relation.as_ref(), Verb::Insert) else {
            return Outputs::default();
        };
        let outputs = match insert.select_stmt.as_deref() {
            Some(node) => self.on_new_level(|walk| walk.query(node)),
            None => Outputs::default(),
        };
        let columns = self.assigned(&insert.cols, &changed);
        self.assign(&insert.cols, &changed, &outputs);
        let columns = match (insert.cols.is_empty(), insert.select_stmt.is_some()) {
            (true, true) => Columns::All,
            (true, false) => Columns::none(),
            (false, _) => columns,
        };
        self.change(&changed, Verb::Insert, &columns, false);
        let returned = self.on_new_level(|walk| {
            walk.level.items.push(changed.item.clone());
            if let Some(conflict) = insert.on_conflict_clause.as_deref() {
                let excluded = excluded(&changed.item);
                walk.level.items.push(excluded);
                walk.on_conflict(conflict, &changed, is_values(insert));
                walk.level.items.truncate(1);
            }
            walk.returning(insert.returning_clause.as_ref(), &changed)
        });
        self.ctes.truncate(ctes);
        returned
    }

    fn on_conflict(&mut self, conflict: &OnConflictClause, changed: &Changed, rows_are_literal: bool) {
        let arbiter = conflict.infer.as_deref();
        if let Some(infer) = arbiter {
            self.infer(infer, changed);
        }
        if conflict.action() != OnConflictAction::OnconflictUpdate {
            return;
        }
        let columns = self.assigned(&conflict.target_list, changed);
        self.set_list(&conflict.target_list, changed);
        let before = self.mentions(changed.target);
        self.optional(conflict.where_clause.as_deref());
        let mentioned = self.mentions(changed.target) > before;
        // A row of VALUES changes at most the one row that it conflicts with on the named columns.
        let single = rows_are_literal && arbiter.is_some_and(|infer| !infer.index_elems.is_empty());
        self.change(changed, Verb::Update, &columns, mentioned || single);
    }

    /// The columns that ON CONFLICT looks for conflicts on are read.
    fn infer(&mut self, infer: &InferClause, changed: &Changed) {
        self.reads(changed.target);
        let hidden = self.level.items.split_off(1);
        for node in &infer.index_elems {
            let Some(NodeEnum::IndexElem(element)) = &node.node else { continue };
            if element.name.is_empty() {
                self.optional(element.expr.as_deref());
            } else {
                self.bare(&element.name, infer.location);
            }
        }
        self.optional(infer.where_clause.as_deref());
        self.level.items.extend(hidden);
    }

    pub(super) fn update(&mut self, update: &UpdateStmt) -> Outputs {
        let ctes = self.ctes.len();
        self.with(update.with_clause.as_ref());
        let Some(changed) = self.changed(update.relation.as_ref(), Verb::Update) else {
            return Outputs::default();
        };
        let returned = self.on_new_level(|walk| {
            walk.list_from(&update.from_clause);
            walk.level.items.insert(0, changed.item.clone());
            let filtered = walk.filter(update.where_clause.as_deref(), &changed);
            let columns = walk.assigned(&update.target_list, &changed);
            walk.set_list(&update.target_list, &changed);
            walk.change(&changed, Verb::Update, &columns, filtered);
            walk.returning(update.returning_clause.as_ref(), &changed)
        });
        self.ctes.truncate(ctes);
        returned
    }

    pub(super) fn delete(&mut self, delete: &DeleteStmt) -> Outputs {
        let ctes = self.ctes.len();
        self.with(delete.with_clause.as_ref());
        let Some(changed) = self.changed(delete.relation.as_ref(), Verb::Delete) else {
            return Outputs::default();
        };
        let returned = self.on_new_level(|walk| {
            walk.list_from(&delete.using_clause);
            walk.level.items.insert(0, changed.item.clone());
            let filtered = walk.filter(delete.where_clause.as_deref(), &changed);
            walk.change(&changed, Verb::Delete, &Columns::none(), filtered);
            walk.returning(delete.returning_clause.as_ref(), &changed)
        });
        self.ctes.truncate(ctes);
        returned
    }

    pub(super) fn merge(&mut self, merge: &MergeStmt) -> Outputs {
        let ctes = self.ctes.len();
        self.with(merge.with_clause.as_ref());
        self.needs_version(Version::V15, "MERGE", -1);
        let verb = merge.merge_when_clauses.iter().find_map(merge_verb).unwrap_or(Verb::Update);
        let Some(changed) = self.changed(merge.relation.as_ref(), verb) else { return Outputs::default() };
        let returned = self.on_new_level(|walk| {
            if let Some(node) = merge.source_relation.as_deref() {
                walk.item_from(node);
            }
            walk.level.items.insert(0, changed.item.clone());
            let joined = walk.filter(merge.join_condition.as_deref(), &changed);
            for node in &merge.merge_when_clauses {
                if let Some(NodeEnum::MergeWhenClause(clause)) = &node.node {
                    walk.when(clause, &changed, joined);
                }
            }
            walk.returning(merge.returning_clause.as_ref(), &changed)
        });
        self.ctes.truncate(ctes);
        returned
    }

    fn when(&mut self, clause: &MergeWhenClause, changed: &Changed, joined: bool) {
        let filtered = self.filter(clause.condition.as_deref(), changed) || joined;
        match clause.command_type() {
            CmdType::CmdInsert => {
                let columns = self.assigned(&clause.target_list, changed);
                let values = self.expressions(&clause.values);
                let row = values.iter().map(|of| (String::new(), *of)).collect();
                self.assign(&clause.target_list, changed, &Outputs { columns: row, ..Outputs::default() });
                let columns = match (clause.target_list.is_empty(), values.is_empty()) {
                    (true, true) => Columns::none(),
                    (true, false) => Columns::All,
                    (false, _) => columns,
                };
                self.change(changed, Verb::Insert, &columns, false);
            }
            CmdType::CmdUpdate => {
                let columns = self.assigned(&clause.target_list, changed);
                self.set_list(&clause.target_list, changed);
                self.change(changed, Verb::Update, &columns, filtered);
            }
            CmdType::CmdDelete => self.change(changed, Verb::Delete, &Columns::none(), filtered),
            CmdType::CmdNothing => {}
            _ => self.unknown("a MERGE action of an unknown kind"),
        }
    }

    /// The relation to change; WITH queries are no relations here.
    fn changed(&mut self, name: Option<&RangeVar>, verb: Verb) -> Option<Changed> {
        let name = name?;
        let source = self.relation(name, verb);
        let target = self.target(source.clone(), name.inh, name.location);
        if verb != Verb::Insert {
            self.unfold(&source);
        }
        let item = self.item(&source, target, name);
        Some(Changed { source, target, item, inherits: name.inh, location: name.location })
    }

    fn change(&mut self, changed: &Changed, verb: Verb, columns: &Columns, filtered: bool) {
        // A plain INSERT goes to the table itself; only partitioned tables pass rows on.
        let partitioned = matches!(&changed.source, Source::Known(relation) if relation.is_partitioned());
        let inherits = changed.inherits && (verb != Verb::Insert || partitioned);
        let position = self.position(changed.location);
        self.write(&changed.source, Deed { verb, columns, filtered, inherits, position });
    }

    /// Walks a condition; whether it mentions a column of the changed relation.
    fn filter(&mut self, condition: Option<&Node>, changed: &Changed) -> bool {
        let before = self.mentions(changed.target);
        self.optional(condition);
        self.mentions(changed.target) > before
    }

    /// The columns of a SET or column list.
    fn assigned(&mut self, nodes: &[Node], changed: &Changed) -> Columns {
        let mut names = BTreeSet::new();
        for node in nodes {
            let Some(NodeEnum::ResTarget(target)) = &node.node else { continue };
            if !changed.item.open && !changed.item.has(&target.name) {
                self.missing(UnresolvedKind::Column, Verb::Update, &target.name, target.location);
            }
            names.insert(target.name.clone());
            for step in &target.indirection {
                if let Some(NodeEnum::AIndices(indices)) = &step.node {
                    self.optional(indices.lidx.as_deref());
                    self.optional(indices.uidx.as_deref());
                }
            }
        }
        Columns::Set(names)
    }

    /// SET items: their values, and the casts to the columns' types.
    fn set_list(&mut self, nodes: &[Node], changed: &Changed) {
        for node in nodes {
            let Some(NodeEnum::ResTarget(target)) = &node.node else { continue };
            let Some(value) = target.val.as_deref() else { continue };
            let of = self.expression(value);
            let to = changed.item.type_of(&target.name);
            // Into a field or an element: whatever a cast to the whole column would run.
            let of = if target.indirection.is_empty() { of } else { Ty::Unknown };
            self.cast(of, to, 'a', target.location);
        }
    }

    /// The casts from a query's columns to those they are inserted into.
    fn assign(&mut self, cols: &[Node], changed: &Changed, outputs: &Outputs) {
        let types: Vec<Ty> = if cols.is_empty() {
            changed.item.outs().into_iter().map(|out| out.of).collect()
        } else {
            let name = |node: &Node| match &node.node {
                Some(NodeEnum::ResTarget(target)) => changed.item.type_of(&target.name),
                _ => Ty::Unknown,
            };
            cols.iter().map(name).collect()
        };
        let into_part = |at: usize| match cols.get(at).and_then(|node| node.node.as_ref()) {
            Some(NodeEnum::ResTarget(target)) => !target.indirection.is_empty(),
            _ => false,
        };
        // What is left out of a row gets its default.
        let given = if outputs.is_placed() { outputs.columns.len() } else { types.len() };
        for (at, to) in types.into_iter().take(given).enumerate() {
            let from = if into_part(at) { Ty::Unknown } else { outputs.at(at) };
            self.cast(from, to, 'a', changed.location);
        }
    }

    /// RETURNING, where `old` and `new` are the row before and after.
    fn returning(&mut self, clause: Option<&ReturningClause>, changed: &Changed) -> Outputs {
        let Some(clause) = clause else { return Outputs::default() };
        let (mut old, mut new) = ("old".to_owned(), "new".to_owned());
        for node in &clause.options {
            let Some(NodeEnum::ReturningOption(option)) = &node.node else { continue };
            self.needs_version(Version::V18, "RETURNING WITH", option.location);
            match option.option() {
                ReturningOptionKind::ReturningOptionOld => old.clone_from(&option.value),
                ReturningOptionKind::ReturningOptionNew => new.clone_from(&option.value),
                ReturningOptionKind::Undefined => self.unknown("RETURNING WITH of an unknown kind"),
            }
        }
        if self.scope.version >= Version::V18 {
            for alias in [old, new] {
                if !self.level.items.iter().any(|item| item.alias == alias) {
                    let item = Item { alias, qualified_only: true, schema: None, ..changed.item.clone() };
                    self.level.items.push(item);
                }
            }
        }
        self.target_list(&clause.exprs)
    }
}

fn merge_verb(node: &Node) -> Option<Verb> {
    match &node.node {
        Some(NodeEnum::MergeWhenClause(clause)) => match clause.command_type() {
            CmdType::CmdInsert => Some(Verb::Insert),
            CmdType::CmdDelete => Some(Verb::Delete),
            CmdType::CmdUpdate => Some(Verb::Update),
            _ => None,
        },
        _ => None,
    }
}

/// The row proposed for insertion: the table's columns, but nothing of the table.
fn excluded(item: &Item) -> Item {
    let mut columns = item.outs();
    for column in &mut columns {
        column.origins.clear();
    }
    Item {
        alias: "excluded".to_owned(),
        schema: None,
        columns: ItemColumns::Made(columns),
        open: item.open,
        counted: item.counted,
        qualified_only: true,
        target: None,
        inside: Vec::new(),
    }
}

/// Whether the rows stand in the statement itself, one for each list: no function that could give many.
fn is_values(insert: &InsertStmt) -> bool {
    let Some(NodeEnum::SelectStmt(select)) =
        insert.select_stmt.as_deref().and_then(|node| node.node.as_ref())
    else {
        return false;
    };
    let single = |row: &Node| match &row.node {
        Some(NodeEnum::List(row)) => row.items.iter().all(is_single),
        _ => false,
    };
    !select.values_lists.is_empty() && select.values_lists.iter().all(single)
}

/// Whether an expression cannot give more than one value.
fn is_single(node: &Node) -> bool {
    use NodeEnum as N;
    match &node.node {
        Some(N::AConst(_) | N::ParamRef(_) | N::SetToDefault(_) | N::SqlvalueFunction(_) | N::SubLink(_)) => {
            true
        }
        Some(N::TypeCast(cast)) => cast.arg.as_deref().is_some_and(is_single),
        Some(N::AExpr(expression)) => {
            let sides = [expression.lexpr.as_deref(), expression.rexpr.as_deref()];
            sides.into_iter().flatten().all(is_single)
        }
        Some(N::AArrayExpr(array)) => array.elements.iter().all(is_single),
        Some(N::FuncCall(call)) => {
            let names = super::names::strings(&call.funcname);
            matches!(names.last(), Some(&("now" | "clock_timestamp" | "gen_random_uuid")))
                && call.args.is_empty()
        }
        _ => false,
    }
}
