//! Who drives an [`Ear`]: a thread for a live microphone, or whoever has the whole of a file.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use super::{Do, Ear};
use crate::infer::InferError;
use crate::infer::hearing::{Hearing, LateHearing};
use crate::infer::whisper::Heard;
use crate::media::frame::Micros;
use crate::plugin::types::Place;
use crate::room::note::Medium;
use crate::room::policies::POLICY_DEADLINE;
use crate::room::words::{Asker, Flagged};
use crate::speech::Format;
use crate::speech::stream::STEP;

/// Pieces of sound that wait for the thread, at most: ten seconds of 10 ms each.
const QUEUED_MAX: usize = 1000;

/// Whose speech is heard, and by whom it is judged.
pub struct Speaker {
    pub hearing: LateHearing,
    pub asker: Asker,
    pub format: Format,
    pub closed: bool,
}

impl Speaker {
    fn hearing(&self) -> Result<&Hearing, InferError> {
        self.hearing.get().ok_or_else(|| InferError::Model { model: "whisper".into(), reason: "it is not open".into() })
    }
}

enum Message {
    Sound { at: Micros, samples: Vec<i16> },
    Gap { from: Micros, to: Micros },
    Heard(Result<Heard, String>),
    Judged { number: u64, flagged: Flagged },
    Closed(bool),
    Finish,
    End,
}

/// A microphone that is listened to. Its thread ends when this is dropped.
pub struct Listening {
    to: mpsc::Sender<Message>,
    queued: Arc<AtomicUsize>,
    closed: AtomicBool,
    format: Format,
}

impl Listening {
    /// Takes sound whose first sample was heard at `at`; never waits. What finds no room is told as a gap.
    pub fn sound(&self, at: Micros, samples: &[i16]) {
        let message = if self.queued.load(Ordering::Relaxed) < QUEUED_MAX {
            self.queued.fetch_add(1, Ordering::Relaxed);
            Message::Sound { at, samples: samples.to_vec() }
        } else {
            let frames = samples.len() as u64 / u64::from(self.format.channels);
            Message::Gap { from: at, to: at + Micros(frames * 1_000_000 / u64::from(self.format.rate)) }
        };
        // A thread that has ended hears nothing, and then nothing is judged.
        let _ = self.to.send(message);
    }

    /// Whether unjudged speech is muted, from now on.
    pub fn close(&self, closed: bool) {
        if self.closed.swap(closed, Ordering::Relaxed) != closed {
            let _ = self.to.send(Message::Closed(closed));
        }
    }

    /// No more sound comes; what came is still heard, while this is kept.
    pub fn finish(&self) {
        let _ = self.to.send(Message::Finish);
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.to.send(Message::End);
    }
}

