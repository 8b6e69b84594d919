//! `scrim-bench pipeline [--short]`: I420 in, masked I420 out, every frame inferred, against ONNX Runtime alone on the same model, input
//! shape and number of threads (one). The goal is 0.90 of its frames a second.
//!
//! *Ours* is the host's frame path: each picture is copied out of memory as a decoder would give it, goes through [`Source`], is looked at
//! by a batcher of one worker, weighed by the host's default, and covered when it leaves. As in the live driver the frame path has a
//! thread of its own beside the worker's. Time is the stream's: a frame is given as soon as the look at the frame before the last is
//! answered, so that one look runs and one waits. *Alone* runs the same session in a loop on one tensor that was prepared before. The two
//! take turns, so that what else the machine does befalls both. On a busy machine the clock's ratio is also one of how threads are
//! scheduled; the CPU time of the thread that runs the network is moved less by that, and gives nearly the clock's ratio where the
//! frame path finds a core of its own.
//!
//! A figure never fails this bench. It fails when a frame is lost, not looked at, covered whole, or leaves otherwise than it should.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cpu_time::{ProcessTime, ThreadTime};
use scrim_host::censor::areas;
use scrim_host::config::Config;
use scrim_host::geometry::Rect;
use scrim_host::host::PATIENCE;
use scrim_host::infer::batcher::{Batcher, BatcherConfig, LookRequest, LookResult};
use scrim_host::infer::model::ModelSpec;
use scrim_host::infer::onnx::{OnnxDetector, SessionOptions};
use scrim_host::infer::preprocess::Preprocessor;
use scrim_host::infer::registry::{DEFAULT_MODEL, Registry};
use scrim_host::infer::{Detector, InferError};
use scrim_host::media::frame::{Frame, Micros};
use scrim_host::room::published::Published;
use scrim_host::room::request::{Answer, LookId, Request};
use scrim_host::room::settings::Settings;
use scrim_host::room::source::Source;
use scrim_host::vision::cover::{Style, cover};
use scrim_host::vision::detection::{Detection, Verdict};
use scrim_host::vision::sampler::SamplerRule;
use scrim_host::vision::thumbnail::Thumbnail;

use crate::bench::model;
use crate::clip;

/// Frames a second over ONNX Runtime's own.
const GOAL: f64 = 0.90;
/// No answer takes as long, however busy the machine.
const BROKEN: Duration = Duration::from_secs(60);
/// Faces are covered, so that no explicit picture is needed.
const CONFIG: &str = "[detectors.nudity]\nmodel = \"nudenet-320n\"\ncover = [\"FACE_*\"]\n";

/// Clip, size, and whether a face is to be found in it.
const CLIPS: [(&str, usize, usize, bool); 4] =
    [("carphone.mp4", 176, 144, true), ("bikes.mp4", 640, 272, false), ("carphone.mp4", 1280, 720, true), ("bikes.mp4", 1280, 720, false)];

