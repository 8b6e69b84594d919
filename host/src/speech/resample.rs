//! Sound of any rate and number of channels to what is recognised: 16 kHz, one channel, −1..=1. Pure, and the same on every machine.
//!
//! Channels are averaged. The rate is changed by a low-pass filter (a sinc in a Hann window) whose middle moves with the output; the output is
//! as long behind the input as half the filter. What comes out does not depend on how the input was cut into chunks.

use std::f64::consts::PI;

/// Hertz, of what comes out.
pub const RATE: u32 = 16_000;
/// The filter's zero crossings on each side: enough that what would fold into speech is 60 dB down above 9 kHz.
const CROSSINGS: usize = 16;
/// What passes, of what the lower of the two rates can carry.
const PASSED: f64 = 0.94;

/// See the module.
#[derive(Clone, Debug)]
pub struct Resampler {
    rate: u32,
    channels: usize,
    /// For each place that an output can have between two inputs.
    filters: Vec<Vec<f32>>,
    /// Inputs on each side of an output.
    reach: usize,
    /// Inputs that outputs still need, averaged over the channels.
    waiting: Vec<f32>,
    /// Where the next output's filter begins among those, and its place between two inputs, counted in outputs' steps.
    next: usize,
    place: usize,
}

impl Resampler {
    /// For sound of `rate` hertz, 1..=192 000, and so many interleaved channels.
    ///
    /// # Panics
    /// When one of them is none, or the rate higher.
    pub fn new(rate: u32, channels: u32) -> Self {
        assert!((1..=192_000).contains(&rate) && channels > 0, "{rate} Hz, {channels} channels");
        let shared = greatest_divisor(rate, RATE);
        let places = (RATE / shared) as usize;
        let scale = (f64::from(RATE) / f64::from(rate)).min(1.0) * PASSED;
        let reach = (CROSSINGS as f64 / scale).ceil() as usize;
        let filters = (0..places).map(|place| filter(reach, place as f64 / places as f64, scale)).collect();
        // Before the first input there is silence.
        Self { rate: rate / shared, channels: channels as usize, filters, reach, waiting: vec![0.0; reach - 1], next: 0, place: 0 }
    }

    /// Takes whole frames of interleaved samples; what is left over at the end is dropped.
    pub fn push(&mut self, samples: &[i16], out: &mut Vec<f32>) {
        let scale = 1.0 / (32_768.0 * self.channels as f32);
        let mono = samples.chunks_exact(self.channels).map(|frame| frame.iter().map(|sample| f32::from(*sample)).sum::<f32>() * scale);
        self.waiting.extend(mono);
        while let Some(inputs) = self.waiting.get(self.next..self.next + 2 * self.reach) {
            out.push(inputs.iter().zip(&self.filters[self.place]).map(|(input, weight)| input * weight).sum());
            self.place += self.rate as usize;
            self.next += self.place / self.filters.len();
            self.place %= self.filters.len();
        }
        // A step may be longer than all that waits.
        let over = self.next.min(self.waiting.len());
        self.waiting.drain(..over);
        self.next -= over;
    }
}

/// Of an output that lies `place` of the way from one input to the next; its weights sum to 1.
fn filter(reach: usize, place: f64, scale: f64) -> Vec<f32> {
    let weight = |at: usize| {
        let away = at as f64 - (reach - 1) as f64 - place;
        let angle = PI * away * scale;
        let sinc = if angle == 0.0 { 1.0 } else { angle.sin() / angle };
        sinc * (0.5 + 0.5 * (PI * away / reach as f64).cos())
    };
    let weights: Vec<f64> = (0..2 * reach).map(weight).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| (weight / sum) as f32).collect()
}

fn greatest_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tone(rate: u32, hertz: f64, channels: u32) -> Vec<i16> {
        let sample = |at: u32| ((2.0 * PI * hertz * f64::from(at) / f64::from(rate)).sin() * 16_384.0) as i16;
        (0..rate).flat_map(|at| (0..channels).map(move |_| sample(at))).collect()
    }

    fn resampled(rate: u32, channels: u32, samples: &[i16]) -> Vec<f32> {
        let mut out = Vec::new();
        Resampler::new(rate, channels).push(samples, &mut out);
        out
    }

    fn loudness(samples: &[f32]) -> f32 {
        (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).sqrt()
    }

    #[test]
    fn tones_of_speech_keep_their_place_and_loudness() {
        for (rate, channels) in [(48_000, 1), (48_000, 2), (44_100, 2), (32_000, 1), (16_000, 1), (8_000, 1)] {
            let out = resampled(rate, channels, &tone(rate, 440.0, channels));
            assert!((15_900..=16_000).contains(&out.len()), "{rate}: {}", out.len());
            for (at, sample) in out.iter().enumerate().take(15_000).skip(200) {
                let truth = (2.0 * PI * 440.0 * at as f64 / 16_000.0).sin() as f32 * 0.5;
                assert!((sample - truth).abs() < 0.005, "{rate} at {at}: {sample} for {truth}");
            }
        }
    }

    #[test]
    fn what_16_khz_cannot_carry_is_gone() {
        for hertz in [9_000.0, 12_000.0, 15_700.0, 20_000.0] {
            let out = resampled(48_000, 1, &tone(48_000, hertz, 1));
            assert!(loudness(&out[500..15_000]) < 0.001, "{hertz}: {}", loudness(&out[500..15_000]));
        }
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(cuts in prop::collection::vec(0..1000_usize, 1..20), rate in prop::sample::select(vec![8_000, 22_050, 44_100, 48_000])) {
            let samples: Vec<i16> = (0..8000_i32).map(|at| (at * at % 30_011 - 15_000) as i16).collect();
            let whole = resampled(rate, 1, &samples);
            let (mut resampler, mut out, mut rest) = (Resampler::new(rate, 1), Vec::new(), samples.as_slice());
            for cut in cuts {
                let (chunk, others) = rest.split_at(cut.min(rest.len()));
                resampler.push(chunk, &mut out);
                rest = others;
            }
            resampler.push(rest, &mut out);
            prop_assert_eq!(out, whole);
        }
    }
}
