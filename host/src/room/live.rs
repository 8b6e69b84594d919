//! A live source's driver: the one task that owns its [`Source`]. It hands requests out without waiting for them, takes answers from
//! a bounded channel, and publishes each frame when its time has come, whatever is still out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::policies::Commit;
use super::published::Published;
use super::request::{Answer, Request};
use super::settings::Settings;
use super::source::Source;
use crate::media::frame::{Frame, Micros};

/// Frames waiting for the driver, at most; a full queue makes the media side drop the oldest.
pub const FRAMES_MAX: usize = 8;
/// Answers and changes waiting, at most: more than a source can have out.
pub const TOLD_MAX: usize = 256;

/// What the driver is told beside the frames.
#[derive(Debug)]
pub enum Told {
    Answer(Answer),
    /// A slot has a new generation.
    Commit(Commit),
    /// New settings, for the frames captured from now on.
    Configure(Arc<Settings>),
}

/// What the driver takes in.
pub struct Inputs {
    /// Closed when the stream ends.
    pub frames: mpsc::Receiver<Frame>,
    pub told: mpsc::Receiver<Told>,
}

/// Runs until the stream has ended and its last frame is out. `dispatch` hands a request over and must not wait; it is told the
/// stream's time. `publish` takes a frame and must not wait either. Returns the source for its counts.
///
/// A frame is due its delay after its capture time on the stream's clock, which the first frame ties to the machine's if `clock` does not.
pub async fn run(
    mut source: Source,
    mut inputs: Inputs,
    mut clock: Option<StreamClock>,
    mut dispatch: impl FnMut(Request, Micros),
    mut publish: impl FnMut(&Source, Published),
) -> Source {
    let mut ended = false;
    loop {
        if let Some(clock) = &clock {
            let now = clock.now();
            loop {
                while let Some(request) = source.next_request() {
                    dispatch(request, now);
                }
                match source.publish(now) {
                    Some(published) => publish(&source, published),
                    None if source.has_requests() => {}
                    None => break,
                }
            }
        }
        if ended && source.depth() == 0 {
            return source;
        }
        let wake = match (&clock, source.next_wake()) {
            (Some(clock), Some(at)) => clock.instant(at),
            _ => Instant::now() + Duration::from_secs(3600),
        };
        tokio::select! {
            biased;
            Some(told) = inputs.told.recv() => {
                // Before the first frame there is nothing to answer, and every change is of what is captured from now on.
                let now = clock.as_ref().map_or(Micros::ZERO, StreamClock::now);
                match told {
                    Told::Answer(answer) => source.answer(answer, now),
                    Told::Commit(commit) => source.changed(commit, now),
                    Told::Configure(settings) => source.configure(settings, now),
                }
            }
            frame = inputs.frames.recv(), if !ended => match frame {
                Some(frame) => {
                    let clock = clock.get_or_insert_with(|| StreamClock { start: Instant::now(), at: frame.at });
                    let now = clock.now().max(frame.at);
                    if let Err(error) = source.push(frame, now) {
                        tracing::warn!(%error, "frame refused");
                    }
                }
                None => {
                    ended = true;
                    if let Some(clock) = &clock {
                        source.finish(clock.now());
                    }
                }
            },
            () = tokio::time::sleep_until(wake) => {}
        }
    }
}

/// Ties the stream's clock to the machine's.
#[derive(Clone, Copy, Debug)]
pub struct StreamClock {
    pub start: Instant,
    /// The stream's time then.
    pub at: Micros,
}

impl StreamClock {
    fn now(&self) -> Micros {
        self.at + Micros(self.start.elapsed().as_micros() as u64)
    }

