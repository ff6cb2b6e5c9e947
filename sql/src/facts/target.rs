//! The relations of a statement: what is read of each, and the accesses that come of it.

use std::sync::Arc;

use policy::{Access, Columns, Object, RelationName, Verb, Via, ViaKind};

use super::builtin;
use super::walk::Walk;
use crate::builtins::BuiltinRelation;
use crate::catalog::Relation;

/// A relation that the statement names, once for each time it does.
pub(super) struct Target {
    pub(super) source: Source,
    via: Vec<Via>,
    /// Its partitions and children belong to it here: no ONLY.
    pub(super) inherits: bool,
    /// Whether anything reads it, and which columns.
    reads: bool,
    columns: Columns,
    /// How often a column of it was mentioned.
    mentions: usize,
    position: Option<u32>,
}

/// What a name turned out to be.
#[derive(Clone)]
pub(super) enum Source {
    Known(Arc<Relation>),
    System(&'static BuiltinRelation),
    /// Nothing, or nothing yet: other entries say so.
    Missing,
}

impl Target {
    /// The views it is inside of.
    pub(super) fn way(&self) -> &[Via] {
        &self.via
    }

    pub(super) fn read(&mut self, columns: Columns) {
        self.reads = true;
        self.mentions += 1;
        self.columns.unite(columns);
    }
}

/// What is done to a relation.
#[derive(Clone, Copy)]
pub(super) struct Deed<'d> {
    pub(super) verb: Verb,
    pub(super) columns: &'d Columns,
    pub(super) filtered: bool,
    pub(super) inherits: bool,
    pub(super) position: Option<u32>,
}

impl<'d> Deed<'d> {
    /// Something done to a relation and its children as a whole.
    pub(super) const fn new(verb: Verb, columns: &'d Columns) -> Self {
        Self { verb, columns, filtered: false, inherits: true, position: None }
    }
}

impl<'a> Walk<'a> {
    /// Takes a relation into the statement; nothing is read of it yet.
    pub(super) fn target(&mut self, source: Source, inherits: bool, location: i32) -> usize {
        let position = self.position(location);
        self.targets.push(Target {
            source,
            via: self.via.clone(),
            inherits,
            reads: false,
            columns: Columns::none(),
            mentions: 0,
            position,
        });
        self.targets.len() - 1
    }

    /// Counts a relation as read even if no column is.
    pub(super) fn reads(&mut self, target: usize) {
        if let Some(target) = self.targets.get_mut(target) {
            target.reads = true;
        }
    }

    /// How often columns of a relation were mentioned so far.
    pub(super) fn mentions(&self, target: usize) -> usize {
        self.targets.get(target).map_or(0, |target| target.mentions)
    }

    /// Turns what was read of each relation into accesses.
    pub(super) fn settle(&mut self) {
        for target in std::mem::take(&mut self.targets) {
            if target.reads {
                self.via.clone_from(&target.via);
                let mut deed = Deed::new(Verb::Select, &target.columns);
                deed.inherits = target.inherits;
                deed.position = target.position;
                self.deed(&target.source, deed);
            }
        }
        self.via.clear();
    }

    /// The accesses of doing something to a relation, and to its children.
    pub(super) fn deed(&mut self, source: &Source, deed: Deed<'_>) {
        match source {
            Source::Known(relation) => self.deed_on_known(relation, deed),
            Source::System(relation) => self.deed_on_system(relation, deed),
            Source::Missing => {}
        }
    }

    fn relation_access(&self, name: RelationName, columns: &Columns, deed: Deed<'_>) -> Access {
        let object = Object::Relation(name);
        Access {
            columns: columns.clone(),
            via: self.via.clone(),
            filtered: deed.filtered,
            position: deed.position,
            ..Access::new(self.verb(deed.verb), object)
        }
    }

    fn deed_on_known(&mut self, relation: &Relation, deed: Deed<'_>) {
        let name = self.named(&relation.schema, &relation.name);
        let access = self.relation_access(name.clone(), deed.columns, deed);
        let ancestors = relation.ancestors.iter().map(|name| self.named(&name.schema, &name.name));
        self.access(Access { ancestors: ancestors.collect(), ..access });
        if !deed.inherits || relation.children.is_empty() {
            return;
        }
        let all: Columns = Columns::Set(relation.columns.iter().map(|c| c.name.clone()).collect());
        let columns = if *deed.columns == Columns::All { &all } else { deed.columns };
        self.via.push(Via { kind: ViaKind::Parent, relation: name });
        for child in &relation.children {
            let child = self.named(&child.schema, &child.name);
            let access = self.relation_access(child, columns, deed);
            self.access(access);
        }
        self.via.pop();
    }

    fn deed_on_system(&mut self, relation: &BuiltinRelation, deed: Deed<'_>) {
        let name = RelationName::new(relation.schema, relation.name);
        let baseline =
            deed.verb == Verb::Select && builtin::readable(self.scope.version, relation, deed.columns);
        let access = self.relation_access(name, deed.columns, deed);
        self.access(Access { baseline, ..access });
    }
}