/// Listens to a microphone on a thread of its own. `say` hears up to when everything is judged and what is to be muted; `moment` gives a time
/// to ask the policies at. Needs a tokio runtime.
///
/// # Errors
/// When the networks are not open or the thread can't be started.
pub fn listen(
    speaker: Speaker,
    moment: impl Fn() -> Micros + Send + 'static,
    mut say: impl FnMut(Micros, &[(Micros, Micros)]) + Send + 'static,
) -> Result<Listening, InferError> {
    let vad = speaker.hearing()?.vad()?;
    let mut ear = Ear::new(speaker.asker.source.clone(), vad, speaker.format, STEP, speaker.closed);
    let (to, from) = mpsc::channel();
    let queued = Arc::new(AtomicUsize::new(0));
    let listening = Listening { to: to.clone(), queued: queued.clone(), closed: AtomicBool::new(speaker.closed), format: speaker.format };
    let runtime = tokio::runtime::Handle::current();
    let run = move || {
        let _entered = runtime.enter();
        let mut out = Vec::new();
        for message in from {
            match message {
                Message::Sound { at, samples } => {
                    queued.fetch_sub(1, Ordering::Relaxed);
                    ear.sound(at, &samples, &mut out);
                }
                Message::Gap { from, to } => ear.gap(from, to, &mut out),
                Message::Heard(heard) => ear.heard(heard, &mut out),
                Message::Judged { number, flagged } => ear.judged(number, flagged, &mut out),
                Message::Closed(closed) => ear.closed = closed,
                Message::Finish => ear.finish(&mut out),
                Message::End => return,
            }
            for what in out.drain(..) {
                match what {
                    Do::Say { until, mutes } => say(until, &mutes),
                    Do::Ask(question) => {
                        let to = to.clone();
                        // Opened before this thread was.
                        let Some(hearing) = speaker.hearing.get() else { continue };
                        hearing.submit(question, Box::new(move |heard| _ = to.send(Message::Heard(heard))));
                    }
                    Do::Judge { number, utterance } => {
                        let to = to.clone();
                        let reply = move |flagged| _ = to.send(Message::Judged { number, flagged });
                        speaker.asker.judge(Medium::Speech, moment(), utterance, Some(POLICY_DEADLINE), reply);
                    }
                }
            }
        }
    };
    let spawned = std::thread::Builder::new().name("listen".into()).spawn(run);
    spawned.map_err(|error| InferError::Model { model: "whisper".into(), reason: format!("no thread to listen: {error}") })?;
    Ok(listening)
}

/// What is to be muted of the whole of a sound, interleaved; times count from its first sample. Each stretch is recognised once, when it is
/// over. `before` is called with the time of what is judged next.
///
/// # Errors
/// When the networks are not open, or the sound is not recognised because one of them fails.
pub fn whole(
    speaker: &Speaker,
    samples: impl Iterator<Item = Vec<i16>>,
    mut before: impl FnMut(Micros),
) -> Result<Vec<(Micros, Micros)>, InferError> {
    let hearing = speaker.hearing()?;
    let mut ear = Ear::new(speaker.asker.source.clone(), hearing.vad()?, speaker.format, Micros::MAX, speaker.closed);
    let (mut out, mut mutes, mut at) = (Vec::new(), Vec::new(), Micros::ZERO);
    let mut perform = |ear: &mut Ear, out: &mut Vec<Do>, mutes: &mut Vec<(Micros, Micros)>| -> Result<(), InferError> {
        while !out.is_empty() {
            for what in std::mem::take(out) {
                match what {
                    Do::Say { mutes: more, .. } => mutes.extend(more),
                    Do::Ask(question) => {
                        let (tell, told) = mpsc::sync_channel(1);
                        hearing.submit(question, Box::new(move |heard| _ = tell.send(heard)));
                        let heard = told.recv().unwrap_or_else(|_| Err("the recogniser has stopped".to_owned()));
                        let heard = heard.map_err(|reason| InferError::Heard { model: "whisper".into(), reason })?;
                        ear.heard(Ok(heard), out);
                    }
                    Do::Judge { number, utterance } => {
                        let moment = utterance.words.iter().find_map(|word| match word.place {
                            Place::Time { start, .. } => Some(start),
                            Place::Nowhere | Place::Area(_) => None,
                        });
                        let moment = moment.unwrap_or_default();
                        before(moment);
                        let (tell, told) = mpsc::sync_channel(1);
                        // Past every commit that `before` has made.
                        let at = speaker.asker.policies.moment(moment);
                        speaker.asker.judge(Medium::Speech, at, utterance, None, move |flagged| _ = tell.send(flagged));
                        ear.judged(number, told.recv().unwrap_or_default(), out);
                    }
                }
            }
        }
        Ok(())
    };
    for piece in samples {
        ear.sound(at, &piece, &mut out);
        let frames = piece.len() as u64 / u64::from(speaker.format.channels);
        at = at + Micros(frames * 1_000_000 / u64::from(speaker.format.rate));
        perform(&mut ear, &mut out, &mut mutes)?;
    }
    ear.finish(&mut out);
    perform(&mut ear, &mut out, &mut mutes)?;
    Ok(mutes)
}
