//! A detector made of one ONNX session and a declaration of how to feed and read it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ort::session::Session;
use ort::value::TensorRef;
use sha2::{Digest, Sha256};

use super::model::{Decode, Fit, Labels, Layout, ModelSpec};
use super::preprocess::{Placement, Preprocessor};
use super::provider::{self, GPU_BATCH_MAX, GpuOptions, Profile, Provider, ProviderChoice, ProviderReport};
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
    pub gpu: GpuOptions,
}

impl SessionOptions {
    /// One thread on the CPU.
    pub fn cpu() -> Self {
        Self { provider: ProviderChoice::Only(Provider::Cpu), threads: 1, gpu: GpuOptions { device: 0, cache: PathBuf::new() } }
    }
}

/// See [`Detector`].
pub struct OnnxDetector {
    spec: Arc<ModelSpec>,
    labels: Arc<[Arc<str>]>,
    session: Session,
    preprocessor: Preprocessor,
    provider: Provider,
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
        let model = |reason: String| OpenError::Model(InferError::Model { model: spec.name.to_string(), reason });
        let profile = profile(spec);
        let builder = Session::builder(runtime.environment())
            .and_then(|builder| builder.with_intra_threads(options.threads).map_err(Into::into))
            .map_err(|error| model(error.to_string()))?;
        let mut builder = provider::register(builder, provider, &options.gpu, profile.as_ref()).map_err(OpenError::Provider)?;
        let session = builder.commit_from_file(file).map_err(|error| model(error.to_string()))?;
        if session.inputs().len() != 1 {
            return Err(model(format!("has {} inputs; a detector takes one", session.inputs().len())));
        }
        let labels = labels(spec, &session).map_err(model)?;
        let mut detector = Self {
            spec: spec.clone(),
            labels: labels.into(),
            session,
            preprocessor: Preprocessor::new(spec.input.clone()),
            provider,
            tensor: Vec::new(),
            placements: Vec::new(),
        };
        detector.warm_up().map_err(OpenError::Model)?;
        Ok(detector)
    }

    /// Runs every usual shape once: the first run of a shape plans its memory, and an output that is not as declared shows here.
    fn warm_up(&mut self) -> Result<(), InferError> {
        for (width, height) in [(320, 180), (180, 320), (320, 240), (240, 320), (320, 320)] {
            let black = vec![0; i420_len(width, height)];
            let frame = Frame::new(FrameSeq(0), Micros::ZERO, width, height, Range::Full, Matrix::Bt601, black);
            self.detect(&[&frame])?;
        }
        Ok(())
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

    /// Frames whose inputs have one size, at most as many as the provider takes at once.
    fn run(&mut self, frames: &[&Frame]) -> Result<Vec<Vec<Detection>>, InferError> {
        let Some(first) = frames.first() else { return Ok(Vec::new()) };
        let (width, height) = self.preprocessor.input_size(first.width, first.height);
        let picture = 3 * width * height;
        let batch = frames.len();
        self.tensor.resize(batch * picture, 0.0);
        self.placements.clear();
        for (frame, out) in frames.iter().zip(self.tensor.chunks_exact_mut(picture)) {
            self.placements.push(self.preprocessor.fill(frame, out));
        }
        let shape = match self.spec.input.layout {
            Layout::Nchw => [batch, 3, height, width],
            Layout::Nhwc => [batch, height, width, 3],
        };
        let failed = |reason: String| InferError::Run { model: self.spec.name.to_string(), frames: batch, reason };
        let input = TensorRef::from_array_view((shape, &self.tensor[..])).map_err(|error| failed(error.to_string()))?;
        let outputs = self.session.run(ort::inputs![input]).map_err(|error| failed(error.to_string()))?;
        let (shape, values) = outputs[0].try_extract_tensor::<f32>().map_err(|error| failed(error.to_string()))?;
        // A network that overflowed has not looked: silence would pass for a clear frame.
        if values.iter().any(|value| !value.is_finite()) {
            return Err(failed("its output holds values that are no numbers".to_owned()));
        }
        let shape: Vec<usize> = shape.iter().map(|side| usize::try_from(*side).unwrap_or(0)).collect();
        let reader = Reader { spec: &self.spec, labels: &self.labels };
        match shape.split_first() {
            Some((&answered, rest)) if answered == batch => {
                let each = values.len() / batch;
                let pictures = values.chunks_exact(each.max(1)).zip(&self.placements);
                pictures.map(|(values, placement)| reader.read(rest, values, placement).map_err(&failed)).collect()
            }
            _ => Err(failed(format!("its output has the shape {shape:?} for a batch of {batch}"))),
        }
    }
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
fn profile(spec: &ModelSpec) -> Option<Profile> {
    let size = spec.input.size;
    let sides = match spec.input.fit {
        // 16:9 is what rooms send.
        Fit::Aspect { stride } => [[stride, stride], [(size * 9).div_ceil(16).next_multiple_of(stride), size], [size, size]],
        Fit::Square | Fit::Crop { .. } => [[size, size]; 3],
    };
    let shapes = sides.map(|[height, width]| match spec.input.layout {
        Layout::Nchw => [3, height, width],
        Layout::Nhwc => [height, width, 3],
    });
    // The input's name is what Ultralytics and PyTorch exports use; TensorRT ignores a profile of another name and makes its own.
    Some(Profile { input: "images".to_owned(), shapes })
}

/// Whether a model's file is there and has the digest its declaration gives, if it gives one.
///
/// # Errors
/// [`InferError::ModelMissing`] or [`InferError::ModelChanged`].
pub fn check_file(spec: &ModelSpec, file: &Path) -> Result<(), InferError> {
    let missing = || InferError::ModelMissing { model: spec.name.to_string(), path: file.to_path_buf() };
    let mut opened = File::open(file).map_err(|_| missing())?;
    let Some(declared) = &spec.sha256 else { return Ok(()) };
    let found = sha256(&mut opened).map_err(|error| InferError::Model { model: spec.name.to_string(), reason: error.to_string() })?;
    match found == *declared {
        true => Ok(()),
        false => {
            Err(InferError::ModelChanged { model: spec.name.to_string(), path: file.to_path_buf(), declared: declared.clone(), found })
        }
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
