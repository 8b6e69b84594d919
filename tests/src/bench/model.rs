//! `scrim-bench model [RUNS]`: what a look costs, model by model, input by input, on one and two threads.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use scrim_host::infer::Detector;
use scrim_host::infer::model::{Fit, ModelSpec, Weights};
use scrim_host::infer::onnx::{OnnxDetector, SessionOptions};
use scrim_host::infer::registry::Registry;
use scrim_host::infer::runtime::Runtime;
use scrim_host::media::frame::{Frame, FrameSeq, Matrix, Micros, Range, i420_len};

/// Where set-up keeps a fetched file.
pub fn asset(name: &str) -> PathBuf {
    scrim_toolchain::assets::folder().unwrap_or_default().join(name)
}

/// ONNX Runtime as set-up fetched it.
///
/// # Errors
/// When it has not.
pub fn runtime() -> anyhow::Result<&'static Runtime> {
    Ok(Runtime::load(&Runtime::locate(None, &[asset("libonnxruntime.so")])?)?)
}

/// The ONNX file of a model.
pub fn weights(spec: &ModelSpec) -> PathBuf {
    match &spec.weights {
        Weights::Asset(name) => asset(&format!("{name}.onnx")),
        Weights::Path(path) => path.clone(),
    }
}

/// A built-in model on the CPU, its declaration changed by `adapt`.
///
/// # Errors
/// When set-up has not fetched the runtime or the model.
pub fn open(name: &str, threads: usize, adapt: impl FnOnce(&mut Arc<ModelSpec>)) -> anyhow::Result<OnnxDetector> {
    let mut spec = Registry::load(None)?.get(name)?;
    adapt(&mut spec);
    let file = weights(&spec);
    Ok(OnnxDetector::open(runtime()?, spec, &file, &SessionOptions { threads, ..SessionOptions::cpu() })?.0)
}

/// # Errors
/// When a model can't be opened or run.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    let runs: usize = arguments.first().map_or(Ok(60), |runs| runs.parse())?;
    for (name, width, height, fit) in [
        ("nudenet-320n", 1280, 720, Some(Fit::Aspect { stride: 32 })),
        ("nudenet-320n", 640, 480, Some(Fit::Aspect { stride: 32 })),
        ("nudenet-320n", 640, 480, Some(Fit::Square)),
        ("opennsfw", 1280, 720, None),
    ] {
        for threads in [1, 2] {
            let mut detector = open(name, threads, |spec| {
                if let Some(fit) = fit {
                    Arc::make_mut(spec).input.fit = fit;
                }
            })?;
            let frame = noise(width, height);
            let (input_width, input_height) = detector.input_size(width, height);
            let mut times: Vec<f64> = (0..runs)
                .map(|_| {
                    let begin = Instant::now();
                    detector.detect(&[&frame]).map(|_| begin.elapsed().as_secs_f64() * 1e3)
                })
                .collect::<Result<_, _>>()?;
            times.sort_by(f64::total_cmp);
            println!(
                "{name} {input_width}x{input_height} from {width}x{height}, {threads} thread(s): median {:.2} ms, p95 {:.2} ms",
                times[runs / 2],
                times[runs * 95 / 100]
            );
        }
    }
    Ok(())
}

/// A picture that no table or branch can be lucky with.
fn noise(width: usize, height: usize) -> Frame {
    let mut state = 1_u32;
    let data = (0..i420_len(width, height)).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    Frame::new(FrameSeq(0), Micros::ZERO, width, height, Range::Limited, Matrix::Bt601, data.collect())
}
