//! `scrim censor`'s run: a file in, judged, covered, a file out; offline or at the clip's own pace.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::geometry::Rect;
use crate::host::{Host, HostError};
use crate::media::file::{FileError, FileSink, FileSource, Probe};
use crate::media::frame::{Frame, Micros};
use crate::media::sound;
use crate::plugin::events::PolicyEvent;
use crate::plugin::prepare::Candidate;
use crate::plugin::record::{RecordError, Recorder};
use crate::plugin::types::{self, Slot, SourceKind};
use crate::room::admission::Format;
use crate::room::judges::Judges;
use crate::room::listening;
use crate::room::live::{self, Told};
use crate::room::note::{Note, Observer};
use crate::room::offline::{self, RunError, Step};
use crate::room::policies::{Commit, Order, number};
use crate::room::published::{Counts, Cover, Published};
use crate::room::settings::FailMode;
use crate::room::source::Source;
use crate::speech::SoundRule;
use crate::vision::cover::{Style, cover};

/// Frames waiting to be written, at most; in real time more than these are written late, not lost.
const WRITE_QUEUE: usize = 64;
/// The number of the one source that a run has.
const FILE: u64 = 0;

#[derive(Debug, thiserror::Error)]
pub enum CensorError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("frames went out of order: {0}")]
    Frame(#[from] crate::room::source::PushError),
    #[error("the writing thread ended early")]
    Writer,
}

/// A policy to be put in force in the middle of the clip.
pub struct Swap {
    /// Frames captured after this are judged by the new generation.
    pub at: Micros,
    pub slot: Slot,
    pub candidate: Candidate,
    /// JSON.
    pub config: String,
}

/// What is to be done.
pub struct Job<'a> {
    pub input: &'a Path,
    pub output: &'a Path,
    pub style: Style,
    /// At the clip's own pace through the live path, with the room's delay; otherwise as fast as it goes, with look-ahead.
    pub realtime: bool,
    pub swaps: Vec<Swap>,
    /// Hears how far the sound has been listened to, before the first frame.
    pub listened: &'a dyn Fn(Micros),
    pub record: Option<(PathBuf, u64)>,
    /// Notes of words carry transcripts, masked.
    pub transcribe: bool,
}

/// A published frame, before it is covered.
pub struct Progress<'a> {
    pub published: &'a Published,
    pub counts: &'a Counts,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Outcome {
    pub counts: Counts,
    pub frames_out: u64,
    /// Mean share of the picture that was covered, 0..=1.
    pub covered: f64,
    pub late_answers: u64,
    /// What was muted; none where nothing listened.
    pub mutes: Option<Vec<(Micros, Micros)>>,
    /// Bytes of the recording, if there was one.
    pub recorded: Option<u64>,
    #[serde(skip)]
    pub took: Duration,
    #[serde(skip)]
    pub probe: Probe,
}

/// The areas that a cover hides.
pub fn areas(cover: &Cover) -> &[Rect] {
    match cover {
        Cover::Masks(masks) => masks,
        Cover::Full { .. } => std::slice::from_ref(&Rect::FULL),
    }
}

