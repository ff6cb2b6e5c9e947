//! Views: what reading one reads, and what writing to one writes.

use std::collections::BTreeSet;
use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::{RangeVar, SelectStmt};
use policy::{Columns, Object, Verb, Via, ViaKind};

use super::names::strings;
use super::target::{Deed, Source};
use super::walk::Walk;
use crate::Statement;
use crate::catalog::Relation;

impl Walk<'_> {
    /// Counts what a view reads, if the relation is one.
    pub(super) fn unfold(&mut self, source: &Source<'_>) {
        let Source::Known(relation) = source else { return };
        let Some(view) = &relation.view else { return };
        let step = Via { kind: ViaKind::View, relation: self.named(&relation.schema, &relation.name) };
        if self.via.contains(&step) {
            return;
        }
        let body = view.statement.as_ref().and_then(|statement| statement.node());
        let Some(NodeEnum::SelectStmt(select)) = body else {
            let text = format!("the definition of view {}.{}", relation.schema, relation.name);
            self.plain(Verb::Select, Object::Unresolved(text), -1);
            return;
        };
        self.elsewhere(&view.path, Some(step), |walk| {
            walk.on_new_level(|walk| walk.select(select));
        });
    }

    /// Counts a write to a relation, and through a view to the table under it.
    pub(super) fn write(&mut self, source: &Source<'_>, deed: Deed<'_>) {
        self.deed(source, deed);
        if let Source::Known(relation) = source
            && let Some(view) = &relation.view
        {
            let step = Via { kind: ViaKind::View, relation: self.named(&relation.schema, &relation.name) };
            if let Some((select, base)) = simple_view(view.statement.as_ref())
                && !self.via.contains(&step)
            {
                let columns = through(relation, select, deed.columns);
                self.elsewhere(&view.path, Some(step), |walk| {
                    let under = walk.relation(base, deed.verb);
                    walk.write(&under, Deed { columns: &columns, inherits: base.inh, ..deed });
                });
            }
        }
    }
}

/// The query and the one table of a view that can be written through.
fn simple_view(statement: Option<&Arc<Statement>>) -> Option<(&SelectStmt, &RangeVar)> {
    let Some(NodeEnum::SelectStmt(select)) = statement?.node() else { return None };
    match &select.from_clause[..] {
        [only] => match &only.node {
            Some(NodeEnum::RangeVar(base)) => Some((select, base)),
            _ => None,
        },
        _ => None,
    }
}

/// The table's columns behind the view's; all of them where that cannot be told.
fn through(view: &Relation, select: &SelectStmt, columns: &Columns) -> Columns {
    let Columns::Set(wanted) = columns else { return Columns::All };
    let mut under = BTreeSet::new();
    for name in wanted {
        let at = view.columns.iter().position(|column| column.name == *name);
        let node = at.and_then(|at| select.target_list.get(at)).and_then(|node| node.node.as_ref());
        let value = match node {
            Some(NodeEnum::ResTarget(target)) => target.val.as_deref().and_then(|value| value.node.as_ref()),
            _ => None,
        };
        let column = match value {
            Some(NodeEnum::ColumnRef(reference)) => strings(&reference.fields).last().map(|name| (*name).to_owned()),
            _ => None,
        };
        match column {
            Some(column) => under.insert(column),
            None => return Columns::All,
        };
    }
    Columns::Set(under)
}
