use object_store::memory::InMemory;
use uuid::Uuid;

use super::*;

fn pod(uid: &str) -> PodRef {
    PodRef {
        namespace: "agents".to_owned(),
        pod: "planner-0".to_owned(),
        uid: uid.to_owned(),
        service_account: "planner".to_owned(),
    }
}

/// A batch of one record, and its hash.
fn batch(chain: Uuid, sequence: u64, previous: audit::Hash, text: &str) -> (Bytes, audit::Hash) {
    let event = audit::Event::ProcessStart { version: text.to_owned() };
    let record = audit::Record { number: sequence, time: 1, event };
    let mut line = serde_json::to_vec(&record).expect("serialises");
    line.push(b'\n');
    let header = Batch::header(chain, pod("one"), sequence, previous, 1);
    let (bytes, hash) = Batch::seal(&header, &line).expect("seals");
    (bytes.into(), hash)
}

async fn verify(store: &Arc<dyn ObjectStore>, segments: u64) -> audit::Report {
    let mut verifier = audit::Verifier::new();
    for sequence in 0..segments {
        use object_store::ObjectStoreExt;
        let path = segment_path(sequence);
        let bytes = store.get(&path).await.expect("is there").bytes().await.expect("reads");
        verifier.add(path.as_ref(), &bytes);
    }
    verifier.report()
}

#[tokio::test]
async fn batches_are_stored_in_a_chain_that_survives_a_restart() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let chain = Uuid::new_v4();
    let (first, hash) = batch(chain, 0, audit::Hash::START, "a");
    let (second, _) = batch(chain, 1, hash, "b");
    for bytes in [first, second] {
        let collector = Collector::open(Arc::clone(&store)).await.expect("opens");
        collector.store(&pod("one"), bytes).await.expect("stores");
    }
    let report = verify(&store, 2).await;
    assert_eq!((report.findings.as_slice(), report.records), ([].as_slice(), 2));
}

#[tokio::test]
async fn the_same_batch_again_is_acknowledged_and_stored_once() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let collector = Collector::open(Arc::clone(&store)).await.expect("opens");
    let (bytes, _) = batch(Uuid::new_v4(), 0, audit::Hash::START, "a");
    for _ in 0..2 {
        assert_eq!(collector.store(&pod("one"), bytes.clone()).await.expect("stores"), 0);
    }
    assert_eq!(verify(&store, 1).await.records, 1);
}

#[tokio::test]
async fn batches_of_other_pods_altered_ones_and_forks_are_refused() {
    let collector = Collector::open(Arc::new(InMemory::new())).await.expect("opens");
    let chain = Uuid::new_v4();
    let (bytes, _) = batch(chain, 0, audit::Hash::START, "a");
    let foreign = collector.store(&pod("two"), bytes.clone()).await;
    assert!(matches!(foreign, Err(CollectError::Foreign { .. })));
    let mut altered = bytes.to_vec();
    let at = altered.len() / 2;
    altered[at] ^= 1;
    assert!(matches!(collector.store(&pod("one"), altered.into()).await, Err(CollectError::Batch(_))));
    collector.store(&pod("one"), bytes).await.expect("stores");
    let (other, _) = batch(chain, 0, audit::Hash::START, "another");
    assert!(matches!(collector.store(&pod("one"), other).await, Err(CollectError::Fork { last: 0 })));
}
