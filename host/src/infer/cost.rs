//! What a look costs a worker: what admission reckons with.

use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

use super::InferError;
use super::model::InputSpec;
use super::onnx::OnnxDetector;
use super::preprocess::Preprocessor;
use crate::media::frame::Frame;

/// Runs, of which the quickest counts: caches are warm then.
const RUNS: usize = 6;

/// A network's time on a worker by itself, in proportion to the pixels of its input: 14.1, 18.1 and 22.4 ms for NudeNet's 320×192, 320×256 and
/// 320×320 here.
#[derive(Clone, Debug)]
pub struct LookCost {
    input: InputSpec,
    seconds_per_pixel: f64,
}

impl LookCost {
    /// Runs the network on one frame.
    ///
    /// # Errors
    /// When the model could not run.
    pub fn measure(detector: &mut OnnxDetector, frame: &Frame) -> Result<Self, InferError> {
        let input = detector.spec().input.clone();
        let mut least = Duration::MAX;
        for _ in 0..RUNS {
            // On a CPU the network runs on this thread: what else the machine is at when the host starts does not count.
            let (wall, cpu) = (Instant::now(), ThreadTime::now());
            detector.run_bare(frame, 1)?;
            least = least.min(if detector.provider().is_gpu() { wall.elapsed() } else { cpu.elapsed() });
        }
        let pixels = pixels(&input, frame.width, frame.height);
        Ok(Self { input, seconds_per_pixel: least.as_secs_f64() / pixels })
    }

    /// Of one look at a frame of this size, seconds.
    pub fn of(&self, width: usize, height: usize) -> f64 {
        self.seconds_per_pixel * pixels(&self.input, width, height)
    }
}

/// Of the network's input for a frame of this size.
fn pixels(input: &InputSpec, width: usize, height: usize) -> f64 {
    let (width, height) = Preprocessor::new(input.clone()).input_size(width, height);
    (width * height).max(1) as f64
}
