//! Who answers a source's requests: detectors (through their batchers), the cascade and the threshold policy (through their slots), and
//! the host's own defaults where one of these fails (invariant 7):
//!
//! - cascade: every detector looks;
//! - threshold: a detection counts at the lower of its base and the plugin's last `current()`;
//! - text: none; what could not be judged goes by the room's fail mode.
//!
//! What always holds: each request is answered exactly once, at the latest at its deadline; a policy's answer that comes later is dropped,
//! counted and recorded as late. Nothing here waits, except [`Judges::ask`], which files use.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::look::Why;
use super::note::{Decision, Looking, Medium, Note, Observer, Weighing};
use super::policies::{Answered, POLICY_DEADLINE, Policies, number};
use super::reading::JudgeId;
use super::request::{Answer, LookId, Request};
use super::words::Asker;
use crate::infer::batcher::{Batcher, LookRequest, LookResult};
use crate::infer::desk::LateDesk;
use crate::infer::model::Thresholds;
use crate::infer::ocr::ReadWord;
use crate::media::frame::{FrameSeq, Micros};
use crate::plugin::types::{self, Hints, Place, Reply, Slot, Utterance, Word};
use crate::telemetry::frame_span;
use crate::vision::detection::{Detection, Verdict};
use crate::vision::thumbnail::Thumbnail;

/// One enabled detector.
#[derive(Clone)]
pub struct Lookout {
    pub batcher: Arc<Batcher>,
    /// The model's base thresholds.
    pub thresholds: Thresholds,
}

type ReplyTo = Box<dyn FnOnce(Answer) + Send>;

#[derive(Clone)]
struct Inner {
    /// The source's number in the batchers.
    number: u64,
    source: Arc<types::Source>,
    lookouts: BTreeMap<Arc<str>, Lookout>,
    desk: LateDesk,
    policies: Policies,
    observer: Observer,
    transcribes: bool,
}

/// The judges of one source.
#[derive(Clone)]
pub struct Judges(Arc<Inner>);

impl Judges {
    pub fn new(
        number: u64,
        source: types::Source,
        lookouts: BTreeMap<Arc<str>, Lookout>,
        desk: LateDesk,
        policies: Policies,
        observer: Observer,
    ) -> Self {
        Self(Arc::new(Inner { number, source: Arc::new(source), lookouts, desk, policies, observer, transcribes: false }))
    }

    /// The same, whose notes of what is read carry transcripts.
    pub fn transcribing(self) -> Self {
        Self(Arc::new(Inner { transcribes: true, ..Arc::unwrap_or_clone(self.0) }))
    }

    /// The room's policies.
    pub fn policies(&self) -> &Policies {
        &self.0.policies
    }

    /// The source's number.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// Hands a request over. `reply` is called once, from any thread, perhaps before this returns; it must not block.
    /// `now` is the stream's time; a deadline past a day is none.
    pub fn dispatch(&self, request: Request, now: Micros, reply: impl FnOnce(Answer) + Send + 'static) {
        let inner = &self.0;
        // A live room waits no longer than the deadline; a file waits for the answer, whose time the CPU budget bounds.
        let patience = tokio::runtime::Handle::try_current().is_ok().then_some(POLICY_DEADLINE);
        match request {
            Request::Look { id, frame, why, deadline } => {
                let left = Duration::from(deadline.saturating_sub(now)).min(Duration::from_secs(86_400));
                inner.look(id, frame, why, Instant::now() + left, Box::new(reply));
            }
            // With nobody to ask there is nothing to make a thumbnail for.
            Request::Screen { frame, detectors, .. } if inner.policies.is_empty(Slot::Cascade) => {
                reply(Answer::Screened { seq: frame.seq, look: detectors });
            }
            Request::Screen { frame, detectors, hints } => {
                let hints = Hints {
                    scene_cut: hints.scene_cut,
                    change: hints.change.clamp(0.0, 1.0),
                    since_look: hints.since_look,
                    trails: hints.trails,
                };
                let (seq, at) = (frame.seq, frame.at);
                let thumbnail = Arc::new(Thumbnail::of(&frame));
                let question = types::Request::Screen { source: inner.source.clone(), thumbnail, detectors: detectors.clone(), hints };
                let judges = inner.clone();
                let _span = frame_span(seq, at).entered();
                inner.policies.ask(at, question, patience, move |answered| reply(judges.screened(seq, at, detectors, answered)));
            }
            Request::Weigh { id, at, detections } => {
                if detections.is_empty() {
                    return reply(Answer::Weighed { id, generation: inner.policies.threshold_generation(), verdicts: Vec::new() });
                }
                let question = types::Request::Weigh { source: inner.source.clone(), found: detections.clone() };
                let judges = inner.clone();
                let _span = frame_span(id.seq, at).entered();
                inner.policies.ask(at, question, patience, move |answered| reply(judges.weighed(id, at, detections, answered)));
            }
            Request::Read { frame, within, deadline } => {
                let left = Duration::from(deadline.saturating_sub(now)).min(Duration::from_secs(86_400));
                let seq = frame.seq;
                let Some(desk) = inner.desk.get() else { return reply(Answer::ReadFailed { seq }) };
                let read = move |read| match read {
                    Ok(blocks) => reply(Answer::Read { seq, blocks }),
                    Err(_) => reply(Answer::ReadFailed { seq }),
                };
                desk.submit(frame, within, Instant::now() + left, Box::new(read));
            }
            Request::Judge { id, at, is_final, words } => inner.judge(id, at, is_final, &words, patience, Box::new(reply)),
        }
    }

