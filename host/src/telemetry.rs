//! Logs: where they go, how they look, and the spans that the parts of the host share.
//!
//! Everything goes to standard error, for standard output belongs to a command's result: readable lines on a terminal, one JSON object
//! a line otherwise. Spans nest room › frame › plugin_call; frames and calls are spans of level debug, since there are thousands.

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use tracing::Span;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::media::frame::{FrameSeq, Micros};
use crate::plugin::catalog::PluginName;
use crate::plugin::types::{Generation, Slot};

/// What is logged if nobody says otherwise: a command's own output tells how it goes, the log only what is wrong.
pub const FILTER_DEFAULT: &str = "warn";

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error(
        "log filter {filter:?} cannot be read: {reason}; give a level (error, warn, info, debug, trace) or a list such as \"warn,scrim_host::plugin=debug\""
    )]
    Filter { filter: String, reason: String },
    #[error("logs are already being written")]
    AlreadySet,
}

/// Starts logging for this process. `bars` are moved out of the way of each line.
pub fn init(filter: &str, bars: &MultiProgress) -> Result<(), TelemetryError> {
    let filter =
        EnvFilter::try_new(filter).map_err(|error| TelemetryError::Filter { filter: filter.to_owned(), reason: error.to_string() })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(AboveBars(bars.clone()));
    let set = if io::stderr().is_terminal() {
        lines.compact().with_target(false).try_init()
    } else {
        lines.json().flatten_event(true).with_ansi(false).try_init()
    };
    set.map_err(|_| TelemetryError::AlreadySet)
}

/// All that is done for one room.
pub fn room_span(room: &str) -> Span {
    tracing::info_span!("room", id = room)
}

/// All that is done for one frame: its number and capture time, us.
pub fn frame_span(seq: FrameSeq, at: Micros) -> Span {
    tracing::debug_span!("frame", seq = seq.0, at_us = at.0)
}

/// One call of a plugin: slot, `name@version`, generation and the contract's function.
pub fn plugin_call_span(slot: Slot, plugin: &PluginName, generation: Generation, call: &'static str) -> Span {
    tracing::debug_span!("plugin_call", %slot, %plugin, generation = generation.0, call)
}

/// Writes log lines to standard error with the progress bars taken off the screen meanwhile.
struct AboveBars(MultiProgress);

impl<'a> MakeWriter<'a> for AboveBars {
    type Writer = Line<'a>;
    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

struct Line<'a>(&'a MultiProgress);

impl Write for Line<'_> {
    /// A line that can't be written (a full disk, a closed pipe) is lost: telling of it on standard error would fail as well, and panic.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.suspend(|| io::stderr().write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
