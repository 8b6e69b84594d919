//! Sound and pictures of one moment: they reach viewers of a real `scrim serve` as far apart as they reach somebody without it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use scrim_livekit::proto::{TrackSource, VideoCodec};
use scrim_livekit::{AudioStream, Encoding, Event, I420, Picture, Room, VideoStream, VideoTrack};
use scrim_tests::livekit::{alone, wait_for};
use scrim_tests::sound::{CHUNK, LISTENER, Microphone, PUBLISHER, RATE, Stage, loudness, tone};
use serde_json::json;
use tokio::time::timeout;

const SIZE: (u32, u32) = (320, 240);
/// Chunks of 10 ms from one flash to the next, and of a flash.
const EVERY: u64 = 100;
const FLASH: u64 = 12;
/// Flashes before these are those of streams that still settle.
const SETTLE: Duration = Duration::from_secs(4);
const WATCHED: Duration = Duration::from_secs(20);
/// What a host may add between a flash and its beep, ms. What it does add is printed: on a busy machine it is not steady.
const APART_MAX: f64 = 150.0;
/// How often a picture is taken.
const FRAME: Duration = Duration::from_micros(33_333);

/// White while a beep is played, otherwise dark.
async fn flash(room: &Room) -> Result<(Microphone, tokio::task::JoinHandle<()>)> {
    let encoding = Encoding { codec: VideoCodec::Vp8, bitrate: 1_000_000, frames_per_s: 30.0, simulcast: false };
    let camera = VideoTrack::publish(room, "cam", SIZE, TrackSource::SourceCamera, encoding).await?;
    // When the current beep began is when its picture is taken, not before the next one is due.
    let (tell, mut told) = tokio::sync::watch::channel(false);
    let beep = move |number: u64| {
        let on = number % EVERY < FLASH;
        tell.send_if_modified(|now| std::mem::replace(now, on) != on);
        if on { tone(number, 1000.0, 12_000.0) } else { vec![0; CHUNK] }
    };
    let microphone = Microphone::start(room, beep).await?;
    let pump = tokio::spawn(async move {
        let begin = Instant::now();
        loop {
            let luma = if *told.borrow_and_update() { 230 } else { 30 };
            let mut data = vec![luma; (SIZE.0 * SIZE.1) as usize];
            data.resize(I420::len(SIZE.0, SIZE.1), 128);
            let picture = Picture { width: SIZE.0, height: SIZE.1, data: &data };
            if camera.capture(picture, begin.elapsed().as_micros() as i64).is_err() {
                return;
            }
            // A change is shown at once, so that a flash and its beep begin together.
            if let Ok(Err(_)) = timeout(FRAME, told.changed()).await {
                return;
            }
        }
    });
    Ok((microphone, pump))
}

/// When flashes and beeps begin for somebody in a room, in milliseconds since `begin`.
async fn watch(mut room: Room, begin: Instant) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut video, mut audio) = (None, None);
    while video.is_none() || audio.is_none() {
        let track = wait_for(&mut room, "flashes and beeps", |event| match event {
            Event::Subscribed { track, .. } => Some(track),
            _ => None,
        });
        let track = track.await?;
        if track.video {
            video = Some(VideoStream::of(&room, track)?);
        } else {
            audio = Some(AudioStream::of(&room, track, RATE as u32, 1)?);
        }
    }
    let (mut video, mut audio) = (video.context("pictures")?, audio.context("sound")?);
    let ms = |at: Instant| at.saturating_duration_since(begin).as_secs_f64() * 1000.0;
    let (mut flashes, mut beeps, mut bright, mut quiet) = (Vec::new(), Vec::new(), false, 0_u32);
    while begin.elapsed() < SETTLE + WATCHED {
        tokio::select! {
            frame = video.next() => {
                let frame = frame.context("pictures go on")?;
                let luma = &frame.picture.data[..(frame.picture.width * frame.picture.height) as usize];
                let now = luma.iter().map(|&value| u64::from(value)).sum::<u64>() / luma.len().max(1) as u64 > 120;
                if now && !std::mem::replace(&mut bright, now) {
                    flashes.push(ms(Instant::now()));
                }
                bright = now;
            }
            sound = audio.next() => {
                let sound = sound.context("sound goes on")?;
                // Millisecond by millisecond; a beep follows a long silence.
                for (number, part) in sound.samples.chunks(RATE / 1000).enumerate() {
                    if loudness(part) < 1500.0 {
                        quiet += 1;
                    } else if std::mem::take(&mut quiet) > 300 {
                        beeps.push(ms(sound.arrived) + number as f64);
                    }
                }
            }
        }
    }
    let settled = SETTLE.as_secs_f64() * 1000.0;
    flashes.retain(|at| *at > settled);
    beeps.retain(|at| *at > settled);
    Ok((flashes, beeps))
}

/// By how much each beep comes after the flash that is nearest to it, in order of size.
fn apart((flashes, beeps): &(Vec<f64>, Vec<f64>)) -> Vec<f64> {
    let nearest = |beep: &f64| flashes.iter().map(|flash| beep - flash).min_by(|a, b| a.abs().total_cmp(&b.abs()));
    let mut apart: Vec<f64> = beeps.iter().filter_map(nearest).filter(|apart| apart.abs() < 450.0).collect();
    apart.sort_by(f64::total_cmp);
    apart
}

#[test]
fn a_flash_and_its_beep_stay_together() -> Result<()> {
    if alone()? {
        return Ok(());
    }
    Stage::start(json!({}))?.run(flash_and_beep)
}

async fn flash_and_beep(stage: Arc<Stage>) -> Result<()> {
    let viewer = stage.join(&stage.token("Vera", "viewer")?, LISTENER).await?;
    let broadcaster = stage.join(&stage.token("Bob", "broadcaster")?, PUBLISHER).await?;
    let (_microphone, pump) = flash(&broadcaster).await?;
    let direct = stage.moderator().await?;
    let begin = Instant::now();
    let (direct, moderated) = (tokio::spawn(watch(direct, begin)), tokio::spawn(watch(viewer, begin)));
    let (direct, moderated) = (apart(&direct.await??), apart(&moderated.await??));
    pump.abort();
    let median = |apart: &[f64]| apart.get(apart.len() / 2).copied().context("beeps with flashes");
    for (way, apart) in [("direct", &direct), ("moderated", &moderated)] {
        println!("{way}: {} flashes, beeps after them by {:.0} ms at the median, all: {apart:.0?}", apart.len(), median(apart)?);
        ensure!(apart.len() >= 10, "{way}: {} beeps with a flash", apart.len());
    }
    let (direct, moderated) = (median(&direct)?, median(&moderated)?);
    ensure!((moderated - direct).abs() <= APART_MAX, "moderated {moderated:.0} ms, direct {direct:.0} ms");
    Ok(())
}
