//! The one door to what is compiled in about PostgreSQL.

use std::collections::HashSet;
use std::sync::OnceLock;

use policy::{Columns, FunctionName};

use super::types::Ty;
use crate::builtins::{self, ALL_VERSIONS, BuiltinFunction, BuiltinRelation, SettingRule, Version};
use crate::catalog::Function;

pub(super) fn signature(function: &BuiltinFunction) -> FunctionName {
    FunctionName {
        schema: function.schema.to_owned(),
        name: function.name.to_owned(),
        arguments: function.spelled().map(str::to_owned).collect(),
        extension: None,
    }
}

/// Whether a schema's functions and relations are built in.
pub(super) fn is_system(schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "information_schema")
}

/// The built-in function that the catalog shows as this one.
pub(super) fn same(version: Version, function: &Function) -> Option<&'static BuiltinFunction> {
    if let Some(known) = builtins::function_by_oid(version, function.oid) {
        return Some(known);
    }
    // Some have another OID in every installation.
    let system = is_system(&function.schema) && function.oid < super::types::FIRST_USER;
    let all =
        if system { builtins::functions(version, &function.schema, &function.name) } else { Vec::new() };
    all.into_iter().find(|known| known.arguments.len() == function.arguments.len())
}

pub(super) fn type_named(version: Version, name: &str) -> Option<u32> {
    builtins::type_by_name(version, name).map(|of| of.oid)
}

/// The array of a built-in type.
pub(super) fn array_of(version: Version, oid: u32) -> Ty {
    let name = builtins::type_by_oid(version, oid).map(|of| format!("_{}", of.name));
    name.and_then(|name| type_named(version, &name)).map_or(Ty::Unknown, Ty::of)
}

/// The elements of a built-in array.
pub(super) fn element_of(version: Version, oid: u32) -> Ty {
    let array = builtins::type_by_oid(version, oid).filter(|of| of.name.starts_with('_'));
    let element = array.and_then(|of| of.element);
    element.and_then(|name| type_named(version, name)).map_or(Ty::Unknown, Ty::of)
}

/// What a subscript takes out of a built-in type.
pub(super) fn subscripted(version: Version, oid: u32) -> Ty {
    match oid {
        // name, int2vector, oidvector, and points
        19 => Ty::Known(18),
        22 => Ty::Known(21),
        30 => Ty::Known(26),
        600 | 628 => Ty::Known(701),
        601 | 603 => Ty::Known(600),
        _ => element_of(version, oid),
    }
}

/// Whether a value of one built-in type passes for another without being told to. True where either is not
/// known.
pub(super) fn passes(version: Version, from: u32, to: u32) -> bool {
    let known = |oid| builtins::type_by_oid(version, oid);
    let (Some(source), Some(target)) = (known(from), known(to)) else { return true };
    if from == to || implicit(version).contains(&(from, to)) || target.kind == 'p' {
        return true;
    }
    let array = |name: &str| name.starts_with('_');
    match (source.element, target.element) {
        (Some(left), Some(right)) if array(source.name) && array(target.name) => {
            match (type_named(version, left), type_named(version, right)) {
                (Some(left), Some(right)) => passes(version, left, right),
                _ => true,
            }
        }
        _ => source.kind == 'p' || (source.kind == 'c' && target.kind == 'c'),
    }
}

/// The implicit casts between built-in types.
fn implicit(version: Version) -> &'static HashSet<(u32, u32)> {
    static CASTS: [OnceLock<HashSet<(u32, u32)>>; ALL_VERSIONS.len()] = [const { OnceLock::new() }; 6];
    static NONE: OnceLock<HashSet<(u32, u32)>> = OnceLock::new();
    let at = ALL_VERSIONS.iter().position(|known| *known == version);
    at.and_then(|at| CASTS.get(at)).unwrap_or(&NONE).get_or_init(|| {
        let all = builtins::casts(version).filter(|cast| cast.context == 'i');
        all.map(|cast| (cast.source, cast.target)).collect()
    })
}

/// Whether the baseline lets these columns of a system relation be read.
pub(super) fn readable(version: Version, relation: &BuiltinRelation, columns: &Columns) -> bool {
    builtins::catalog_readable(version, relation.schema, relation.name, columns)
}

/// Whether the baseline lets a setting be set: to this value, or to one that is not known.
pub(super) fn baseline_setting(name: &str, value: Option<&str>, default: bool) -> bool {
    match (builtins::baseline_setting(name), value) {
        (None, _) => false,
        (Some(SettingRule::AnyValue), _) => true,
        (Some(rule @ SettingRule::OneOf(_)), Some(value)) => rule.accepts(value),
        (Some(SettingRule::OneOf(_)), None) => default,
    }
}
