//! A detector made of one ONNX session and a declaration of how to feed and read it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::TensorRef;
use sha2::{Digest, Sha256};

use super::alone::{Alone, Together};
use super::cost::LookCost;
use super::fixed::FixedBuffers;
use super::model::{Decode, Fit, Labels, ModelSpec};
use super::preprocess::{Placement, Preprocessor};
use super::provider::{self, GPU_BATCH_MAX, GPU_BATCHES, GpuOptions, Profile, Provider, ProviderChoice, ProviderReport};
use super::runtime::Runtime;
use super::{Detector, InferError, classifier, yolo};
use crate::media::frame::{Frame, FrameSeq, Matrix, Micros, Range, i420_len};
use crate::vision::detection::Detection;

/// How a session is opened.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    pub provider: ProviderChoice,
    /// Threads one run may use on the CPU. With a worker per core, one.
    pub threads: usize,
    /// On the CPU: what a look may use that runs alone, if more than `threads`.
    pub together: Option<Together>,
    pub gpu: GpuOptions,
}

impl SessionOptions {
    /// One thread on the CPU.
    pub fn cpu() -> Self {
        Self {
            provider: ProviderChoice::Only(Provider::Cpu),
            threads: 1,
            together: None,
            gpu: GpuOptions { device: 0, cache: PathBuf::new() },
        }
    }
}

/// See [`Detector`].
pub struct OnnxDetector {
    spec: Arc<ModelSpec>,
    labels: Arc<[Arc<str>]>,
    session: Session,
    alone: Option<Alone>,
    preprocessor: Preprocessor,
    provider: Provider,
    fixed: Option<FixedBuffers>,
    /// The input tensor, reused.
    tensor: Vec<f32>,
    placements: Vec<Placement>,
}

impl OnnxDetector {
    /// Opens the model at `file`, checks it against its declaration and warms it up: when this returns, a look takes what it takes.
    ///
    /// # Errors
    /// When the file is missing or changed, the provider can't be used, or the network's inputs, outputs or labels are not as declared.
    pub fn open(
        runtime: &Runtime,
        spec: Arc<ModelSpec>,
        file: &Path,
        options: &SessionOptions,
    ) -> Result<(Self, ProviderReport), InferError> {
        check_file(&spec, file)?;
        let mut broken = None;
        let opened = provider::first_that(options.provider, |provider| {
            let made = Self::open_on(runtime, &spec, file, options, provider);
            made.map_err(|error| match error {
                OpenError::Provider(why_not) => why_not,
                OpenError::Model(error) => {
                    let why_not = error.to_string();
                    broken = Some(error);
                    why_not
                }
            })
        });
        match (opened, broken) {
            (Ok((report, detector)), _) => Ok((detector, report)),
            (Err(_), Some(error)) => Err(error),
            (Err(error), None) => Err(error),
        }
    }

    fn open_on(
        runtime: &Runtime,
        spec: &Arc<ModelSpec>,
        file: &Path,
        options: &SessionOptions,
        provider: Provider,
    ) -> Result<Self, OpenError> {
        // What an accelerator answers is held against the CPU, which also knows the input's name and the output's shapes before it does.
        let mut reference = match provider {
            Provider::Cpu => None,
            _ => Some(Self::open_session(runtime, spec, file, options, Provider::Cpu, None)?),
        };
        let profile = reference.as_ref().map(|reference| profile(spec, reference.session.inputs()[0].name()));
        let mut detector = Self::open_session(runtime, spec, file, options, provider, profile.as_ref())?;
        detector.warm_up(reference.as_mut()).map_err(|error| match provider {
            Provider::Cpu => OpenError::Model(error),
            _ => OpenError::Provider(error.to_string()),
        })?;
        Ok(detector)
    }

