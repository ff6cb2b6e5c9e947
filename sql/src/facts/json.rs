//! SQL/JSON: older servers read most of its words as names of functions, so each form has its first version.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    JsonAggConstructor, JsonBehavior, JsonFuncExpr, JsonKeyValue, JsonOutput, JsonTable, JsonTableColumn,
    JsonValueExpr, Node,
};

use super::range::{Item, Outputs};
use super::types::{BOOL, Ty};
use super::walk::Walk;
use crate::builtins::Version;

impl Walk<'_> {
    /// The kinds of expressions that are left.
    pub(super) fn json_expression(&mut self, inner: &NodeEnum) -> Ty {
        use NodeEnum as N;
        match inner {
            N::JsonIsPredicate(test) => {
                self.needs_version(Version::V16, "IS JSON", test.location);
                self.optional(test.expr.as_deref());
                Ty::Known(BOOL)
            }
            N::JsonValueExpr(value) => {
                self.json_value(Some(value));
                Ty::Unknown
            }
            N::JsonArgument(argument) => {
                self.json_value(argument.val.as_deref());
                Ty::Unknown
            }
            N::JsonKeyValue(pair) => {
                self.json_pair(Some(pair));
                Ty::Unknown
            }
            N::JsonFuncExpr(function) => self.json_function(function),
            N::JsonParseExpr(expression) => {
                self.needs_version(Version::V17, "JSON()", expression.location);
                self.json_value(expression.expr.as_deref());
                self.json_output(expression.output.as_ref())
            }
            N::JsonScalarExpr(expression) => {
                self.needs_version(Version::V17, "JSON_SCALAR", expression.location);
                self.optional(expression.expr.as_deref());
                self.json_output(expression.output.as_ref())
            }
            N::JsonSerializeExpr(expression) => {
                self.needs_version(Version::V17, "JSON_SERIALIZE", expression.location);
                self.json_value(expression.expr.as_deref());
                self.json_output(expression.output.as_ref())
            }
            _ => self.json_constructor(inner),
        }
    }

    fn json_constructor(&mut self, inner: &NodeEnum) -> Ty {
        use NodeEnum as N;
        match inner {
            N::JsonObjectConstructor(object) => {
                self.needs_version(Version::V16, "JSON_OBJECT", object.location);
                self.expressions(&object.exprs);
                self.json_output(object.output.as_ref())
            }
            N::JsonArrayConstructor(array) => {
                self.needs_version(Version::V16, "JSON_ARRAY", array.location);
                self.expressions(&array.exprs);
                self.json_output(array.output.as_ref())
            }
            N::JsonArrayQueryConstructor(array) => {
                self.needs_version(Version::V16, "JSON_ARRAY", array.location);
                if let Some(node) = array.query.as_deref() {
                    self.on_new_level(|walk| walk.query(node));
                }
                self.json_output(array.output.as_ref())
            }
            N::JsonObjectAgg(aggregate) => {
                self.json_pair(aggregate.arg.as_deref());
                self.json_aggregate(aggregate.constructor.as_deref())
            }
            N::JsonArrayAgg(aggregate) => {
                self.json_value(aggregate.arg.as_deref());
                self.json_aggregate(aggregate.constructor.as_deref())
            }
            N::MergeSupportFunc(_) => {
                self.needs_version(Version::V17, "MERGE_ACTION", -1);
                Ty::Unknown
            }
            _ => {
                self.unknown("an expression of an unknown kind");
                Ty::Unknown
            }
        }
    }

    fn json_aggregate(&mut self, constructor: Option<&JsonAggConstructor>) -> Ty {
        let Some(constructor) = constructor else { return Ty::Unknown };
        self.needs_version(Version::V16, "JSON_ARRAYAGG", constructor.location);
        self.optional(constructor.agg_filter.as_deref());
        self.order(&constructor.agg_order, &[]);
        if let Some(window) = constructor.over.as_deref() {
            self.window(window);
        }
        self.json_output(constructor.output.as_ref())
    }

    fn json_value(&mut self, value: Option<&JsonValueExpr>) {
        if let Some(value) = value {
            self.optional(value.raw_expr.as_deref());
            self.optional(value.formatted_expr.as_deref());
        }
    }

    fn json_pair(&mut self, pair: Option<&JsonKeyValue>) {
        if let Some(pair) = pair {
            self.optional(pair.key.as_deref());
            self.json_value(pair.value.as_deref());
        }
    }

    /// RETURNING is a cast.
    fn json_output(&mut self, output: Option<&JsonOutput>) -> Ty {
        let Some(name) = output.and_then(|output| output.type_name.as_ref()) else { return Ty::Unknown };
        let to = self.type_name(name);
        self.cast(Ty::Unknown, to, 'e', name.location);
        to
    }

    fn json_function(&mut self, function: &JsonFuncExpr) -> Ty {
        self.needs_version(Version::V17, "JSON_EXISTS, JSON_QUERY and JSON_VALUE", function.location);
        self.json_value(function.context_item.as_deref());
        self.optional(function.pathspec.as_deref());
        self.expressions(&function.passing);
        self.json_behavior(function.on_empty.as_deref());
        self.json_behavior(function.on_error.as_deref());
        self.json_output(function.output.as_ref())
    }

    fn json_behavior(&mut self, behavior: Option<&JsonBehavior>) {
        self.optional(behavior.and_then(|behavior| behavior.expr.as_deref()));
    }

    pub(super) fn json_item(&mut self, table: &JsonTable) {
        self.needs_version(Version::V17, "JSON_TABLE", table.location);
        self.json_value(table.context_item.as_deref());
        if let Some(path) = table.pathspec.as_deref() {
            self.optional(path.string.as_deref());
        }
        self.expressions(&table.passing);
        self.json_behavior(table.on_error.as_deref());
        let mut outputs = Outputs::default();
        self.json_columns(&table.columns, &mut outputs);
        let alias = table.alias.as_ref();
        let mut item = Item::made(alias.map_or("json_table", |alias| &alias.aliasname), &outputs);
        let names = alias.map_or_else(Vec::new, |alias| super::names::strings(&alias.colnames));
        item.rename(&names.into_iter().map(str::to_owned).collect::<Vec<_>>());
        self.level.items.push(item);
    }

    fn json_columns(&mut self, nodes: &[Node], outputs: &mut Outputs) {
        for node in nodes {
            if let Some(NodeEnum::JsonTableColumn(column)) = &node.node {
                self.json_column(column, outputs);
            }
        }
    }

    fn json_column(&mut self, column: &JsonTableColumn, outputs: &mut Outputs) {
        if let Some(path) = column.pathspec.as_deref() {
            self.optional(path.string.as_deref());
        }
        self.json_behavior(column.on_empty.as_deref());
        self.json_behavior(column.on_error.as_deref());
        let of = match &column.type_name {
            Some(name) => {
                let of = self.type_name(name);
                self.cast(Ty::Unknown, of, 'e', column.location);
                of
            }
            None => Ty::Unknown,
        };
        if !column.name.is_empty() && column.columns.is_empty() {
            outputs.columns.push((column.name.clone(), of));
        }
        self.json_columns(&column.columns, outputs);
    }
}