/// # Errors
/// When set-up has not been done, or the frame path does not do what it should.
pub fn run(arguments: &[String]) -> Result<()> {
    let short = arguments.iter().any(|argument| argument == "--short");
    let (rounds, frames_max) = if short { (2, 20) } else { (7, 100) };
    let clips = if short { &CLIPS[2..3] } else { &CLIPS[..] };
    let spec = Registry::load(None)?.get(DEFAULT_MODEL)?;
    let host = Host::start(&spec)?;
    let mut alone = model::open(DEFAULT_MODEL, 1, |_| {})?;
    println!("{rounds} rounds in turn of at most {frames_max} frames, one thread of ONNX Runtime; medians");
    for &(name, width, height, has_face) in clips {
        let frames = clip::scaled(&model::asset(name), width, height, frames_max)?;
        let first = frames.first().with_context(|| format!("{name} has no frames"))?;
        // Also warms both up.
        host.check(&frames, has_face).with_context(|| format!("{name} at {width}x{height}"))?;
        alone.run_bare(first, frames.len())?;
        let (mut ours, mut raw, mut raw_cpu) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(host.through(&frames, |_, _| Ok(()))?);
            let cpu = ThreadTime::now();
            raw.push(alone.run_bare(first, frames.len())?.as_secs_f64());
            raw_cpu.push(cpu.elapsed().as_secs_f64());
        }
        println!("{name} {width}x{height}, {} frames, input {:?}", frames.len(), alone.input_size(width, height));
        let clock: Vec<f64> = ours.iter().map(|spent| spent.took.as_secs_f64()).collect();
        let look_cpu: Vec<f64> = ours.iter().map(|spent| spent.look_cpu.as_secs_f64()).collect();
        for (what, ours, alone) in [("clock", clock, &raw), ("CPU", look_cpu, &raw_cpu)] {
            // Of each round by itself: a machine that is busier for a while is so for both.
            let ratio = median(ours.iter().zip(alone).map(|(ours, alone)| alone / ours));
            let reached = if ratio >= GOAL { "reached" } else { "not reached" };
            let (ours, alone) = (median(ours), median(alone.iter().copied()));
            let rate = |seconds: f64| frames.len() as f64 / seconds;
            println!("  {what:5} ours {:.1} frames/s, alone {:.1}; ratio {ratio:.3} (goal {GOAL:.2} {reached})", rate(ours), rate(alone));
        }
        let run_cpu = median(raw_cpu) * 1e3 / frames.len() as f64;
        ours.sort_by_key(|spent| spent.took);
        let middle = &ours[ours.len() / 2];
        println!("{}", middle.lines(frames.len(), preprocessing(&spec, &frames), run_cpu));
    }
    Ok(())
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Milliseconds a frame, of preprocessing by itself.
fn preprocessing(spec: &ModelSpec, frames: &[Frame]) -> f64 {
    let mut preprocessor = Preprocessor::new(spec.input.clone());
    let (width, height) = preprocessor.input_size(frames[0].width, frames[0].height);
    let mut tensor = vec![0.0; 3 * width * height];
    median(frames.iter().map(|frame| {
        let begin = Instant::now();
        preprocessor.fill(frame, &mut tensor);
        begin.elapsed().as_secs_f64() * 1e3
    }))
}

/// What the host has for its rooms, as far as pictures need it.
struct Host {
    batcher: Batcher,
    spec: Arc<ModelSpec>,
    settings: Arc<Settings>,
    look_cpu_ns: Arc<AtomicU64>,
}

/// The detector, and the CPU time that its looks take.
struct Metered {
    detector: OnnxDetector,
    cpu_ns: Arc<AtomicU64>,
}

impl Detector for Metered {
    fn name(&self) -> &Arc<str> {
        self.detector.name()
    }

    fn labels(&self) -> &[Arc<str>] {
        self.detector.labels()
    }

    fn look_budget(&self) -> Duration {
        self.detector.look_budget()
    }

    fn detect(&mut self, frames: &[&Frame]) -> Result<Vec<Vec<Detection>>, InferError> {
        let cpu = ThreadTime::now();
        let found = self.detector.detect(frames);
        self.cpu_ns.fetch_add(cpu.elapsed().as_nanos() as u64, Ordering::Relaxed);
        found
    }
}

/// Where the time of one run went.
#[derive(Default)]
struct Spent {
    took: Duration,
    /// Of the frame path's thread: the copy, change and cut, the thumbnail, judging, covering, answers.
    copy: Duration,
    push: Duration,
    thumbnail: Duration,
    publish: Duration,
    cover: Duration,
    answer: Duration,
    /// Of the worker's, by the clock and of its CPU.
    look: Duration,
    look_cpu: Duration,
    /// CPU time of all threads.
    cpu: Duration,
}