/// Runs a job. `progress` hears of each frame as it leaves, `observer` of every look, decision and event, from any thread.
///
/// # Errors
/// Reading, judging or writing failed; what was written until then is left in `job.output`.
pub fn run(host: &Host, job: Job, observer: Observer, mut progress: impl FnMut(Progress)) -> Result<Outcome, CensorError> {
    let started = Instant::now();
    let input = FileSource::open(job.input)?;
    let probe = input.probe().clone();
    let frame = Micros((1e6 / probe.rate.per_second().max(1.0)) as u64);
    let mut settings = host.settings(&host.config, frame)?;
    if job.realtime {
        host.admit("file", &settings, &Format { width: probe.width, height: probe.height, frames_per_s: probe.rate.per_second() })?;
    } else {
        settings.delay = settings.delay.max(offline::LOOK_AHEAD);
    }
    let mut output_probe = probe.clone();
    let heard = listen(host, &job, &probe, &observer)?;
    let sound = match &heard {
        Some(mutes) => {
            let muted = MutedSound::beside(job.output);
            let rule = SoundRule::of(&host.config);
            sound::write_muted(job.input, &muted.0, mutes, rule.replacement)?;
            // Of several tracks only the first was listened to, so only that one goes out.
            output_probe.audio = vec!["pcm_s16le".to_owned()];
            Some(muted)
        }
        None => None,
    };
    let recorder = job.record.as_ref().map(|(path, bytes_max)| Recorder::create(path, *bytes_max)).transpose()?.map(Arc::new);
    let source = types::Source { id: "file".into(), kind: SourceKind::Camera, owner: "file".into() };
    let policies = host.configured_policies(recorder.clone(), observer.clone())?;
    let judges = host.judges(FILE, source, policies, observer);
    let judges = if job.transcribe { judges.transcribing() } else { judges };
    let (out, writer) =
        spawn_writer(FileSink::create(job.output, &output_probe, Some(sound.as_ref().map_or(job.input, |muted| &muted.0)))?, job.style);
    let mut covered = 0.0;
    let mut publish = |source: &Source, published: Published| {
        covered += f64::from(crate::vision::cover::covered_share(areas(&published.cover)));
        progress(Progress { published: &published, counts: source.counts() });
        judges.policies().published(FILE, published.frame.at);
        // A writer that ended early has an error to tell, which is asked for below.
        let _ended = out.send(published);
    };
    let source = Source::new(Arc::new(settings));
    let swaps = VecDeque::from(job.swaps);
    let (source, read) = if job.realtime {
        run_live(source, input, &judges, swaps, &mut publish)
    } else {
        run_offline(source, input, &judges, swaps, &mut publish)?
    };
    drop(out);
    let frames_out = writer.join().map_err(|_| CensorError::Writer)??;
    read?;
    let recorded = recorder.map(|recorder| recorder.finish()).transpose()?;
    let counts = source.counts().clone();
    let covered = covered / counts.published.max(1) as f64;
    let late_answers = judges.policies().late();
    Ok(Outcome { counts, frames_out, covered, late_answers, mutes: heard, recorded, took: started.elapsed(), probe })
}

/// The input's sound with its mutes, while the output is written.
struct MutedSound(PathBuf);

impl MutedSound {
    fn beside(output: &Path) -> Self {
        Self(output.with_extension("sound.wav"))
    }
}

