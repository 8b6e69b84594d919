//! The real networks of speech where nobody speaks: nothing may be heard; and for how many speakers a host has seats. What is heard of speech is measured by `scrim-bench speech`, which needs
//! synthesisers.

use anyhow::{Context, Result, ensure};
use scrim_host::config::Config;
use scrim_host::host::{Host, Seat};
use scrim_host::infer::runtime::Runtime;
use scrim_host::infer::vad::{CHUNK, Vad};
use scrim_host::infer::whisper::{Favoured, Files, Recogniser};
use scrim_host::media::frame::Micros;
use scrim_host::speech::segments::BEGIN;
use scrim_toolchain::assets;

/// Two seconds of silence, of a tone, and of noise.
fn sounds() -> [Vec<f32>; 3] {
    let mut random = fastrand::Rng::with_seed(1);
    let tone = (0..32_000).map(|at| (at as f32 * 440.0 * std::f32::consts::TAU / 16_000.0).sin() * 0.1).collect();
    [vec![0.0; 32_000], tone, (0..32_000).map(|_| (random.f32() - 0.5) * 0.04).collect()]
}

#[test]
fn where_nobody_speaks_no_speech_is_found() -> Result<()> {
    let runtime = Runtime::load(&assets::path("libonnxruntime.so")?)?;
    let mut vad = Vad::new(runtime, "silero-vad", &assets::path("silero-vad.onnx")?)?;
    for sound in sounds() {
        vad.forget();
        for chunk in sound.as_chunks::<CHUNK>().0 {
            let speech = vad.hear(chunk)?;
            assert!(speech < BEGIN, "{speech}");
        }
    }
    Ok(())
}

#[test]
fn where_nobody_speaks_no_words_are_made_up() -> Result<()> {
    let runtime = Runtime::load(&assets::path("libonnxruntime.so")?)?;
    let files = Files::tiny_en(&assets::folder()?);
    let favoured = Favoured { words: vec!["fuck".to_owned(), "bitch".to_owned()], bonus: 2.0, margin: 9.0 };
    let mut recogniser = Recogniser::new(runtime, "whisper-tiny.en", &files, &favoured)?;
    let [silence, _, noise] = sounds();
    for sound in [silence, noise] {
        assert_eq!(recogniser.recognise(&sound)?, []);
    }
    assert_eq!(recogniser.recognise(&[])?, []);
    Ok(())
}

#[test]
fn speakers_are_seated_as_long_as_the_host_can_hear_them_and_the_next_takes_the_seat_of_one_who_left() -> Result<()> {
    let home = tempfile::tempdir()?;
    let text = format!("data_dir = {:?}\n[speech]\nlisten = true\n", home.path());
    let host = Host::open(Config::parse(&text).map_err(|faults| anyhow::anyhow!("{faults:?}"))?)?;
    // A room that listens opens the recognisers.
    host.settings(&host.config, Micros(33_333))?;
    let mut refused = None;
    let mut seats: Vec<Seat> = std::iter::from_fn(|| host.seat("ann").map_err(|error| refused = Some(error)).ok()).take(10_000).collect();
    let refused = refused.context("no host can hear ten thousand people")?.to_string();
    println!("{} seats; then: {refused}", seats.len());
    ensure!(!seats.is_empty() && refused.contains("hearing") && refused.contains("another host"), "{refused}");
    ensure!(host.usage().sources == seats.len(), "a refusal takes nothing");
    seats.pop();
    ensure!(host.seat("bob").is_ok(), "there is room again");
    Ok(())
}
