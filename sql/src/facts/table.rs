//! CREATE TABLE, ALTER TABLE, indexes, and the expressions that they store or run.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AlterTableCmd, AlterTableStmt, AlterTableType, ColumnDef, Constraint, CreateStmt, CreateTableAsStmt,
    IndexStmt, IntoClause, Node, PartitionBoundSpec, RangeVar,
};
use policy::{Columns, Object, Verb};

use super::names::strings;
use super::range::{Item, Outputs};
use super::target::Deed;
use super::types::Ty;
use super::walk::Walk;

impl Walk<'_> {
    pub(super) fn create_table(&mut self, create: &CreateStmt) {
        let Some(name) = &create.relation else {
            self.unknown("CREATE TABLE of nothing");
            return;
        };
        self.new_relation(name, Verb::Create);
        for node in &create.inh_relations {
            if let Some(NodeEnum::RangeVar(parent)) = &node.node {
                self.on_relation(parent, Verb::Alter);
            }
        }
        self.on_open_level(|walk| {
            for node in create.table_elts.iter().chain(&create.constraints) {
                walk.table_element(node);
            }
            if let Some(bound) = &create.partbound {
                walk.bound(bound);
            }
            if let Some(spec) = &create.partspec {
                for node in &spec.part_params {
                    if let Some(NodeEnum::PartitionElem(element)) = &node.node {
                        walk.optional(element.expr.as_deref());
                    }
                }
            }
        });
    }

    /// A level of FROM where every name is a column of the table that is defined.
    pub(super) fn on_open_level(&mut self, walk: impl FnOnce(&mut Self)) {
        self.on_new_level(|inner| {
            let outputs = Outputs { open: true, ..Outputs::default() };
            inner.level.items.push(Item::made("", &outputs));
            inner.kept_for_later(walk);
        });
    }

    /// Walks what is kept, to run later.
    pub(super) fn kept_for_later(&mut self, walk: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.storing, true);
        walk(self);
        self.storing = outer;
    }

    fn table_element(&mut self, node: &Node) {
        match &node.node {
            Some(NodeEnum::ColumnDef(column)) => self.column_definition(column),
            Some(NodeEnum::Constraint(constraint)) => self.constraint(constraint),
            Some(NodeEnum::TableLikeClause(like)) => {
                if let Some(name) = &like.relation {
                    let source = self.relation(name, Verb::Select);
                    let none = Columns::none();
                    let position = self.position(name.location);
                    let deed = Deed { inherits: false, position, ..Deed::new(Verb::Select, &none) };
                    self.deed(&source, deed);
                }
            }
            _ => self.unknown("a table element of an unknown kind"),
        }
    }

    pub(super) fn column_definition(&mut self, column: &ColumnDef) {
        if let Some(name) = &column.type_name {
            // The rows that there are get the new type: its checks run on them.
            let of = self.type_name(name);
            self.cast(Ty::Literal, of, 'a', name.location);
        }
        self.optional(column.raw_default.as_deref());
        for node in &column.constraints {
            self.table_element(node);
        }
    }

    pub(super) fn constraint(&mut self, constraint: &Constraint) {
        self.optional(constraint.raw_expr.as_deref());
        self.optional(constraint.where_clause.as_deref());
        for node in &constraint.exclusions {
            let Some(NodeEnum::List(pair)) = &node.node else { continue };
            self.index_elements(pair.items.get(..1).unwrap_or_default());
            if let Some(NodeEnum::List(names)) = pair.items.get(1).and_then(|node| node.node.as_ref()) {
                self.operator(
                    &strings(&names.items),
                    Some(Ty::Unknown),
                    Some(Ty::Unknown),
                    constraint.location,
                );
            }
        }
        if let Some(referenced) = &constraint.pktable {
            // A foreign key tells which values exist there.
            let columns = strings(&constraint.pk_attrs).into_iter().map(str::to_owned).collect();
            let columns = if constraint.pk_attrs.is_empty() { Columns::All } else { Columns::Set(columns) };
            let source = self.relation(referenced, Verb::Select);
            let position = self.position(referenced.location);
            self.deed(&source, Deed { position, ..Deed::new(Verb::Select, &columns) });
        }
    }

    fn bound(&mut self, bound: &PartitionBoundSpec) {
        for node in bound.listdatums.iter().chain(&bound.lowerdatums).chain(&bound.upperdatums) {
            match &node.node {
                Some(NodeEnum::PartitionRangeDatum(datum)) => self.optional(datum.value.as_deref()),
                _ => self.optional(Some(node)),
            }
        }
    }

    /// CREATE TABLE AS and CREATE MATERIALIZED VIEW.
    pub(super) fn create_table_as(&mut self, create: &CreateTableAsStmt) {
        if let Some(node) = create.query.as_deref() {
            match &node.node {
                Some(NodeEnum::ExecuteStmt(execute)) => self.execute_prepared(execute),
                _ => {
                    self.query(node);
                }
            }
        }
        match create.into.as_deref() {
            Some(into) => self.create_from_query(into),
            None => self.unknown("CREATE TABLE AS of nothing"),
        }
    }

    /// The table that a query fills.
    pub(super) fn create_from_query(&mut self, into: &IntoClause) {
        let Some(name) = &into.rel else {
            self.unknown("SELECT INTO of nothing");
            return;
        };
        for made in self.new_relation(name, Verb::Create) {
            let object = Object::Relation(made);
            let access = policy::Access::new(self.verb(Verb::Insert), object);
            let position = self.position(name.location);
            self.access(policy::Access { columns: Columns::All, position, ..access });
        }
    }

    pub(super) fn create_index(&mut self, index: &IndexStmt) {
        let Some(name) = &index.relation else {
            self.unknown("CREATE INDEX on nothing");
            return;
        };
        self.on_relation(name, Verb::Create);
        self.on_open_level(|walk| {
            walk.index_elements(&index.index_params);
            walk.index_elements(&index.index_including_params);
            walk.optional(index.where_clause.as_deref());
        });
    }

    fn index_elements(&mut self, nodes: &[Node]) {
        for node in nodes {
            if let Some(NodeEnum::IndexElem(element)) = &node.node {
                self.optional(element.expr.as_deref());
            }
        }
    }

    pub(super) fn alter_table(&mut self, alter: &AlterTableStmt) {
        let Some(name) = &alter.relation else {
            self.unknown("ALTER TABLE of nothing");
            return;
        };
        if alter.objtype() == pg_query::protobuf::ObjectType::ObjectType {
            self.in_schema(&relation_parts(name), Verb::Alter);
        } else {
            self.on_relation(name, Verb::Alter);
        }
        self.on_open_level(|walk| {
            for node in &alter.cmds {
                match &node.node {
                    Some(NodeEnum::AlterTableCmd(command)) => walk.alter_command(command),
                    _ => walk.unknown("ALTER TABLE of an unknown kind"),
                }
            }
        });
    }

    fn alter_command(&mut self, command: &AlterTableCmd) {
        match command.subtype() {
            AlterTableType::Undefined => self.unknown("ALTER TABLE of an unknown kind"),
            // The new owner may do what this role may not.
            AlterTableType::AtChangeOwner => self.plain(Verb::Grant, Object::Session, -1),
            _ => {}
        }
        self.cascades(command.behavior());
        match command.def.as_deref().and_then(|node| node.node.as_ref()) {
            None => {}
            Some(NodeEnum::ColumnDef(column)) => self.column_definition(column),
            Some(NodeEnum::Constraint(constraint)) => self.constraint(constraint),
            Some(NodeEnum::RangeVar(other)) => {
                self.on_relation(other, Verb::Alter);
            }
            Some(NodeEnum::PartitionCmd(command)) => {
                if let Some(name) = &command.name {
                    self.on_relation(name, Verb::Alter);
                }
                if let Some(bound) = &command.bound {
                    self.bound(bound);
                }
            }
            Some(
                NodeEnum::List(_)
                | NodeEnum::DefElem(_)
                | NodeEnum::Integer(_)
                | NodeEnum::String(_)
                | NodeEnum::RoleSpec(_)
                | NodeEnum::TypeName(_)
                | NodeEnum::ReplicaIdentityStmt(_)
                | NodeEnum::AtalterConstraint(_),
            ) => {}
            // SET DEFAULT and the like.
            Some(_) => self.optional(command.def.as_deref()),
        }
    }
}

/// Schema and name as written.
fn relation_parts(name: &RangeVar) -> Vec<&str> {
    if name.schemaname.is_empty() { vec![&name.relname] } else { vec![&name.schemaname, &name.relname] }
}
