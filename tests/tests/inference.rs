//! The models that come with Scrim, on the pictures and clips that packages ship.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use scrim_host::infer::model::{Decode, Fit, Labels, Layout, ModelSpec};
use scrim_host::infer::onnx::{OnnxDetector, SessionOptions};
use scrim_host::infer::provider::{GpuOptions, Provider, ProviderChoice, probe};
use scrim_host::infer::registry::{DEFAULT_MODEL, Registry};
use scrim_host::infer::{Detector, InferError};
use scrim_host::media::frame::Frame;
use scrim_tests::bench::model::{asset, open, runtime, weights};
use scrim_tests::{clip, parity};
use serde::Deserialize;

fn reference() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/nudenet_boxes.json")
}

fn nudenet(fit: Fit) -> OnnxDetector {
    open("nudenet-320n", 1, |spec| Arc::make_mut(spec).input.fit = fit).unwrap()
}

fn astronaut() -> Frame {
    clip::decode(&asset("astronaut.png"), 512, 512).unwrap().swap_remove(0)
}

#[test]
fn boxes_agree_with_the_nudenet_package_in_both_modes() {
    let pictures = parity::read(&reference()).unwrap();
    for fit in [Fit::Aspect { stride: 32 }, Fit::Square] {
        let parity = parity::compare(&pictures, asset, &mut nudenet(fit), 0.4).unwrap();
        assert!(parity.boxes >= 48, "the reference has {} boxes", parity.boxes);
        assert!(parity.share() >= 0.98, "{fit:?}: {parity:?}");
    }
}

#[test]
fn boxes_follow_a_face_through_frames_of_any_shape() {
    // The face of astronaut.png lies at about (0.44, 0.22); the same picture cut to portrait, landscape and an odd size keeps it there.
    let whole = astronaut();
    let mut detector = nudenet(Fit::Aspect { stride: 32 });
    for (width, height) in [(512, 512), (512, 288), (288, 512), (383, 287)] {
        let frame = cut(&whole, width, height);
        let found = detector.detect(&[&frame]).unwrap().swap_remove(0);
        let face = found.iter().find(|found| found.label.starts_with("FACE_")).unwrap_or_else(|| panic!("no face at {width}x{height}"));
        let (x, y) = face.area.unwrap().center();
        let (x, y) = (x * width as f32, y * height as f32);
        assert!((x - 225.0).abs() < 25.0 && (y - 112.0).abs() < 30.0, "{width}x{height}: a face at {x}, {y}");
    }
}

/// The upper left part of a picture.
fn cut(whole: &Frame, width: usize, height: usize) -> Frame {
    let sizes = [
        (whole.width, width, height),
        (whole.width / 2, width.div_ceil(2), height.div_ceil(2)),
        (whole.width / 2, width.div_ceil(2), height.div_ceil(2)),
    ];
    let rows =
        whole.planes().into_iter().zip(sizes).flat_map(|(plane, (stride, width, height))| {
            plane.chunks_exact(stride).take(height).flat_map(move |row| row[..width].to_vec())
        });
    Frame::new(whole.seq, whole.at, width, height, whole.range, whole.matrix, rows.collect())
}

#[test]
fn a_batch_of_mixed_shapes_answers_each_frame_as_it_would_alone() {
    let whole = astronaut();
    let frames = [cut(&whole, 512, 288), cut(&whole, 288, 512), cut(&whole, 500, 280), whole];
    let mut detector = nudenet(Fit::Aspect { stride: 32 });
    let alone: Vec<_> = frames.iter().map(|frame| detector.detect(&[frame]).unwrap().swap_remove(0)).collect();
    assert_eq!(detector.detect(&frames.each_ref()).unwrap(), alone);
    assert!(alone.iter().all(|found| !found.is_empty()));
}

#[test]
fn fixed_buffers_show_every_frame_and_not_the_first_again() {
    let whole = astronaut();
    let frames = [cut(&whole, 512, 288), cut(&whole, 400, 225), cut(&whole, 288, 512)];
    let expected: Vec<_> = frames.iter().map(|frame| nudenet(Fit::Aspect { stride: 32 }).detect(&[frame]).unwrap()).collect();
    assert_ne!(expected[0], expected[1]);
    let mut fixed = nudenet(Fit::Aspect { stride: 32 }).with_fixed_buffers();
    for _ in 0..3 {
        for (frame, expected) in frames.iter().zip(&expected) {
            assert_eq!(fixed.detect(&[frame]).unwrap(), *expected);
        }
    }
}

