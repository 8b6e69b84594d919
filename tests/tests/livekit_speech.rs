//! What is said into a real `scrim serve` whose room listens: bad words reach nobody, the rest does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use scrim_livekit::AudioStream;
use scrim_tests::bench::speech::corpus::{Kind, Sentence};
use scrim_tests::bench::speech::voices::{self, Spoken};
use scrim_tests::livekit::{SOON, alone};
use scrim_tests::sound::{CHUNK, LISTENER, Microphone, PUBLISHER, RATE, Stage, loudness, subscribed, tone};
use serde_json::json;
use tokio::time::timeout;

const SENTENCES: [(&str, usize); 3] = [
    ("Good evening everybody. You are a fucking idiot and I told you so.", 6),
    ("The weather was nice today. This is such a stupid bullshit, my friend.", 9),
    ("We went to the garden together. Then the whole fucking thing fell apart.", 9),
];
/// Before each sentence: a tone that tells where it begins, and a pause.
const MARK: usize = 12;
const PAUSE: usize = 60;
/// Sentences that are listened to, after the first one, with which everything begins.
const HEARD: usize = 6;
const DELAY_MS: u32 = 5000;
/// What a span's edge may be off, in chunks of 10 ms.
const EDGE: usize = 8;

/// A sentence at the library's rate, in chunks of 10 ms, with the chunks in which its bad word is said.
struct Said {
    chunks: Vec<Vec<i16>>,
    bad: std::ops::Range<usize>,
}

fn said() -> Result<Vec<Said>> {
    let sentence = |(text, bad): (&str, usize)| Sentence {
        text: text.to_owned(),
        kind: Kind::Bad,
        bad: Some(bad),
        engine: "espeak",
        voice: "en-us",
        speed: 0.9,
    };
    let folder = tempfile::tempdir()?;
    let sentences: Vec<Sentence> = SENTENCES.into_iter().map(sentence).collect();
    let spoken = voices::speak(&sentences, folder.path())?;
    let at_rate = |(Spoken { samples, times }, (_, bad)): (Spoken, (&str, usize))| {
        // Three samples for one: what the host hears is brought down to these again.
        let up: Vec<i16> = samples
            .windows(2)
            .flat_map(|pair| (0..3).map(move |i| ((pair[0] + (pair[1] - pair[0]) * i as f32 / 3.0) * 2.5 * 32_767.0) as i16))
            .collect();
        let (from, to) = times.get(bad).copied().flatten().context("when the bad word is said")?;
        let chunk = |seconds: f64| (seconds * 100.0).round() as usize;
        Ok(Said { chunks: up.chunks_exact(CHUNK).map(<[i16]>::to_vec).collect(), bad: chunk(from)..chunk(to) })
    };
    spoken.into_iter().zip(SENTENCES).map(at_rate).collect()
}

/// How loud the mark's tone is in a chunk, of all that it holds, 0..=1.
fn mark(chunk: &[i16]) -> f64 {
    let step = std::f64::consts::TAU * 2000.0 / RATE as f64;
    let (mut real, mut imaginary, mut all) = (0.0, 0.0, 1.0);
    for (number, sample) in chunk.iter().enumerate() {
        let (sin, cos) = (step * number as f64).sin_cos();
        real += f64::from(*sample) * cos;
        imaginary += f64::from(*sample) * sin;
        all += f64::from(*sample).powi(2);
    }
    (real.powi(2) + imaginary.powi(2)) * 2.0 / chunk.len() as f64 / all
}

#[test]
fn bad_words_are_not_heard_and_the_rest_is() -> Result<()> {
    if alone()? {
        return Ok(());
    }
    let said = said()?;
    Stage::start(json!({ "listen": true, "speech_delay_ms": DELAY_MS }))?.run(|stage| listened(stage, Arc::new(said)))
}

