//! `scrim-bench speech [--seed N] [--bonus B] [--sentences N] [--whole] [--show]`: how many bad words of synthetic speech are heard, how many are made up, how well
//! their times fit, how soon they are known, and what it costs.
//!
//! The sentences ([`corpus`]) are fixed by the seed and spoken by espeak-ng, festival and flite, which say when each word was said; synthetic voices are
//! what a machine without a collection of recordings has, and harder or easier than people in ways of their own. Times are of processor time of one
//! thread, so that what else the machine does is not counted.

pub mod corpus;
pub mod voices;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use cpu_time::ThreadTime;
use scrim_host::host::{FAVOUR, MARGIN};
use scrim_host::infer::runtime::Runtime;
use scrim_host::infer::vad::{self, Vad};
use scrim_host::infer::whisper::{Favoured, Files, Recogniser};
use scrim_host::media::frame::Micros;
use scrim_host::speech::resample::RATE;
use scrim_host::speech::segments::{Change, Segments};
use scrim_host::speech::stream::{Revision, STEP, Stream};
use scrim_host::speech::{Draft, HeardWord};
use scrim_toolchain::assets;

use corpus::{Kind, Sentence, is_bad, sentences};
use voices::{Beside, Spoken, mixed, speak};

const SEED: u64 = 1;
const SENTENCES: usize = 180;
const CONDITIONS: [(&str, Beside); 4] = [
    ("clean", Beside::Nothing),
    ("noise 20 dB", Beside::Noise(20.0)),
    ("noise 10 dB", Beside::Noise(10.0)),
    ("music 10 dB", Beside::Music(10.0)),
];
const DELAYS: [f64; 6] = [0.5, 1.0, 1.5, 2.0, 3.0, 4.0];

struct Engine {
    vad: Vad,
    recogniser: Recogniser,
}

/// # Errors
/// When a model or a synthesiser is missing.
pub fn run(arguments: &[String]) -> Result<()> {
    let after = |name: &str| arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1));
    let seed = after("--seed").map_or(Ok(SEED), |text| text.parse()).context("--seed takes a number")?;
    let bonus = after("--bonus").map_or(Ok(FAVOUR), |text| text.parse()).context("--bonus takes a number")?;
    let margin = after("--margin").map_or(Ok(MARGIN), |text| text.parse()).context("--margin takes a number")?;
    let count: usize = after("--sentences").map_or(Ok(SENTENCES), |text| text.parse()).context("--sentences takes a number")?;
    let show = arguments.iter().any(|argument| argument == "--show");
    let sentences = sentences(seed, count);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../target/speech/{seed}-{count}"));
    let spoken = speak(&sentences, &folder)?;
    let mut engine = Engine::open(bonus, margin)?;
    println!("seed {seed}, {count} sentences of each kind, bonus {bonus}, margin {margin}");
    let of = |kind: Kind| sentences.iter().zip(&spoken).filter(|(sentence, _)| sentence.kind == kind).collect::<Vec<_>>();
    let bad = of(Kind::Bad);
    for (name, beside) in CONDITIONS {
        whole(&mut engine, &bad, name, beside, show)?;
    }
    made_up(&mut engine, &of(Kind::Ordinary), "ordinary", show)?;
    made_up(&mut engine, &of(Kind::Alike), "alike", show)?;
    if arguments.iter().any(|argument| argument == "--whole") {
        return Ok(());
    }
    streamed(&mut engine, &bad)
}

impl Engine {
    fn open(bonus: f32, margin: f32) -> Result<Self> {
        let runtime = Runtime::load(&assets::path("libonnxruntime.so")?)?;
        let files = Files::tiny_en(&assets::folder()?);
        let vad = Vad::new(runtime, "silero-vad", &assets::path("silero-vad.onnx")?)?;
        let recogniser = Recogniser::new(runtime, "whisper-tiny.en", &files, &Favoured { words: Favoured::shipped(), bonus, margin })?;
        Ok(Self { vad, recogniser })
    }

