//! What the host keeps for one guest: its memory cap, its CPU budget, its log gate and, for the wasi class, its empty context.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cpu_time::ThreadTime;
use wasmtime::{ResourceLimiter, StoreContextMut, UpdateDeadline};

use super::engine::{TICK, TickerMode};
use super::wasi::WasiPart;
use crate::media::frame::Micros;

/// Messages a second of `at-us` and bytes a message that a guest may log; the rest is dropped and counted.
pub const LOG_MESSAGES_PER_SECOND: u32 = 20;
pub const LOG_MESSAGE_BYTES_MAX: usize = 1024;

/// Elements a guest may have in all its tables together.
const TABLE_ELEMENTS_MAX: usize = 1_000_000;

/// Data of a `Store`.
pub struct HostState {
    pub(super) limits: Limits,
    pub(super) budget: Budget,
    pub(super) log: LogGate,
    pub(super) clock: Clock,
    pub(super) wasi: Option<Box<WasiPart>>,
}

impl HostState {
    pub(super) fn new(memory_max: usize, mode: TickerMode, plugin: Arc<str>) -> Self {
        Self {
            limits: Limits { memory_max, memory: 0, tables: 0, breached: false },
            budget: Budget { started: Duration::ZERO, allowed: Duration::ZERO, mode },
            log: LogGate { plugin, second: 0, sent: 0, dropped: 0 },
            clock: Clock::default(),
            wasi: None,
        }
    }
}

/// The only time a guest can see: the `at-us` of the call it is in.
#[derive(Clone, Default)]
pub struct Clock(Arc<AtomicU64>);

impl Clock {
    pub fn set(&self, at: Micros) {
        self.0.store(at.0, Ordering::Relaxed);
    }

    pub fn at(&self) -> Micros {
        Micros(self.0.load(Ordering::Relaxed))
    }
}

/// Memory cap of all of an instance's memories together. A breach traps: a guest that was refused memory is in no state to go on.
pub struct Limits {
    memory_max: usize,
    memory: usize,
    tables: usize,
    pub(super) breached: bool,
}

impl Limits {
    /// Bytes of linear memory the guest has taken. Never shrinks; only a new instance starts small again.
    pub fn memory(&self) -> usize {
        self.memory
    }
}

#[derive(Debug, thiserror::Error)]
#[error("more than {0} bytes of memory asked for")]
struct MemoryBreach(usize);

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory.saturating_sub(current).saturating_add(desired);
        if total > self.memory_max {
            self.breached = true;
            return Err(wasmtime::Error::new(MemoryBreach(self.memory_max)));
        }
        self.memory = total;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.breached = true;
        Err(error)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.tables.saturating_sub(current).saturating_add(desired);
        if total > TABLE_ELEMENTS_MAX {
            self.breached = true;
            return Err(wasmtime::Error::new(MemoryBreach(TABLE_ELEMENTS_MAX * size_of::<usize>())));
        }
        self.tables = total;
        Ok(true)
    }
}

/// CPU time of one call. The epoch only wakes the check: time during which the thread was not running is not billed to the guest.
pub struct Budget {
    /// CPU time of the calling thread when the budget was armed.
    started: Duration,
    allowed: Duration,
    mode: TickerMode,
}

impl Budget {
    /// Starts a budget on the calling thread; returns the number of ticks after which [`Budget::at_deadline`] is to be asked.
    pub fn arm(&mut self, allowed: Duration) -> u64 {
        self.started = ThreadTime::now().as_duration();
        self.allowed = allowed;
        let ticks = allowed.as_micros().div_ceil(TICK.as_micros()) as u64;
        // A tick may come right after arming, so one more never cuts a budget short.
        ticks + 1
    }

    pub fn spent(&self) -> Duration {
        ThreadTime::now().as_duration().saturating_sub(self.started)
    }

    fn at_deadline(&self) -> UpdateDeadline {
        if self.mode == TickerMode::ByHand || self.spent() >= self.allowed {
            UpdateDeadline::Interrupt
        } else {
            UpdateDeadline::Continue(1)
        }
    }
}

/// For `Store::epoch_deadline_callback`.
pub(super) fn at_deadline(store: StoreContextMut<'_, HostState>) -> wasmtime::Result<UpdateDeadline> {
    Ok(store.data().budget.at_deadline())
}

/// Lets [`LOG_MESSAGES_PER_SECOND`] through, by the calls' own time.
pub struct LogGate {
    plugin: Arc<str>,
    second: u64,
    sent: u32,
    dropped: u64,
}

impl LogGate {
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether a message of that size passes at that time.
    fn admits(&mut self, at: Micros, bytes: usize) -> bool {
        let second = at.0 / 1_000_000;
        if second != self.second {
            self.second = second;
            self.sent = 0;
        }
        if bytes > LOG_MESSAGE_BYTES_MAX || self.sent >= LOG_MESSAGES_PER_SECOND {
            self.dropped += 1;
            metrics::counter!(super::meter::LOG_DROPPED).increment(1);
            return false;
        }
        self.sent += 1;
        true
    }

    pub fn log(&mut self, at: Micros, level: tracing::Level, message: &str) {
        if !self.admits(at, message.len()) {
            return;
        }
        let plugin = &*self.plugin;
        match level {
            tracing::Level::ERROR => tracing::error!(target: "scrim::guest", plugin, at_us = at.0, "{message}"),
            tracing::Level::WARN => tracing::warn!(target: "scrim::guest", plugin, at_us = at.0, "{message}"),
            tracing::Level::INFO => tracing::info!(target: "scrim::guest", plugin, at_us = at.0, "{message}"),
            _ => tracing::debug!(target: "scrim::guest", plugin, at_us = at.0, "{message}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> LogGate {
        LogGate { plugin: "test".into(), second: 0, sent: 0, dropped: 0 }
    }

    #[test]
    fn twenty_messages_pass_in_each_second_of_the_stream() {
        let mut gate = gate();
        let passed = (0..100).filter(|ms| gate.admits(Micros::from_millis(*ms), 10)).count();
        assert_eq!(passed, 20);
        assert_eq!(gate.dropped(), 80);
        assert!(gate.admits(Micros::from_millis(1000), 10));
    }

    #[test]
    fn a_long_message_is_dropped_and_counted() {
        let mut gate = gate();
        assert!(gate.admits(Micros::ZERO, LOG_MESSAGE_BYTES_MAX));
        assert!(!gate.admits(Micros::ZERO, LOG_MESSAGE_BYTES_MAX + 1));
        assert_eq!(gate.dropped(), 1);
    }

    #[test]
    fn the_cap_is_over_all_memories_together() {
        let mut limits = Limits { memory_max: 100, memory: 0, tables: 0, breached: false };
        assert!(limits.memory_growing(0, 60, None).is_ok());
        assert!(limits.memory_growing(60, 70, None).is_ok());
        assert_eq!(limits.memory(), 70);
        assert!(limits.memory_growing(0, 31, None).is_err());
        assert!(limits.breached);
    }
}