    fn open_session(
        runtime: &Runtime,
        spec: &Arc<ModelSpec>,
        file: &Path,
        options: &SessionOptions,
        provider: Provider,
        profile: Option<&Profile>,
    ) -> Result<Self, OpenError> {
        let model = |reason: String| OpenError::Model(InferError::Model { model: spec.name.to_string(), reason });
        let builder = session_builder(runtime, options.threads).map_err(model)?;
        let mut builder = provider::register(builder, provider, &options.gpu, profile).map_err(OpenError::Provider)?;
        let session = builder.commit_from_file(file).map_err(|error| match provider {
            Provider::Cpu => model(error.to_string()),
            _ => OpenError::Provider(error.to_string()),
        })?;
        if session.inputs().len() != 1 {
            return Err(model(format!("has {} inputs; a detector takes one", session.inputs().len())));
        }
        let labels = labels(spec, &session).map_err(model)?;
        let together = options.together.as_ref().filter(|_| provider == Provider::Cpu);
        let alone = together.map(|together| Alone::open(runtime, file, together)).transpose().map_err(model)?;
        Ok(Self {
            alone,
            spec: spec.clone(),
            labels: labels.into(),
            session,
            preprocessor: Preprocessor::new(spec.input.clone()),
            provider,
            // For its CUDA graphs.
            fixed: (provider == Provider::TensorRt).then(|| FixedBuffers::new(Some(options.gpu.device))),
            tensor: Vec::new(),
            placements: Vec::new(),
        })
    }

    /// Runs every usual shape once: the first run of a shape plans its memory, and an output that is not as declared shows here. An
    /// accelerator's answers are held against the reference's.
    fn warm_up(&mut self, mut reference: Option<&mut Self>) -> Result<(), InferError> {
        for (width, height) in [(320, 180), (180, 320), (320, 240), (240, 320), (320, 320)] {
            let pictures = [pattern(width, height, 1), pattern(width, height, 2)];
            self.detect(&[&pictures[0]])?;
            if let Some(alone) = self.alone.take() {
                // Both sessions plan.
                self.detect(&[&pictures[0]])?;
                self.alone = Some(alone);
            }
            if let Some(reference) = reference.as_deref_mut() {
                self.hold_against(reference, &pictures)?;
            }
        }
        Ok(())
    }

    /// Each batch size twice over: what is replayed from the first must show the second picture, not the first again.
    fn hold_against(&mut self, reference: &mut Self, pictures: &[Frame; 2]) -> Result<(), InferError> {
        let expected = [reference.raw(&[&pictures[0]])?, reference.raw(&[&pictures[1]])?];
        let batches: &[usize] = if self.provider.is_gpu() { &GPU_BATCHES } else { &[1] };
        for &batch in batches {
            // A captured graph is replayed from the third run at the latest.
            for turn in [0, 1, 0, 1] {
                let answers = self.raw(&vec![&pictures[turn]; batch])?;
                for answer in answers.chunks_exact(expected[turn].len()) {
                    if !told_apart(answer, &expected[turn], &expected[1 - turn]) {
                        let reason = format!("on {} its answers are not the CPU's, so it is not trusted", self.provider);
                        return Err(InferError::Model { model: self.spec.name.to_string(), reason });
                    }
                }
            }
        }
        Ok(())
    }

    /// The network's output for frames of one size.
    fn raw(&mut self, frames: &[&Frame]) -> Result<Vec<f32>, InferError> {
        self.run_with(frames, |_, values, _| Ok(values.to_vec()))
    }

    /// Runs from buffers at fixed addresses in main memory, as TensorRT does in the GPU's. The same answers come of it, a little later.
    pub fn with_fixed_buffers(mut self) -> Self {
        self.fixed = Some(FixedBuffers::new(None));
        self
    }

    pub fn provider(&self) -> Provider {
        self.provider
    }

    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Width and height of the network's input for a frame of this size, in pixels.
    pub fn input_size(&mut self, width: usize, height: usize) -> (usize, usize) {
        self.preprocessor.input_size(width, height)
    }

    /// What a look costs one worker.
    ///
    /// # Errors
    /// When the model could not run.
    pub fn look_cost(&mut self) -> Result<LookCost, InferError> {
        LookCost::measure(self, &pattern(320, 320, 1))
    }

