//! Sound through a real server: what one plays another hears, at the rate it asks for, without gaps; what is refused says why.

use std::f64::consts::TAU;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use scrim_livekit::proto::TrackSource;
use scrim_livekit::{AudioStream, AudioTrack, Event, Options, RemoteTrack, Room, Sound};
use scrim_tests::livekit::{against_a_server, token, wait_for};
use tokio::time::timeout;

const QUIET: Options = Options { subscribe: false, dynacast: false, key: None };
const LISTENER: Options = Options { subscribe: true, dynacast: false, key: None };
const RATE: u32 = 48_000;
/// Samples of 10 ms.
const CHUNK: usize = 480;
const HERTZ: f64 = 440.0;
const LEVEL: f64 = 12_000.0;
/// Chunks that are played: eight seconds.
const PLAYED: usize = 800;

/// A tone of one channel, on and on.
fn tone(chunk: usize) -> Vec<i16> {
    let sample = |at: usize| (LEVEL * (TAU * HERTZ * at as f64 / f64::from(RATE)).sin()) as i16;
    (chunk * CHUNK..(chunk + 1) * CHUNK).map(sample).collect()
}

async fn subscribed(room: &mut Room) -> Result<RemoteTrack> {
    wait_for(room, "a track", |event| if let Event::Subscribed { track, .. } = event { Some(track) } else { None }).await
}

/// How loud a frequency is in the first channel of a chunk.
fn loudness(sound: &Sound, hertz: f64) -> f64 {
    let step = TAU * hertz / f64::from(sound.rate);
    let (mut real, mut imaginary, mut count) = (0.0, 0.0, 0.0);
    for (number, frame) in sound.samples.chunks(sound.channels as usize).enumerate() {
        let (sin, cos) = (step * number as f64).sin_cos();
        real += f64::from(frame[0]) * cos;
        imaginary += f64::from(frame[0]) * sin;
        count += 1.0;
    }
    2.0 * f64::hypot(real, imaginary) / count
}

/// The tone's frequency, from where it crosses zero upwards in the first channel.
fn frequency(sounds: &[Sound]) -> f64 {
    let rate = f64::from(sounds[0].rate);
    let samples: Vec<f64> =
        sounds.iter().flat_map(|sound| sound.samples.chunks(sound.channels as usize).map(|frame| f64::from(frame[0]))).collect();
    let crossing = |(number, pair): (usize, &[f64])| (pair[0] < 0.0 && pair[1] >= 0.0).then_some(number);
    let crossings: Vec<usize> = samples.windows(2).enumerate().filter_map(crossing).collect();
    let (Some(first), Some(last)) = (crossings.first(), crossings.last()) else { return 0.0 };
    (crossings.len() - 1) as f64 * rate / (last - first).max(1) as f64
}

/// Chunks from the first loud one to the last.
async fn heard(mut stream: AudioStream) -> Result<Vec<Sound>> {
    let (begin, mut heard) = (Instant::now(), Vec::new());
    let loud = |sound: &Sound| loudness(sound, HERTZ) > LEVEL / 3.0;
    let (mut last, mut since) = (0, Instant::now());
    while begin.elapsed() < Duration::from_secs(25) && (heard.is_empty() || since.elapsed() < Duration::from_secs(1)) {
        let Ok(sound) = timeout(Duration::from_secs(3), stream.next()).await else { break };
        let sound = sound.context("the stream ended")?;
        if loud(&sound) {
            (last, since) = (heard.len() + 1, Instant::now());
        }
        if !heard.is_empty() || loud(&sound) {
            heard.push(sound);
        }
    }
    ensure!(stream.dropped() == 0, "{} chunks were not taken in time", stream.dropped());
    heard.truncate(last);
    Ok(heard)
}

