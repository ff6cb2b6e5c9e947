//! GRANT, REVOKE, roles and default privileges.

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{GrantStmt, GrantTargetType, Node, ObjectType};
use policy::{Columns, Object, Verb};

use super::Effect;
use super::names::strings;
use super::objects::{arguments_of, name_parts};
use super::target::Deed;
use super::walk::Walk;

impl Walk<'_> {
    pub(super) fn grant_statement(&mut self, node: &NodeEnum) {
        match node {
            NodeEnum::GrantStmt(grant) => self.grant(grant),
            NodeEnum::GrantRoleStmt(grant) => {
                let verb = if grant.is_grant { Verb::Grant } else { Verb::Revoke };
                self.plain(verb, Object::Session, -1);
            }
            NodeEnum::AlterDefaultPrivilegesStmt(defaults) => {
                let grants = defaults.action.as_ref().is_none_or(|action| action.is_grant);
                self.plain(if grants { Verb::Grant } else { Verb::Revoke }, Object::Session, -1);
            }
            // Roles: what they may do is what is granted.
            _ => {
                self.plain(Verb::Grant, Object::Session, -1);
                self.effects.push(Effect::Role);
            }
        }
        self.effects.push(Effect::Ddl);
    }

    fn grant(&mut self, grant: &GrantStmt) {
        let verb = if grant.is_grant { Verb::Grant } else { Verb::Revoke };
        match grant.targtype() {
            GrantTargetType::AclTargetAllInSchema => {
                for name in strings(&grant.objects) {
                    self.on_schema(name, verb);
                }
            }
            GrantTargetType::AclTargetObject => {
                let columns = columns(&grant.privileges);
                for object in &grant.objects {
                    self.grant_object(grant.objtype(), object, verb, &columns);
                }
            }
            GrantTargetType::AclTargetDefaults | GrantTargetType::Undefined => {
                self.plain(verb, Object::Session, -1);
            }
        }
    }

    fn grant_object(&mut self, kind: ObjectType, object: &Node, verb: Verb, columns: &Columns) {
        match (kind, &object.node) {
            (_, Some(NodeEnum::RangeVar(name))) => {
                let source = self.relation(name, verb);
                let position = self.position(name.location);
                self.deed(&source, Deed { position, ..Deed::new(verb, columns) });
            }
            (ObjectType::ObjectFunction | ObjectType::ObjectProcedure | ObjectType::ObjectRoutine, _) => {
                self.on_functions(&name_parts(object), arguments_of(object), verb);
            }
            _ => self.on_object(kind, Some(object), verb),
        }
    }
}

/// The columns that privileges are given on; all where none are named.
fn columns(privileges: &[Node]) -> Columns {
    let mut names = BTreeSet::new();
    for node in privileges {
        let Some(NodeEnum::AccessPriv(privilege)) = &node.node else { return Columns::All };
        if privilege.cols.is_empty() {
            return Columns::All;
        }
        names.extend(strings(&privilege.cols).into_iter().map(str::to_owned));
    }
    if names.is_empty() { Columns::All } else { Columns::Set(names) }
}
