//! Metrics of plugins: names, meanings and buckets in one place. Labels are words of fixed sets, and plugins as the catalog names them: those
//! are the operator's own, and there are no more than the catalog holds. docs/metrics.md lists each.

use std::sync::Arc;
use std::time::Duration;

use metrics::{SharedString, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use super::catalog::PluginName;
use super::types::Slot;

/// Counter: calls. Labels `slot`, `plugin` (`none` where no guest was asked), `outcome`: `ok` or a fault's kind.
pub const CALLS: &str = "scrim_plugin_calls_total";
/// Histogram, seconds: processor time of one call. Labels `slot`, `plugin`, `function`.
pub const CALL_CPU: &str = "scrim_plugin_call_cpu_seconds";
/// Histogram, seconds: one call by the wall clock, what goes in and comes out copied. Labels `slot`, `plugin`, `function`.
pub const CALL_WALL: &str = "scrim_plugin_call_seconds";
/// Gauge, bytes: linear memory of all instances. Labels `slot`, `plugin`.
pub const MEMORY: &str = "scrim_plugin_memory_bytes";
/// Counter: instances lost. Labels `slot`, `plugin`, `kind`.
pub const FAULTS: &str = "scrim_plugin_faults_total";
/// Counter: instances started again. Labels `slot`, `plugin`.
pub const RESTARTS: &str = "scrim_plugin_restarts_total";
/// Counter: swaps. Labels `slot`, `outcome`: `committed`, `rolled_back`, `rolled_back_by_itself`, `refused`.
pub const SWAPS: &str = "scrim_plugin_swaps_total";
/// Counter: swaps refused. Labels `slot`, `stage`.
pub const REFUSED: &str = "scrim_plugin_swaps_refused_total";
/// Counter: generations dropped that nothing can ask any more. Label `slot`.
pub const RETIRED: &str = "scrim_plugin_retired_total";
/// Histogram, seconds: for how long a commit held a slot's calls. Label `slot`.
pub const COMMIT: &str = "scrim_plugin_commit_seconds";
/// Counter: a shadow's decisions. Labels `slot`, `outcome`: `agreed`, `differed`, `faulted`, `shed`.
pub const SHADOW: &str = "scrim_plugin_shadow_total";
/// Gauge: instances that exist. Label `class`: `sandbox` or `wasi`.
pub const INSTANCES: &str = "scrim_plugin_instances";
/// Counter: calls refused because too many were waiting. Label `slot`.
pub const REFUSED_CALLS: &str = "scrim_plugin_refused_calls_total";
/// Counter: answers that came after their deadline and were not used. Label `slot`.
pub const LATE: &str = "scrim_plugin_late_answers_total";
/// Counter: messages that failed within the host, not within a guest. Label `slot`.
pub const HOST_PANICS: &str = "scrim_plugin_host_panics_total";
/// Counter: lines of guests' logs beyond their rate.
pub const LOG_DROPPED: &str = "scrim_plugin_log_dropped_total";
/// Counter: reports that fell out of a full journal.
pub const JOURNAL_DROPPED: &str = "scrim_plugin_journal_dropped_total";
/// Histogram, seconds: one compilation.
pub const COMPILE: &str = "scrim_plugin_compile_seconds";
/// Counter: compiled plugins in the cache that somebody else has changed.
pub const CACHE_REJECTED: &str = "scrim_plugin_cache_rejected_total";

/// Of [`CALL_CPU`] and [`CALL_WALL`]: from what the shipped plugins take to what no room waits for.
pub const CALL_BUCKETS: [f64; 11] = [0.000_01, 0.000_03, 0.000_1, 0.000_3, 0.001, 0.002, 0.004, 0.008, 0.02, 0.06, 0.3];

/// Tells the recorder what the figures mean; called once, after one is installed.
pub fn describe() {
    describe_counter!(CALLS, Unit::Count, "calls of plugins, by outcome");
    describe_histogram!(CALL_CPU, Unit::Seconds, "processor time of one call");
    describe_histogram!(CALL_WALL, Unit::Seconds, "one call by the wall clock");
    describe_gauge!(MEMORY, Unit::Bytes, "linear memory of all instances");
    describe_counter!(FAULTS, Unit::Count, "instances lost, by kind of fault");
    describe_counter!(RESTARTS, Unit::Count, "instances started again");
    describe_counter!(SWAPS, Unit::Count, "swaps, by outcome");
    describe_counter!(REFUSED, Unit::Count, "swaps refused, by stage");
    describe_counter!(RETIRED, Unit::Count, "generations dropped");
    describe_histogram!(COMMIT, Unit::Seconds, "for how long a commit held a slot's calls");
    describe_counter!(SHADOW, Unit::Count, "a shadow's decisions, by how they compare");
    describe_gauge!(INSTANCES, Unit::Count, "instances that exist");
    describe_counter!(REFUSED_CALLS, Unit::Count, "calls refused because too many were waiting");
    describe_counter!(LATE, Unit::Count, "answers that came too late to be used");
    describe_counter!(HOST_PANICS, Unit::Count, "messages that failed within the host");
    describe_counter!(LOG_DROPPED, Unit::Count, "lines of guests' logs beyond their rate");
    describe_counter!(JOURNAL_DROPPED, Unit::Count, "reports that fell out of a full journal");
    describe_histogram!(COMPILE, Unit::Seconds, "one compilation");
    describe_counter!(CACHE_REJECTED, Unit::Count, "compiled plugins that somebody else has changed");
}

/// One generation's metrics: it has a plugin of its own, whose memory it holds for as long as it lives.
pub(super) struct Meter {
    slot: Slot,
    plugin: Arc<str>,
    memory: usize,
}

impl Meter {
    pub fn new(slot: Slot, plugin: &PluginName) -> Self {
        Self { slot, plugin: plugin.to_string().into(), memory: 0 }
    }

    pub fn plugin(&self) -> SharedString {
        SharedString::from_shared(self.plugin.clone())
    }

    pub fn called(&self, function: &'static str, outcome: &'static str, cpu: Duration, wall: Duration) {
        let slot = self.slot.as_str();
        counter!(CALLS, "slot" => slot, "plugin" => self.plugin(), "outcome" => outcome).increment(1);
        histogram!(CALL_CPU, "slot" => slot, "plugin" => self.plugin(), "function" => function).record(cpu);
        histogram!(CALL_WALL, "slot" => slot, "plugin" => self.plugin(), "function" => function).record(wall);
    }

    /// The instance takes so much now; 0 when it is gone.
    pub fn holds(&mut self, memory: usize) {
        if memory != self.memory {
            let gauge = gauge!(MEMORY, "slot" => self.slot.as_str(), "plugin" => self.plugin());
            gauge.increment(memory as f64 - self.memory as f64);
            self.memory = memory;
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.holds(0);
    }
}
