//! A real `scrim serve` between a broadcaster and viewers of a real LiveKit server: what is published into an ingest room reaches the viewers' room
//! moderated, and ends there as it ends here.
mod encrypted;
mod pictures;
mod sound;
mod words;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use scrim_host::media::frame::Frame;
use scrim_livekit::proto::{TrackSource, VideoCodec};
use scrim_livekit::{Encoding, Event, Library, Options, Picture, RemoteTrack, Room, VideoTrack};
use scrim_tests::livekit::{Server, alone, library};
use scrim_tests::portrait::SIZE;
use scrim_tests::served::Served;
use serde_json::{Value, json};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);
const PUBLISHER: Options = Options { subscribe: false, dynacast: false, key: None };
const VIEWER: Options = Options { subscribe: true, dynacast: false, key: None };
const VP8: Encoding = Encoding { codec: VideoCodec::Vp8, bitrate: 2_000_000, frames_per_s: 30.0, simulcast: false };

/// Runs a test in a network of its own, with a server and a host of its own that has a room `studio`.
fn with_a_host<F: Future<Output = Result<()>>>(test: impl FnOnce(Server, Served, &'static Library) -> F) -> Result<()> {
    with_shared_keys("", test)
}

/// As [`with_a_host`], with the shared keys of encrypted rooms.
fn with_shared_keys<F: Future<Output = Result<()>>>(
    shared_keys: &str,
    test: impl FnOnce(Server, Served, &'static Library) -> F,
) -> Result<()> {
    if alone()? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path())?;
    let data_dir = folder.path().join("data");
    std::fs::create_dir(&data_dir)?;
    let keys = folder.path().join("shared-keys");
    std::fs::write(&keys, shared_keys)?;
    let host = Served::start_livekit(
        &data_dir,
        &server,
        &format!("[livekit]\nshared_keys_file = {keys:?}\nattributes = [\"color\", \"mood\"]\n"),
    )?;
    host.json("POST", "/v1/rooms", &json!({ "name": "studio", "cover": ["FACE_*"] }))?.expect(201)?;
    let library = library()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let log = data_dir.join("serve.log");
    let outcome = runtime.block_on(test(server, host, library));
    if outcome.is_err() {
        println!("the host's log:\n{}", std::fs::read_to_string(log).unwrap_or_default());
    }
    outcome
}

fn token(host: &Served, name: &str, role: &str) -> Result<Value> {
    host.json("POST", "/v1/rooms/studio/tokens", &json!({ "name": name, "role": role }))?.expect(201)
}

async fn join(library: &'static Library, token: &Value, options: Options) -> Result<Room> {
    let text = |key: &str| token[key].as_str().with_context(|| format!("{key} in {token}"));
    Ok(Room::join(library, text("url")?, text("token")?, options).await?)
}

/// Publishes one picture, over and over, until dropped.
struct Camera {
    track: std::sync::Arc<VideoTrack>,
    pump: tokio::task::JoinHandle<()>,
}

impl Camera {
    async fn start(room: &Room, frame: Frame, from: TrackSource) -> Result<Self> {
        let track = VideoTrack::publish(room, "cam", (SIZE.0 as u32, SIZE.1 as u32), from, VP8).await?;
        let track = std::sync::Arc::new(track);
        let out = track.clone();
        let pump = tokio::spawn(async move {
            let (begin, mut pace) = (Instant::now(), tokio::time::interval(Duration::from_millis(33)));
            loop {
                pace.tick().await;
                let picture = Picture { width: frame.width as u32, height: frame.height as u32, data: frame.data() };
                if out.capture(picture, begin.elapsed().as_micros() as i64).is_err() {
                    return;
                }
            }
        });
        Ok(Self { track, pump })
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

async fn until<T>(room: &mut Room, what: &str, mut found: impl FnMut(Event) -> Option<T>) -> Result<T> {
    let searching = async {
        while let Some(event) = room.next().await {
            if let Event::Over { reason } = &event {
                bail!("the room was over before {what}: {reason}");
            }
            if let Some(found) = found(event) {
                return Ok(found);
            }
        }
        bail!("the room was over before {what}")
    };
    timeout(SOON, searching).await.unwrap_or_else(|_| bail!("{what}: not within {SOON:?}"))
}

async fn subscribed(room: &mut Room) -> Result<(String, RemoteTrack)> {
    let track = |event| match event {
        Event::Subscribed { identity, track } => Some((identity, track)),
        _ => None,
    };
    until(room, "a moderated track", track).await
}
/// Comes back when something holds, which it does before long.
async fn eventually(mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let begin = Instant::now();
    while !holds()? {
        ensure!(begin.elapsed() < SOON, "it does not come about");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
