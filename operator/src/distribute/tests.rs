use super::*;

fn pod(uid: &str, ready: bool) -> PodFacts {
    let identity = PodIdentity {
        namespace: "agents".to_owned(),
        name: uid.to_owned(),
        uid: uid.to_owned(),
        service_account: "planner".to_owned(),
    };
    PodFacts { identity, ip: None, labels: BTreeMap::new(), wanted: None, ready }
}

fn class(text: &str) -> Arc<Class> {
    let one = |name: &str| BTreeSet::from([name.to_owned()]);
    Arc::new(Class::new(text.as_bytes().to_vec(), one("shop/db"), one("shop/db"), one("shop/policy")))
}

fn classes(pods: &[&str], class: &Arc<Class>) -> HashMap<String, Arc<Class>> {
    pods.iter().map(|uid| ((*uid).to_owned(), Arc::clone(class))).collect()
}

fn key() -> Key {
    Key::AccessPolicy("shop/policy".to_owned())
}

fn observed(generation: i64) -> BTreeMap<Key, Observed> {
    BTreeMap::from([(key(), Observed { generation, programmed: false })])
}

struct World {
    distribution: Distribution,
    now: Instant,
}

impl World {
    fn new(pods: &[&str]) -> Self {
        let now = Instant::now();
        let mut distribution = Distribution::new(7, Duration::from_secs(3600));
        for uid in pods {
            distribution.place(pod(uid, true), now);
            distribution.opened(uid, now);
        }
        Self { distribution, now }
    }

    fn publish(&mut self, pods: &[&str], text: &str, generation: i64) -> usize {
        self.distribution.publish(classes(pods, &class(text)), &observed(generation), self.now).len()
    }

    fn acknowledge(&mut self, uid: &str) {
        let generation = self.distribution.assigned(uid).expect("has a class").generation;
        self.distribution.acknowledge(uid, generation, "", self.now);
    }

    fn progress(&self) -> Progress {
        self.distribution.progress(self.now).remove(&key()).expect("is known")
    }

    fn programmed(&self) -> Programmed {
        self.progress().programmed
    }
}

#[test]
fn a_resource_is_programmed_after_the_last_acknowledgement_only() {
    let mut world = World::new(&["a", "b"]);
    assert_eq!(world.publish(&["a", "b"], "one", 1), 2);
    world.acknowledge("a");
    assert_eq!(world.programmed(), Programmed::Waiting(1));
    world.acknowledge("b");
    assert_eq!(world.programmed(), Programmed::Done);
}

#[test]
fn an_equal_class_moves_nobody_and_another_one_grows_the_generation() {
    let mut world = World::new(&["a"]);
    world.publish(&["a"], "one", 1);
    let first = world.distribution.assigned("a").expect("has a class").generation;
    assert_eq!(world.publish(&["a"], "one", 1), 0);
    assert_eq!(world.publish(&["a"], "two", 2), 1);
    assert!(world.distribution.assigned("a").expect("has a class").generation > first);
}

#[test]
fn a_pod_that_is_gone_is_not_waited_for_and_a_later_one_does_not_reset() {
    let mut world = World::new(&["a", "b"]);
    world.publish(&["a", "b"], "one", 1);
    world.acknowledge("a");
    world.distribution.remove("b");
    assert_eq!(world.programmed(), Programmed::Done);
    world.distribution.place(pod("c", true), world.now);
    world.publish(&["a", "c"], "one", 1);
    assert_eq!(world.programmed(), Programmed::Done);
}

#[test]
fn a_silent_pod_is_stale_until_it_acknowledges() {
    let mut world = World::new(&["a"]);
    world.publish(&["a"], "one", 1);
    world.now += SILENCE;
    assert_eq!(world.programmed(), Programmed::Stale);
    world.acknowledge("a");
    assert_eq!(world.programmed(), Programmed::Done);
}

#[test]
fn acknowledgements_of_other_leaders_or_of_the_future_count_for_nothing() {
    let mut world = World::new(&["a"]);
    world.publish(&["a"], "one", 1);
    let given = world.distribution.assigned("a").expect("has a class").generation;
    let foreign = Generation { epoch: given.epoch + 1, ..given };
    let future = Generation { sequence: given.sequence + 1, ..given };
    assert!(!world.distribution.acknowledge("a", foreign, "", world.now));
    assert!(!world.distribution.acknowledge("a", future, "", world.now));
    assert_eq!(world.programmed(), Programmed::Waiting(1));
}

#[test]
fn a_document_that_a_pod_does_not_take_is_told() {
    let mut world = World::new(&["a"]);
    world.publish(&["a"], "one", 1);
    let given = world.distribution.assigned("a").expect("has a class").generation;
    world.distribution.acknowledge("a", given, "needs the feature `masks`", world.now);
    let progress = world.progress();
    assert!(progress.problem.expect("is told").contains("masks"));
    assert_eq!(progress.programmed, Programmed::Waiting(1));
}

/// A class without the policy: its Allow was taken away.
fn closed() -> Arc<Class> {
    let connections = BTreeSet::from(["shop/db".to_owned()]);
    Arc::new(Class::new(b"closed".to_vec(), connections, BTreeSet::new(), BTreeSet::new()))
}

#[test]
fn a_silent_pod_that_loses_a_resource_is_stale_and_counted() {
    let mut world = World::new(&["a", "b"]);
    world.publish(&["a", "b"], "one", 1);
    ["a", "b"].into_iter().for_each(|uid| world.acknowledge(uid));
    let lost = classes(&["a"], &closed());
    world.distribution.publish(lost, &observed(2), world.now);
    assert_eq!(world.programmed(), Programmed::Waiting(1), "`a` may still allow it");
    world.now += SILENCE;
    let progress = world.progress();
    assert_eq!((progress.programmed, progress.stale, progress.pods), (Programmed::Stale, 1, 1));
    world.acknowledge("a");
    assert_eq!(world.programmed(), Programmed::Done);
}

#[test]
fn a_pod_that_has_heard_nothing_for_too_long_refuses_and_is_not_waited_for() {
    let mut world = World::new(&["a"]);
    world.publish(&["a"], "one", 1);
    world.distribution.closed("a", world.now);
    world.now += SILENCE;
    assert_eq!(world.programmed(), Programmed::Stale);
    world.now += Duration::from_secs(3600);
    assert_eq!(world.programmed(), Programmed::Done);
}

#[test]
fn what_a_leader_before_called_programmed_stays_so_until_a_pod_is_silent() {
    let mut world = World::new(&["a"]);
    let observed = BTreeMap::from([(key(), Observed { generation: 3, programmed: true })]);
    world.distribution.publish(classes(&["a"], &class("one")), &observed, world.now);
    assert_eq!(world.programmed(), Programmed::Done);
    world.now += SILENCE;
    assert_eq!(world.programmed(), Programmed::Stale);
}