impl Spent {
    fn lines(&self, frames: usize, preprocess: f64, run: f64) -> String {
        let each = |time: Duration| time.as_secs_f64() * 1e3 / frames as f64;
        let worker = format!(
            "  ms a frame: look {:.2} of CPU (ONNX Runtime alone {run:.2}, preprocessing alone {preprocess:.2}), {:.2} by the clock; worker idle {:.2}; all threads' CPU {:.2}",
            each(self.look_cpu),
            each(self.look),
            each(self.took.saturating_sub(self.look)),
            each(self.cpu)
        );
        let path = format!(
            "  frame path beside it: copy {:.2}, signature and change {:.2}, thumbnail {:.2}, judging {:.2}, cover {:.2}, answers {:.2}",
            each(self.copy),
            each(self.push),
            each(self.thumbnail),
            each(self.publish),
            each(self.cover),
            each(self.answer)
        );
        format!("{worker}\n{path}")
    }
}

fn clocked<T>(spent: &mut Duration, work: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let done = work();
    *spent += begin.elapsed();
    done
}

impl Host {
    fn start(spec: &Arc<ModelSpec>) -> Result<Self> {
        let (runtime, model, file) = (model::runtime()?, spec.clone(), model::weights(spec));
        let look_cpu_ns = Arc::new(AtomicU64::new(0));
        let cpu_ns = look_cpu_ns.clone();
        let factory = move || {
            let (detector, _) = OnnxDetector::open(runtime, model.clone(), &file, &SessionOptions::cpu())?;
            Ok(Box::new(Metered { detector, cpu_ns: cpu_ns.clone() }) as Box<dyn Detector>)
        };
        // A machine that stalls is no reason to give a worker up here.
        let batcher = Batcher::start(BatcherConfig { hang_after: BROKEN, ..BatcherConfig::cpu(1) }, Arc::new(factory))?;
        let budget = Micros(batcher.look_budget().as_micros() as u64);
        let config = Config::parse(CONFIG).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
        let settings = config.settings(|_| budget, Micros(33_333), PATIENCE)?;
        // Every frame is put before the cascade, which is the host's default: every detector looks.
        let settings = Arc::new(Settings { sampler: SamplerRule::Fixed(1), ..settings });
        Ok(Self { batcher, spec: spec.clone(), settings, look_cpu_ns })
    }

    /// One run in which each frame that leaves is held against the one that came.
    fn check(&self, frames: &[Frame], has_face: bool) -> Result<()> {
        let mut masked = 0;
        self.through(frames, |frame, masks| {
            let came = &frames[frame.seq.0 as usize];
            let hidden = !masks.is_empty();
            masked += usize::from(hidden);
            ensure!(hidden == (frame.data() != came.data()), "frame {} with {} masks is not as it should be", frame.seq.0, masks.len());
            Ok(())
        })?;
        ensure!(masked > 0 || !has_face, "no face was covered in {} frames", frames.len());
        Ok(())
    }

    /// Frames through the whole path. `left` is told of each that leaves, covered, and of its masks.
    fn through(&self, frames: &[Frame], left: impl FnMut(&Frame, &[Rect]) -> Result<()>) -> Result<Spent> {
        let (tell, told) = channel();
        let source = Source::new(self.settings.clone());
        let mut path = Path { host: self, source, tell, told, out: 0, published: 0, spent: Spent::default(), left };
        let before = self.look_cpu_ns.load(Ordering::Relaxed);
        let (begin, cpu) = (Instant::now(), ProcessTime::now());
        for picture in frames {
            let frame = clocked(&mut path.spent.copy, || decoded(picture));
            path.capture(frame)?;
        }
        path.finish()?;
        (path.spent.took, path.spent.cpu) = (begin.elapsed(), cpu.elapsed());
        path.spent.look_cpu = Duration::from_nanos(self.look_cpu_ns.load(Ordering::Relaxed) - before);
        let counts = path.source.counts();
        let looks: u64 = counts.looks.values().sum();
        ensure!(path.published == frames.len(), "{} frames came and {} left", frames.len(), path.published);
        ensure!(looks == frames.len() as u64 && counts.looks_failed == 0, "{looks} looks at {} frames: {counts:?}", frames.len());
        ensure!(counts.full_covers.is_empty(), "frames were covered whole: {:?}", counts.full_covers);
        Ok(path.spent)
    }
}

