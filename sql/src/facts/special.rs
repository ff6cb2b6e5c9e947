//! Built-in functions that do what a statement of its own does: their literal arguments say to what.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, a_const};
use policy::{Columns, Object, Verb};

use super::functions::literal;
use super::names::{qualified, strings};
use super::settings::{Change, Value};
use super::target::Deed;
use super::types::Ty;
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
                let channel = arguments.first().and_then(literal);
                let object = channel.map_or_else(
                    || Object::Unresolved("a computed channel".to_owned()),
                    |channel| Object::Channel(channel.to_owned()),
                );
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
        let pinned = || match &name.node {
            Some(NodeEnum::ColumnRef(column)) if strings(&column.fields).last() == Some(&"name") => {
                self.pinned_setting.clone()
            }
            _ => None,
        };
        let Some(name) = literal(name).map(str::to_owned).or_else(pinned) else { return false };
        let local = match local.node.as_ref() {
            Some(NodeEnum::AConst(constant)) => {
                matches!(&constant.val, Some(a_const::Val::Boolval(value)) if value.boolval)
            }
            _ => false,
        };
        let value = literal(value).map_or(Value::Computed, |text| Value::Text(text.to_owned()));
        self.setting(Change { name: &name, value, local, location });
        true
    }

    /// A sequence named by a literal.
    fn sequence(&mut self, arguments: &[Node], verb: Verb, location: i32) {
        let Some(text) = arguments.first().and_then(literal) else { return };
        let parts = super::settings::identifiers(text, '.');
        let (schema, name) = match &parts[..] {
            [name] => (None, name.as_str()),
            [.., schema, name] => (Some(schema.as_str()), name.as_str()),
            [] => return,
        };
        if name.bytes().all(|b| b.is_ascii_digit()) {
            return;
        }
        let source = self.relation_named(schema, name, verb, location);
        let none = Columns::none();
        let deed = Deed { filtered: true, position: self.position(location), ..Deed::new(verb, &none) };
        self.deed(&source, deed);
    }
}

/// The literal that a condition pins the column `name` to: alone, or one of several that must all hold.
pub(super) fn pinned_name(condition: &Node) -> Option<String> {
    use pg_query::protobuf::{AExprKind, BoolExprType};
    match condition.node.as_ref()? {
        NodeEnum::BoolExpr(all) if all.boolop() == BoolExprType::AndExpr => {
            all.args.iter().find_map(pinned_name)
        }
        NodeEnum::AExpr(test) if test.kind() == AExprKind::AexprOp => {
            let equals = matches!(strings(&test.name)[..], ["="] | ["pg_catalog", "="]);
            let column = match test.lexpr.as_deref()?.node.as_ref()? {
                NodeEnum::ColumnRef(column) => strings(&column.fields).last() == Some(&"name"),
                _ => false,
            };
            let value = literal(test.rexpr.as_deref()?)?;
            (equals && column).then(|| value.to_owned())
        }
        _ => None,
    }
}
