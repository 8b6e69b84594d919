//! A broadcaster's sound: into its delay line, and out of it to the mirror, as late as the pictures are.
//!
//! The library gives sound no times: the line ties a count of samples to when they came, on the host's clock, which pictures are tied to as well.
//! What is muted is replaced as it leaves the line, so that a mute may be asked for up to a delay after what it is about.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use scrim_livekit::proto::TrackSource;
use scrim_livekit::{AudioStream, AudioTrack};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::meter;
use super::mirror::{Mirror, Published};
use crate::media::frame::Micros;
use crate::serve::clock::HostClock;
use crate::serve::room::{Room, lock};
use crate::speech::{AudioLine, Counts, Format};

/// What Opus works at, so that the library resamples nothing.
pub const RATE: u32 = 48_000;
pub const CHANNELS: u32 = 1;
/// A chunk of the line.
const CHUNK: Duration = Duration::from_millis(10);
/// A track that the server did not take is offered again after so long.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// More than the longest delay takes, 10 s, and what may be behind.
const BYTES_MAX: usize = 2 * RATE as usize * CHANNELS as usize * 12;

/// A delay line, shared by what fills it, what empties it, and who mutes it.
pub type Line = Arc<Mutex<AudioLine>>;

/// An empty one.
pub fn line(delay: Micros) -> Line {
    Arc::new(Mutex::new(AudioLine::new(Format { rate: RATE, channels: CHANNELS }, delay, BYTES_MAX)))
}

/// Fills the line until the track is over.
pub async fn take_in(mut audio: AudioStream, line: Line, clock: HostClock) {
    let mut lost = 0;
    while let Some(sound) = audio.next().await {
        let at = clock.at(sound.arrived);
        metrics::counter!(meter::SAMPLES_IN).increment(sound.samples.len() as u64);
        lock(&line).push(at, &sound.samples);
        metrics::counter!(meter::SAMPLES_DROPPED, "reason" => "way").increment((audio.dropped() - lost) * u64::from(RATE / 100));
        lost = audio.dropped();
    }
}

/// Publishes what is due, on whatever connection the mirror has, until the sender of `muted` is gone: the broadcaster's track is over.
pub async fn give_out(room: Arc<Room>, line: Line, mirror: Mirror, from: TrackSource, mut muted: watch::Receiver<bool>) {
    let name = if from == TrackSource::SourceScreenshareAudio { "screen sound" } else { "microphone" };
    let (mut epoch, mut told) = (mirror.epoch(), Counts::default());
    loop {
        while *epoch.borrow_and_update() == 0 {
            tokio::select! {
                changed = epoch.changed() => if changed.is_err() { return },
                // Whether it is muted is asked for when there is a track to mute.
                changed = muted.changed() => if changed.is_err() { return },
            }
        }
        let published = match mirror.audio(name, from, RATE, CHANNELS).await {
            Ok(published) => published,
            Err(error) => {
                tracing::warn!(%error, "a moderated sound track is not published");
                tokio::time::sleep(AGAIN_AFTER).await;
                if muted.has_changed().is_err() {
                    return;
                }
                continue;
            }
        };
        if !play(&room, &line, &published, &mut epoch, &mut muted, &mut told).await {
            mirror.take_back(published.epoch, published.track.sid()).await;
            return;
        }
    }
}

/// One connection. False when the broadcaster's track is over.
async fn play(
    room: &Room,
    line: &Line,
    published: &Published<AudioTrack>,
    epoch: &mut watch::Receiver<u64>,
    muted: &mut watch::Receiver<bool>,
    told: &mut Counts,
) -> bool {
    let mut tick = tokio::time::interval(CHUNK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let clock = room.shared.clock;
    let mut mute_at: Option<Instant> = muted.borrow_and_update().then(Instant::now);
    let mut ends_at: Option<Instant> = None;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            changed = epoch.changed() => {
                if changed.is_err() || *epoch.borrow_and_update() != published.epoch {
                    return changed.is_ok();
                }
            }
            changed = muted.changed(), if ends_at.is_none() => match changed {
                Ok(()) => {
                    let wanted = *muted.borrow_and_update();
                    mute_at = wanted.then(|| Instant::now() + Duration::from(room.delay()));
                    if !wanted {
                        mute(published, false);
                    }
                }
                // The track is over: what the line holds still goes out.
                Err(_) => ends_at = Some(Instant::now() + Duration::from(room.delay())),
            },
        }
        let now = Instant::now();
        if mute_at.take_if(|at| *at <= now).is_some() {
            mute(published, true);
        }
        loop {
            let (due, counts) = {
                let mut line = lock(line);
                line.set_delay(room.delay());
                (line.pop(clock.now()), line.counts())
            };
            count(told, counts);
            let Some(chunk) = due else { break };
            metrics::counter!(meter::SAMPLES_OUT).increment(chunk.samples.len() as u64);
            if let Err(error) = published.track.capture(&chunk.samples).await {
                tracing::warn!(%error, "moderated sound is not taken");
                break;
            }
        }
        if ends_at.is_some_and(|at| at <= now) {
            return false;
        }
    }
}

/// What is new since it was told last, on this connection or an earlier one.
fn count(told: &mut Counts, now: Counts) {
    let before = std::mem::replace(told, now);
    metrics::counter!(meter::SAMPLES_INSERTED).increment(now.underruns + now.inserted - before.underruns - before.inserted);
    metrics::counter!(meter::SAMPLES_DROPPED, "reason" => "drift").increment(now.overruns + now.dropped - before.overruns - before.dropped);
}

fn mute(published: &Published<AudioTrack>, mute: bool) {
    if let Err(error) = published.track.mute(mute) {
        tracing::warn!(%error, mute, "a moderated sound track is not muted as its broadcaster's is");
    }
}