/// A picture of its own, as it comes from a decoder.
fn decoded(frame: &Frame) -> Frame {
    Frame::new(frame.seq, frame.at, frame.width, frame.height, frame.range, frame.matrix, frame.data().to_vec())
}

type Looked = (LookId, LookResult);

/// One source's frame path on the bench's thread.
struct Path<'a, L> {
    host: &'a Host,
    source: Source,
    tell: Sender<Looked>,
    told: Receiver<Looked>,
    /// Looks that are out.
    out: usize,
    published: usize,
    spent: Spent,
    left: L,
}

impl<L: FnMut(&Frame, &[Rect]) -> Result<()>> Path<'_, L> {
    fn capture(&mut self, frame: Frame) -> Result<()> {
        let now = frame.at;
        clocked(&mut self.spent.push, || self.source.push(frame, now))?;
        self.settle(now)?;
        while self.out > 1 {
            self.hear(now)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let mut now = self.source.next_wake().unwrap_or_default();
        while self.out > 0 {
            self.hear(now)?;
        }
        self.source.finish(now);
        self.settle(now)?;
        while let Some(wake) = self.source.next_wake().filter(|_| self.source.depth() > 0) {
            now = now.max(wake);
            self.settle(now)?;
        }
        Ok(())
    }

    fn hear(&mut self, now: Micros) -> Result<()> {
        let (id, result) = self.told.recv_timeout(BROKEN).context("a look was not answered")?;
        self.out -= 1;
        self.spent.look += result.ran;
        let detections = result.found.with_context(|| format!("the look at frame {}", id.seq.0))?;
        let named = detections.into_iter().map(|found| Detection { detector: id.detector.clone(), ..found }).collect();
        clocked(&mut self.spent.answer, || self.source.answer(Answer::Looked { id, detections: named }, now));
        self.settle(now)
    }

    /// Answers what the host answers by itself, hands looks over, covers what is due.
    fn settle(&mut self, now: Micros) -> Result<()> {
        loop {
            while let Some(request) = self.source.next_request() {
                self.request(request, now);
            }
            match clocked(&mut self.spent.publish, || self.source.publish(now)) {
                Some(Published { mut frame, cover: hidden, .. }) => {
                    clocked(&mut self.spent.cover, || cover(&mut frame, areas(&hidden), Style::default()));
                    self.published += 1;
                    (self.left)(&frame, areas(&hidden))?;
                }
                None if self.source.has_requests() => {}
                None => return Ok(()),
            }
        }
    }

    fn request(&mut self, request: Request, now: Micros) {
        match request {
            Request::Screen { frame, detectors, .. } => {
                // A room's judges make it whether or not a cascade is there to see it.
                clocked(&mut self.spent.thumbnail, || std::hint::black_box(Thumbnail::of(&frame)));
                self.source.answer(Answer::Screened { seq: frame.seq, look: detectors }, now);
            }
            Request::Look { id, frame, .. } => {
                let tell = self.tell.clone();
                // Required, so that no look is left out for a newer frame's: every frame is to be inferred.
                let look = LookRequest { source: 0, weight: NonZeroU32::MIN, frame, required: true, deadline: Instant::now() + BROKEN };
                self.out += 1;
                // Nobody listens any more once a run has failed.
                self.host.batcher.submit(look, Box::new(move |result| _ = tell.send((id, result))));
            }
            Request::Weigh { id, detections, .. } => {
                let weighed = detections.iter().map(|found| {
                    let threshold = self.host.spec.thresholds.base(&found.label);
                    Verdict { counts: found.confidence >= threshold, threshold }
                });
                let verdicts = weighed.collect();
                clocked(&mut self.spent.answer, || self.source.answer(Answer::Weighed { id, generation: 0, verdicts }, now));
            }
            // The settings of this bench read no text.
            Request::Read { .. } | Request::Judge { .. } => {}
        }
    }
}
