//! What column names mean: the items of FROM clauses, level by level, and what references to them read.

use std::sync::Arc;

use policy::{Columns, Verb};

use super::UnresolvedKind;
use super::types::Ty;
use super::walk::Walk;
use crate::builtins::BuiltinRelation;
use crate::catalog::Relation;

/// Columns that every table has and no column list names, with their types.
const SYSTEM_COLUMNS: [(&str, u32); 6] =
    [("ctid", 27), ("tableoid", 26), ("xmin", 28), ("cmin", 29), ("xmax", 28), ("cmax", 29)];

/// One level of FROM.
#[derive(Default)]
pub(super) struct Frame {
    pub(super) items: Vec<Item>,
    /// The one row of pg_settings that the level looks at, while its select list is walked.
    pub(super) pinned_setting: Option<String>,
}

/// One thing in FROM that columns belong to.
#[derive(Clone)]
pub(super) struct Item {
    pub(super) alias: String,
    /// The relation's schema, when it goes by its own name.
    pub(super) schema: Option<String>,
    pub(super) columns: ItemColumns,
    /// It may have columns that are not known, and may not have those that seem to be there.
    pub(super) open: bool,
    /// Open as to names only: its columns are as many as there seem to be, and of these types.
    pub(super) counted: bool,
    /// Reached only by its alias, never by a bare column name.
    pub(super) qualified_only: bool,
    /// The relation whose columns these are.
    pub(super) target: Option<usize>,
    /// The relations inside of a join that goes by one name.
    pub(super) inside: Vec<usize>,
}

#[derive(Clone)]
pub(super) enum ItemColumns {
    Relation(Arc<Relation>),
    System(&'static BuiltinRelation),
    Made(Vec<Out>),
}

/// A column of something made in the statement, and the relations' columns behind it.
#[derive(Clone)]
pub(super) struct Out {
    pub(super) name: String,
    pub(super) of: Ty,
    pub(super) origins: Vec<(usize, String)>,
}

impl Out {
    pub(super) const fn new(name: String, of: Ty) -> Self {
        Self { name, of, origins: Vec::new() }
    }
}

/// What a query gives out.
#[derive(Clone, Default)]
pub(super) struct Outputs {
    pub(super) columns: Vec<(String, Ty)>,
    /// There may be others than these.
    pub(super) open: bool,
    /// Open as to names only.
    pub(super) counted: bool,
}

impl Outputs {
    /// Whether the types stand where they seem to.
    pub(super) const fn is_placed(&self) -> bool {
        !self.open || self.counted
    }

    /// The type at a place.
    pub(super) fn at(&self, place: usize) -> Ty {
        self.columns.get(place).filter(|_| self.is_placed()).map_or(Ty::Unknown, |(_, of)| *of)
    }

    /// Takes in columns that come after these.
    pub(super) fn append(&mut self, more: Self) {
        let placed = self.is_placed() && more.is_placed();
        self.open |= more.open;
        self.counted = self.open && placed;
        self.columns.extend(more.columns);
    }

    /// What a subquery gives: its literals have become text.
    pub(super) fn settled(mut self) -> Self {
        for (_, of) in &mut self.columns {
            if *of == Ty::Literal {
                *of = Ty::Known(super::types::TEXT);
            }
        }
        self
    }
}

/// A WITH query in sight.
#[derive(Clone)]
pub(super) struct Cte {
    pub(super) name: String,
    pub(super) outputs: Outputs,
}

impl Item {
    /// An item of columns that belong to no relation.
    pub(super) fn made(alias: &str, outputs: &Outputs) -> Self {
        let columns = outputs.columns.iter().map(|(name, of)| Out::new(name.clone(), *of));
        Self {
            alias: alias.to_owned(),
            schema: None,
            columns: ItemColumns::Made(columns.collect()),
            open: outputs.open,
            counted: outputs.counted,
            qualified_only: false,
            target: None,
            inside: Vec::new(),
        }
    }

    /// Renames the first columns, as `t(a, b)` does.
    pub(super) fn rename(&mut self, names: &[String]) {
        if names.is_empty() {
            return;
        }
        let mut columns = self.outs();
        for (at, name) in names.iter().enumerate() {
            match columns.get_mut(at) {
                Some(column) => column.name.clone_from(name),
                None => columns.push(Out::new(name.clone(), Ty::Unknown)),
            }
        }
        self.columns = ItemColumns::Made(columns);
    }

