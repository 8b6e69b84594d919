//! Sound as Whisper sees it: how loud each of 80 bands is, every 10 ms. Pure.
//!
//! As `log_mel_spectrogram` in openai/whisper's `audio.py`: windows of 25 ms (Hann, periodic) around each frame's middle, mirrored at both
//! ends; power; bands of equal width on Slaney's mel scale, of equal area (`librosa.filters.mel`); logarithm to base 10, at most 8 below the
//! loudest; then (x + 4) / 4.

use std::f64::consts::TAU;
use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex};

/// Samples a second that Whisper hears.
pub const RATE: u32 = 16_000;
/// Samples from one frame to the next.
pub const HOP: usize = 160;
/// Samples that a frame looks at.
const WINDOW: usize = 400;
pub const BANDS: usize = 80;
/// Frequencies that a window is taken apart into.
const BINS: usize = WINDOW / 2 + 1;

/// The tables, made once.
pub struct Mel {
    fft: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    /// Of each band: the first frequency that counts, and how much each from there does.
    bands: Vec<(usize, Vec<f32>)>,
}

impl Mel {
    pub fn new() -> Self {
        let window = (0..WINDOW).map(|at| (0.5 - 0.5 * (TAU * at as f64 / WINDOW as f64).cos()) as f32).collect();
        Self { fft: RealFftPlanner::new().plan_fft_forward(WINDOW), window, bands: bands() }
    }

    /// `frames` of the samples (16 kHz, −1..=1), silence after them, as `[BANDS, frames]`.
    pub fn spectrogram(&self, samples: &[f32], frames: usize) -> Vec<f32> {
        let mut logs = vec![0.0; BANDS * frames];
        let (mut input, mut spectrum) = (self.fft.make_input_vec(), self.fft.make_output_vec());
        let mut scratch = self.fft.make_scratch_vec();
        let mut power = [0.0; BINS];
        for frame in 0..frames {
            for (at, (sample, weight)) in input.iter_mut().zip(&self.window).enumerate() {
                *sample = mirrored(samples, (frame * HOP + at) as i64 - (WINDOW / 2) as i64) * weight;
            }
            // Fails only for other lengths than its own.
            let done = self.fft.process_with_scratch(&mut input, &mut spectrum, &mut scratch);
            debug_assert!(done.is_ok());
            for (power, value) in power.iter_mut().zip(&spectrum) {
                *power = value.norm_sqr();
            }
            for (band, (first, weights)) in self.bands.iter().enumerate() {
                let energy: f32 = weights.iter().zip(&power[*first..]).map(|(weight, power)| weight * power).sum();
                logs[band * frames + frame] = energy.max(1e-10).log10();
            }
        }
        let floor = logs.iter().copied().fold(f32::NEG_INFINITY, f32::max) - 8.0;
        logs.iter_mut().for_each(|value| *value = (value.max(floor) + 4.0) / 4.0);
        logs
    }
}

/// A sample; before the first the sound runs backwards, after the last there is silence.
fn mirrored(samples: &[f32], at: i64) -> f32 {
    samples.get(at.unsigned_abs() as usize).copied().unwrap_or(0.0)
}

/// Triangles between points that lie evenly on the mel scale, from 0 to half the rate.
fn bands() -> Vec<(usize, Vec<f32>)> {
    let top = mel(f64::from(RATE) / 2.0);
    let edges: Vec<f64> = (0..BANDS + 2).map(|edge| hertz(top * edge as f64 / (BANDS + 1) as f64)).collect();
    edges
        .windows(3)
        .map(|edges| {
            let weights: Vec<f32> = (0..BINS)
                .map(|bin| {
                    let at = bin as f64 * f64::from(RATE) / WINDOW as f64;
                    let (up, down) = ((at - edges[0]) / (edges[1] - edges[0]), (edges[2] - at) / (edges[2] - edges[1]));
                    (up.min(down).max(0.0) * 2.0 / (edges[2] - edges[0])) as f32
                })
                .collect();
            let first = weights.iter().position(|weight| *weight > 0.0).unwrap_or(0);
            let last = weights.iter().rposition(|weight| *weight > 0.0).unwrap_or(0);
            (first, weights[first..=last].to_vec())
        })
        .collect()
}

/// Slaney's scale: even up to 1 kHz, logarithmic beyond.
fn mel(hertz: f64) -> f64 {
    if hertz < 1000.0 { hertz * 3.0 / 200.0 } else { 15.0 + (hertz / 1000.0).ln() * 27.0 / 6.4_f64.ln() }
}

fn hertz(mel: f64) -> f64 {
    if mel < 15.0 { mel * 200.0 / 3.0 } else { 1000.0 * ((mel - 15.0) * 6.4_f64.ln() / 27.0).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first and last bands of `librosa.filters.mel(sr=16000, n_fft=400, n_mels=80)`, as openai/whisper's `mel_filters.npz` has them.
    #[test]
    fn filters_are_whispers() {
        let bands = bands();
        assert_eq!(bands.len(), BANDS);
        assert_eq!(bands[0].0, 1);
        assert!((bands[0].1[0] - 0.024_862_59).abs() < 1e-6, "{:?}", bands[0]);
        assert!((bands[1].1[0] - 0.001_990_873).abs() < 1e-6, "{:?}", bands[1]);
        assert!((bands[1].1[1] - 0.022_871_72).abs() < 1e-6, "{:?}", bands[1]);
        assert_eq!(bands[79].0 + bands[79].1.len(), BINS - 1);
    }

    #[test]
    fn a_tone_is_loudest_in_its_band() {
        let tone: Vec<f32> = (0..RATE).map(|at| (TAU * 1000.0 * f64::from(at) / f64::from(RATE)).sin() as f32).collect();
        let mel = Mel::new().spectrogram(&tone, 120);
        let at = |band: usize, frame: usize| mel[band * 120 + frame];
        let loudest = (0..BANDS).max_by(|a, b| at(*a, 50).total_cmp(&at(*b, 50))).unwrap();
        let middle = hertz(self::mel(8000.0) * (loudest + 1) as f64 / 81.0);
        assert!((middle - 1000.0).abs() < 40.0, "{middle}");
        // What is silent is as far below the loudest as anything can be: 8 / 4.
        assert!((at(loudest, 50) - at(loudest, 110) - 2.0).abs() < 0.1, "{}", at(loudest, 110));
    }

    #[test]
    fn it_does_not_matter_how_much_silence_follows() {
        let noise: Vec<f32> = (0..8000).map(|at| ((at * 7919 % 2003) as f32 / 1001.0 - 1.0) * 0.3).collect();
        let (short, long) = (Mel::new().spectrogram(&noise, 60), Mel::new().spectrogram(&noise, 100));
        assert!((0..BANDS).all(|band| short[band * 60..][..60] == long[band * 100..][..60]));
    }
}
