//! Trains `src/v2/weights.rs` on a folder that `training_data.py` (beside this file) wrote: `NAME.VARIANT.i420` (thumbnails, I420, full range) and
//! `NAME.VARIANT.json` (size, and the reference's boxes for each frame).
//!
//!     cargo run --release -p skin-cascade --example train_heads -- DIR src/v2/weights.rs [--without NAME ...]
//!
//! One thread and fixed seeds: the same folder gives the same bytes. `--without` leaves clips out, to measure on what was not trained on.
//! Positives are windows whose face has the window's size and place; negatives come from clips in which the reference finds (nearly) no face.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use skin_cascade::v2::heads::{self, ALL, FACE_CENTER, FEATURES, HIDDEN, Heads, PASSED_ON, SHRINK, WINDOW};
use skin_cascade::v2::picture::{CELL, CHANNELS, MARGIN};

/// Face heights that a window stands for, pixels of its level.
const FACE_PIXELS: std::ops::Range<f32> = 9.0..15.0;
/// How far a face's centre may lie from the window's, pixels of its level (cells are 4 apart).
const OFF_CENTER: f32 = 2.1;
/// Reference scores: at least this is a face; under `MAYBE` a frame may serve as a negative.
const SURE: f32 = 0.4;
const MAYBE: f32 = 0.25;
/// Features are divided by this for training.
const SCALE: f32 = 64.0;
/// Largest quantised weight: 144 features of 255 times this stay within an i32.
const QUANTUM: f32 = 4095.0;
const EPOCHS: usize = 24;
const ROUNDS: usize = 4;

type Features = [i16; FEATURES];

#[derive(serde::Deserialize)]
struct Reference {
    w: usize,
    h: usize,
    /// For each frame: label, score, left, top, width, height (fractions).
    frames: Vec<Vec<Found>>,
}

type Found = (String, f32, f32, f32, f32, f32);

struct Clip {
    name: String,
    original: bool,
    reference: Reference,
    data: Vec<u8>,
}

impl Clip {
    fn faces(&self, frame: usize, least: f32) -> impl Iterator<Item = [f32; 4]> + '_ {
        let boxes = self.reference.frames[frame].iter();
        boxes.filter(move |b| b.0.starts_with("FACE") && b.1 >= least).map(|b| [b.2, b.3, b.4, b.5])
    }

    /// Nearly no face: its frames serve as negatives.
    fn is_negative(&self) -> bool {
        let count = self.reference.frames.len();
        (0..count).filter(|i| self.faces(*i, SURE).next().is_some()).count() * 20 < count
    }

    fn each(&self, step: usize, mut visit: impl FnMut(usize, &Heads)) {
        let (w, h) = (self.reference.w, self.reference.h);
        let frame = self.data.len() / self.reference.frames.len();
        let mut heads = Heads::default();
        for i in (0..self.reference.frames.len()).step_by(step) {
            heads.look_at(&self.data[i * frame..i * frame + w * h], w, h, ALL);
            visit(i, &heads);
        }
    }
}

fn load(dir: &Path, without: &[String]) -> Result<Vec<Clip>> {
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        if let Some(name) = entry?.file_name().to_str().and_then(|n| n.strip_suffix(".json")) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    let mut clips = Vec::new();
    for file in names {
        let (name, variant) = file.split_once('.').context("a file name is NAME.VARIANT.json")?;
        if without.iter().any(|w| w == name) {
            continue;
        }
        let reference: Reference = serde_json::from_slice(&std::fs::read(dir.join(format!("{file}.json")))?)?;
        let data = std::fs::read(dir.join(format!("{file}.i420")))?;
        clips.push(Clip { name: name.to_owned(), original: variant == "orig", reference, data });
    }
    Ok(clips)
}

/// Left and right swapped: columns reversed, the two diagonals exchanged.
fn mirrored(from: &Features) -> Features {
    let mut to = [0; FEATURES];
    for row in 0..WINDOW {
        for column in 0..WINDOW {
            for (channel, other) in [0, 1, 3, 2].into_iter().enumerate() {
                to[(row * WINDOW + column) * CHANNELS + other] = from[(row * WINDOW + WINDOW - 1 - column) * CHANNELS + channel];
            }
        }
    }
    to
}

