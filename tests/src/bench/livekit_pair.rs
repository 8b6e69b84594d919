//! A broadcaster and a viewer of one of a host's LiveKit rooms, in this process: the numbers of the frames that were sent and when each came.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use scrim_host::media::frame::Frame;
use scrim_livekit::proto::{TrackSource, VideoCodec};
use scrim_livekit::{Encoding, Event, Library, Options, Picture, Room, VideoStream, VideoTrack};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::burnt;
use crate::clip::filtered;
use crate::livekit::wait_for;
use crate::served::Served;

const PUBLISHER: Options = Options { subscribe: false, dynacast: false, key: None };
const VIEWER: Options = Options { subscribe: true, dynacast: false, key: None };
/// How long frames that were sent may be on their way.
const UNDER_WAY: Duration = Duration::from_secs(3);

/// What is sent.
#[derive(Clone)]
pub struct Camera {
    pub clip: Arc<Vec<Frame>>,
    pub frames_per_s: f64,
    pub bitrate: u64,
}

#[derive(Default)]
struct Log {
    /// By number.
    sent: Vec<Instant>,
    /// Of readable frames: the number, and how long it took.
    seen: Vec<(usize, Duration)>,
    /// Frames that came without a number: covered there.
    unreadable: usize,
}

/// See the module. Dropped, both leave.
pub struct Pair {
    log: Arc<Mutex<Log>>,
    tasks: Vec<JoinHandle<()>>,
}

/// What became of the frames that were sent in a span.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    pub sent: usize,
    pub lost: usize,
    pub unreadable: usize,
    pub took: Vec<Duration>,
}

/// A token for a room, or the refusal's status and reason.
///
/// # Errors
/// When the host does not answer.
pub fn token(host: &Served, room: &str, role: &str, name: &str) -> Result<std::result::Result<Value, (u16, String)>> {
    let answer = host.json("POST", &format!("/v1/rooms/{room}/tokens"), &json!({ "name": name, "role": role }))?;
    let (status, body) = (answer.status, answer.json()?);
    Ok(if status == 201 { Ok(body) } else { Err((status, body["detail"].as_str().unwrap_or_default().to_owned())) })
}

async fn join(library: &'static Library, token: &Value, options: Options) -> Result<Room> {
    let text = |key: &str| token[key].as_str().with_context(|| format!("{key} in {token}"));
    Ok(Room::join(library, text("url")?, text("token")?, options).await?)
}

/// A clip with a face, below a bar where a number is burnt in: masks hardly ever reach there.
///
/// # Errors
/// When it can't be had.
pub fn clip((width, height): (usize, usize), frames_max: usize) -> Result<Vec<Frame>> {
    let bar = height / 6 / 2 * 2;
    let below = height - bar;
    let filter = format!("scale={width}:{below}:force_original_aspect_ratio=increase,crop={width}:{below},pad={width}:{height}:0:{bar}");
    filtered(&scrim_toolchain::assets::path("carphone.mp4")?, (width, height), &filter, frames_max)
}

impl Pair {
    /// Both join; the broadcaster sends from now on. Returns when the viewer has its track.
    ///
    /// # Errors
    /// When either can't join, or nothing comes.
    pub async fn start(library: &'static Library, broadcaster: &Value, viewer: &Value, camera: Camera) -> Result<Self> {
        let mut watching = join(library, viewer, VIEWER).await?;
        let mut pair = Self::broadcast(library, broadcaster, camera).await?;
        let found = wait_for(&mut watching, "a moderated track", |event| match event {
            Event::Subscribed { track, .. } => Some(track),
            _ => None,
        })
        .await?;
        let stream = VideoStream::of(&watching, found)?;
        pair.tasks.push(tokio::spawn(watch(watching, stream, pair.log.clone())));
        Ok(pair)
    }

