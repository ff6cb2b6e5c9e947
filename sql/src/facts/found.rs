//! The accesses found so far: one entry per verb, object and way there, with the columns united.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use policy::{Access, FunctionName, Object, RelationName, Verb};

#[derive(PartialEq, Eq, Hash)]
enum Name {
    Relation(RelationName),
    Function(FunctionName),
    Other(u8, String),
}

#[derive(Default)]
pub(super) struct Found {
    accesses: Vec<Access>,
    places: HashMap<(Verb, Name), Vec<usize>>,
}

impl Found {
    pub(super) fn add(&mut self, access: Access) {
        let places = match self.places.entry((access.verb, name(&access.object))) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Vec::new()),
        };
        let same = places.iter().copied().find(|at| {
            self.accesses
                .get(*at)
                .is_some_and(|known| known.via == access.via && known.filtered == access.filtered)
        });
        match same.and_then(|at| self.accesses.get_mut(at)) {
            Some(known) => {
                known.columns.unite(access.columns);
                known.baseline &= access.baseline;
                known.position = known.position.or(access.position);
            }
            None => {
                places.push(self.accesses.len());
                self.accesses.push(access);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Access> {
        self.accesses.iter()
    }

    pub(super) fn into_accesses(self) -> Vec<Access> {
        self.accesses
    }
}

fn name(object: &Object) -> Name {
    match object {
        Object::Relation(name) => Name::Relation(name.clone()),
        Object::Function(name) => Name::Function(name.clone()),
        Object::Setting(name) => Name::Other(0, name.clone()),
        Object::Channel(name) => Name::Other(1, name.clone()),
        Object::Schema(name) => Name::Other(2, name.clone()),
        Object::Session => Name::Other(3, String::new()),
        Object::Unresolved(name) => Name::Other(4, name.clone()),
    }
}