fn positives(clips: &[Clip]) -> Vec<Features> {
    let mut found = Vec::new();
    for clip in clips {
        let (w, h) = (clip.reference.w as f32, clip.reference.h as f32);
        clip.each(if clip.original { 2 } else { 5 }, |i, looked| {
            looked.each(|window, cells| {
                let shrink = SHRINK[window.level];
                let at = |cell: usize, offset: f32| (cell as f32 - MARGIN as f32) * CELL as f32 + offset;
                let hit = clip.faces(i, SURE).any(|[left, top, width, height]| {
                    FACE_PIXELS.contains(&(height * h / shrink))
                        && ((left + width / 2.0) * w / shrink - at(window.column, FACE_CENTER.0)).abs() <= OFF_CENTER
                        && ((top + height / 2.0) * h / shrink - at(window.row, FACE_CENTER.1)).abs() <= OFF_CENTER
                });
                if hit {
                    let mut f = [0; FEATURES];
                    heads::features(cells, window, &mut f);
                    found.push(f);
                    found.push(mirrored(&f));
                }
            });
        });
    }
    found
}

/// Windows of negative frames that `keep` accepts.
fn negatives(clips: &[Clip], mut keep: impl FnMut(&Features) -> bool) -> Vec<Features> {
    let mut found = Vec::new();
    for clip in clips.iter().filter(|c| c.is_negative()) {
        clip.each((clip.reference.frames.len() / 40).max(1), |i, looked| {
            if clip.faces(i, MAYBE).next().is_some() {
                return;
            }
            looked.each(|window, cells| {
                let mut f = [0; FEATURES];
                heads::features(cells, window, &mut f);
                if keep(&f) {
                    found.push(f);
                }
            });
        });
    }
    found
}

/// Xorshift, so that no library's change of generator changes the weights.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }
}

/// One hidden layer of rectified units; with one unit that is never cut off it is the linear template.
struct Network {
    linear: bool,
    weights: Vec<[f32; FEATURES]>,
    bias: Vec<f32>,
    output: Vec<f32>,
    output_bias: f32,
}

impl Network {
    fn new(units: usize, linear: bool, random: &mut Random) -> Self {
        let weights = (0..units).map(|_| std::array::from_fn(|_| if linear { 0.0 } else { (random.unit() - 0.5) * 0.1 })).collect();
        let output = (0..units)
            .map(|i| {
                if linear {
                    1.0
                } else if i % 2 == 0 {
                    0.5
                } else {
                    -0.5
                }
            })
            .collect();
        Self { linear, weights, bias: vec![if linear { 0.0 } else { 0.1 }; units], output, output_bias: 0.0 }
    }

    fn forward(&self, f: &Features, active: &mut [f32]) -> f32 {
        let mut out = self.output_bias;
        for (((w, b), o), a) in self.weights.iter().zip(&self.bias).zip(&self.output).zip(active) {
            let mut sums = [0.0f32; 8];
            for (w, f) in w.chunks_exact(8).zip(f.chunks_exact(8)) {
                for k in 0..8 {
                    sums[k] += w[k] * f32::from(f[k]) / SCALE;
                }
            }
            let sum = sums.iter().sum::<f32>() + b;
            *a = if self.linear { sum } else { sum.max(0.0) };
            out += *a * o;
        }
        out
    }

    fn learn(&mut self, f: &Features, target: f32, rate: f32) {
        const DECAY: f32 = 2e-3;
        let mut active = [0.0; HIDDEN];
        let out = self.forward(f, &mut active);
        let slope = 1.0 / (1.0 + (-out).exp()) - target;
        if slope.abs() < 1e-3 {
            return;
        }
        self.output_bias -= rate * slope;
        let units = self.weights.iter_mut().zip(&mut self.bias).zip(&mut self.output).zip(active);
        for (((weights, bias), output), active) in units {
            let inner = slope * *output;
            if !self.linear {
                *output -= rate * (slope * active + DECAY * *output);
            }
            if self.linear || active > 0.0 {
                *bias -= rate * inner;
                for (w, f) in weights.iter_mut().zip(f) {
                    *w -= rate * (inner * f32::from(*f) / SCALE + DECAY * *w);
                }
            }
        }
    }
}