#[test]
fn what_one_plays_another_hears() -> Result<()> {
    against_a_server(|server, library| async move {
        let mut listener = Room::join(library, &server.url(), &token("studio", "listener", false, true)?, LISTENER).await?;
        let mut telephone = Room::join(library, &server.url(), &token("studio", "telephone", false, true)?, LISTENER).await?;
        let player = Room::join(library, &server.url(), &token("studio", "player", true, false)?, QUIET).await?;
        let track = AudioTrack::publish(&player, "microphone", TrackSource::SourceMicrophone, RATE, 1).await?;
        let sid = track.sid().to_owned();
        let source = wait_for(&mut listener, "the track", |event| match event {
            Event::Published { sid: published, source, name, encrypted: false, muted: false, .. } if published == sid => {
                Some((source, name))
            }
            _ => None,
        });
        ensure!(source.await? == (TrackSource::SourceMicrophone, "microphone".to_owned()));
        let remote = subscribed(&mut listener).await?;
        ensure!(!remote.video && !remote.muted && remote.sid == sid && remote.name == "microphone", "{remote:?} instead of {sid}");
        let stream = AudioStream::of(&listener, remote, RATE, 1)?;
        let remote = subscribed(&mut telephone).await?;
        let narrow = AudioStream::of(&telephone, remote, 16_000, 2)?;
        let (heard, narrow) = (tokio::spawn(heard(stream)), tokio::spawn(self::heard(narrow)));

        let begin = Instant::now();
        for chunk in 0..PLAYED {
            track.capture(&tone(chunk)).await?;
        }
        let took = begin.elapsed();
        let (heard, narrow) = (heard.await??, narrow.await??);
        let gaps = heard.iter().filter(|sound| loudness(sound, HERTZ) < LEVEL / 2.0).count();
        // The tone has a whole number of periods in five chunks: the phase goes back to where it was.
        println!(
            "{PLAYED} chunks taken in {took:?}, {} heard, {gaps} of them quieter, {} by telephone, {:.2} and {:.2} Hz",
            heard.len(),
            narrow.len(),
            frequency(&heard),
            frequency(&narrow)
        );
        // The library paces: what it keeps is all that may be ahead.
        let played = Duration::from_millis(10 * PLAYED as u64);
        ensure!(took + Duration::from_millis(200) > played && took < played * 3 / 2, "{took:?} for {played:?} of sound");
        for (heard, rate, channels) in [(&heard, RATE, 1), (&narrow, 16_000, 2)] {
            ensure!(heard.iter().all(|sound| (sound.rate, sound.channels) == (rate, channels)));
            ensure!(heard.iter().all(|sound| sound.samples.len() == (rate / 100 * channels) as usize), "not chunks of 10 ms");
            ensure!(heard.len().abs_diff(PLAYED) < PLAYED / 10, "{} chunks of {PLAYED} were heard", heard.len());
            ensure!((frequency(heard) - HERTZ).abs() < 8.0, "{} Hz", frequency(heard));
            ensure!(heard.windows(2).all(|pair| pair[0].arrived <= pair[1].arrived), "a chunk arrived before the one before it");
        }
        ensure!(gaps <= PLAYED / 25, "{gaps} gaps");
        let (first, last) = (heard[0].arrived, heard[heard.len() - 1].arrived);
        ensure!(
            (last - first).abs_diff(Duration::from_millis(10 * (heard.len() as u64 - 1))) < Duration::from_millis(500),
            "{:?}",
            last - first
        );

        track.mute(true)?;
        let muted = |event| matches!(event, Event::Muted { sid: muted, .. } if muted == sid).then_some(());
        wait_for(&mut listener, "the mute", muted).await?;
        track.mute(false)?;
        let unmuted = |event| matches!(event, Event::Unmuted { sid: unmuted, .. } if unmuted == sid).then_some(());
        wait_for(&mut listener, "its end", unmuted).await?;
        player.unpublish(&sid).await?;
        let gone = |event| matches!(event, Event::Unpublished { sid: gone, .. } if gone == sid).then_some(());
        wait_for(&mut listener, "the track's end", gone).await
    })
}

#[test]
fn sound_that_cannot_be_is_refused() -> Result<()> {
    against_a_server(|server, library| async move {
        let player = Room::join(library, &server.url(), &token("r", "player", true, false)?, QUIET).await?;
        for (rate, channels) in [(0, 1), (44_150, 1), (96_000, 1), (RATE, 0), (RATE, 3)] {
            let Err(error) = AudioTrack::publish(&player, "microphone", TrackSource::SourceMicrophone, rate, channels).await else {
                bail!("{channels} channels at {rate} Hz")
            };
            ensure!(error.to_string().contains("a multiple of 100 Hz"), "{error}");
        }
        let track = AudioTrack::publish(&player, "music", TrackSource::SourceScreenshareAudio, RATE, 2).await?;
        for samples in [0, 481, 2 * RATE as usize + 2] {
            let Err(error) = track.capture(&vec![0; samples]).await else { bail!("{samples} samples were taken") };
            ensure!(error.to_string().starts_with(&format!("{samples} samples are not up to a second")), "{error}");
        }
        // One that is given up is taken all the same, and is not in the way of the next.
        let second = vec![0; 2 * RATE as usize];
        ensure!(timeout(Duration::from_millis(50), track.capture(&second)).await.is_err(), "a second of sound took 50 ms");
        let begin = Instant::now();
        track.capture(&second[..2 * CHUNK]).await?;
        ensure!(begin.elapsed() > Duration::from_millis(500), "it did not wait for the one before: {:?}", begin.elapsed());
        Ok(())
    })
}