    /// ONNX Runtime by itself: the input of one frame is prepared once and run `runs` times, its output left unread.
    ///
    /// # Errors
    /// When the model could not run.
    pub fn run_bare(&mut self, frame: &Frame, runs: usize) -> Result<Duration, InferError> {
        let (width, height) = self.preprocessor.input_size(frame.width, frame.height);
        self.tensor.resize(3 * width * height, 0.0);
        self.preprocessor.fill(frame, &mut self.tensor);
        let shape = self.spec.input.layout.shape(1, width, height);
        let begin = Instant::now();
        for _ in 0..runs {
            let ran = run_plain(&mut self.session, shape, &self.tensor, |_, _| Ok(()));
            ran.map_err(|reason| InferError::Run { model: self.spec.name.to_string(), frames: 1, reason })?;
        }
        Ok(begin.elapsed())
    }

    fn run(&mut self, frames: &[&Frame]) -> Result<Vec<Vec<Detection>>, InferError> {
        let (spec, labels) = (self.spec.clone(), self.labels.clone());
        let reader = Reader { spec: &spec, labels: &labels };
        self.run_with(frames, |shape, values, placements| {
            let each = (values.len() / placements.len()).max(1);
            values.chunks_exact(each).zip(placements).map(|(values, placement)| reader.read(shape, values, placement)).collect()
        })
    }

    /// Frames whose inputs have one size, at least one and at most as many as the provider takes at once. `read` gets the output's shape
    /// without the batch axis, its values for these frames, and where each frame lay in its input.
    fn run_with<R>(
        &mut self,
        frames: &[&Frame],
        read: impl FnOnce(&[usize], &[f32], &[Placement]) -> Result<R, String>,
    ) -> Result<R, InferError> {
        let (width, height) = self.preprocessor.input_size(frames[0].width, frames[0].height);
        let picture = 3 * width * height;
        // Few batch sizes mean few shapes, each of which an accelerator prepares for once.
        let batch = match self.provider.is_gpu() {
            true => GPU_BATCHES.into_iter().find(|size| *size >= frames.len()).unwrap_or(frames.len()),
            false => frames.len(),
        };
        self.tensor.clear();
        self.tensor.resize(batch * picture, 0.0);
        self.placements.clear();
        for (frame, out) in frames.iter().zip(self.tensor.chunks_exact_mut(picture)) {
            self.placements.push(self.preprocessor.fill(frame, out));
        }
        let shape = self.spec.input.layout.shape(batch, width, height);
        let used = |shape: &[usize], values: &[f32]| {
            // A network that overflowed has not looked: silence would pass for a clear frame.
            if values.iter().any(|value| !value.is_finite()) {
                return Err("its output holds values that are no numbers".to_owned());
            }
            match shape.split_first() {
                Some((&answered, rest)) if answered == batch => {
                    read(rest, &values[..values.len() / batch * frames.len()], &self.placements)
                }
                _ => Err(format!("its output has the shape {shape:?} for a batch of {batch}")),
            }
        };
        let answer = match &mut self.fixed {
            Some(fixed) => fixed.run(&mut self.session, shape, &self.tensor).and_then(|(shape, values)| used(&shape, &values)),
            None => match &mut self.alone {
                Some(alone) => alone.run(&mut self.session, |session| run_plain(session, shape, &self.tensor, used)),
                None => run_plain(&mut self.session, shape, &self.tensor, used),
            },
        };
        answer.map_err(|reason| InferError::Run { model: self.spec.name.to_string(), frames: frames.len(), reason })
    }
}

/// The beginning of every session; its runs use `threads` threads on the CPU.
pub(super) fn session_builder(runtime: &Runtime, threads: usize) -> Result<SessionBuilder, String> {
    let builder = Session::builder(runtime.environment()).map_err(|error| error.to_string())?;
    builder.with_intra_threads(threads).map_err(|error| error.to_string())
}

/// One run from a tensor anywhere in memory.
pub(super) fn run_plain<R>(
    session: &mut Session,
    shape: [usize; 4],
    tensor: &[f32],
    read: impl FnOnce(&[usize], &[f32]) -> Result<R, String>,
) -> Result<R, String> {
    let input = TensorRef::from_array_view((shape, tensor)).map_err(|error| error.to_string())?;
    let outputs = session.run(ort::inputs![input]).map_err(|error| error.to_string())?;
    let (shape, values) = outputs[0].try_extract_tensor::<f32>().map_err(|error| error.to_string())?;
    let shape: Vec<usize> = shape.iter().map(|side| usize::try_from(*side).unwrap_or(0)).collect();
    read(&shape, values)
}