impl Drop for MutedSound {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What is to be muted of the clip's sound; none where nothing listens or there is no sound. The sound is judged before the first frame, each
/// word by the policies that a swap has put in force by then.
fn listen(host: &Host, job: &Job, probe: &Probe, observer: &Observer) -> Result<Option<Vec<(Micros, Micros)>>, CensorError> {
    if !host.config.speech.listen || probe.audio.is_empty() {
        return Ok(None);
    }
    let told = observer.clone();
    // The policies' own events are told by the pictures' run.
    let judged: Observer = Arc::new(move |note| {
        if matches!(note, Note::Judged(_)) {
            told(note);
        }
    });
    let policies = host.configured_policies(None, judged.clone())?;
    let source = types::Source { id: "file-sound".into(), kind: SourceKind::Microphone, owner: "file".into() };
    let closed = host.config.room.fail_mode == FailMode::Closed;
    let mut speaker = host.speaker(source, policies.clone(), judged, sound::FORMAT, closed);
    speaker.asker.transcribes = job.transcribe;
    let mut swaps: VecDeque<&Swap> = job.swaps.iter().filter(|swap| swap.slot != Slot::Cascade).collect();
    let mut fault = None;
    let pieces = sound::SoundSource::open(job.input)?.map_while(|piece| piece.map_err(|error| fault = Some(error)).ok());
    let mutes = listening::whole(&speaker, pieces, |at| {
        while let Some(swap) = swaps.pop_front_if(|swap| swap.at <= at) {
            policies.swap_now(swap.slot, swap.candidate.clone(), swap.config.as_str().into(), swap.at);
        }
        (job.listened)(at);
    })
    .map_err(HostError::Hearing)?;
    match fault {
        Some(error) => Err(error.into()),
        None => Ok(Some(mutes)),
    }
}

type Writer = std::thread::JoinHandle<Result<u64, FileError>>;

/// Covers and encodes on a thread of its own, so that neither holds up the frame path.
fn spawn_writer(mut sink: FileSink, style: Style) -> (std::sync::mpsc::SyncSender<Published>, Writer) {
    let (send, receive) = std::sync::mpsc::sync_channel::<Published>(WRITE_QUEUE);
    let writer = std::thread::spawn(move || {
        for published in receive {
            let mut frame = published.frame;
            cover(&mut frame, areas(&published.cover), style);
            sink.write(&frame)?;
        }
        let frames = sink.frames();
        sink.finish()?;
        Ok(frames)
    });
    (send, writer)
}

/// The source after the run, and what ended the reading early.
pub type Ran = (Source, Result<(), FileError>);

/// Runs frames through `source`, each as soon as the one before is done with. Frames read before a fault are still judged.
///
/// # Errors
/// When numbers or times do not grow.
pub fn run_offline(
    mut source: Source,
    input: impl Iterator<Item = Result<Frame, FileError>> + Send + 'static,
    judges: &Judges,
    mut swaps: VecDeque<Swap>,
    publish: &mut impl FnMut(&Source, Published),
) -> Result<Ran, CensorError> {
    let mut before = Micros::ZERO;
    // The frames read before a fault in the file are still judged and written.
    let mut fault = None;
    let frames = input.map_while(|frame| match frame {
        Ok(frame) => Some(frame),
        Err(error) => {
            fault = Some(error);
            None
        }
    });
    let policies = judges.policies();
    // Commits are told between the frames that they come between.
    policies.enter(FILE, Micros::ZERO, Box::new(|_| {}));
    let steps = frames.flat_map(|frame| {
        let mut steps = Vec::new();
        while let Some(swap) = swaps.pop_front_if(|swap| swap.at <= frame.at) {
            let outcome = policies.swap_now(swap.slot, swap.candidate, swap.config.into(), before);
            if let Some(PolicyEvent::Committed { slot, generation, commit_at, .. }) = outcome {
                steps.push(Step::Commit(Commit { slot, generation: number(generation), from: Micros(commit_at.0 + 1) }));
            }
        }
        before = frame.at;
        policies.captured(frame.at);
        steps.push(Step::Frame(frame));
        steps.into_iter().map(Ok::<Step, std::convert::Infallible>)
    });
    let ran = offline::run(
        &mut source,
        steps,
        |request| Ok(judges.ask(request)),
        |source, published| {
            publish(source, published);
            Ok(())
        },
    );
    policies.leave(FILE);
    match ran {
        Ok(()) => Ok((source, fault.map_or(Ok(()), Err))),
        Err(RunError::Frame(error)) => Err(error.into()),
        Err(RunError::Outside(never)) => match never {},
    }
}

/// Runs frames through `source`, each when its time has come.
pub fn run_live(
    source: Source,
    input: impl Iterator<Item = Result<Frame, FileError>> + Send + 'static,
    judges: &Judges,
    swaps: VecDeque<Swap>,
    publish: &mut impl FnMut(&Source, Published),
) -> Ran {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return (source, Err(FileError::Read { path: PathBuf::from("(timer)"), source: error })),
    };
    let (frame_in, frames) = tokio::sync::mpsc::channel(live::FRAMES_MAX);
    let (tell, told) = tokio::sync::mpsc::channel(live::TOLD_MAX);
    let commits = tell.clone();
    judges.policies().enter(FILE, Micros::ZERO, Box::new(move |commit| _ = commits.try_send(Told::Commit(commit))));
    let pacing = std::thread::spawn({
        let judges = judges.clone();
        move || pace(input, frame_in, &judges, swaps)
    });
    let dispatch = |request, now| {
        let answers = tell.clone();
        // The channel holds more than can be out; an answer that finds it full is as good as late.
        judges.dispatch(request, now, move |answer| _ = answers.try_send(Told::Answer(answer)));
    };
    let source = runtime.block_on(live::run(source, live::Inputs { frames, told }, None, dispatch, publish));
    judges.policies().leave(FILE);
    let read = pacing
        .join()
        .unwrap_or_else(|_| Err(FileError::Read { path: PathBuf::new(), source: std::io::Error::other("the reading thread panicked") }));
    (source, read)
}

/// Gives each frame when its time has come, as a camera would.
fn pace(
    input: impl Iterator<Item = Result<Frame, FileError>> + Send + 'static,
    to: tokio::sync::mpsc::Sender<Frame>,
    judges: &Judges,
    mut swaps: VecDeque<Swap>,
) -> Result<(), FileError> {
    let mut start: Option<(Instant, Micros)> = None;
    for frame in input {
        let frame = frame?;
        let (since, first) = *start.get_or_insert_with(|| (Instant::now(), frame.at));
        let due = since + Duration::from(frame.at.saturating_sub(first));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        judges.policies().captured(frame.at);
        while let Some(swap) = swaps.pop_front_if(|swap| swap.at <= frame.at) {
            let order = Order::Swap { candidate: swap.candidate, config: swap.config.into() };
            judges.policies().order(swap.slot, order, |_| {});
        }
        if to.blocking_send(frame).is_err() {
            break;
        }
    }
    Ok(())
}

/// Notes that are only counted by the caller's summary are dropped by this observer.
pub fn silent() -> Observer {
    Arc::new(|_: Note| {})
}
