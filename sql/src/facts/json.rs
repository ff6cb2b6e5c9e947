//! SQL/JSON: older servers read most of its words as names of functions, so each form has its first version.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    JsonAggConstructor, JsonBehavior, JsonFuncExpr, JsonKeyValue, JsonOutput, JsonTable, JsonTableColumn,
    JsonValueExpr, Node,
};

use policy::{Object, Verb};

use super::range::{Item, Outputs};
use super::types::{BOOL, FIRST_USER, Ty};
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
                let of = expression.expr.as_deref().map_or(Ty::Unknown, |node| self.expression(node));
                self.made_json(of, expression.location);
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
                    let outputs = self.on_new_level(|walk| walk.query(node));
                    self.made_json(outputs.at(0), array.location);
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
            let of = value.raw_expr.as_deref().map_or(Ty::Unknown, |node| self.expression(node));
            self.made_json(of, -1);
            self.optional(value.formatted_expr.as_deref());
        }
    }

    /// What built-in functions over JSON run besides themselves, with arguments of these types.
    pub(super) fn json_call(&mut self, name: &str, arguments: &[Ty], location: i32) {
        match name {
            "json_populate_record"
            | "json_populate_recordset"
            | "jsonb_populate_record"
            | "jsonb_populate_recordset"
            | "jsonb_populate_record_valid" => {
                self.populated(arguments.first().copied().unwrap_or(Ty::Unknown), location);
            }
            "to_json" | "to_jsonb" | "row_to_json" | "array_to_json" => {
                self.all_made_json(arguments, location)
            }
            _ if (name.starts_with("json_") || name.starts_with("jsonb_"))
                && (name.contains("_agg") || name.contains("_build_")) =>
            {
                self.all_made_json(arguments, location);
            }
            _ => {}
        }
    }

    fn all_made_json(&mut self, arguments: &[Ty], location: i32) {
        for of in arguments {
            self.made_json(*of, location);
        }
    }

    /// A row that is filled: the checks of the domains in it run.
    pub(super) fn populated(&mut self, row: Ty, location: i32) {
        match row {
            Ty::Known(oid) if oid >= FIRST_USER => self.cast(Ty::Literal, row, 'e', location),
            _ => {
                let what = "the checks of a row whose type is not known".to_owned();
                self.plain(Verb::Execute, Object::Unresolved(what), location);
            }
        }
    }

    /// A value becomes JSON by the users' cast of its type to json, if there is one, and so do its parts.
    fn made_json(&mut self, of: Ty, location: i32) {
        const JSON: u32 = 114;
        if of == Ty::Literal {
            return;
        }
        let of = self.plain_type(of);
        if let element @ Ty::Known(_) = self.element(of) {
            self.made_json(element, location);
            return;
        }
        match of {
            Ty::Known(oid) if oid >= FIRST_USER && self.user_type(oid).is_some_and(|of| of.kind != 'c') => {
                self.cast(of, Ty::Known(JSON), 'e', location);
            }
            Ty::Known(_) if self.is_scalar(of) => {}
            // A row: what is in it is not looked at.
            _ => self.cast(Ty::Unknown, Ty::Known(JSON), 'e', location),
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