fn fit(positive: &[Features], negative: &[Features], units: usize, linear: bool) -> Network {
    let mut random = Random(5);
    let mut network = Network::new(units, linear, &mut random);
    for epoch in 0..EPOCHS {
        let rate = 0.01 * (1.0 - epoch as f32 / EPOCHS as f32);
        for _ in 0..30_000 {
            let draw = random.next() as usize;
            let (from, target) = if draw & 1 == 0 { (positive, 1.0) } else { (negative, 0.0) };
            network.learn(&from[(draw >> 1) % from.len()], target, rate);
        }
    }
    network
}

/// Trains, then adds what it wrongly takes for a head and trains again.
fn mine(clips: &[Clip], positive: &[Features], units: usize, linear: bool) -> Network {
    let mut random = Random(77);
    let mut negative = negatives(clips, |_| random.unit() < 0.06);
    let mut network = fit(positive, &negative, units, linear);
    for _ in 1..ROUNDS {
        let mut active = [0.0; HIDDEN];
        let hard = negatives(clips, |f| network.forward(f, &mut active) > -1.0);
        eprintln!("{} positives, {} negatives, {} hard", positive.len(), negative.len(), hard.len());
        negative.extend(hard);
        network = fit(positive, &negative, units, linear);
    }
    network
}

/// Whole numbers, and what one of them is worth.
fn quantised(weights: &[f32; FEATURES]) -> (Vec<i16>, f32) {
    let largest = weights.iter().fold(1e-6f32, |m, w| m.max(w.abs()));
    let unit = largest / QUANTUM;
    (weights.iter().map(|w| (w / unit).round() as i16).collect(), unit / SCALE)
}

fn print(template: &Network, network: &Network, names: &[String]) -> Result<String> {
    let row = |w: &[i16]| {
        let rows = w.chunks(WINDOW * CHANNELS).map(|row| format!("[{}]", row.iter().map(i16::to_string).collect::<Vec<_>>().join(", ")));
        rows.collect::<Vec<_>>().join(", ")
    };
    let (mut hidden, mut bias, mut output) = (String::new(), Vec::new(), Vec::new());
    for i in 0..HIDDEN {
        let (w, unit) = quantised(&network.weights[i]);
        writeln!(hidden, "    [{}],", row(&w))?;
        bias.push(format!("{}", (network.bias[i] / unit).round() as i32));
        output.push(format!("{:e}", network.output[i] * unit));
    }
    let mut text = String::from("//! Written by `examples/train_heads.rs`; do not edit. Trained on:\n");
    for line in names.chunks(6) {
        writeln!(text, "//! {}", line.join(", "))?;
    }
    write!(
        text,
        "#![cfg_attr(rustfmt, rustfmt_skip)]\n\nuse super::dot::{{ROW, ROWS}};\nuse super::heads::HIDDEN;\n\n\
         /// The linear template; only the order of its answers counts.\npub const TEMPLATE: [[i16; ROW]; ROWS] = [{}];\n\
         pub const HIDDEN_WEIGHTS: [[[i16; ROW]; ROWS]; HIDDEN] = [\n{hidden}];\npub const HIDDEN_BIAS: [i32; HIDDEN] = [{}];\n\
         pub const OUTPUT: [f32; HIDDEN] = [{}];\npub const OUTPUT_BIAS: f32 = {:e};\n",
        row(&quantised(&template.weights[0]).0),
        bias.join(", "),
        output.join(", "),
        network.output_bias
    )?;
    Ok(text)
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(dir), Some(out)) = (args.next(), args.next()) else {
        bail!("usage: train_heads DIR OUT.rs [--without NAME ...]");
    };
    let without: Vec<String> = args.filter(|a| a != "--without").collect();
    let clips = load(Path::new(&dir), &without)?;
    let positive = positives(&clips);
    if positive.is_empty() || !clips.iter().any(Clip::is_negative) {
        bail!("{dir} holds no face, or no clip without faces");
    }
    let template = mine(&clips, &positive, 1, true);
    let network = mine(&clips, &positive, HIDDEN, false);
    let mut active = [0.0; HIDDEN];
    let missed = positive.iter().filter(|f| network.forward(f, &mut active) < 0.0).count();
    eprintln!("{} positives, {missed} below even odds; the template passes on {PASSED_ON} windows a picture", positive.len());
    let mut names: Vec<String> = clips.into_iter().map(|c| c.name).collect();
    names.dedup();
    std::fs::write(&out, print(&template, &network, &names)?).with_context(|| format!("write {out}"))
}
