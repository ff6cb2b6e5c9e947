//! FROM: what brings columns into sight.

use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::{
    Alias, JoinExpr, Node, RangeFunction, RangeSubselect, RangeTableFunc, RangeTableSample, RangeVar,
};
use policy::Verb;

use super::figure::figure;
use super::names::strings;
use super::range::{Item, ItemColumns, Out, Outputs};
use super::target::Source;
use super::types::Ty;
use super::walk::Walk;

impl<'a> Walk<'a> {
    pub(super) fn list_from(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.item_from(node);
        }
    }

    pub(super) fn item_from(&mut self, node: &Node) {
        match &node.node {
            Some(NodeEnum::RangeVar(name)) => self.relation_item(name),
            Some(NodeEnum::RangeSubselect(query)) => self.subselect_item(query),
            Some(NodeEnum::RangeFunction(function)) => self.function_item(function),
            Some(NodeEnum::RangeTableFunc(table)) => self.xml_item(table),
            Some(NodeEnum::JsonTable(table)) => self.json_item(table),
            Some(NodeEnum::RangeTableSample(sample)) => self.sample_item(sample),
            Some(NodeEnum::JoinExpr(join)) => self.join_item(join),
            _ => self.unknown("an item of FROM of an unknown kind"),
        }
    }

    fn relation_item(&mut self, name: &RangeVar) {
        if name.schemaname.is_empty()
            && let Some(cte) = self.ctes.iter().rev().find(|cte| cte.name == name.relname)
        {
            let mut item = Item::made(alias_of(name.alias.as_ref(), &name.relname), &cte.outputs);
            item.rename(&columns_of(name.alias.as_ref()));
            self.level.items.push(item);
            return;
        }
        let source = self.relation(name, Verb::Select);
        let target = self.target(source.clone(), name.inh, name.location);
        self.reads(target);
        self.unfold(&source);
        const PRINTED: [&str; 4] = ["pg_views", "pg_matviews", "pg_rules", "views"];
        if matches!(&source, Source::System(of) if PRINTED.contains(&of.name)) {
            self.prints_views(name.location);
        }
        let mut item = self.item(&source, target, name);
        let names = columns_of(name.alias.as_ref());
        if item.is_assumed() && !names.is_empty() {
            // Which columns these are is not known.
            self.missing_column(Some(&item.alias), &format!("({})", names.join(", ")), name.location);
        }
        item.rename(&names);
        self.level.items.push(item);
    }

    /// The item that a relation's columns are reached by.
    pub(super) fn item(&self, source: &Source, target: usize, name: &RangeVar) -> Item {
        let (columns, schema) = match source {
            Source::Known(relation) => {
                (ItemColumns::Relation(Arc::clone(relation)), Some(relation.schema.clone()))
            }
            Source::System(relation) => (ItemColumns::System(relation), Some(relation.schema.to_owned())),
            Source::Missing => (ItemColumns::Made(Vec::new()), None),
        };
        Item {
            alias: alias_of(name.alias.as_ref(), &name.relname).to_owned(),
            schema: schema.filter(|_| name.alias.is_none()),
            open: matches!(source, Source::Missing),
            counted: false,
            columns,
            qualified_only: false,
            target: Some(target),
            inside: Vec::new(),
        }
    }

    fn subselect_item(&mut self, query: &RangeSubselect) {
        let Some(node) = query.subquery.as_deref() else { return };
        // Without LATERAL the other items are out of sight.
        let hidden = if query.lateral { Vec::new() } else { std::mem::take(&mut self.level.items) };
        let outputs = self.on_new_level(|walk| walk.query(node)).settled();
        if !query.lateral {
            self.level.items = hidden;
        }
        let mut item = Item::made(alias_of(query.alias.as_ref(), ""), &outputs);
        item.rename(&columns_of(query.alias.as_ref()));
        self.level.items.push(item);
    }

    fn function_item(&mut self, function: &RangeFunction) {
        // Without an alias it goes by the name of its first function.
        let mut name = None;
        // One function alone has one column of its own name, unless its result is a row or an argument of it has
        // another name.
        let mut outputs = Outputs { open: true, ..Outputs::default() };
        for entry in &function.functions {
            let Some(NodeEnum::List(pair)) = &entry.node else { continue };
            let Some(call) = pair.items.first().filter(|node| node.node.is_some()) else { continue };
            let of = self.expression(call);
            let name = name.get_or_insert_with(|| figure(call, self.scope.version).unwrap_or_default());
            if let Some(NodeEnum::List(definitions)) = pair.items.get(1).and_then(|node| node.node.as_ref()) {
                outputs.columns.extend(self.definitions(&definitions.items));
            } else if function.functions.len() == 1 {
                outputs.columns.push((alias_of(function.alias.as_ref(), name).to_owned(), of));
                outputs.counted = !function.ordinality && self.is_scalar(of);
            }
        }
        if !function.coldeflist.is_empty() {
            let columns = self.definitions(&function.coldeflist);
            outputs = Outputs { columns, ..Outputs::default() };
        }
        let name = name.unwrap_or_default();
        let mut item = Item::made(alias_of(function.alias.as_ref(), &name), &outputs);
        item.rename(&columns_of(function.alias.as_ref()));
        self.level.items.push(item);
    }

    /// A column definition list: every type in it is a cast.
    fn definitions(&mut self, nodes: &[Node]) -> Vec<(String, Ty)> {
        let mut columns = Vec::new();
        for node in nodes {
            let Some(NodeEnum::ColumnDef(column)) = &node.node else { continue };
            let of = column.type_name.as_ref().map_or(Ty::Unknown, |name| self.type_name(name));
            self.cast(Ty::Unknown, of, 'e', column.location);
            columns.push((column.colname.clone(), of));
        }
        columns
    }

    fn xml_item(&mut self, table: &RangeTableFunc) {
        for node in [table.docexpr.as_deref(), table.rowexpr.as_deref()].into_iter().flatten() {
            self.expression(node);
        }
        for node in &table.namespaces {
            if let Some(NodeEnum::ResTarget(target)) = &node.node {
                self.optional(target.val.as_deref());
            }
        }
        let mut outputs = Outputs::default();
        for node in &table.columns {
            let Some(NodeEnum::RangeTableFuncCol(column)) = &node.node else { continue };
            self.optional(column.colexpr.as_deref());
            self.optional(column.coldefexpr.as_deref());
            let of = column.type_name.as_ref().map_or(Ty::Unknown, |name| self.type_name(name));
            self.cast(Ty::Unknown, of, 'e', column.location);
            outputs.columns.push((column.colname.clone(), of));
        }
        let mut item = Item::made(alias_of(table.alias.as_ref(), "xmltable"), &outputs);
        item.rename(&columns_of(table.alias.as_ref()));
        self.level.items.push(item);
    }

    fn sample_item(&mut self, sample: &RangeTableSample) {
        if let Some(node) = sample.relation.as_deref() {
            self.item_from(node);
        }
        let arguments: Vec<Ty> = sample.args.iter().map(|node| self.expression(node)).collect();
        drop(arguments);
        self.optional(sample.repeatable.as_deref());
        self.call_by_name(&strings(&sample.method), &[Ty::Unknown], sample.location);
    }

    fn join_item(&mut self, join: &JoinExpr) {
        let start = self.level.items.len();
        if let Some(node) = join.larg.as_deref() {
            self.item_from(node);
        }
        let middle = self.level.items.len();
        if let Some(node) = join.rarg.as_deref() {
            self.item_from(node);
        }
        let merged = self.merged(join, start, middle);
        if let Some(quals) = join.quals.as_deref() {
            // ON sees the two sides of its join only.
            let mut own = self.level.items.split_off(start);
            std::mem::swap(&mut own, &mut self.level.items);
            self.expression(quals);
            std::mem::swap(&mut own, &mut self.level.items);
            self.level.items.append(&mut own);
        }
        if let Some(alias) = &join.join_using_alias {
            let columns = ItemColumns::Made(merged.clone());
            let mut item = Item::made(&alias.aliasname, &Outputs::default());
            item.columns = columns;
            item.qualified_only = true;
            self.level.items.push(item);
        }
        if let Some(alias) = &join.alias {
            self.alias_join(alias, merged, start);
        }
    }

    /// `(a JOIN b) AS j(…)`: one item in place of those inside.
    fn alias_join(&mut self, alias: &Alias, merged: Vec<Out>, start: usize) {
        let inside = self.level.items.split_off(start);
        let mut item = Item::made(&alias.aliasname, &Outputs::default());
        item.open = inside.iter().any(|inner| inner.open);
        item.counted = inside.iter().all(|inner| !inner.open || inner.counted);
        item.inside = inside.iter().flat_map(Item::whole).collect();
        let names: Vec<String> = merged.iter().map(|out| out.name.clone()).collect();
        let mut columns = merged;
        for inner in inside.iter().filter(|inner| !inner.qualified_only) {
            columns.extend(inner.outs().into_iter().filter(|out| !names.contains(&out.name)));
        }
        item.columns = ItemColumns::Made(columns);
        item.rename(&columns_of(Some(alias)));
        self.level.items.push(item);
    }

    /// The columns that USING or NATURAL joins on: read on both sides and compared.
    fn merged(&mut self, join: &JoinExpr, start: usize, middle: usize) -> Vec<Out> {
        let side = |items: &[Item]| -> Vec<Out> {
            items.iter().filter(|item| !item.qualified_only).flat_map(Item::outs).collect()
        };
        if join.using_clause.is_empty() && !join.is_natural {
            return Vec::new();
        }
        let left = side(self.level.items.get(start..middle).unwrap_or_default());
        let right = side(self.level.items.get(middle..).unwrap_or_default());
        let joined = self.level.items.get(start..).unwrap_or_default();
        let open = joined.iter().any(|item| item.open);
        let assumed = joined.iter().any(Item::is_assumed);
        let whole: Vec<usize> = joined.iter().flat_map(Item::whole).collect();
        if join.is_natural && assumed {
            self.missing_column(None, "the columns of NATURAL JOIN", -1);
        }
        if join.is_natural && open {
            // Any column of one side may have its like on the other.
            self.mark_whole(&whole);
            self.operator(&["="], Some(Ty::Unknown), Some(Ty::Unknown), -1);
        }
        let names: Vec<String> = if join.is_natural {
            let both = left.iter().filter(|out| right.iter().any(|other| other.name == out.name));
            both.map(|out| out.name.clone()).collect()
        } else {
            strings(&join.using_clause).into_iter().map(str::to_owned).collect()
        };
        let mut merged = Vec::new();
        for name in names {
            let outs: Vec<&Out> = left.iter().chain(&right).filter(|out| out.name == name).collect();
            let has = |side: &[Out]| side.iter().any(|out| out.name == name);
            if !(open || has(&left) && has(&right)) {
                self.missing_column(None, &name, -1);
            }
            let of =
                |side: &[Out]| side.iter().find(|out| out.name == name).map_or(Ty::Unknown, |out| out.of);
            let (of_left, of_right) = (of(&left), of(&right));
            let origins: Vec<(usize, String)> = outs.iter().flat_map(|out| out.origins.clone()).collect();
            for (target, column) in &origins {
                self.mark(*target, column);
            }
            self.operator(&["="], Some(of_left), Some(of_right), -1);
            merged.push(Out { name, of: of_left.merge(of_right), origins });
        }
        merged
    }
}

fn alias_of<'n>(alias: Option<&'n Alias>, name: &'n str) -> &'n str {
    alias.map_or(name, |alias| &alias.aliasname)
}

fn columns_of(alias: Option<&Alias>) -> Vec<String> {
    alias.map_or_else(Vec::new, |alias| strings(&alias.colnames).into_iter().map(str::to_owned).collect())
}
