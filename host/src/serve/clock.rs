//! The host's clock: microseconds since the Unix epoch, that only grow while the process lives. Every live stream's clock is this one, so
//! that a room's sources, messages and reports stand in one order, and a policy's state means the same after a restart.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::media::frame::Micros;
use crate::room::live::StreamClock;

#[derive(Clone, Copy, Debug)]
pub struct HostClock {
    start: Instant,
    at: Micros,
}

impl HostClock {
    /// Reads the wall clock once; later changes of it do not matter.
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), at: Micros(wall.as_micros() as u64) }
    }

    pub fn now(&self) -> Micros {
        self.at + Micros(self.start.elapsed().as_micros() as u64)
    }

    /// What it said at a moment of this process.
    pub fn at(&self, moment: Instant) -> Micros {
        self.at + Micros(moment.saturating_duration_since(self.start).as_micros() as u64)
    }

    /// The same clock for a stream's driver.
    pub fn stream(&self) -> StreamClock {
        StreamClock { start: self.start.into(), at: self.at }
    }

    /// As a store keeps times.
    pub fn unix_us(&self) -> i64 {
        i64::try_from(self.now().0).unwrap_or(i64::MAX)
    }
}