    /// Its columns with what is behind them.
    pub(super) fn outs(&self) -> Vec<Out> {
        let origins = |name: &str| self.target.map(|target| (target, name.to_owned())).into_iter().collect();
        match &self.columns {
            ItemColumns::Relation(relation) => relation
                .columns
                .iter()
                .map(|c| Out { name: c.name.clone(), of: Ty::of(c.of), origins: origins(&c.name) })
                .collect(),
            ItemColumns::System(relation) => relation
                .columns
                .iter()
                .map(|(name, of)| Out { name: (*name).to_owned(), of: Ty::of(*of), origins: origins(name) })
                .collect(),
            ItemColumns::Made(columns) => columns.clone(),
        }
    }

    /// The type of a column and what is behind it, if the item has it.
    fn column(&self, name: &str) -> Option<(Ty, Vec<(usize, String)>)> {
        let own = |of: Ty| (of, self.target.map(|target| (target, name.to_owned())).into_iter().collect());
        let found = match &self.columns {
            ItemColumns::Relation(relation) => {
                relation.columns.iter().find(|c| c.name == name).map(|c| own(Ty::of(c.of)))
            }
            ItemColumns::System(relation) => relation.column(name).map(|of| own(Ty::of(of))),
            ItemColumns::Made(columns) => {
                let same: Vec<&Out> = columns.iter().filter(|c| c.name == name).collect();
                same.first().map(|first| (first.of, same.iter().flat_map(|c| c.origins.clone()).collect()))
            }
        };
        let system = SYSTEM_COLUMNS.iter().find(|(known, _)| self.target.is_some() && *known == name);
        found.or_else(|| system.map(|(_, of)| own(Ty::of(*of))))
    }

    /// Whether a column that it seems to have is certain to be there. Views have no system columns.
    fn is_certain(&self, name: &str) -> bool {
        !self.open && !SYSTEM_COLUMNS.iter().any(|(known, _)| *known == name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.column(name).is_some()
    }

    /// The type of a column.
    pub(super) fn type_of(&self, name: &str) -> Ty {
        self.column(name).map_or(Ty::Unknown, |(of, _)| of)
    }

    /// Whether its columns are not all known, since no server was asked.
    pub(super) fn is_assumed(&self) -> bool {
        matches!(&self.columns, ItemColumns::Relation(relation) if relation.assumed)
    }

    fn row_type(&self) -> Ty {
        match &self.columns {
            ItemColumns::Relation(relation) if relation.row_type != 0 => Ty::of(relation.row_type),
            ItemColumns::Relation(_) | ItemColumns::System(_) | ItemColumns::Made(_) => Ty::RECORD,
        }
    }

    /// The relations that are read when its whole row is asked for.
    pub(super) fn whole(&self) -> Vec<usize> {
        self.target.into_iter().chain(self.inside.iter().copied()).collect()
    }
}

impl<'a> Walk<'a> {
    /// Levels of FROM from the innermost outwards.
    fn levels(&self) -> impl Iterator<Item = &Frame> {
        std::iter::once(&self.level).chain(self.outer.iter().rev())
    }

    /// Walks with a level of FROM of its own.
    pub(super) fn on_new_level<T>(&mut self, walk: impl FnOnce(&mut Self) -> T) -> T {
        self.outer.push(std::mem::take(&mut self.level));
        let result = walk(self);
        self.level = self.outer.pop().unwrap_or_default();
        result
    }

    pub(super) fn mark(&mut self, target: usize, column: &str) {
        if let Some(target) = self.targets.get_mut(target) {
            target.read(Columns::Set(std::iter::once(column.to_owned()).collect()));
        }
    }

    pub(super) fn mark_whole(&mut self, targets: &[usize]) {
        for target in targets {
            if let Some(target) = self.targets.get_mut(*target) {
                target.read(Columns::All);
            }
        }
    }

