//! A file's frame path: as live, but time stands still until every question is answered, and the delay line is long enough for every
//! rule to see what it can use. The same clip, detectors and policies give the same pictures on any machine.

use super::policies::Commit;
use super::published::Published;
use super::request::{Answer, Request};
use super::source::{PushError, Source};
use crate::media::frame::{Frame, Micros};

/// The look-ahead of a file: as long as the longest rule (the hold, twice) can make use of.
pub const LOOK_AHEAD: Micros = Micros::from_millis(2000);

/// What comes next.
#[derive(Debug)]
pub enum Step {
    Frame(Frame),
    /// A slot has a new generation.
    Commit(Commit),
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError<E> {
    #[error(transparent)]
    Frame(#[from] PushError),
    /// Reading, judging or writing failed.
    #[error("{0}")]
    Outside(E),
}

/// Runs `steps` through `source`. `judge` answers a request, now; `publish` takes each frame as it leaves.
pub fn run<E>(
    source: &mut Source,
    steps: impl IntoIterator<Item = Result<Step, E>>,
    mut judge: impl FnMut(Request) -> Result<Answer, E>,
    mut publish: impl FnMut(&Source, Published) -> Result<(), E>,
) -> Result<(), RunError<E>> {
    let mut now = Micros::ZERO;
    let mut step = |source: &mut Source, now: Micros| -> Result<(), RunError<E>> {
        loop {
            while let Some(request) = source.next_request() {
                source.answer(judge(request).map_err(RunError::Outside)?, now);
            }
            match source.publish(now) {
                Some(published) => publish(source, published).map_err(RunError::Outside)?,
                // Publishing may have asked for something.
                None if source.has_requests() => {}
                None => return Ok(()),
            }
        }
    };
    for next in steps {
        match next.map_err(RunError::Outside)? {
            Step::Frame(frame) => {
                now = frame.at;
                source.push(frame, now)?;
                step(source, now)?;
            }
            Step::Commit(commit) => source.changed(commit, now),
        }
    }
    source.finish(now);
    step(source, now)?;
    // What is left leaves at its own time, so that no rule sees a jump.
    while let Some(wake) = source.next_wake() {
        now = now.max(wake);
        step(source, now)?;
        if source.depth() == 0 {
            break;
        }
    }
    Ok(())
}
