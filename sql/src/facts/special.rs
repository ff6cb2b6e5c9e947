//! Built-in functions that do what a statement of its own does: their literal arguments say to what.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, a_const};
use policy::{Columns, Object, Verb};

use super::names::{qualified, string, strings};
use super::settings::{Change, Value};
use super::target::Deed;
use super::types::{REGCLASS, TEXT, Ty, VARCHAR};
use super::walk::Walk;

impl Walk<'_> {
    /// Looks at calls of built-in functions with an effect of their own. Whether the call is accounted for
    /// entirely; otherwise the function is counted as well.
    pub(super) fn special_call(&mut self, names: &[&str], arguments: &[Node], location: i32) -> bool {
        let (schema, name) = qualified(names);
        let built_in = match schema {
            Some(schema) => schema == "pg_catalog",
            // A function of the same name elsewhere in the path is counted by the usual way.
            None => self.path.iter().any(|schema| schema == "pg_catalog"),
        };
        if !built_in {
            return false;
        }
        match name {
            // What is kept runs later, whenever whoever uses it likes.
            "set_config" if self.storing => false,
            "set_config" => {
                (schema.is_some() || self.only_built_in(name)) && self.set_config(arguments, location)
            }
            "nextval" | "setval" => {
                self.sequence(arguments, Verb::Update, location);
                false
            }
            "currval" => {
                self.sequence(arguments, Verb::Select, location);
                false
            }
            "pg_get_viewdef" | "pg_get_ruledef" => {
                self.prints_views(location);
                false
            }
            "pg_notify" => {
                let channel = arguments.first().and_then(|node| self.literal(node));
                let object = channel
                    .map_or_else(|| Object::Unresolved("a computed channel".to_owned()), Object::Channel);
                self.plain(Verb::Notify, object, location);
                false
            }
            _ => false,
        }
    }

    /// What prints views runs a query with a bare `=` in the session's search path: a user's own `=` would run.
    pub(super) fn prints_views(&mut self, location: i32) {
        const OID: u32 = 26;
        const NAME: u32 = 19;
        for of in [OID, NAME] {
            self.operator(&["="], Some(Ty::Known(of)), Some(Ty::Known(of)), location);
        }
    }

    /// Whether no other schema of the path has a function of that name.
    fn only_built_in(&mut self, name: &str) -> bool {
        let others = self.function_schemas(None);
        let mut only = true;
        for schema in others.iter().filter(|schema| *schema != "pg_catalog") {
            match self.scope.catalog.functions(schema, name) {
                Some(functions) => only &= functions.is_empty(),
                None if schema == "information_schema" => {}
                None => {
                    self.needs.functions.insert((schema.clone(), name.to_owned()));
                    only = false;
                }
            }
        }
        only
    }

    /// `set_config('name', value, local)` is SET of that name.
    fn set_config(&mut self, arguments: &[Node], location: i32) -> bool {
        let [name, value, local] = arguments else { return false };
        let Some(name) = self.literal(name).or_else(|| self.pinned_to(name)) else { return false };
        let local = match local.node.as_ref() {
            Some(NodeEnum::AConst(constant)) => {
                matches!(&constant.val, Some(a_const::Val::Boolval(value)) if value.boolval)
            }
            _ => false,
        };
        let value = self.literal(value).map_or(Value::Computed, Value::Text);
        self.setting(Change { name: &name, value, local, location });
        true
    }

    /// What `name` is pinned to, where it is the column of the one row of pg_settings that is looked at.
    fn pinned_to(&self, name: &Node) -> Option<String> {
        let [item] = &self.level.items[..] else { return None };
        let own = is_column(name, &item.alias, "name");
        self.level.pinned_setting.clone().filter(|_| own)
    }

    /// The literal that a condition pins the column `name` to: alone, or one of several that must all hold.
    pub(super) fn pinned_name(&mut self, condition: &Node, alias: &str) -> Option<String> {
        use pg_query::protobuf::{AExprKind, BoolExprType};
        match condition.node.as_ref()? {
            NodeEnum::BoolExpr(all) if all.boolop() == BoolExprType::AndExpr => {
                all.args.iter().find_map(|node| self.pinned_name(node, alias))
            }
            NodeEnum::AExpr(test) if test.kind() == AExprKind::AexprOp => {
                let equals = matches!(strings(&test.name)[..], ["="] | ["pg_catalog", "="]);
                let column = is_column(test.lexpr.as_deref()?, alias, "name");
                let value = self.literal(test.rexpr.as_deref()?)?;
                (equals && column).then_some(value)
            }
            _ => None,
        }
    }

    /// The text of a quoted constant, seen through casts that leave it as it is. An argument by name may stand in
    /// any place, so it is none.
    fn literal(&mut self, node: &Node) -> Option<String> {
        match node.node.as_ref()? {
            NodeEnum::AConst(constant) => match constant.val.as_ref()? {
                a_const::Val::Sval(text) => Some(text.sval.clone()),
                _ => None,
            },
            NodeEnum::TypeCast(cast) => {
                let name = cast.type_name.as_ref().filter(|name| name.typmods.is_empty())?;
                let of = self.type_name(name);
                matches!(of, Ty::Known(TEXT | VARCHAR | REGCLASS))
                    .then(|| self.literal(cast.arg.as_deref()?))
                    .flatten()
            }
            _ => None,
        }
    }

    /// A sequence named by a literal. Any other may be each of them.
    fn sequence(&mut self, arguments: &[Node], verb: Verb, location: i32) {
        let text = arguments.first().and_then(|node| self.literal(node));
        let Some(text) = text.filter(|text| !text.bytes().all(|b| b.is_ascii_digit() || b == b' ')) else {
            self.plain(verb, Object::Unresolved("a computed sequence".to_owned()), location);
            return;
        };
        let parts = super::settings::identifiers(&text, '.');
        let (schema, name) = match &parts[..] {
            [name] => (None, name.as_str()),
            [.., schema, name] => (Some(schema.as_str()), name.as_str()),
            [] => return,
        };
        let source = self.relation_named(schema, name, verb, location);
        let none = Columns::none();
        let deed = Deed { filtered: true, position: self.position(location), ..Deed::new(verb, &none) };
        self.deed(&source, deed);
    }
}

/// Whether an expression is a column, alone or behind its table's alias.
fn is_column(node: &Node, alias: &str, name: &str) -> bool {
    let Some(NodeEnum::ColumnRef(column)) = &node.node else { return false };
    match &column.fields[..] {
        [own] => string(own) == Some(name),
        [of, own] => string(of) == Some(alias) && string(own) == Some(name),
        _ => false,
    }
}
