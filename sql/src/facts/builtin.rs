//! The one door to what is compiled in about PostgreSQL.

use policy::{Columns, FunctionName};

use crate::builtins::Version;

/// A built-in function.
#[derive(Clone, Copy)]
pub(super) struct Function {
    arguments: &'static [u32],
    result: u32,
}

impl Function {
    pub(super) const fn arguments(&self) -> &[u32] {
        self.arguments
    }

    pub(super) const fn defaults(&self) -> usize {
        0
    }

    pub(super) const fn variadic(&self) -> bool {
        false
    }

    pub(super) const fn result(&self) -> u32 {
        self.result
    }

    pub(super) const fn harmless(&self) -> bool {
        false
    }

    pub(super) fn signature(&self) -> FunctionName {
        FunctionName { schema: String::new(), name: String::new(), arguments: Vec::new(), extension: None }
    }
}

/// A system relation.
#[derive(Clone, Copy)]
pub(super) struct SystemRelation<'a> {
    pub(super) schema: &'a str,
    pub(super) name: &'a str,
}

impl<'a> SystemRelation<'a> {
    pub(super) fn columns(&self) -> impl Iterator<Item = (&'a str, u32)> {
        std::iter::empty()
    }

    pub(super) fn column(&self, name: &str) -> Option<u32> {
        self.columns().find(|(known, _)| *known == name).map(|(_, of)| of)
    }

    /// Whether the baseline lets these columns be read.
    pub(super) fn readable(&self, _version: Version, _columns: &Columns) -> bool {
        false
    }
}

pub(super) fn functions(_version: Version, _name: &str) -> Vec<Function> {
    Vec::new()
}

pub(super) fn function_by_oid(_version: Version, _oid: u32) -> Option<Function> {
    None
}

pub(super) fn operator_exists(_version: Version, _name: &str) -> bool {
    true
}

pub(super) fn operator_harmless(_version: Version, _name: &str) -> bool {
    true
}

pub(super) fn type_named(_version: Version, _name: &str) -> Option<u32> {
    None
}

pub(super) fn relation(_version: Version, _schema: &str, _name: &str) -> Option<SystemRelation<'static>> {
    None
}

pub(super) fn baseline_setting(_version: Version, _name: &str) -> bool {
    false
}