    /// All words of a clip, stretch by stretch, and the processor time that they took.
    fn hear(&mut self, samples: &[f32]) -> Result<(Vec<HeardWord>, Duration)> {
        let begun = ThreadTime::now();
        self.vad.forget();
        let (mut segments, mut stretches, mut from) = (Segments::default(), Vec::new(), Micros::ZERO);
        let (chunks, _) = samples.as_chunks::<{ vad::CHUNK }>();
        let mut note = |change: Option<Change>| match change {
            Some(Change::Begun(at)) => from = at,
            Some(Change::Ended(to)) => stretches.push((from, to)),
            _ => {}
        };
        for chunk in chunks {
            note(segments.hear(self.vad.hear(chunk)?));
        }
        note(segments.finish());
        let mut words = Vec::new();
        for (from, to) in stretches {
            let place = |at: Micros| ((at.0 * u64::from(RATE) / 1_000_000) as usize).min(samples.len());
            let heard = self.recogniser.recognise(&samples[place(from)..place(to)])?;
            words.extend(heard.into_iter().map(|word| HeardWord { from: word.from + from, to: word.to + from, ..word }));
        }
        Ok((words, begun.elapsed()))
    }
}

/// How many bad words are heard in whole clips, and how far their edges are off.
fn whole(engine: &mut Engine, said: &[(&Sentence, &Spoken)], name: &str, beside: Beside, show: bool) -> Result<()> {
    let (mut found, mut by_engine, mut edges) = (0, [("espeak", 0, 0), ("festival", 0, 0), ("flite", 0, 0)], Vec::new());
    let (mut sound, mut took) = (0.0, Duration::ZERO);
    for (number, (sentence, spoken)) in (0..).zip(said) {
        let samples = mixed(&spoken.samples, beside, number);
        let (words, cost) = engine.hear(&samples)?;
        sound += samples.len() as f64 / f64::from(RATE);
        took += cost;
        let truth = sentence.bad.and_then(|at| spoken.times.get(at).copied().flatten());
        let hit = words
            .iter()
            .filter(|word| is_bad(&word.text))
            .min_by_key(|word| truth.map_or(0, |(from, _)| word.from.0.abs_diff(micros(from))));
        for (_, found, all) in by_engine.iter_mut().filter(|(engine, ..)| *engine == sentence.engine) {
            *found += usize::from(hit.is_some());
            *all += 1;
        }
        found += usize::from(hit.is_some());
        match (hit, truth) {
            (Some(word), Some((from, to))) => edges.push((seconds(word.from) - from, seconds(word.to) - to)),
            (None, _) if show => {
                let heard: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
                println!("   {} {}: {} | {}", sentence.engine, sentence.voice, sentence.text, heard.join(" "));
            }
            _ => {}
        }
    }
    let apart: Vec<String> = by_engine.iter().map(|(engine, found, all)| format!("{engine} {:.2}", share(*found, *all))).collect();
    println!(
        "{name:12} recall {:.3} ({found} of {}; {}), real-time factor {:.3}",
        share(found, said.len()),
        said.len(),
        apart.join(", "),
        took.as_secs_f64() / sound
    );
    let of = |edge: &dyn Fn(&(f64, f64)) -> f64| {
        let mut off: Vec<f64> = edges.iter().map(edge).collect();
        off.sort_unstable_by(f64::total_cmp);
        let at = |part: f64| off.get((off.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN);
        let within = share(off.iter().filter(|off| off.abs() <= 0.15).count(), off.len());
        format!("{:+.2} / {:+.2} / {:+.2} s, {within:.2} within 150 ms", at(0.1), at(0.5), at(0.9))
    };
    println!("             begins off by (10 / 50 / 90 %) {}; ends {}", of(&|off| off.0), of(&|off| off.1));
    Ok(())
}

/// Bad words that nobody said.
fn made_up(engine: &mut Engine, said: &[(&Sentence, &Spoken)], name: &str, show: bool) -> Result<()> {
    let (mut wrong, mut sound, mut took) = (0, 0.0, Duration::ZERO);
    for (sentence, spoken) in said {
        let (words, cost) = engine.hear(&spoken.samples)?;
        sound += spoken.samples.len() as f64 / f64::from(RATE);
        took += cost;
        for word in words.iter().filter(|word| is_bad(&word.text)) {
            wrong += 1;
            if show {
                println!("   {} {}: {} | {} {:.2}", sentence.engine, sentence.voice, sentence.text, word.text, word.confidence);
            }
        }
    }
    println!(
        "{name:12} {wrong} made up in {:.1} min: {:.2} in 10 min; real-time factor {:.3}",
        sound / 60.0,
        f64::from(wrong) * 600.0 / sound,
        took.as_secs_f64() / sound
    );
    Ok(())
}

/// One after the other as a stream: when each bad word is known, what it costs, and how far behind `heard_to` is.
fn streamed(engine: &mut Engine, said: &[(&Sentence, &Spoken)]) -> Result<()> {
    let (mut likely, mut sure, mut behind) = (Vec::new(), Vec::new(), Vec::new());
    let (mut stream, mut at, mut busy, mut took) = (Stream::new(STEP), 0.0, 0.0, 0.0);
    engine.vad.forget();
    let mut answer: Option<(f64, Vec<HeardWord>, Draft)> = None;
    for (sentence, spoken) in said {
        let begin = at;
        let truth = sentence.bad.and_then(|word| spoken.times.get(word).copied().flatten()).map(|(from, to)| (from + begin, to + begin));
        let (mut first, mut settled) = (None, None);
        let mut note = |told: Option<Revision>, now: f64| {
            let Some((told, (from, to))) = told.zip(truth) else { return };
            let is = |word: &HeardWord| is_bad(&word.text) && seconds(word.from) < to + 0.5 && seconds(word.to) > from - 0.5;
            if told.words.iter().any(is) {
                first.get_or_insert(now - from);
            }
            if told.words[..told.sure].iter().any(is) {
                settled.get_or_insert(now - from);
            }
        };
        let (chunks, _) = spoken.samples.as_chunks::<{ vad::CHUNK }>();
        for chunk in chunks {
            let begun = ThreadTime::now();
            at += chunk.len() as f64 / f64::from(RATE);
            let speech = engine.vad.hear(chunk)?;
            note(stream.hear(chunk, speech), at);
            took += begun.elapsed().as_secs_f64();
            if let Some((when, words, draft)) = answer.take_if(|(when, ..)| *when <= at) {
                note(stream.answer(words, draft), when);
            }
            if answer.is_none()
                && let Some(question) = stream.ask()
            {
                let begun = ThreadTime::now();
                let heard = engine.recogniser.hear(&question.samples, &question.draft)?;
                let cost = begun.elapsed().as_secs_f64();
                took += cost;
                busy = at.max(busy) + cost;
                answer = Some((busy, heard.words, heard.draft));
            }
            behind.push(at - seconds(stream.heard_to()));
        }
        if truth.is_some() {
            likely.push(first);
            sure.push(settled);
        }
    }
    behind.sort_unstable_by(f64::total_cmp);
    let known = |known: &[Option<f64>], delay: f64| share(known.iter().flatten().filter(|after| **after <= delay).count(), known.len());
    println!("streamed, {} bad words of known time in {:.1} min; processor share {:.3}", likely.len(), at / 60.0, took / at);
    for delay in DELAYS {
        let late = behind.iter().filter(|behind| **behind > delay).count();
        println!(
            "   {delay:.1} s after a word begins: {:.3} are known, {:.3} are sure; {:.3} of the time heard_to is further behind",
            known(&likely, delay),
            known(&sure, delay),
            share(late, behind.len())
        );
    }
    let ever = |known: &[Option<f64>]| share(known.iter().flatten().count(), known.len());
    println!(
        "   at last: {:.3} known, {:.3} sure; heard_to is behind by {:.2} s (50 %), {:.2} s (90 %), {:.2} s (99 %)",
        ever(&likely),
        ever(&sure),
        behind[behind.len() / 2],
        behind[behind.len() * 9 / 10],
        behind[behind.len() * 99 / 100]
    );
    Ok(())
}

fn share(part: usize, of: usize) -> f64 {
    part as f64 / of.max(1) as f64
}

fn micros(seconds: f64) -> u64 {
    (seconds * 1e6) as u64
}

fn seconds(at: Micros) -> f64 {
    at.0 as f64 / 1e6
}
