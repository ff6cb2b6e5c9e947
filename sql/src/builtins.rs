//! What is compiled in about PostgreSQL itself, per server version 13 to 18: functions, types, operators, casts
//! and system relations; which functions are harmless, which relations the baseline reads, which settings it lets
//! be set.
//!
//! ```text
//! servers 13 … 18 ── generate.sh ──> catalog.tsv ─┐
//!               people ── review ──> harmless.txt, refused.txt, catalog-allow.txt, settings.txt
//!                                                 └─> parsed once, at first use
//! ```
//! Everything fails closed: what no list names is not harmless, not readable, not to be set.

mod function;
mod operator;
mod relation;
mod review;
mod setting;
mod table;
mod types;
mod version;

pub use function::{BuiltinFunction, FunctionKind, all_functions, function_by_oid, functions};
pub use operator::{
    BuiltinCast, BuiltinOperator, all_operators, casts, operator_exists, operator_harmless, operators,
};
pub use relation::{BuiltinRelation, catalog_readable, relation, relations};
pub use review::{Class, Why};
pub use setting::{SettingRule, baseline_setting};
pub use types::{BuiltinType, type_by_name, type_by_oid, type_spelled, types};
pub use version::{ALL_VERSIONS, UnknownVersion, Version};