/// Whether an answer clearly belongs to one picture and not to another: half as far from the one as from the other, at most. Accelerators
/// round differently (FP16), so equality is not asked for.
fn told_apart(answer: &[f32], right: &[f32], wrong: &[f32]) -> bool {
    let distance = |other: &[f32]| answer.iter().zip(other).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
    // Squares: a quarter of the square is half the distance. Also refuses what is not a number.
    distance(right) * 4.0 <= distance(wrong)
}

/// A picture full of structure, another for each seed.
fn pattern(width: usize, height: usize, seed: u32) -> Frame {
    let mut state = seed;
    let mut data = vec![0; i420_len(width, height)];
    for block in data.chunks_mut(16) {
        // Numerical Recipes' generator; any would do.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        block.fill((state >> 24) as u8);
    }
    Frame::new(FrameSeq(0), Micros::ZERO, width, height, Range::Full, Matrix::Bt601, data)
}

impl Detector for OnnxDetector {
    fn name(&self) -> &Arc<str> {
        &self.spec.name
    }

    fn labels(&self) -> &[Arc<str>] {
        &self.labels
    }

    fn look_budget(&self) -> Duration {
        self.spec.look_budget
    }

    fn detect(&mut self, frames: &[&Frame]) -> Result<Vec<Vec<Detection>>, InferError> {
        let batch_max = if self.provider.is_gpu() { GPU_BATCH_MAX } else { 1 };
        let mut answers: Vec<Option<Vec<Detection>>> = vec![None; frames.len()];
        while let Some(first) = answers.iter().position(Option::is_none) {
            let size = self.input_size(frames[first].width, frames[first].height);
            let mut alike = Vec::with_capacity(batch_max);
            for i in first..frames.len() {
                if alike.len() < batch_max && answers[i].is_none() && self.input_size(frames[i].width, frames[i].height) == size {
                    alike.push(i);
                }
            }
            let batch: Vec<&Frame> = alike.iter().map(|&i| frames[i]).collect();
            for (i, answer) in alike.into_iter().zip(self.run(&batch)?) {
                answers[i] = Some(answer);
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }
}

enum OpenError {
    /// The next provider may do better.
    Provider(String),
    Model(InferError),
}

/// Reads one picture's output.
struct Reader<'a> {
    spec: &'a ModelSpec,
    labels: &'a [Arc<str>],
}

impl Reader<'_> {
    fn read(&self, shape: &[usize], values: &[f32], placement: &Placement) -> Result<Vec<Detection>, String> {
        match &self.spec.decode {
            Decode::Yolo { head, score_floor, nms_iou } => {
                let Some((labels, anchors)) = yolo::dimensions(*head, shape).filter(|(labels, _)| *labels == self.labels.len()) else {
                    return Err(format!("its output has the shape {shape:?}, which is no {head:?} head of {} labels", self.labels.len()));
                };
                let found = yolo::decode(*head, values, labels, anchors, *score_floor, *nms_iou, placement);
                Ok(found.into_iter().map(|found| self.detection(found.label, found.score, Some(found.area))).collect())
            }
            Decode::Classifier { activation, ignore, score_floor } => {
                if values.len() != self.labels.len() {
                    return Err(format!("its output has {} values for {} labels", values.len(), self.labels.len()));
                }
                let scores = classifier::probabilities(*activation, values);
                let mut found: Vec<Detection> = scores
                    .into_iter()
                    .enumerate()
                    .filter(|(label, score)| score >= score_floor && !ignore.contains(&self.labels[*label]))
                    .map(|(label, score)| self.detection(label, score, None))
                    .collect();
                found.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
                Ok(found)
            }
        }
    }

    fn detection(&self, label: usize, confidence: f32, area: Option<crate::geometry::Rect>) -> Detection {
        Detection { detector: self.spec.name.clone(), label: self.labels[label].clone(), confidence, area, trail: None }
    }
}

