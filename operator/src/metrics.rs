//! What is counted. Labels are words of this code, never names of others: their number is bounded.

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::controller::Counts;

/// One label.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// What there is, by kind.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// A call of the control channel.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Call {
    call: &'static str,
}

/// An admission review.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Review {
    webhook: &'static str,
    verdict: &'static str,
}

type Timed<L> = Family<L, Histogram, fn() -> Histogram>;

/// The operator's metrics. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// 1 while this replica leads.
    pub leads: Gauge,
    /// 1 while webhooks are served.
    pub serves: Gauge,
    reviews: Timed<Review>,
    passes: Histogram,
    known: Family<Kind, Gauge>,
    statuses: Family<Outcome, Counter>,
    tokens: Family<Outcome, Counter>,
    streams: Family<Call, Gauge>,
    documents: Counter,
    acknowledgements: Family<Outcome, Counter>,
    batches: Family<Outcome, Counter>,
    batch_bytes: Counter,
    certificate: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// From 0.5 ms to 8 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 15))
}

impl Metrics {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            leads: Gauge::default(),
            serves: Gauge::default(),
            reviews: Family::new_with_constructor(seconds),
            passes: seconds(),
            known: Family::default(),
            statuses: Family::default(),
            tokens: Family::default(),
            streams: Family::default(),
            documents: Counter::default(),
            acknowledgements: Family::default(),
            batches: Family::default(),
            batch_bytes: Counter::default(),
            certificate: Gauge::default(),
        };
        metrics.registry = Arc::new(metrics.registered());
        metrics
    }

    fn registered(&self) -> Registry {
        let mut registry = Registry::with_prefix("chaperone_operator");
        let r = &mut registry;
        r.register("leads", "Whether this replica leads", self.leads.clone());
        r.register("serves", "Whether this replica serves webhooks", self.serves.clone());
        let reviews = self.reviews.clone();
        r.register_with_unit("review", "Admission reviews, by webhook and verdict", Unit::Seconds, reviews);
        let passes = self.passes.clone();
        r.register_with_unit("pass", "Passes of the controllers over all resources", Unit::Seconds, passes);
        r.register("known", "What the controllers see, by kind", self.known.clone());
        r.register("status_writes", "Statuses of resources, written or not", self.statuses.clone());
        r.register("tokens", "Tokens of sidecars, by what became of them", self.tokens.clone());
        r.register("streams", "Open streams of sidecars, by call", self.streams.clone());
        r.register("documents_sent", "Class documents sent to sidecars", self.documents.clone());
        let acknowledgements = self.acknowledgements.clone();
        r.register("acknowledgements", "Generations that sidecars took or did not take", acknowledgements);
        r.register("batches", "Batches of records, by what became of them", self.batches.clone());
        let bytes = self.batch_bytes.clone();
        r.register_with_unit("batch_stored", "Records stored", Unit::Bytes, bytes);
        let certificate = self.certificate.clone();
        let help = "When the root that signs the serving certificate ends, in seconds since 1970";
        r.register("root_ends_timestamp_seconds", help, certificate);
        registry
    }

    /// As Prometheus reads them.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// A review was answered.
    pub fn reviewed(&self, webhook: &'static str, verdict: &'static str, took: Duration) {
        self.reviews.get_or_create(&Review { webhook, verdict }).observe(took.as_secs_f64());
    }

    /// The controllers have made a pass.
    pub(crate) fn passed(&self, counts: Counts, took: Duration) {
        let Counts { connections, policies, pods, classes } = counts;
        self.passes.observe(took.as_secs_f64());
        let known =
            [("Connection", connections), ("AccessPolicy", policies), ("Pod", pods), ("class", classes)];
        for (kind, count) in known {
            self.known.get_or_create(&Kind { kind }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// A status was written, or was not.
    pub(crate) fn status_written(&self, outcome: &'static str) {
        self.statuses.get_or_create(&Outcome { outcome }).inc();
    }

    /// A token was looked at.
    pub(crate) fn token(&self, outcome: &'static str) {
        self.tokens.get_or_create(&Outcome { outcome }).inc();
    }

    /// A stream is open until what is returned is dropped.
    pub(crate) fn stream(&self, call: &'static str) -> OpenStream {
        let gauge = self.streams.get_or_create(&Call { call }).clone();
        gauge.inc();
        OpenStream(gauge)
    }

    /// A class document was sent.
    pub(crate) fn document_sent(&self) {
        self.documents.inc();
    }

    /// A sidecar took a generation, or did not.
    pub(crate) fn acknowledged(&self, taken: bool) {
        let outcome = if taken { "live" } else { "not taken" };
        self.acknowledgements.get_or_create(&Outcome { outcome }).inc();
    }

    /// A batch of records came.
    pub(crate) fn batch(&self, outcome: &'static str, bytes: usize) {
        self.batches.get_or_create(&Outcome { outcome }).inc();
        if outcome == "stored" {
            self.batch_bytes.inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
        }
    }

    /// When the root that signs ends.
    pub(crate) fn root_ends(&self, at: jiff::Timestamp) {
        self.certificate.set(at.as_second());
    }
}

/// Counts a stream as open.
#[derive(Debug)]
pub(crate) struct OpenStream(Gauge);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_told() {
        let metrics = Metrics::new();
        metrics.leads.set(1);
        metrics.reviewed("inject", "admitted", Duration::from_millis(2));
        let stream = metrics.stream("watch");
        let text = metrics.text().unwrap();
        assert!(text.contains("chaperone_operator_leads 1"), "{text}");
        let review = r#"chaperone_operator_review_seconds_count{webhook="inject",verdict="admitted"} 1"#;
        assert!(text.contains(review), "{text}");
        assert!(text.contains(r#"chaperone_operator_streams{call="watch"} 1"#), "{text}");
        drop(stream);
        assert!(metrics.text().unwrap().contains(r#"chaperone_operator_streams{call="watch"} 0"#));
    }
}