    /// The broadcaster alone.
    ///
    /// # Errors
    /// When it can't join or publish.
    pub async fn broadcast(library: &'static Library, broadcaster: &Value, camera: Camera) -> Result<Self> {
        let room = join(library, broadcaster, PUBLISHER).await?;
        let (width, height) = (camera.clip[0].width as u32, camera.clip[0].height as u32);
        let encoding = Encoding { codec: VideoCodec::Vp8, bitrate: camera.bitrate, frames_per_s: camera.frames_per_s, simulcast: false };
        let track = VideoTrack::publish(&room, "camera", (width, height), TrackSource::SourceCamera, encoding).await?;
        let log = Arc::<Mutex<Log>>::default();
        let tasks = vec![tokio::spawn(send(room, track, camera, log.clone()))];
        Ok(Self { log, tasks })
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }

    /// The number of the next frame, and how many came that could not be read.
    pub fn mark(&self) -> (usize, usize) {
        let log = self.log();
        (log.sent.len(), log.unreadable)
    }

    /// What became of the frames between two marks; to be asked [`UNDER_WAY`] after the second.
    pub fn between(&self, from: (usize, usize), to: (usize, usize)) -> Watched {
        let log = self.log();
        let mut took: Vec<(usize, Duration)> = log.seen.iter().filter(|(number, _)| (from.0..to.0).contains(number)).copied().collect();
        took.sort();
        took.dedup_by_key(|(number, _)| *number);
        let (sent, unreadable) = (to.0 - from.0, to.1 - from.1);
        Watched {
            sent,
            lost: sent.saturating_sub(took.len() + unreadable),
            unreadable,
            took: took.into_iter().map(|(_, took)| took).collect(),
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends the clip round and round.
async fn send(_room: Room, track: VideoTrack, camera: Camera, log: Arc<Mutex<Log>>) {
    let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / camera.frames_per_s));
    let begin = Instant::now();
    let mut data = Vec::new();
    for number in 0_usize.. {
        pace.tick().await;
        let frame = &camera.clip[number % camera.clip.len()];
        data.clear();
        data.extend_from_slice(frame.data());
        burnt::burn(&mut data, frame.width, frame.height, number as u16);
        let picture = Picture { width: frame.width as u32, height: frame.height as u32, data: &data };
        lock(&log).sent.push(Instant::now());
        if track.capture(picture, begin.elapsed().as_micros() as i64).is_err() {
            return;
        }
    }
}

async fn watch(_room: Room, mut stream: VideoStream, log: Arc<Mutex<Log>>) {
    while let Some(received) = stream.next().await {
        let now = Instant::now();
        let (width, height) = (received.picture.width as usize, received.picture.height as usize);
        let number = burnt::read(&received.picture.data[..width * height], width, height);
        let mut log = lock(&log);
        match number.and_then(|number| Some((usize::from(number), *log.sent.get(usize::from(number))?))) {
            Some((number, sent)) => log.seen.push((number, now - sent)),
            None => log.unreadable += 1,
        }
    }
}

/// Watches all pairs for a while.
pub async fn watched(pairs: &[Pair], span: Duration) -> Watched {
    let from: Vec<_> = pairs.iter().map(Pair::mark).collect();
    tokio::time::sleep(span).await;
    let to: Vec<_> = pairs.iter().map(Pair::mark).collect();
    tokio::time::sleep(UNDER_WAY).await;
    let mut all = Watched::default();
    for (pair, (from, to)) in pairs.iter().zip(from.into_iter().zip(to)) {
        let Watched { sent, lost, unreadable, took } = pair.between(from, to);
        all.sent += sent;
        all.lost += lost;
        all.unreadable += unreadable;
        all.took.extend(took);
    }
    all.took.sort();
    all
}

impl Watched {
    /// Milliseconds, beyond the room's delay.
    pub fn beyond_ms(&self, share: f64, delay_ms: u64) -> f64 {
        let last = self.took.len().saturating_sub(1);
        let took = self.took.get((last as f64 * share).round() as usize);
        took.map_or(f64::NAN, |took| took.as_secs_f64() * 1e3 - delay_ms as f64)
    }
}