    fn instant(&self, at: Micros) -> Instant {
        self.start + Duration::from(at.saturating_sub(self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame::{FrameSeq, Matrix, Range, i420_len};
    use crate::room::published::Cover;
    use crate::room::settings::{DetectorSettings, FailMode, LabelSet};
    use crate::vision::detection::{Detection, Verdict};
    use crate::vision::sampler::SamplerRule;

    fn settings() -> Arc<Settings> {
        Arc::new(Settings {
            delay: Micros::from_millis(400),
            look_max: Micros::from_millis(307),
            hold: Micros::from_millis(800),
            skip_max: Micros::ZERO,
            fail_mode: FailMode::Closed,
            sampler: SamplerRule::Adaptive,
            detectors: vec![DetectorSettings {
                name: "nudity".into(),
                look_budget: Micros::from_millis(60),
                cover: LabelSet::new(["FACE_*"]),
            }],
            text: None,
            patience: Micros::from_millis(70),
            style: crate::vision::cover::Style::default(),
        })
    }

    /// Thirty frames a second of a still picture; the detector answers after `latency` unless the look's number is in `lost`.
    async fn live(frames: u64, latency: Duration, lost: impl Fn(u64) -> bool + Send + 'static) -> Vec<(Instant, Published)> {
        let (frame_in, frames_out) = mpsc::channel(FRAMES_MAX);
        let (tell, told) = mpsc::channel(TOLD_MAX);
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_micros(33_333));
            for i in 0..frames {
                tick.tick().await;
                let data = vec![90; i420_len(96, 54)];
                let frame = Frame::new(FrameSeq(i), Micros(i * 33_333), 96, 54, Range::Limited, Matrix::Bt601, data);
                if frame_in.send(frame).await.is_err() {
                    return;
                }
            }
        });
        let mut out = Vec::new();
        let dispatch = |request: Request, _| {
            let answers = tell.clone();
            let answer = match request {
                Request::Screen { frame, detectors, .. } => Answer::Screened { seq: frame.seq, look: detectors },
                Request::Look { id, .. } if lost(id.seq.0) => return,
                Request::Read { .. } | Request::Judge { .. } => panic!("no text is read here"),
                Request::Look { id, .. } => Answer::Looked {
                    id,
                    detections: vec![Detection {
                        detector: "nudity".into(),
                        label: "FACE_FEMALE".into(),
                        confidence: 0.9,
                        area: Some(crate::geometry::Rect::new(0.4, 0.4, 0.2, 0.2)),
                        trail: None,
                    }],
                },
                Request::Weigh { id, detections, .. } => {
                    let verdicts = detections.iter().map(|_| Verdict { counts: true, threshold: 0.25 }).collect();
                    let _ = answers.try_send(Told::Answer(Answer::Weighed { id, generation: 1, verdicts }));
                    return;
                }
            };
            tokio::spawn(async move {
                tokio::time::sleep(latency).await;
                let _ = answers.send(Told::Answer(answer)).await;
            });
        };
        run(Source::new(settings()), Inputs { frames: frames_out, told }, None, dispatch, |_, p| out.push((Instant::now(), p))).await;
        out
    }

    fn full(out: &[(Instant, Published)]) -> usize {
        out.iter().filter(|(_, p)| matches!(p.cover, Cover::Full { .. })).count()
    }

    #[tokio::test(start_paused = true)]
    async fn every_frame_leaves_once_in_order_at_its_delay() {
        let start = Instant::now();
        let out = live(90, Duration::from_millis(20), |_| false).await;
        assert_eq!(out.iter().map(|(_, p)| p.frame.seq.0).collect::<Vec<_>>(), (0..90).collect::<Vec<_>>());
        for (at, p) in &out {
            let late = (*at - start).as_micros() as i64 - (p.frame.at.0 as i64 + 400_000);
            assert!((0..4_000).contains(&late), "frame {} is {late} us late", p.frame.seq.0);
            assert!(matches!(&p.cover, Cover::Masks(m) if m.len() == 1), "{:?}", p.cover);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_look_that_never_answers_covers_nothing() {
        for which in 1..30 {
            let out = live(60, Duration::from_millis(20), move |seq| seq == which).await;
            assert_eq!((out.len(), full(&out)), (60, 0), "look at frame {which}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_detector_covers_everything_and_stops_nothing() {
        let out = live(60, Duration::from_millis(20), |_| true).await;
        assert_eq!((out.len(), full(&out)), (60, 60));
    }
}
