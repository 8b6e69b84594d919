//! A host in front of a LiveKit server, a microphone that plays into it, and what becomes of every one of its samples: for the tests of sound, and
//! for the soak.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use scrim_livekit::proto::TrackSource;
use scrim_livekit::{AudioStream, AudioTrack, Event, Library, Options, RemoteTrack, Room};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::livekit::{SOON, Server, alone_with, library, wait_for};
use crate::served::Served;

pub const RATE: usize = 48_000;
/// Samples of 10 ms.
pub const CHUNK: usize = RATE / 100;
pub const PUBLISHER: Options = Options { subscribe: false, dynacast: false, key: None };
pub const LISTENER: Options = Options { subscribe: true, dynacast: false, key: None };
/// Minutes of a whole soak.
const MINUTES: u64 = 10;
/// Seconds of a short one.
const SHORT_S: u64 = 30;

/// A server, a host, the library.
pub struct Stage {
    pub host: Served,
    pub library: &'static Library,
    _server: Server,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// With the room `studio`, which looks at no picture and has these settings.
    ///
    /// # Errors
    /// When something does not start.
    pub fn start(settings: Value) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = Server::start(folder.path())?;
        let data_dir = folder.path().join("data");
        std::fs::create_dir(&data_dir)?;
        let host = Served::start_livekit(&data_dir, &server, "")?;
        let mut room = settings;
        (room["name"], room["detectors"]) = ("studio".into(), json!([]));
        host.json("POST", "/v1/rooms", &room)?.expect(201)?;
        Ok(Self { host, library: library()?, _server: server, _folder: folder })
    }

    /// Runs what is to be done on it; the host's log is printed where that fails.
    ///
    /// # Errors
    /// When it does.
    pub fn run<F: Future<Output = Result<()>>>(self, test: impl FnOnce(Arc<Self>) -> F) -> Result<()> {
        let stage = Arc::new(self);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let outcome = runtime.block_on(test(stage.clone()));
        if outcome.is_err() {
            println!("the host's log:\n{}", std::fs::read_to_string(stage.host.data_dir.join("serve.log")).unwrap_or_default());
        }
        outcome
    }

    /// A token with all that comes with it.
    ///
    /// # Errors
    /// When the host gives none.
    pub fn token(&self, name: &str, role: &str) -> Result<Value> {
        self.host.json("POST", "/v1/rooms/studio/tokens", &json!({ "name": name, "role": role }))?.expect(201)
    }

    /// # Errors
    /// When the room can't be joined.
    pub async fn join(&self, token: &Value, options: Options) -> Result<Room> {
        let text = |key: &str| token[key].as_str().with_context(|| format!("{key} in {token}"));
        Ok(Room::join(self.library, text("url")?, text("token")?, options).await?)
    }

    /// A moderator in the own room of the one broadcaster that is connected: it hears what is raw.
    ///
    /// # Errors
    /// When the host does not know of the broadcaster soon, or the room can't be joined.
    pub async fn moderator(&self) -> Result<Room> {
        let since = Instant::now();
        loop {
            let token = self.token("Mo", "moderator")?;
            if let (Some(url), Some(raw)) = (token["url"].as_str(), token["rooms"][0]["token"].as_str()) {
                return Ok(Room::join(self.library, url, raw, LISTENER).await?);
            }
            ensure!(since.elapsed() < SOON, "the host does not find the broadcaster: {token}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The bodies of the room's events about sound, the oldest first.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn sound_events(&self) -> Result<Vec<Value>> {
        let page = self.host.get("/v1/rooms/studio/events?after=0&limit=1000")?.expect(200)?;
        let events = page["events"].as_array().cloned().unwrap_or_default();
        Ok(events.into_iter().filter(|event| event["kind"] == "sound").map(|event| event["body"].clone()).collect())
    }
}

/// The next track that is subscribed, of pictures or of sound.
///
/// # Errors
/// When none comes soon.
pub async fn subscribed(room: &mut Room, video: bool) -> Result<RemoteTrack> {
    let found = |event| match event {
        Event::Subscribed { track, .. } if track.video == video => Some(track),
        _ => None,
    };
    wait_for(room, if video { "pictures" } else { "sound" }, found).await
}

/// Plays into a room until it is dropped.
pub struct Microphone {
    pub track: Arc<AudioTrack>,
    pump: JoinHandle<()>,
}

impl Microphone {
    /// `chunk` makes the samples of the chunk of this number.
    ///
    /// # Errors
    /// When the track can't be published.
    pub async fn start(room: &Room, mut chunk: impl FnMut(u64) -> Vec<i16> + Send + 'static) -> Result<Self> {
        let track = Arc::new(AudioTrack::publish(room, "mic", TrackSource::SourceMicrophone, RATE as u32, 1).await?);
        let out = track.clone();
        let pump = tokio::spawn(async move {
            // By the clock, so that the library keeps no more than a chunk or two.
            let mut pace = tokio::time::interval(Duration::from_millis(10));
            for number in 0.. {
                pace.tick().await;
                if out.capture(&chunk(number)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self { track, pump })
    }
}

impl Drop for Microphone {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// A chunk of a tone that goes on from chunk to chunk.
pub fn tone(chunk: u64, hertz: f64, level: f64) -> Vec<i16> {
    let at = |sample: u64| (sample as f64 * hertz / RATE as f64).fract() * std::f64::consts::TAU;
    (chunk * CHUNK as u64..(chunk + 1) * CHUNK as u64).map(|sample| (level * at(sample).sin()) as i16).collect()
}

/// Mean of the absolute samples.
pub fn loudness(samples: &[i16]) -> f32 {
    samples.iter().map(|&s| f32::from(s).abs()).sum::<f32>() / samples.len().max(1) as f32
}

/// Microseconds since the Unix epoch.
pub fn unix_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Runs what a busy machine may spoil: of three times one has to succeed.
///
/// # Errors
/// The last one's, when none does.
pub fn once_of_three(run: impl Fn() -> Result<()>) -> Result<()> {
    for number in 1..3 {
        match run() {
            Ok(()) => return Ok(()),
            Err(error) => println!("try {number}: {error:#}"),
        }
    }
    run()
}

/// Plays noise through a host for so long, and holds what came to it against what it gave to the mirror, sample by sample.
///
/// # Errors
/// When one is not as the other.
pub fn exact(seconds: u64) -> Result<()> {
    Stage::start(json!({}))?.run(|stage| async move {
        let mut viewer = stage.join(&stage.token("Vera", "viewer")?, LISTENER).await?;
        let broadcaster = stage.join(&stage.token("Bob", "broadcaster")?, PUBLISHER).await?;
        let mut random = fastrand::Rng::with_seed(seconds);
        // Louder and softer, so that no two chunks are alike, decoded or not.
        let noise = move |number: u64| {
            let level = 500 + (number * 37 % 9000) as i16;
            (0..CHUNK).map(|_| random.i16(-level..=level)).collect()
        };
        let microphone = Microphone::start(&broadcaster, noise).await?;
        let remote = subscribed(&mut viewer, false).await?;
        let mut heard = AudioStream::of(&viewer, remote, RATE as u32, 1)?;
        let (begin, mut loud) = (Instant::now(), 0_u64);
        while begin.elapsed() < Duration::from_secs(seconds) {
            let sound = tokio::time::timeout(SOON, heard.next()).await?.context("sound goes on")?;
            loud += u64::from(loudness(&sound.samples) > 100.0);
        }
        broadcaster.unpublish(microphone.track.sid()).await?;
        let since = Instant::now();
        let over = loop {
            if let Some(over) = stage.sound_events()?.into_iter().find(|body| body["event"] == "over") {
                break over;
            }
            ensure!(since.elapsed() < SOON, "the end of the track is not told: {:?}", stage.sound_events()?);
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        println!("{seconds} s: {loud} chunks of 10 ms heard by a viewer; the host says {over}");
        let count = |key: &str| over[key].as_u64().with_context(|| format!("{key} in {over}"));
        ensure!(count("came")? > seconds * RATE as u64 * 9 / 10, "less came than was played");
        ensure!(loud > seconds * 80, "the viewer heard {loud} loud chunks in {seconds} s");
        ensure!(count("came")? == count("went")? + count("dropped")?, "samples are neither gone nor counted as dropped");
        ensure!(count("dropped")? == 0, "this machine was too busy to give {} samples out in time", over["dropped"]);
        ensure!(count("came")? == count("went")? && over["came_sha256"] == over["went_sha256"], "not every sample left as it came");
        for none in ["muted", "silent_unjudged", "passed_unjudged"] {
            ensure!(count(none)? == 0, "{none} is {}", over[none]);
        }
        Ok(())
    })
}

/// `scrim-soak sound [MINUTES] [--short]`: [`exact`] in a network of its own.
///
/// # Errors
/// When a sample is not as it came, or the arguments are no minutes.
pub fn soak(arguments: &[&str], short: bool) -> Result<()> {
    let minutes = match arguments.first() {
        Some(word) => word.parse().with_context(|| format!("\"{word}\" is no number of minutes: sound [MINUTES]"))?,
        None => MINUTES,
    };
    let mut again = vec!["sound".to_owned(), minutes.to_string()];
    again.extend(short.then(|| "--short".to_owned()));
    if alone_with(&again)? {
        return Ok(());
    }
    exact(if short { SHORT_S } else { minutes * 60 })
}
