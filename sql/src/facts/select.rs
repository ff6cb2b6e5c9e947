//! SELECT, VALUES, set operations and WITH.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    CommonTableExpr, IntoClause, LockClauseStrength, Node, SelectStmt, SetOperation, SortBy, WindowDef,
    WithClause,
};
use policy::{Columns, Verb};

use super::figure::figure;
use super::names::{string, strings};
use super::range::{Cte, Item, ItemColumns, Outputs};
use super::target::Deed;
use super::types::Ty;
use super::walk::Walk;

impl Walk<'_> {
    /// A query or a writing statement where a query may stand.
    pub(super) fn query(&mut self, node: &Node) -> Outputs {
        match &node.node {
            Some(NodeEnum::SelectStmt(statement)) => self.select(statement),
            Some(NodeEnum::InsertStmt(statement)) => self.insert(statement),
            Some(NodeEnum::UpdateStmt(statement)) => self.update(statement),
            Some(NodeEnum::DeleteStmt(statement)) => self.delete(statement),
            Some(NodeEnum::MergeStmt(statement)) => self.merge(statement),
            _ => {
                self.unknown("a query of an unknown kind");
                Outputs::default()
            }
        }
    }

    pub(super) fn select(&mut self, select: &SelectStmt) -> Outputs {
        let own = self.recursing.take();
        let ctes = self.ctes.len();
        self.with(select.with_clause.as_ref());
        self.recursing = own;
        let outputs = if select.op() == SetOperation::SetopNone || select.op() == SetOperation::Undefined {
            self.on_new_level(|walk| walk.simple(select))
        } else {
            self.set_operation(select)
        };
        if let Some(into) = select.into_clause.as_deref() {
            self.into(into);
        }
        self.ctes.truncate(ctes);
        outputs
    }

    fn set_operation(&mut self, select: &SelectStmt) -> Outputs {
        let own = self.recursing.take();
        let mut outputs = select.larg.as_deref().map(|side| self.select(side)).unwrap_or_default();
        // A recursive query has the columns of its first part.
        if let Some(cte) = own.and_then(|at| self.ctes.get_mut(at)) {
            let names: Vec<String> = cte.outputs.columns.iter().map(|(name, _)| name.clone()).collect();
            cte.outputs = outputs.clone().settled();
            for ((known, _), name) in cte.outputs.columns.iter_mut().zip(names) {
                *known = name;
            }
        }
        let right = select.rarg.as_deref().map(|side| self.select(side)).unwrap_or_default();
        let placed = outputs.is_placed() && right.is_placed();
        for (at, (_, left)) in outputs.columns.iter_mut().enumerate() {
            *left = if placed { self.common(&[*left, right.at(at)], -1) } else { Ty::Unknown };
        }
        if !placed {
            self.implicit_casts(Ty::Unknown, -1);
            (outputs.open, outputs.counted) = (true, false);
        }
        self.on_new_level(|walk| {
            walk.level.items.push(Item::made("", &outputs));
            walk.order(&select.sort_clause, &[]);
            walk.optional(select.limit_count.as_deref());
            walk.optional(select.limit_offset.as_deref());
        });
        if !select.locking_clause.is_empty() {
            self.unknown("FOR UPDATE over a set operation");
        }
        outputs
    }

    fn simple(&mut self, select: &SelectStmt) -> Outputs {
        self.recursing = None;
        let first_target = self.targets.len();
        self.list_from(&select.from_clause);
        let after_from = self.targets.len();
        self.optional(select.where_clause.as_deref());
        let outputs = if select.values_lists.is_empty() {
            self.level.pinned_setting = self.pinned(select);
            let outputs = self.target_list(&select.target_list);
            self.level.pinned_setting = None;
            outputs
        } else {
            self.values(&select.values_lists)
        };
        let names: Vec<String> = outputs.columns.iter().map(|(name, _)| name.clone()).collect();
        self.grouping(&select.group_clause, &names);
        self.optional(select.having_clause.as_deref());
        for node in &select.window_clause {
            if let Some(NodeEnum::WindowDef(window)) = &node.node {
                self.window(window);
            }
        }
        for node in select.distinct_clause.iter().filter(|node| node.node.is_some()) {
            self.unless_output(node, &names);
        }
        self.order(&select.sort_clause, &names);
        self.optional(select.limit_count.as_deref());
        self.optional(select.limit_offset.as_deref());
        self.locking(&select.locking_clause, first_target..after_from);
        outputs
    }

    /// The one row of pg_settings that a query looks at, by `name = 'literal'`: pg_dump sets settings so.
    fn pinned(&mut self, select: &SelectStmt) -> Option<String> {
        let [item] = &self.level.items[..] else { return None };
        match &item.columns {
            ItemColumns::System(relation)
                if relation.schema == "pg_catalog" && relation.name == "pg_settings" =>
            {
                let alias = item.alias.clone();
                self.pinned_name(select.where_clause.as_deref()?, &alias)
            }
            _ => None,
        }
    }

    fn values(&mut self, rows: &[Node]) -> Outputs {
        let mut types: Vec<Ty> = Vec::new();
        for row in rows {
            let Some(NodeEnum::List(row)) = &row.node else { continue };
            for (at, node) in row.items.iter().enumerate() {
                let of = self.expression(node);
                match types.get_mut(at) {
                    Some(known) if *known == of => {}
                    Some(known) => *known = self.common(&[*known, of], -1),
                    None => types.push(of),
                }
            }
        }
        let columns = types.into_iter().enumerate().map(|(at, of)| (format!("column{}", at + 1), of));
        Outputs { columns: columns.collect(), ..Outputs::default() }
    }

    /// A select list or RETURNING: the columns it gives.
    pub(super) fn target_list(&mut self, nodes: &[Node]) -> Outputs {
        let mut outputs = Outputs::default();
        for node in nodes {
            let Some(NodeEnum::ResTarget(target)) = &node.node else {
                self.unknown("a select list of an unknown kind");
                continue;
            };
            let Some(value) = target.val.as_deref() else { continue };
            if let Some(stars) = self.star_target(value) {
                outputs.append(stars);
                continue;
            }
            let of = self.expression(value);
            let named = (!target.name.is_empty()).then(|| target.name.clone());
            let named = named.or_else(|| figure(value, self.scope.version));
            // No name in a statement is empty.
            let (open, name) = (named.is_none(), named.unwrap_or_default());
            outputs.append(Outputs { columns: vec![(name, of)], open, counted: open });
        }
        outputs
    }

    /// `*`, `t.*` and `(row).*` of a select list.
    fn star_target(&mut self, value: &Node) -> Option<Outputs> {
        match &value.node {
            Some(NodeEnum::ColumnRef(reference)) if is_star(reference.fields.last()) => {
                let names = strings(&reference.fields);
                Some(match names[..] {
                    [] => self.star(),
                    [alias] => self.star_of(None, alias, reference.location),
                    [.., schema, alias] => self.star_of(Some(schema), alias, reference.location),
                })
            }
            Some(NodeEnum::AIndirection(indirection)) if is_star(indirection.indirection.last()) => {
                self.expression(value);
                Some(Outputs { open: true, ..Outputs::default() })
            }
            _ => None,
        }
    }

    /// ORDER BY: a bare output name or a position is an output, which was counted.
    pub(super) fn order(&mut self, nodes: &[Node], names: &[String]) {
        for node in nodes {
            if let Some(NodeEnum::SortBy(sort)) = &node.node {
                self.sort(sort, names);
            }
        }
    }

    fn sort(&mut self, sort: &SortBy, names: &[String]) {
        let Some(node) = sort.node.as_deref() else { return };
        let of = self.unless_output(node, names);
        if !sort.use_op.is_empty() {
            self.operator(&strings(&sort.use_op), Some(of), Some(of), sort.location);
        }
    }

    fn unless_output(&mut self, node: &Node, names: &[String]) -> Ty {
        if bare_name(node).is_some_and(|name| names.iter().any(|output| output == name)) {
            return Ty::Unknown;
        }
        self.expression(node)
    }

    /// GROUP BY: a bare name is a column of FROM before it is an output.
    fn grouping(&mut self, nodes: &[Node], names: &[String]) {
        for node in nodes {
            if let Some(NodeEnum::GroupingSet(set)) = &node.node {
                self.grouping(&set.content, names);
                continue;
            }
            if let Some(NodeEnum::RowExpr(row)) = &node.node {
                self.grouping(&row.args, names);
                continue;
            }
            let output = bare_name(node).filter(|name| names.iter().any(|output| output == name));
            if output.is_none_or(|name| self.level_has(name)) {
                self.expression(node);
            }
        }
    }

    /// Whether the innermost level of FROM has, or may have, a column of that name.
    fn level_has(&self, name: &str) -> bool {
        self.level.items.iter().any(|item| item.outs().iter().any(|out| out.name == name))
    }

    pub(super) fn window(&mut self, window: &WindowDef) {
        for node in &window.partition_clause {
            self.expression(node);
        }
        self.order(&window.order_clause, &[]);
        self.optional(window.start_offset.as_deref());
        self.optional(window.end_offset.as_deref());
    }

    /// FOR UPDATE and its kin: locks the rows of the named items, or of all of FROM with what is under it.
    fn locking(&mut self, nodes: &[Node], targets: std::ops::Range<usize>) {
        for node in nodes {
            let Some(NodeEnum::LockingClause(clause)) = &node.node else { continue };
            if clause.strength() == LockClauseStrength::LcsNone {
                continue;
            }
            let named: Vec<&str> = clause.locked_rels.iter().filter_map(range_name).collect();
            let own = |walk: &Self, name: &str| {
                walk.level.items.iter().find(|item| item.alias == name).and_then(|item| item.target)
            };
            let mut locked: Vec<usize> = Vec::new();
            for name in &named {
                match own(self, name) {
                    Some(target) if !self.is_view(target) => locked.push(target),
                    _ => locked.extend(targets.clone()),
                }
            }
            if named.is_empty() {
                locked.extend(targets.clone());
            }
            self.lock(&locked);
        }
    }

    fn is_view(&self, target: usize) -> bool {
        use super::target::Source;
        let source = self.targets.get(target).map(|target| &target.source);
        matches!(source, Some(Source::Known(relation)) if relation.view.is_some())
    }

    pub(super) fn lock(&mut self, targets: &[usize]) {
        let none = Columns::none();
        for target in targets {
            let Some(target) = self.targets.get(*target) else { continue };
            let source = target.source.clone();
            let mut deed = Deed::new(Verb::Lock, &none);
            deed.inherits = target.inherits;
            let via = std::mem::replace(&mut self.via, target.way().to_vec());
            self.deed(&source, deed);
            self.via = via;
        }
    }

    /// SELECT INTO: makes a table and fills it.
    fn into(&mut self, into: &IntoClause) {
        self.create_from_query(into);
    }

    /// WITH: its queries come into sight one after the other, or all at once with RECURSIVE.
    pub(super) fn with(&mut self, clause: Option<&WithClause>) {
        let Some(clause) = clause else { return };
        let queries: Vec<&CommonTableExpr> = clause
            .ctes
            .iter()
            .filter_map(|node| match &node.node {
                Some(NodeEnum::CommonTableExpr(query)) => Some(&**query),
                _ => None,
            })
            .collect();
        let first = self.ctes.len();
        if clause.recursive {
            for query in &queries {
                let names = strings(&query.aliascolnames).into_iter();
                let columns = names.map(|name| (name.to_owned(), Ty::Unknown)).collect();
                let outputs = Outputs { columns, open: true, counted: false };
                self.ctes.push(Cte { name: query.ctename.clone(), outputs });
            }
        }
        for (at, query) in queries.iter().enumerate() {
            self.recursing = clause.recursive.then_some(first + at);
            let outputs = self.cte(query);
            self.recursing = None;
            if clause.recursive {
                if let Some(cte) = self.ctes.get_mut(first + at) {
                    cte.outputs = outputs;
                }
            } else {
                self.ctes.push(Cte { name: query.ctename.clone(), outputs });
            }
        }
    }

    fn cte(&mut self, query: &CommonTableExpr) -> Outputs {
        let Some(node) = query.ctequery.as_deref() else { return Outputs::default() };
        let mut outputs = self.on_new_level(|walk| walk.query(node)).settled();
        for (at, name) in strings(&query.aliascolnames).into_iter().enumerate() {
            match outputs.columns.get_mut(at) {
                Some((known, _)) => name.clone_into(known),
                None => outputs.columns.push((name.to_owned(), Ty::Unknown)),
            }
        }
        if let Some(search) = &query.search_clause {
            outputs.columns.push((search.search_seq_column.clone(), Ty::Unknown));
        }
        if let Some(cycle) = query.cycle_clause.as_deref() {
            self.optional(cycle.cycle_mark_value.as_deref());
            self.optional(cycle.cycle_mark_default.as_deref());
            outputs.columns.push((cycle.cycle_mark_column.clone(), Ty::Unknown));
            outputs.columns.push((cycle.cycle_path_column.clone(), Ty::Unknown));
        }
        outputs
    }
}

fn range_name(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::RangeVar(name)) => Some(&name.relname),
        _ => None,
    }
}

pub(super) fn is_star(node: Option<&Node>) -> bool {
    matches!(node.and_then(|node| node.node.as_ref()), Some(NodeEnum::AStar(_)))
}

/// The name of a column reference of one part.
fn bare_name(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::ColumnRef(reference)) => match &reference.fields[..] {
            [only] => string(only),
            _ => None,
        },
        _ => None,
    }
}