    /// As [`Judges::dispatch`], and waits for the answer, however long it takes. Not for a live room's task.
    pub fn ask(&self, request: Request) -> Answer {
        let (tell, told) = mpsc::sync_channel(1);
        let stand_in = match &request {
            Request::Look { id, .. } => Answer::Failed { id: id.clone() },
            Request::Screen { frame, detectors, .. } => Answer::Screened { seq: frame.seq, look: detectors.clone() },
            Request::Weigh { id, detections, .. } => self.0.default_weighing(id.clone(), detections),
            Request::Read { frame, .. } => Answer::ReadFailed { seq: frame.seq },
            Request::Judge { id, .. } => Answer::Judged { id: *id, flagged: None },
        };
        let far = match &request {
            Request::Look { deadline, .. } | Request::Read { deadline, .. } => deadline.saturating_sub(Micros(60_000_000)),
            _ => Micros::ZERO,
        };
        self.dispatch(request, far, move |answer| _ = tell.send(answer));
        // Every request is answered; should its thread be gone with the executor, the default is as good.
        told.recv().unwrap_or(stand_in)
    }
}

impl Inner {
    fn look(self: &Arc<Self>, id: LookId, frame: crate::media::frame::Frame, why: Why, deadline: Instant, reply: ReplyTo) {
        let Some(lookout) = self.lookouts.get(&id.detector) else { return reply(Answer::Failed { id }) };
        let request = LookRequest { source: self.number, weight: NonZeroU32::MIN, frame, required: why.required(), deadline };
        let inner = self.clone();
        lookout.batcher.submit(request, Box::new(move |result| inner.looked(id, why, result, reply)));
    }

    fn looked(&self, id: LookId, why: Why, result: LookResult, reply: ReplyTo) {
        let LookResult { found, waited, ran, .. } = result;
        let found = found.map_err(|fault| fault.to_string()).map(|mut detections| {
            // The model's name is not the room's name for it.
            detections.iter_mut().for_each(|d| d.detector = id.detector.clone());
            detections
        });
        (self.observer)(Note::Look(Looking { id: id.clone(), why, found: found.clone(), waited, ran }));
        reply(match found {
            Ok(detections) => Answer::Looked { id, detections },
            Err(_) => Answer::Failed { id },
        });
    }

    fn screened(&self, seq: FrameSeq, at: Micros, detectors: Vec<Arc<str>>, answered: Answered) -> Answer {
        let (screenings, fault) = match &answered.result {
            Ok(Reply::Screenings(screenings)) => (Some(screenings), None),
            Ok(_) => (None, Some("it answered something else".to_owned())),
            Err(why) => (None, Some(why.clone())),
        };
        let Some(screenings) = screenings else {
            self.decided(Slot::Cascade, seq, at, &answered, "every detector looks (the host's default)".to_owned(), fault);
            return Answer::Screened { seq, look: detectors };
        };
        let told_off = |detector: &Arc<str>| screenings.iter().any(|s| *s.detector == **detector && !s.look);
        let (skipped, look): (Vec<Arc<str>>, Vec<Arc<str>>) = detectors.into_iter().partition(told_off);
        skipped.into_iter().for_each(|detector| (self.observer)(Note::Skipped { seq, detector }));
        let said = screenings.iter().map(|s| format!("{}: {} ({})", s.detector, if s.look { "look" } else { "skip" }, s.reason));
        self.decided(Slot::Cascade, seq, at, &answered, said.collect::<Vec<_>>().join("; "), None);
        Answer::Screened { seq, look }
    }

