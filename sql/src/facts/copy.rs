//! COPY: to and from the client only.

use std::collections::BTreeSet;

use pg_query::protobuf::CopyStmt;
use policy::{Access, Columns, Object, Verb};

use super::names::strings;
use super::target::{Deed, Source};
use super::types::Ty;
use super::walk::Walk;
use super::{Effect, Reason};

impl Walk<'_> {
    pub(super) fn copy(&mut self, copy: &CopyStmt) {
        if copy.is_program || !copy.filename.is_empty() {
            let what = if copy.is_program { "PROGRAM" } else { "a file" };
            let message = format!("COPY with {what} on the server is never forwarded; use STDIN or STDOUT");
            self.refuse(Reason::ServerFile, message, -1);
            return;
        }
        self.effects.push(if copy.is_from { Effect::CopyIn } else { Effect::CopyOut });
        if let Some(query) = copy.query.as_deref() {
            self.copy_query(query);
            return;
        }
        let Some(name) = &copy.relation else {
            self.unknown("COPY of nothing");
            return;
        };
        let columns: BTreeSet<String> = strings(&copy.attlist).into_iter().map(str::to_owned).collect();
        let columns = if columns.is_empty() { Columns::All } else { Columns::Set(columns) };
        let verbs = if copy.is_from { [Verb::CopyFrom, Verb::Insert] } else { [Verb::CopyTo, Verb::Select] };
        let source = self.relation(name, verbs[0]);
        // COPY TO reads the table alone; COPY FROM goes through to partitions.
        let partitioned = matches!(&source, Source::Known(relation) if relation.is_partitioned());
        for verb in verbs {
            let position = self.position(name.location);
            let deed = Deed { inherits: copy.is_from && partitioned, position, ..Deed::new(verb, &columns) };
            if copy.is_from {
                self.write(&source, deed);
            } else {
                self.deed(&source, deed);
            }
        }
        if copy.is_from {
            self.arrives(&source, &columns, name);
        } else {
            self.unfold(&source);
        }
        if let Some(condition) = copy.where_clause.as_deref() {
            let target = self.target(source.clone(), false, name.location);
            let item = self.item(&source, target, name);
            self.on_new_level(|walk| {
                walk.level.items.push(item);
                walk.expression(condition);
            });
        }
    }

    /// The values come as text or bytes of their columns' types: the checks of domains run on them.
    fn arrives(&mut self, source: &Source, columns: &Columns, name: &pg_query::protobuf::RangeVar) {
        let Source::Known(relation) = source else { return };
        for column in &relation.columns {
            let copied = match columns {
                Columns::All => true,
                Columns::Set(names) => names.contains(&column.name),
            };
            if copied {
                self.cast(Ty::Literal, Ty::of(column.of), 'a', name.location);
            }
        }
    }

    /// COPY (query) TO: what the query reads of relations is copied out too.
    fn copy_query(&mut self, query: &pg_query::protobuf::Node) {
        self.query(query);
        self.settle();
        let read = self.found.iter().filter(|access| access.verb == Verb::Select);
        let copied: Vec<Access> =
            read.map(|access| Access { verb: Verb::CopyTo, ..access.clone() }).collect();
        if copied.is_empty() {
            self.plain(Verb::CopyTo, Object::Session, -1);
        }
        for access in copied {
            self.access(access);
        }
    }
}