async fn listened(stage: Arc<Stage>, said: Arc<Vec<Said>>) -> Result<()> {
    let policy = json!({ "plugin": "profanity-context@2.0.0", "config": {} });
    stage.host.json("PUT", "/v1/rooms/studio/policy/text", &policy)?.expect(200)?;
    let mut viewer = stage.join(&stage.token("Vera", "viewer")?, LISTENER).await?;
    let broadcaster = stage.join(&stage.token("Bob", "broadcaster")?, PUBLISHER).await?;
    let played = said.clone();
    let (mut sentence, mut at) = (0, 0);
    let chunk = move |number: u64| {
        let now = &played[sentence % played.len()];
        let place = at;
        at += 1;
        if place < MARK {
            return tone(number, 2000.0, 9000.0);
        }
        let Some(place) = place.checked_sub(MARK + PAUSE) else { return vec![0; CHUNK] };
        match now.chunks.get(place) {
            Some(chunk) => chunk.clone(),
            None => {
                (sentence, at) = (sentence + 1, 0);
                vec![0; CHUNK]
            }
        }
    };
    let _microphone = Microphone::start(&broadcaster, chunk).await?;
    let remote = subscribed(&mut viewer, false).await?;
    let mut sound = AudioStream::of(&viewer, remote, RATE as u32, 1)?;
    let longest = said.iter().map(|said| said.chunks.len() + MARK + PAUSE).max().context("sentences")?;
    let (mut heard, begin) = (Vec::<Vec<i16>>::new(), Instant::now());
    let until = Duration::from_millis(10 * (longest * (HEARD + 2)) as u64 + u64::from(DELAY_MS));
    while begin.elapsed() < until {
        let chunk = timeout(SOON, sound.next()).await?.context("sound goes on")?;
        heard.extend(chunk.samples.chunks_exact(CHUNK).map(<[i16]>::to_vec));
    }
    judge(&said, &heard)?;
    let events = stage.host.json("GET", "/v1/rooms/studio/events?limit=1000", &json!(null))?.expect(200)?;
    let words = events.to_string();
    ensure!(words.contains("\"speech\"") && !words.contains("fuck"), "an event of what was found, without the words: {words}");
    Ok(())
}

/// Holds what was heard against what was said, sentence by sentence.
fn judge(said: &[Said], heard: &[Vec<i16>]) -> Result<()> {
    let marked: Vec<bool> = heard.iter().map(|chunk| mark(chunk) > 0.7 && loudness(chunk) > 1000.0).collect();
    // A mark is most of its chunks in a row.
    let begins =
        (1..marked.len()).filter(|&i| marked[i] && !marked[i - 1] && marked[i..].iter().take(MARK).filter(|m| **m).count() >= MARK / 2);
    let begins: Vec<usize> = begins.collect();
    println!("{} sentences begin in {} s", begins.len(), heard.len() / 100);
    ensure!(begins.len() > HEARD, "{} sentences are heard", begins.len());
    let (mut bad, mut leaked, mut good, mut lost) = (0, 0, 0, 0);
    // Which sentence the first one is that was heard: the one whose length fits the distance to the next mark.
    let length = |at: usize| said[at % said.len()].chunks.len() + MARK + PAUSE + 1;
    let off = |first: usize| begins.windows(2).enumerate().map(|(i, pair)| (pair[1] - pair[0]).abs_diff(length(first + i))).sum::<usize>();
    let first = (0..said.len()).min_by_key(|first| off(*first)).context("sentences")?;
    // With the first one everything begins.
    for (number, begin) in begins.iter().enumerate().skip(1).take(HEARD) {
        let said = &said[(first + number) % said.len()];
        let at = begin + MARK + PAUSE;
        for (place, raw) in said.chunks.iter().enumerate() {
            let (Some(chunk), true) = (heard.get(at + place), loudness(raw) > 1200.0) else { continue };
            let loud = loudness(chunk) > 0.2 * loudness(raw);
            if (said.bad.start + EDGE / 2..said.bad.end.saturating_sub(EDGE / 2)).contains(&place) {
                bad += 1;
                leaked += usize::from(loud);
            } else if !(said.bad.start.saturating_sub(3 * EDGE)..said.bad.end + 3 * EDGE).contains(&place) {
                good += 1;
                lost += usize::from(!loud);
            }
        }
    }
    println!("{leaked} of {bad} chunks of bad words are heard, {lost} of {good} of the others are not");
    ensure!(bad > 60, "{bad} chunks of bad words were said");
    ensure!(leaked * 20 <= bad, "{leaked} of {bad} chunks of bad words are heard");
    ensure!(lost * 5 <= good, "{lost} of {good} chunks of other words are not heard");
    Ok(())
}
