//! SET, RESET and set_config: which setting, whether the baseline covers it, and values that are never let
//! through because they change how text is read.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, VariableSetKind, VariableSetStmt, a_const};
use policy::{Access, Object, Verb};

use super::builtin;
use super::walk::Walk;
use super::{Effect, Reason};

/// A change of one setting.
pub(super) struct Change<'c> {
    pub(super) name: &'c str,
    pub(super) value: Value,
    pub(super) local: bool,
    pub(super) location: i32,
}

/// The value that a setting is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// DEFAULT, RESET.
    Default,
    /// The items of SET.
    Items(Vec<String>),
    /// The one text of set_config.
    Text(String),
    /// Known at run time only.
    Computed,
}

impl Value {
    /// The value as one text.
    fn text(&self) -> Option<String> {
        match self {
            Self::Items(items) => Some(items.join(", ")),
            Self::Text(text) => Some(text.clone()),
            Self::Default | Self::Computed => None,
        }
    }
}

impl Walk<'_> {
    pub(super) fn variable_set(&mut self, set: &VariableSetStmt) {
        match set.kind() {
            VariableSetKind::VarResetAll => {
                self.baseline(Verb::Discard, Object::Session);
                self.effects.push(Effect::ResetAll);
            }
            VariableSetKind::VarSetMulti => self.set_multi(set),
            VariableSetKind::VarSetValue => {
                let path = set.name.eq_ignore_ascii_case("search_path");
                let items = set.args.iter().filter_map(item);
                // Names in a path are cut like names elsewhere.
                let items: Vec<String> = if path {
                    items.map(|name| truncated(&name).to_owned()).collect()
                } else {
                    items.collect()
                };
                let value = if items.len() == set.args.len() { Value::Items(items) } else { Value::Computed };
                self.setting(Change { name: &set.name, value, local: set.is_local, location: set.location });
            }
            VariableSetKind::VarSetDefault | VariableSetKind::VarReset => {
                let value = Value::Default;
                self.setting(Change { name: &set.name, value, local: set.is_local, location: set.location });
            }
            VariableSetKind::VarSetCurrent | VariableSetKind::Undefined => self.unknown("SET … FROM CURRENT"),
        }
    }

    /// SET TRANSACTION, SET SESSION CHARACTERISTICS, SET TRANSACTION SNAPSHOT.
    fn set_multi(&mut self, set: &VariableSetStmt) {
        match set.name.as_str() {
            "TRANSACTION" | "SESSION CHARACTERISTICS" => {
                self.baseline(Verb::Transaction, Object::Session);
                self.transaction_modes(&set.args, set.name != "TRANSACTION");
            }
            "TRANSACTION SNAPSHOT" => {
                self.plain(Verb::Set, Object::Setting("transaction_snapshot".to_owned()), set.location);
            }
            _ => self.unknown("SET of several settings"),
        }
    }

    /// The isolation level among transaction modes.
    pub(super) fn transaction_modes(&mut self, modes: &[Node], session: bool) {
        for node in modes {
            let Some(NodeEnum::DefElem(element)) = &node.node else { continue };
            if element.defname == "transaction_isolation"
                && let Some(level) = element.arg.as_deref().and_then(item)
            {
                self.effects.push(Effect::Isolation { level: level.to_ascii_lowercase(), session });
            }
        }
    }

    /// Counts a change of a setting.
    pub(super) fn setting(&mut self, change: Change<'_>) {
        let name = change.name.to_ascii_lowercase();
        if matches!(name.as_str(), "role" | "session_authorization") {
            self.plain(Verb::SetRole, Object::Session, change.location);
            self.effects.push(Effect::Role);
            self.effects.push(Effect::SearchPathMayChange);
            return;
        }
        if !self.readable_after(&name, &change) {
            return;
        }
        let text = change.value.text();
        let listed = builtin::baseline_setting(&name, text.as_deref(), change.value == Value::Default);
        let baseline = listed && (name != "search_path" || keeps_builtins_first(&change.value));
        let position = self.position(change.location);
        let access = Access::new(self.verb(Verb::Set), Object::Setting(name.clone()));
        self.access(Access { baseline, via: self.via.clone(), position, ..access });
        self.setting_effect(name, change);
    }

    /// Values that would change how the text of statements is read are refused whatever the policy says.
    fn readable_after(&mut self, name: &str, change: &Change<'_>) -> bool {
        let text = change.value.text();
        let fine = match name {
            "client_encoding" => change.value == Value::Default || text.as_deref().is_some_and(is_utf8),
            "standard_conforming_strings" => {
                change.value == Value::Default || text.as_deref().is_some_and(is_on)
            }
            _ => true,
        };
        if !fine {
            let wanted = if name == "client_encoding" { "UTF8" } else { "on" };
            let message = format!("`{name}` can only be set to {wanted} here");
            self.refuse(Reason::Setting, message, change.location);
        }
        fine
    }

    fn setting_effect(&mut self, name: String, change: Change<'_>) {
        let path = name == "search_path";
        // A call of set_config may come late, more than once, or not at all.
        let sure = matches!(change.value, Value::Items(_) | Value::Default);
        let value = match change.value {
            Value::Items(items) => Some(items),
            Value::Text(text) if path => Some(identifiers(&text, ',')),
            Value::Text(text) => Some(vec![text]),
            Value::Default | Value::Computed => None,
        };
        let isolation = matches!(name.as_str(), "transaction_isolation" | "default_transaction_isolation");
        if let (true, Some(level)) = (isolation, &value) {
            let session = name.starts_with("default");
            self.effects.push(Effect::Isolation { level: level.concat().to_ascii_lowercase(), session });
        }
        self.effects.push(Effect::Set { name, value, local: change.local });
        if path && !sure {
            self.effects.push(Effect::SearchPathMayChange);
        }
    }
}

