//! Views: what reading one reads, and what writing to one writes.

use std::collections::BTreeMap;

use policy::{Columns, RelationName, Verb, Via, ViaKind};

use super::target::{Deed, Source};
use super::walk::Walk;
use crate::catalog::{Relation, View};

impl Walk<'_> {
    /// Counts what a view reads and calls, if the relation is one.
    pub(super) fn unfold(&mut self, source: &Source) {
        let Source::Known(relation) = source else { return };
        let Some(view) = &relation.view else { return };
        let step = Via { kind: ViaKind::View, relation: self.named(&relation.schema, &relation.name) };
        if self.via.contains(&step) {
            return;
        }
        self.apart(Some(step), |walk| {
            for (name, columns) in &view.reads {
                let source = walk.relation_named(Some(&name.schema), &name.name, Verb::Select, -1);
                let target = walk.target(source.clone(), true, -1);
                if let Some(target) = walk.targets.get_mut(target) {
                    target.read(columns.clone());
                }
                walk.unfold(&source);
            }
            for function in &view.functions {
                walk.execute(function, Verb::Execute, -1);
            }
        });
    }

    /// Counts a write to a relation, and through a view to the tables that its columns come from.
    pub(super) fn write(&mut self, source: &Source, deed: Deed<'_>) {
        self.deed(source, deed);
        if let Source::Known(relation) = source
            && let Some(view) = &relation.view
        {
            let step = Via { kind: ViaKind::View, relation: self.named(&relation.schema, &relation.name) };
            if self.via.contains(&step) {
                return;
            }
            let under = through(relation, view, deed.columns);
            self.apart(Some(step), |walk| {
                for (name, columns) in under {
                    let source = walk.relation_named(Some(&name.schema), &name.name, deed.verb, -1);
                    walk.write(&source, Deed { columns: &columns, inherits: true, position: None, ..deed });
                }
            });
        }
    }
}

/// The tables behind a view, and their columns behind those of the view that are written. Where no column says
/// which table it is, it may be each that the view reads.
fn through(relation: &Relation, view: &View, columns: &Columns) -> BTreeMap<RelationName, Columns> {
    let all = |columns: &Columns| {
        let names = view.reads.iter().map(|(name, _)| name.clone());
        names.map(|name| (name, columns.clone())).collect::<BTreeMap<_, _>>()
    };
    let names = match columns {
        Columns::All => return all(&Columns::All),
        Columns::Set(names) if names.is_empty() => return all(&Columns::none()),
        Columns::Set(names) => names,
    };
    let mut under: BTreeMap<RelationName, Columns> = BTreeMap::new();
    for number in names.iter().map(|name| number(relation, name)) {
        let origins: Vec<_> = view.origins.iter().filter(|(own, ..)| *own == number).collect();
        if origins.is_empty() {
            return all(&Columns::All);
        }
        for (_, name, column) in origins {
            let set = Columns::Set(std::iter::once(column.clone()).collect());
            under.entry(name.clone()).or_insert_with(Columns::none).unite(set);
        }
    }
    under
}

/// The number of a view's column; views have no dropped ones.
fn number(relation: &Relation, name: &str) -> i32 {
    let at = relation.columns.iter().position(|column| column.name == name);
    at.and_then(|at| i32::try_from(at + 1).ok()).unwrap_or(0)
}
