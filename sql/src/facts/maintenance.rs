//! VACUUM, ANALYZE, CLUSTER, REINDEX, REFRESH, CHECKPOINT.

use pg_query::NodeEnum;
use pg_query::protobuf::{RangeVar, RefreshMatViewStmt, ReindexObjectType};
use policy::{Columns, Object, Verb};

use super::target::Deed;
use super::walk::Walk;

impl Walk<'_> {
    pub(super) fn maintenance(&mut self, node: &NodeEnum) {
        match node {
            NodeEnum::VacuumStmt(vacuum) => {
                for node in &vacuum.rels {
                    match &node.node {
                        Some(NodeEnum::VacuumRelation(relation)) => self.maintain(relation.relation.as_ref()),
                        _ => self.unknown("VACUUM of an unknown kind"),
                    }
                }
                if vacuum.rels.is_empty() {
                    self.maintain(None);
                }
            }
            NodeEnum::ClusterStmt(cluster) => self.maintain(cluster.relation.as_ref()),
            NodeEnum::ReindexStmt(reindex) => match reindex.kind() {
                ReindexObjectType::ReindexObjectSchema => {
                    self.plain(Verb::Maintain, Object::Schema(reindex.name.clone()), -1);
                }
                _ => self.maintain(reindex.relation.as_ref()),
            },
            NodeEnum::RefreshMatViewStmt(refresh) => self.refresh(refresh),
            NodeEnum::CheckPointStmt(_) => self.maintain(None),
            _ => self.unknown("maintenance of an unknown kind"),
        }
    }

    pub(super) fn refresh(&mut self, refresh: &RefreshMatViewStmt) {
        self.maintain(refresh.relation.as_ref());
    }

    /// A relation, or the whole database.
    fn maintain(&mut self, name: Option<&RangeVar>) {
        let Some(name) = name else {
            self.plain(Verb::Maintain, Object::Session, -1);
            return;
        };
        let source = self.relation(name, Verb::Maintain);
        let none = Columns::none();
        let position = self.position(name.location);
        let deed = Deed { inherits: name.inh, position, ..Deed::new(Verb::Maintain, &none) };
        self.deed(&source, deed);
    }
}