/// Whether a search path leaves built-in names before all others. Where a user's schema comes first, built-in
/// functions and views that are written in SQL run that schema's operators.
fn keeps_builtins_first(value: &Value) -> bool {
    let schemas = match value {
        Value::Default => return true,
        Value::Computed => return false,
        Value::Items(items) => items.clone(),
        Value::Text(text) => identifiers(text, ','),
    };
    schemas.iter().position(|schema| schema == "pg_catalog").is_none_or(|at| at == 0)
}

/// One item of a SET list.
fn item(node: &Node) -> Option<String> {
    match node.node.as_ref()? {
        NodeEnum::AConst(constant) => Some(match constant.val.as_ref()? {
            a_const::Val::Sval(text) => text.sval.clone(),
            a_const::Val::Ival(number) => number.ival.to_string(),
            a_const::Val::Fval(number) => number.fval.clone(),
            a_const::Val::Boolval(value) => value.boolval.to_string(),
            a_const::Val::Bsval(bits) => bits.bsval.clone(),
        }),
        NodeEnum::TypeCast(cast) => item(cast.arg.as_deref()?),
        NodeEnum::String(text) => Some(text.sval.clone()),
        NodeEnum::Integer(number) => Some(number.ival.to_string()),
        NodeEnum::Float(number) => Some(number.fval.clone()),
        _ => None,
    }
}

/// Names of encodings are compared without case and punctuation.
fn is_utf8(text: &str) -> bool {
    let plain: String =
        text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    plain == "utf8" || plain == "unicode"
}

fn is_on(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "on" | "true" | "yes" | "1")
}

/// Splits a list of names as PostgreSQL does: outside double quotes spaces go and case is folded.
pub(super) fn identifiers(text: &str, separator: char) -> Vec<String> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                name.push('"');
            }
            '"' => quoted = !quoted,
            c if quoted => name.push(c),
            c if c == separator => names.push(std::mem::take(&mut name)),
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' => {}
            c => name.push(c.to_ascii_lowercase()),
        }
    }
    names.push(name);
    names.into_iter().map(|name| truncated(&name).to_owned()).collect()
}

/// A name as long as the server keeps it.
pub(super) fn truncated(name: &str) -> &str {
    /// `NAMEDATALEN`, less its terminator.
    const LONGEST: usize = 63;
    name.get(..name.floor_char_boundary(LONGEST)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_a_setting_are_read_as_the_server_reads_them() {
        assert_eq!(
            identifiers("app, \"$user\" ,\"A\"\"b\", PUBLIC", ','),
            ["app", "$user", "A\"b", "public"]
        );
        assert_eq!(identifiers("app.\"My.Seq\"", '.'), ["app", "My.Seq"]);
        assert!(is_utf8("utf-8") && is_utf8("UNICODE") && !is_utf8("SQL_ASCII") && !is_utf8("utf8x"));
    }
}