    /// A bare name: a column of the innermost level that has one, all of them where several do; else a row. Where
    /// it is not certain that a level has one, those further out may be meant too.
    pub(super) fn bare(&mut self, name: &str, location: i32) -> Ty {
        let mut open = false;
        let mut hits = Vec::new();
        for frame in self.levels() {
            let items = frame.items.iter().filter(|item| !item.qualified_only);
            open |= items.clone().any(|item| item.open);
            let before = hits.len();
            hits.extend(items.clone().filter_map(|item| item.column(name)));
            if hits.len() > before && items.clone().any(|item| item.is_certain(name) && item.has(name)) {
                break;
            }
        }
        if !hits.is_empty() {
            let of = hits.iter().map(|(of, _)| *of).reduce(Ty::merge).unwrap_or(Ty::Unknown);
            for (target, column) in hits.into_iter().flat_map(|(_, origins)| origins) {
                self.mark(target, &column);
            }
            return of;
        }
        let rows = self.levels().find_map(|frame| frame.items.iter().find(|i| i.alias == name));
        if let Some((whole, of)) = rows.map(|item| (item.whole(), item.row_type())) {
            self.mark_whole(&whole);
            return of;
        }
        if !open {
            self.missing_column(None, name, location);
        }
        Ty::Unknown
    }

    /// `alias.column`, or `schema.alias.column`.
    pub(super) fn qualified(&mut self, schema: Option<&str>, alias: &str, name: &str, location: i32) -> Ty {
        let Some(items) = self.items_of(schema, alias) else {
            self.missing_column(Some(alias), name, location);
            return Ty::Unknown;
        };
        let hits: Vec<_> = items.iter().filter_map(|item| item.column(name)).collect();
        if !hits.is_empty() {
            let of = hits.iter().map(|(of, _)| *of).reduce(Ty::merge).unwrap_or(Ty::Unknown);
            for (target, column) in hits.into_iter().flat_map(|(_, origins)| origins) {
                self.mark(target, &column);
            }
            return of;
        }
        let open = items.iter().any(|item| item.open);
        if items.iter().any(|item| item.open && item.target.is_some()) {
            // The relation itself is missing or not yet read.
            return Ty::Unknown;
        }
        if items.iter().any(Item::is_assumed) {
            // Some column of it, rather than a function that takes its row.
            self.missing_column(Some(alias), name, location);
            return Ty::Unknown;
        }
        let row = items.first().map_or(Ty::RECORD, Item::row_type);
        let whole: Vec<usize> = items.iter().flat_map(Item::whole).collect();
        // Not a column: `t.f` is f(t), whichever functions of that name take a row.
        if self.attribute(name, row, location) {
            self.mark_whole(&whole);
        } else if !open {
            self.missing_column(Some(alias), name, location);
        }
        Ty::Unknown
    }

    /// `alias.*`: reads everything of it. The columns it stands for.
    pub(super) fn star_of(&mut self, schema: Option<&str>, alias: &str, location: i32) -> Outputs {
        let Some(items) = self.items_of(schema, alias) else {
            self.missing_column(Some(alias), "*", location);
            return Outputs::default();
        };
        self.star_over(&items)
    }

    /// `*`: reads everything of the innermost level.
    pub(super) fn star(&mut self) -> Outputs {
        let items: Vec<Item> = self.level.items.iter().filter(|i| !i.qualified_only).cloned().collect();
        self.star_over(&items)
    }

    fn star_over(&mut self, items: &[Item]) -> Outputs {
        let mut outputs = Outputs::default();
        for item in items {
            self.mark_whole(&item.whole());
            let columns = item.outs().into_iter().map(|out| (out.name, out.of)).collect();
            outputs.append(Outputs { columns, open: item.open, counted: item.counted });
        }
        outputs
    }

    /// The items that go by a name, on the innermost level that has one.
    fn items_of(&self, schema: Option<&str>, alias: &str) -> Option<Vec<Item>> {
        self.levels().find_map(|frame| {
            let same = |item: &&Item| {
                item.alias == alias
                    && schema.is_none_or(|wanted| self.same_schema(item.schema.as_deref(), wanted))
            };
            let items: Vec<Item> = frame.items.iter().filter(same).cloned().collect();
            (!items.is_empty()).then_some(items)
        })
    }

    fn same_schema(&self, own: Option<&str>, wanted: &str) -> bool {
        let wanted = if wanted == "pg_temp" { self.scope.temp_schema.unwrap_or(wanted) } else { wanted };
        own == Some(wanted)
    }

    pub(super) fn missing_column(&mut self, alias: Option<&str>, name: &str, location: i32) {
        let full = alias.map_or_else(|| name.to_owned(), |alias| format!("{alias}.{name}"));
        self.missing(UnresolvedKind::Column, Verb::Select, &full, location);
        let known = self.levels().flat_map(|frame| &frame.items).flat_map(Item::outs).map(|out| out.name);
        let close = super::suggest::closest(name, known);
        if let Some(last) = self.unresolved.last_mut() {
            last.suggestion = close;
        }
    }
}
