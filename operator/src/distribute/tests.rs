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
    Arc::new(Class::new(text.as_bytes().to_vec(), one("shop/db"), one("shop/policy")))
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

    fn programmed(&self) -> Programmed {
        self.distribution.progress(&key(), self.now).programmed
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
    let progress = world.distribution.progress(&key(), world.now);
    assert!(progress.problem.expect("is told").contains("masks"));
    assert_eq!(progress.programmed, Programmed::Waiting(1));
}