#[derive(Deserialize)]
struct Scored {
    file: String,
    frame: usize,
    width: usize,
    height: usize,
    score: f32,
}

#[test]
fn the_permissive_classifier_scores_whole_frames_as_its_package_does() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/opennsfw_scores.json")).unwrap();
    let scored: Vec<Scored> = serde_json::from_str(&text).unwrap();
    let mut detector = open("opennsfw", 1, |spec| {
        if let Decode::Classifier { score_floor, .. } = &mut Arc::make_mut(spec).decode {
            *score_floor = 0.0;
        }
    })
    .unwrap();
    let mut frames: Vec<(String, Vec<Frame>)> = Vec::new();
    let mut errors: Vec<f32> = Vec::new();
    for Scored { file, frame, width, height, score } in scored {
        if frames.last().is_none_or(|(name, _)| *name != file) {
            frames.push((file.clone(), clip::decode(&asset(&file), width, height).unwrap()));
        }
        let picture = &frames.last().unwrap().1[frame];
        let found = detector.detect(&[picture]).unwrap().swap_remove(0);
        assert_eq!((found.len(), &*found[0].label, found[0].area), (1, "NSFW", None));
        errors.push((found[0].confidence - score).abs());
    }
    let worst = errors.iter().copied().fold(0.0, f32::max);
    let mean = errors.iter().sum::<f32>() / errors.len() as f32;
    assert!(errors.len() >= 20 && mean < 0.005 && worst < 0.05, "{} frames, mean error {mean}, worst {worst}", errors.len());
}

#[test]
fn a_declaration_that_does_not_fit_its_model_is_refused_when_it_is_opened() {
    let opened = |adapt: &dyn Fn(&mut ModelSpec)| match open("nudenet-320n", 1, |spec| adapt(Arc::make_mut(spec))) {
        Ok(_) => panic!("opened in spite of its declaration"),
        Err(error) => error.to_string(),
    };
    let label = Labels::List(vec!["ONE".into()]);
    assert!(opened(&move |spec| spec.labels = label.clone()).contains("head of 1 labels"));
    assert!(opened(&|spec| _ = spec.thresholds.labels.insert("NOSE".to_owned(), 0.5)).contains("thresholds.NOSE"));
    assert!(opened(&|spec| spec.sha256 = Some("0".repeat(64))).contains("sha256"));
    assert!(opened(&|spec| spec.input.layout = Layout::Nhwc).contains("nudenet-320n"));
}

fn gpu() -> GpuOptions {
    GpuOptions { device: 0, cache: std::env::temp_dir().join("scrim-test-engines") }
}

#[test]
fn auto_falls_through_to_what_this_machine_has_and_says_why() {
    let report = probe(runtime().unwrap(), ProviderChoice::Auto, &gpu()).unwrap();
    assert!(report.tried.iter().all(|tried| !tried.why_not.is_empty()), "{report:?}");
    assert_eq!(report.tried.len(), Provider::ALL.iter().position(|provider| *provider == report.chosen).unwrap(), "{report:?}");
    let spec = Registry::load(None).unwrap().get(DEFAULT_MODEL).unwrap();
    let file = weights(&spec);
    let options = SessionOptions { provider: ProviderChoice::Auto, threads: 1, together: None, gpu: gpu() };
    let (mut detector, opened) = OnnxDetector::open(runtime().unwrap(), spec, &file, &options).unwrap();
    assert_eq!(opened.chosen, detector.provider());
    assert!(!detector.detect(&[&astronaut()]).unwrap()[0].is_empty());
    // ONNX Runtime of the plain wheel has no GPU providers: the real probe, with the GPU feature or without, must say so.
    assert_eq!(report.chosen, Provider::Cpu, "{report:?}");
    let expected = if cfg!(feature = "gpu") { "not enabled in this build" } else { "--features gpu" };
    assert!(report.tried.iter().all(|tried| tried.why_not.contains(expected)), "{report:?}");
}

#[test]
fn a_provider_asked_for_by_name_is_not_replaced() {
    let error = probe(runtime().unwrap(), ProviderChoice::Only(Provider::Cuda), &gpu()).unwrap_err();
    assert!(matches!(&error, InferError::Provider(tried) if tried.provider == Provider::Cuda), "{error}");
}
