//! Sentences to sound, and what is heard beside it.

use std::f64::consts::TAU;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use scrim_host::speech::resample::{RATE, Resampler};

use super::corpus::Sentence;

/// A sentence as it is heard: 16 kHz, with half a second of silence before and 0.8 s after.
pub struct Spoken {
    pub samples: Vec<f32>,
    /// When each word is said, in seconds from the first sample; none where the synthesiser does not say.
    pub times: Vec<Option<(f64, f64)>>,
}

const BEFORE: f64 = 0.5;
const AFTER: f64 = 0.8;
/// As loud as speech is made, of the loudest there is.
const SPEECH: f32 = 0.08;

/// Has all of them spoken, unless `folder` has what was spoken before.
///
/// # Errors
/// When espeak-ng, festival or flite are missing (Debian: libespeak-ng1, festival, festvox-kallpc16k, festvox-us-slt-hts, flite).
pub fn speak(sentences: &[Sentence], folder: &Path) -> Result<Vec<Spoken>> {
    std::fs::create_dir_all(folder)?;
    let wav = |number: usize| folder.join(format!("{number}.wav"));
    let asked = (0..).zip(sentences).map(|(number, Sentence { text, engine, voice, speed, .. })| {
        format!("{}\n", serde_json::json!({ "text": text, "engine": engine, "voice": voice, "speed": speed, "wav": wav(number) }))
    });
    let asked: String = asked.collect();
    let [before, answers] = ["asked", "times"].map(|name| folder.join(name));
    if std::fs::read_to_string(&before).is_ok_and(|before| before == asked) {
        return sound(&std::fs::read_to_string(&answers)?, sentences.len(), wav);
    }
    eprintln!("speaking {} sentences, which takes minutes", sentences.len());
    let times = ask(asked.clone())?;
    std::fs::write(&answers, &times)?;
    std::fs::write(&before, asked)?;
    sound(&times, sentences.len(), wav)
}

fn ask(asked: String) -> Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("speech/speak.py");
    let mut speaker = Command::new("python3").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("python3")?;
    let mut input = speaker.stdin.take().context("no input")?;
    // It answers while it is still being asked.
    let writer = std::thread::spawn(move || input.write_all(asked.as_bytes()));
    let output = speaker.wait_with_output()?;
    ensure!(output.status.success(), "the speaker ended with {}", output.status);
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    Ok(String::from_utf8(output.stdout)?)
}

fn sound(answers: &str, sentences: usize, wav: impl Fn(usize) -> PathBuf) -> Result<Vec<Spoken>> {
    let times = answers.lines().map(serde_json::from_str).collect::<Result<Vec<Vec<Option<(f64, f64)>>>, _>>()?;
    ensure!(times.len() == sentences, "{} of {sentences} were spoken", times.len());
    times.into_iter().enumerate().map(|(number, times)| spoken(&wav(number), times)).collect()
}

fn spoken(wav: &Path, times: Vec<Option<(f64, f64)>>) -> Result<Spoken> {
    let (rate, samples) = read(wav)?;
    let mut speech = Vec::new();
    let mut resampler = Resampler::new(rate, 1);
    resampler.push(&samples, &mut speech);
    resampler.push(&vec![0; rate as usize / 20], &mut speech);
    let gain = SPEECH / loudness(&speech).max(1e-6);
    let silence = |seconds: f64| vec![0.0; (seconds * f64::from(RATE)) as usize];
    let samples = [silence(BEFORE), speech.iter().map(|sample| sample * gain).collect(), silence(AFTER)].concat();
    Ok(Spoken { samples, times: times.iter().map(|time| time.map(|(from, to)| (from + BEFORE, to + BEFORE))).collect() })
}

/// Rate and samples of a WAV file of one channel and 16 bits.
fn read(path: &Path) -> Result<(u32, Vec<i16>)> {
    let bytes = std::fs::read(path).with_context(|| format!("{}", path.display()))?;
    let number = |at: usize| bytes.get(at..at + 4).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    let (mut at, mut rate) = (12, None);
    while let (Some(kind), Some(length)) = (bytes.get(at..at + 4), number(at + 4)) {
        match kind {
            b"fmt " => rate = number(at + 12),
            b"data" => {
                let data = &bytes[at + 8..(at + 8 + length as usize).min(bytes.len())];
                let samples = data.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect();
                return Ok((rate.context("no format")?, samples));
            }
            _ => {}
        }
        at += 8 + length as usize + length as usize % 2;
    }
    bail!("{} has no sound", path.display())
}

/// What is heard beside speech.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Beside {
    Nothing,
    /// Noise of equal power in each octave, so many decibels below the speech.
    Noise(f32),
    /// Chords and a beat, so many decibels below the speech.
    Music(f32),
}

pub fn mixed(speech: &[f32], beside: Beside, seed: u64) -> Vec<f32> {
    let (other, below) = match beside {
        Beside::Nothing => return speech.to_vec(),
        Beside::Noise(below) => (noise(speech.len(), seed), below),
        Beside::Music(below) => (music(speech.len(), seed), below),
    };
    let gain = SPEECH / loudness(&other).max(1e-6) * 10_f32.powf(-below / 20.0);
    speech.iter().zip(&other).map(|(speech, other)| (speech + other * gain).clamp(-1.0, 1.0)).collect()
}

/// Voss and McCartney's: the sum of noises that change half as often each.
fn noise(length: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::with_seed(seed);
    let mut rows = [0.0_f32; 12];
    (1..=length)
        .map(|at| {
            rows[(at.trailing_zeros() as usize).min(11)] = rng.f32() - 0.5;
            rows.iter().sum::<f32>() + rng.f32() - 0.5
        })
        .collect()
}

/// Two chords a second, each of three notes with four overtones, and a beat of noise on each.
fn music(length: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::with_seed(seed);
    let rate = f64::from(RATE);
    let chords: Vec<[f64; 3]> = (0..length.div_ceil(RATE as usize / 2))
        .map(|_| {
            let root = 110.0 * 2_f64.powf(f64::from(rng.u8(0..12)) / 12.0);
            [root, root * 2_f64.powf(if rng.bool() { 4.0 } else { 3.0 } / 12.0), root * 1.498]
        })
        .collect();
    (0..length)
        .map(|at| {
            let (time, within) = (at as f64 / rate, (at % (RATE as usize / 2)) as f64 / rate);
            let notes = chords[at / (RATE as usize / 2)].iter();
            let tones: f64 =
                notes.map(|note| (1..=5).map(|over| (TAU * note * f64::from(over) * time).sin() / f64::from(over)).sum::<f64>()).sum();
            let beat = f64::from(rng.f32() - 0.5) * 4.0 * (-within * 25.0).exp();
            (tones * (-within * 2.0).exp() + beat) as f32
        })
        .collect()
}

fn loudness(samples: &[f32]) -> f32 {
    // Of what is sound: pauses do not make it softer.
    let loud: Vec<f32> = samples.iter().copied().filter(|sample| sample.abs() > 1e-3).collect();
    (loud.iter().map(|sample| sample * sample).sum::<f32>() / loud.len().max(1) as f32).sqrt()
}