    fn weighed(&self, id: LookId, at: Micros, detections: Vec<Detection>, answered: Answered) -> Answer {
        let verdicts = match &answered.result {
            Ok(Reply::Verdicts(verdicts)) if verdicts.len() == detections.len() => Ok(verdicts.clone()),
            Ok(_) => Err("it answered something else".to_owned()),
            Err(why) => Err(why.clone()),
        };
        let (generation, verdicts) = match verdicts {
            Ok(verdicts) => {
                self.decided(Slot::Threshold, id.seq, at, &answered, summary(&detections, &verdicts), None);
                (answered.generation.map_or(0, number), verdicts)
            }
            Err(why) => {
                let verdicts = self.default_verdicts(&detections);
                let said = format!("{} (the host's default)", summary(&detections, &verdicts));
                self.decided(Slot::Threshold, id.seq, at, &answered, said, Some(why));
                (self.policies.threshold_generation(), verdicts)
            }
        };
        (self.observer)(Note::Weighed(Weighing { id: id.clone(), detections, verdicts: verdicts.clone() }));
        Answer::Weighed { id, generation, verdicts }
    }

    /// The words of a page, before both policies.
    fn judge(&self, id: JudgeId, at: Micros, is_final: bool, words: &[ReadWord], patience: Option<Duration>, reply: ReplyTo) {
        let word = |word: &ReadWord| Word { text: word.text.clone(), confidence: word.confidence, place: Place::Area(word.area) };
        let utterance = Utterance {
            id: format!("{}-page-{}", self.source.id, id.page),
            revision: id.revision,
            is_final,
            source: (*self.source).clone(),
            speaker: self.source.owner.clone(),
            addressees: Vec::new(),
            reply_to: None,
            language: None,
            words: words.iter().map(word).collect(),
        };
        let (source, policies, observer) = (self.source.clone(), self.policies.clone(), self.observer.clone());
        let asker = Asker { source, policies, observer, transcribes: self.transcribes };
        asker.judge(Medium::Screen, at, utterance, patience, move |flagged| reply(Answer::Judged { id, flagged }));
    }

    /// A detection counts at the lower of its base and the plugin's last `current()`.
    fn default_verdicts(&self, detections: &[Detection]) -> Vec<Verdict> {
        let current = self.policies.slot(Slot::Threshold).current();
        let verdict = |d: &Detection| {
            let base = self.lookouts.get(&d.detector).map_or(0.0, |l| l.thresholds.base(&d.label));
            let learned = current.iter().find(|t| *t.detector == *d.detector && *t.label == *d.label);
            let threshold = learned.map_or(base, |t| base.min(t.threshold));
            Verdict { counts: d.confidence >= threshold, threshold }
        };
        detections.iter().map(verdict).collect()
    }

    fn default_weighing(&self, id: LookId, detections: &[Detection]) -> Answer {
        Answer::Weighed { id, generation: self.policies.threshold_generation(), verdicts: self.default_verdicts(detections) }
    }

    fn decided(&self, slot: Slot, seq: FrameSeq, at: Micros, answered: &Answered, summary: String, fault: Option<String>) {
        let cpu_us = answered.cpu.as_micros() as u64;
        let Answered { generation, plugin, .. } = answered;
        (self.observer)(Note::Decision(Decision {
            slot,
            seq,
            at,
            generation: *generation,
            plugin: plugin.clone(),
            summary,
            fault,
            cpu_us,
        }));
    }
}

fn summary(detections: &[Detection], verdicts: &[Verdict]) -> String {
    let one = |(d, v): (&Detection, &Verdict)| {
        format!("{} {:.2} {} {:.2}", d.label, d.confidence, if v.counts { "counts at" } else { "is under" }, v.threshold)
    };
    detections.iter().zip(verdicts).map(one).collect::<Vec<_>>().join("; ")
}
