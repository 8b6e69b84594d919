//! A broadcaster or a viewer of a LiveKit room in a process of its own, which a test can put into another place of the network: `scrim-peer`.
//!
//! Both do what a page does: a connection that is over is made again with the same token, later each time. What happens is told line by line
//! ([`Told`]), in JSON. A broadcaster shows the portrait; a viewer says of every picture of every track what can be seen of it.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use scrim_host::geometry::Rect;
use scrim_livekit::proto::{TrackSource, VideoCodec};
use scrim_livekit::{Encoding, Event, Library, Options, Picture, RemoteTrack, Room, VideoStream, VideoTrack};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::net::Place;
use crate::portrait::{self, SIZE, Shows};

const FRAME_EVERY: Duration = Duration::from_millis(66);
const ENCODING: Encoding = Encoding { codec: VideoCodec::Vp8, bitrate: 1_000_000, frames_per_s: 15.0, simulcast: false };
/// Pauses before a room is joined again, doubled each time.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));

/// Pictures in a row by which a viewer is known to see again what it is to see.
const WELL: usize = 10;

/// What a peer tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// It is in the room.
    In,
    /// It is in the room no more, or could not join it.
    Out(String),
    /// Somebody else joined.
    Joined(String),
    /// Somebody else left.
    Left(String),
    /// What a picture shows, and how wide it is.
    Picture(Shows, u32),
}

fn tell(told: &Told) {
    // Whoever started it and does not listen any more has ended it.
    if let Ok(line) = serde_json::to_string(told) {
        println!("{line}");
    }
}

/// A peer as a test has it, until it is dropped.
pub struct Peer {
    child: Child,
    told: Receiver<(Instant, Told)>,
}

impl Peer {
    /// One that shows the portrait to its camera.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn broadcast(place: Option<&Place>, url: &str, token: &str) -> Result<Self> {
        Self::start(place, &["broadcast", url, token])
    }

    /// One that watches.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn watch(place: Option<&Place>, url: &str, token: &str, face: Rect) -> Result<Self> {
        let face = serde_json::to_string(&[face.x, face.y, face.width, face.height])?;
        Self::start(place, &["watch", url, token, &face])
    }

    fn start(place: Option<&Place>, words: &[&str]) -> Result<Self> {
        let program = program()?;
        let mut command = place.map_or_else(|| Command::new(&program), |place| place.command(&program));
        let mut child = command.args(words).stdout(Stdio::piped()).spawn().context("a peer cannot be started")?;
        let lines = BufReader::new(child.stdout.take().context("its output is piped")?).lines();
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                match serde_json::from_str(&line) {
                    Ok(said) => _ = tell.send((Instant::now(), said)),
                    Err(error) => eprintln!("a peer says {line:?}: {error}"),
                }
            }
        });
        Ok(Self { child, told })
    }

    /// The next thing that it tells and when that was, if it tells anything until then.
    ///
    /// # Errors
    /// When it has ended.
    pub fn next(&self, until: Instant) -> Result<Option<(Instant, Told)>> {
        match self.told.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(told) => Ok(Some(told)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("a peer has ended"),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own.ancestors().map(|folder| folder.join("scrim-peer")).find(|path| path.is_file());
    found.with_context(|| format!("no scrim-peer above {}: run `cargo build --release --workspace`", own.display()))
}

/// The program: `broadcast URL TOKEN` or `watch URL TOKEN FACE`.
///
/// # Errors
/// When it was called with something else, or lacks what it needs.
pub fn run(words: &[&str]) -> Result<()> {
    let library = crate::livekit::library()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    match words {
        ["broadcast", url, token] => {
            let picture = Arc::new(portrait::picture(SIZE)?);
            runtime.block_on(again_and_again(library, url, token, false, async |room| {
                if let Err(error) = broadcast(room, &picture).await {
                    tell(&Told::Out(format!("{error:#}")));
                }
            }))
        }
        ["watch", url, token, face] => {
            let [x, y, w, h]: [f32; 4] = serde_json::from_str(face).context("FACE is [x, y, width, height]")?;
            let face = Rect::new(x, y, w, h);
            runtime.block_on(again_and_again(library, url, token, true, async |room| watch(room, face).await))
        }
        _ => bail!("scrim-peer broadcast URL TOKEN, or scrim-peer watch URL TOKEN FACE"),
    }
    Ok(())
}

async fn again_and_again(library: &'static Library, url: &str, token: &str, subscribe: bool, once: impl AsyncFn(Room)) {
    let mut pause = PAUSES.0;
    loop {
        match Room::join(library, url, token, Options { subscribe, dynacast: false, key: None }).await {
            Ok(room) => {
                tell(&Told::In);
                once(room).await;
                pause = PAUSES.0;
            }
            Err(error) => tell(&Told::Out(error.to_string())),
        }
        tokio::time::sleep(pause).await;
        pause = PAUSES.1.min(2 * pause);
    }
}

/// Until the connection is over.
async fn broadcast(mut room: Room, picture: &scrim_host::media::frame::Frame) -> Result<()> {
    let size = (picture.width as u32, picture.height as u32);
    let track = VideoTrack::publish(&room, "cam", size, TrackSource::SourceCamera, ENCODING).await?;
    let (begin, mut pace) = (Instant::now(), tokio::time::interval(FRAME_EVERY));
    loop {
        tokio::select! {
            _ = pace.tick() => {
                let frame = Picture { width: size.0, height: size.1, data: picture.data() };
                track.capture(frame, i64::try_from(begin.elapsed().as_micros())?)?;
            }
            event = room.next() => match event {
                Some(Event::Over { reason }) => bail!(reason),
                None => bail!("no more events"),
                Some(_) => {}
            }
        }
    }
}

/// Until the connection is over.
async fn watch(mut room: Room, face: Rect) {
    let mut watched: Vec<(String, JoinHandle<()>)> = Vec::new();
    while let Some(event) = room.next().await {
        match event {
            Event::Joined { identity, .. } => tell(&Told::Joined(identity)),
            Event::Left { identity } => tell(&Told::Left(identity)),
            Event::Subscribed { track, .. } if track.video => watched.extend(frames(&room, track, face)),
            Event::Unsubscribed { sid, .. } => {
                watched.extract_if(.., |(of, _)| *of == sid).for_each(|(_, frames)| frames.abort());
            }
            Event::Over { reason } => tell(&Told::Out(reason)),
            _ => {}
        }
    }
    watched.iter().for_each(|(_, frames)| frames.abort());
}

fn frames(room: &Room, track: RemoteTrack, face: Rect) -> Option<(String, JoinHandle<()>)> {
    let sid = track.sid.clone();
    let mut stream = match VideoStream::of(room, track) {
        Ok(stream) => stream,
        Err(error) => {
            tell(&Told::Out(format!("a track that can't be watched: {error}")));
            return None;
        }
    };
    let frames = tokio::spawn(async move {
        while let Some(received) = stream.next().await {
            tell(&Told::Picture(portrait::shows(&received.picture, face), received.picture.width));
        }
    });
    Some((sid, frames))
}

/// A picture that a viewer got.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub at: Instant,
    pub shows: Shows,
    pub width: u32,
}

