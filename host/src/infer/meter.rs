//! Metrics of inference: names, meanings and buckets in one place. Labels are a detector's declared name and words of bounded sets.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use super::queue::DropReason;

/// Histogram, seconds: from a look's submission to the start of its batch. Labels `detector`, `required`.
pub const QUEUE_WAIT: &str = "scrim_infer_queue_wait_seconds";
/// Histogram, looks: how full batches are. Label `detector`.
pub const BATCH_SIZE: &str = "scrim_infer_batch_looks";
/// Histogram, seconds: one run of a detector, preprocessing included. Label `detector`.
pub const RUN: &str = "scrim_infer_run_seconds";
/// Histogram, batches: how many were made up until a look's own, it included; beyond 3 a look starves. Labels `detector`, `required`.
pub const BATCHES_WAITED: &str = "scrim_infer_batches_waited";
/// Gauge, seconds: the longest that an optional look now waiting has waited. Label `detector`.
pub const OPTIONAL_WAIT: &str = "scrim_infer_optional_wait_seconds";
/// Gauge: looks waiting. Label `detector`.
pub const QUEUE_LOOKS: &str = "scrim_infer_queue_looks";
/// Counter: looks that were not run. Labels `detector`, `required`, `reason` (see [`DropReason`]).
pub const DROPPED: &str = "scrim_infer_looks_dropped_total";
/// Counter: looks lost with their run. Labels `detector`, `reason`: `failed`, `panicked` or `hung`.
pub const FAULTS: &str = "scrim_infer_looks_failed_total";
/// Gauge: workers given up because they do not return. Label `detector`.
pub const HUNG: &str = "scrim_infer_workers_hung";

/// Of [`BATCH_SIZE`]: one for each size.
pub const BATCH_BUCKETS: [f64; 8] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
/// Of [`BATCHES_WAITED`].
pub const BATCHES_BUCKETS: [f64; 7] = [1.0, 2.0, 3.0, 4.0, 8.0, 16.0, 64.0];

/// Tells the recorder what the figures mean; called once, after one is installed.
pub fn describe() {
    super::desk::describe();
    super::hearing::describe();
    describe_histogram!(QUEUE_WAIT, Unit::Seconds, "from a look's submission to the start of its batch");
    describe_histogram!(BATCH_SIZE, Unit::Count, "looks in a batch");
    describe_histogram!(RUN, Unit::Seconds, "one run of a detector, preprocessing included");
    describe_histogram!(BATCHES_WAITED, Unit::Count, "batches made up until a look's own, it included");
    describe_gauge!(OPTIONAL_WAIT, Unit::Seconds, "longest wait of an optional look now waiting");
    describe_gauge!(QUEUE_LOOKS, Unit::Count, "looks waiting");
    describe_counter!(DROPPED, Unit::Count, "looks that were not run");
    describe_counter!(FAULTS, Unit::Count, "looks lost with their run");
    describe_gauge!(HUNG, Unit::Count, "workers given up because they do not return");
}

fn yes_no(required: bool) -> &'static str {
    if required { "yes" } else { "no" }
}

/// One detector's metrics.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    detector: String,
}

impl Meter {
    pub fn new(detector: &str) -> Self {
        Self { detector: detector.to_owned() }
    }

    pub fn started(&self, required: bool, waited: Duration, batches: u32) {
        histogram!(QUEUE_WAIT, "detector" => self.detector.clone(), "required" => yes_no(required)).record(waited);
        histogram!(BATCHES_WAITED, "detector" => self.detector.clone(), "required" => yes_no(required)).record(f64::from(batches));
    }

    pub fn ran(&self, looks: usize, took: Duration) {
        histogram!(BATCH_SIZE, "detector" => self.detector.clone()).record(looks as f64);
        histogram!(RUN, "detector" => self.detector.clone()).record(took);
    }

    pub fn dropped(&self, required: bool, reason: DropReason) {
        counter!(DROPPED, "detector" => self.detector.clone(), "required" => yes_no(required), "reason" => reason.name()).increment(1);
    }

    pub fn failed(&self, looks: usize, reason: &'static str) {
        counter!(FAULTS, "detector" => self.detector.clone(), "reason" => reason).increment(looks as u64);
    }

    pub fn queue(&self, looks: usize, optional_wait: Duration) {
        gauge!(QUEUE_LOOKS, "detector" => self.detector.clone()).set(looks as f64);
        gauge!(OPTIONAL_WAIT, "detector" => self.detector.clone()).set(optional_wait.as_secs_f64());
    }

    pub fn hung(&self, workers: usize) {
        gauge!(HUNG, "detector" => self.detector.clone()).set(workers as f64);
    }
}