fn labels(spec: &ModelSpec, session: &Session) -> Result<Vec<Arc<str>>, String> {
    let labels = match &spec.labels {
        Labels::List(labels) => labels.clone(),
        Labels::Metadata => {
            let metadata = session.metadata().map_err(|error| error.to_string())?;
            let names = metadata.custom("names").ok_or("its metadata has no `names`; give `labels` as a list")?;
            let names = yolo::parse_names(&names).ok_or_else(|| format!("its metadata's `names` cannot be read: {names}"))?;
            names.into_iter().map(Arc::from).collect()
        }
    };
    match spec.thresholds.labels.keys().find(|label| !labels.iter().any(|known| **known == ***label)) {
        Some(unknown) => Err(format!("`thresholds.{unknown}` is not one of its labels: {}", labels.join(", "))),
        None => Ok(labels),
    }
}

/// Smallest, usual and largest input, for TensorRT.
fn profile(spec: &ModelSpec, input: &str) -> Profile {
    let size = spec.input.size;
    let sides = match spec.input.fit {
        // 16:9 is what rooms send.
        Fit::Aspect { stride } => [[stride, stride], [(size * 9).div_ceil(16).next_multiple_of(stride), size], [size, size]],
        Fit::Square | Fit::Crop { .. } => [[size, size]; 3],
    };
    let shapes = sides.map(|[height, width]| {
        let [_, one @ ..] = spec.input.layout.shape(1, width, height);
        one
    });
    Profile { input: input.to_owned(), shapes }
}

/// Whether a model's file is there and has the digest its declaration gives, if it gives one.
///
/// # Errors
/// [`InferError::ModelMissing`] or [`InferError::ModelChanged`].
pub fn check_file(spec: &ModelSpec, file: &Path) -> Result<(), InferError> {
    check_digest(&spec.name, file, spec.sha256.as_deref())
}

/// The same by a model's name and the SHA-256 it should have, in lower case.
pub(super) fn check_digest(name: &str, file: &Path, declared: Option<&str>) -> Result<(), InferError> {
    let missing = || InferError::ModelMissing { model: name.to_owned(), path: file.to_path_buf() };
    let mut opened = File::open(file).map_err(|_| missing())?;
    let Some(declared) = declared else { return Ok(()) };
    let found = sha256(&mut opened).map_err(|error| InferError::Model { model: name.to_owned(), reason: error.to_string() })?;
    match found == declared {
        true => Ok(()),
        false => Err(InferError::ModelChanged { model: name.to_owned(), path: file.to_path_buf(), declared: declared.to_owned(), found }),
    }
}

fn sha256(from: &mut impl Read) -> io::Result<String> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match from.read(&mut buffer)? {
            0 => break,
            read => digest.update(&buffer[..read]),
        }
    }
    Ok(digest.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_apart_from_that_to_another_picture() {
        let (right, wrong) = ([1.0, 2.0, 3.0], [5.0, 0.0, 3.0]);
        assert!(told_apart(&right, &right, &wrong) && told_apart(&[1.1, 2.1, 2.9], &right, &wrong));
        assert!(!told_apart(&wrong, &right, &wrong) && !told_apart(&[3.0, 1.0, 3.0], &right, &wrong));
        assert!(!told_apart(&[f32::NAN, 2.0, 3.0], &right, &wrong));
    }

    #[test]
    fn the_profile_spans_the_shapes_that_frames_can_have() {
        let spec = crate::infer::registry::Registry::load(None).unwrap().get("nudenet-320n").unwrap();
        assert_eq!(profile(&spec, "images").shapes, [[3, 32, 32], [3, 192, 320], [3, 320, 320]]);
    }

    #[test]
    fn a_changed_file_is_told_from_a_missing_one() {
        let spec = crate::infer::registry::Registry::load(None).unwrap().get("nudenet-320n").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("m.onnx");
        assert!(matches!(check_file(&spec, &file), Err(InferError::ModelMissing { .. })));
        std::fs::write(&file, "abc").unwrap();
        let Err(InferError::ModelChanged { found, .. }) = check_file(&spec, &file) else { panic!("a changed file is refused") };
        // Of "abc", FIPS 180-2, appendix B.1.
        assert_eq!(found, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