/// What a viewer has told since the test began, looked at as it comes.
pub struct Watching {
    peer: Peer,
    begin: Instant,
    pub pictures: Vec<Seen>,
    pub told: Vec<(Instant, Told)>,
}

impl Watching {
    pub fn new(peer: Peer) -> Self {
        Self { peer, begin: Instant::now(), pictures: Vec::new(), told: Vec::new() }
    }

    /// Looks on for so long.
    ///
    /// # Errors
    /// When a face can be seen.
    pub fn look_for(&mut self, long: Duration) -> Result<()> {
        let end = Instant::now() + long;
        while let Some((at, told)) = self.peer.next(end)? {
            self.take(at, told)?;
        }
        Ok(())
    }

    /// Looks on until it is so; answers with how long that took.
    ///
    /// # Errors
    /// When it is not in time, or a face can be seen.
    pub fn look_until(&mut self, what: &str, within: Duration, so: impl Fn(&Self) -> bool) -> Result<Duration> {
        let since = Instant::now();
        while !so(self) {
            match self.peer.next(since + within)? {
                Some((at, told)) => self.take(at, told)?,
                None => bail!("not within {within:?}: {what}; it told {:?}", self.told.iter().rev().take(8).collect::<Vec<_>>()),
            }
        }
        Ok(since.elapsed())
    }

    fn take(&mut self, at: Instant, told: Told) -> Result<()> {
        match told {
            Told::Picture(shows, width) => {
                let number = self.pictures.len();
                if let Shows::Face(covered) = shows {
                    let after = at - self.begin;
                    bail!("picture {number}, {after:?} after the beginning, shows {:.0} % of the face", 100.0 * (1.0 - covered));
                }
                self.pictures.push(Seen { at, shows, width });
            }
            told => {
                println!("{:>7.2} s  the viewer: {told:?}", (at - self.begin).as_secs_f64());
                self.told.push((at, told));
            }
        }
        Ok(())
    }

    /// Pictures that came from then on.
    pub fn since(&self, then: Instant) -> impl Iterator<Item = &Seen> + '_ {
        self.pictures.iter().filter(move |seen| seen.at >= then)
    }

    /// The newest pictures came since then, show everything but the face, and are so wide.
    pub fn is_well(&self, then: Instant, width: usize) -> bool {
        let well = |seen: &&Seen| seen.at >= then && seen.shows == Shows::Rest && seen.width as usize == width;
        self.pictures.iter().rev().take(WELL).filter(well).count() == WELL
    }
}
