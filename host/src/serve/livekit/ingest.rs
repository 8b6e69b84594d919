//! One broadcaster: the room it publishes into, which the host alone hears, and what becomes of its tracks.
//!
//! ```text
//! ingest room ── pictures ─► take_in ─► Stream (delay line, masks, cover) ─► pump ──► Mirror ─► viewers' room
//!      │      ── sound ────► take_in ─► AudioLine (delay line, mutes) ─► give_out ─┘
//!      └─ joined, left, muted, lost: the same for the mirror
//! ```
//! What always holds: a picture reaches the mirror only as a [`Shown`](crate::serve::stream::Shown) of its stream, sound only out of its delay line;
//! a track is mirrored once its first moderated frame is there; a connection that is lost is made again with growing pauses, and what comes
//! after the gap begins a new shot.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use backon::BackoffBuilder;
use scrim_livekit::proto::TrackSource;
use scrim_livekit::{AudioStream, Event, Options, RemoteTrack, Room as Joined, VideoStream};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::attendance::{Attendance, PAUSE_MAX, retries};
use super::meter;
use super::mirror::{Mirror, Seat};
use super::pump;
use super::sound::{self, Line, Track};
use super::talk::{self, Talk};
use super::token::Badge;
use crate::plugin::types::{Source, SourceKind};
use crate::serve::Service;
use crate::serve::chat;
use crate::serve::room::Room;
use crate::serve::stream::{Origin, Stream, Way};

/// A room in which no broadcaster is for so long is left; a look round finds one that comes later.
const EMPTY_MAX: Duration = Duration::from_secs(60);
/// A broadcaster that is not there so long after the host is back has left meanwhile.
const BACK_MAX: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Broadcaster {
    attendance: Arc<Attendance>,
    service: Weak<Service>,
    room: Arc<Room>,
    identity: String,
    /// The room is another host's from now on.
    let_go: watch::Receiver<bool>,
    /// The guard does not see it in its room.
    missing: watch::Receiver<bool>,
}

/// One of its tracks that is live.
struct Channel {
    /// Of its session with the server; another one when the broadcaster has published anew.
    sid: String,
    medium: Medium,
    take_in: JoinHandle<()>,
    muted: watch::Sender<bool>,
}

#[derive(Clone)]
enum Medium {
    Picture(Arc<Stream>),
    Sound(Line),
}

impl Channel {
    /// Nothing comes for now; what is under way still goes out.
    fn cut(&self) {
        self.take_in.abort();
        if let Medium::Picture(stream) = &self.medium {
            stream.detach();
        }
    }
}

/// What was told of a track before it came.
#[derive(Clone, Copy)]
struct Told {
    of: TrackSource,
    /// Of its pictures, as the publisher says.
    size: (u32, u32),
    /// End to end.
    encrypted: bool,
}

/// A track that has begun to come.
struct Arrived {
    track: RemoteTrack,
    told: Told,
    mirror: Mirror,
    /// What the same source had before.
    before: Option<Channel>,
}

/// What is known of it while the host hears it.
#[derive(Default)]
struct Heard {
    channels: HashMap<TrackSource, Channel>,
    mirror: Option<Mirror>,
    /// The latest mirror's task.
    mirror_leaves: Option<JoinHandle<()>>,
    /// Of its pumps.
    tasks: Vec<JoinHandle<()>>,
    /// Tracks by their sids.
    published: HashMap<String, Told>,
    /// The server is being reached again: what goes now may come back.
    reconnecting: bool,
    /// None while it is there.
    absent_since: Option<Instant>,
    /// What it writes, in order, and what became of it.
    talk: Option<Talk>,
    /// This host has no place for it.
    turned_away: bool,
}

/// When to stop: the host drains, the room is stopped, or it is another host's.
struct Ends {
    drains: watch::Receiver<bool>,
    stops: watch::Receiver<bool>,
    let_go: watch::Receiver<bool>,
}

impl Ends {
    async fn come(&mut self) {
        tokio::select! {
            () = told(&mut self.drains) => {}
            () = told(&mut self.stops) => {}
            () = told(&mut self.let_go) => {}
        }
    }
}

/// Returns when it is so, or nobody is there any more to say so.
async fn told(it: &mut watch::Receiver<bool>) {
    let _ = it.wait_for(|it| *it).await;
}

enum End {
    /// The connection is over; the broadcaster may be there still.
    Lost,
    /// Nobody is there any more, or the host stops.
    Gone,
}

impl Broadcaster {
    pub fn new(
        attendance: Arc<Attendance>,
        service: Weak<Service>,
        room: Arc<Room>,
        identity: String,
        [let_go, missing]: [watch::Receiver<bool>; 2],
    ) -> Self {
        Self { attendance, service, room, identity, let_go, missing }
    }

    /// For as long as it is there, and a while longer.
    pub async fn attend(self) {
        let mut heard = Heard { absent_since: Some(Instant::now()), ..Heard::default() };
        let mut pauses = retries().build();
        let Some(drains) = self.service.upgrade().map(|service| service.drains()) else { return };
        let mut ends = Ends { drains, stops: self.room.stops(), let_go: self.let_go.clone() };
        loop {
            let joined = tokio::select! {
                joined = self.join() => joined,
                () = ends.come() => break,
            };
            match joined {
                Ok(room) => {
                    pauses = retries().build();
                    heard.absent_since = heard.absent_since.map(|_| Instant::now());
                    if matches!(self.hear(room, &mut heard, &mut ends).await, End::Gone) {
                        break;
                    }
                    metrics::counter!(meter::RECONNECTS, "side" => "ingest").increment(1);
                    self.room.tell("livekit", json!({ "event": "ingest_lost", "identity": self.identity }));
                    heard.cut();
                }
                Err(reason) => tracing::warn!(room = %self.room.name, reason, "an ingest room cannot be joined"),
            }
            if heard.absent_since.is_some_and(|since| since.elapsed() > EMPTY_MAX) {
                break;
            }
            heard.absent_since.get_or_insert_with(Instant::now);
            tokio::select! {
                () = tokio::time::sleep(pauses.next().unwrap_or(PAUSE_MAX)) => {}
                () = ends.come() => break,
            }
        }
        self.finish(&mut heard, "the broadcaster left");
        // The mirror leaves when the last moderated frame is out.
        for task in heard.tasks.drain(..).chain(heard.mirror_leaves.take()) {
            let _ = task.await;
        }
    }

    /// Its own room.
    fn ingest(&self) -> String {
        self.attendance.mint.ingest_room(&self.room.name, &self.identity)
    }

    /// Of the room, if it is encrypted end to end.
    fn key(&self) -> Option<Vec<u8>> {
        self.attendance.keys.of(&self.room.name)
    }

    async fn join(&self) -> Result<Joined, String> {
        let Attendance { library, url, mint, .. } = &*self.attendance;
        // The host hears everything that a broadcaster publishes.
        let options = Options { subscribe: true, dynacast: false, key: self.key() };
        let token = mint.host_in_ingest(&self.ingest()).map_err(|error| error.to_string())?;
        Joined::join(library, url, &token, options).await.map_err(|error| error.to_string())
    }

    /// One connection.
    async fn hear(&self, mut joined: Joined, heard: &mut Heard, ends: &mut Ends) -> End {
        heard.reconnecting = false;
        let mut missing = self.missing.clone();
        loop {
            if heard.turned_away {
                return End::Gone;
            }
            let patience = if heard.mirror.is_some() { BACK_MAX } else { EMPTY_MAX };
            let given_up = heard.absent_since.unwrap_or_else(Instant::now) + patience;
            let event = tokio::select! {
                event = joined.next() => event,
                Some(answer) = talk::answered(&mut heard.talk) => {
                    answer.send(&joined, &self.identity).await;
                    continue;
                }
                () = tokio::time::sleep_until(given_up), if heard.absent_since.is_some() => {
                    if heard.mirror.is_none() {
                        return End::Gone;
                    }
                    self.left(heard);
                    continue;
                }
                () = told(&mut missing), if heard.absent_since.is_none() => {
                    tracing::warn!(room = %self.room.name, identity = self.identity, "a broadcaster has left, and only the server's list says so");
                    self.left(heard);
                    continue;
                }
                () = ends.come() => return End::Gone,
            };
            match event {
                Some(Event::Joined { identity, name, attributes }) if identity == self.identity => {
                    self.came(&name, &attributes, heard).await;
                }
                Some(Event::Left { identity }) if identity == self.identity => self.left(heard),
                Some(Event::Published { identity, source, encrypted: true, .. }) if identity == self.identity && self.key().is_none() => {
                    self.refused(source, "it is encrypted end to end and this host has no key for it: it cannot be judged");
                }
                Some(Event::Published { identity, sid, source, encrypted, width, height, .. }) if identity == self.identity => {
                    _ = heard.published.insert(sid, Told { of: source, size: (width, height), encrypted });
                }
                Some(Event::Subscribed { identity, track }) if identity == self.identity => self.subscribed(&joined, track, heard).await,
                Some(Event::Unsubscribed { sid, .. }) => self.unsubscribed(heard, &sid),
                Some(Event::Muted { sid, .. }) => heard.muted(&sid, true),
                Some(Event::Unmuted { sid, .. }) => heard.muted(&sid, false),
                Some(Event::Text { identity, topic, text, id, .. }) if identity == self.identity && topic == talk::CHAT => {
                    heard.talk.iter().for_each(|talk| talk.take(&id, &text));
                }
                Some(Event::Reconnecting) => heard.reconnecting = true,
                Some(Event::Reconnected) => heard.reconnecting = false,
                Some(Event::Over { reason }) => {
                    tracing::warn!(room = %self.room.name, reason, "an ingest room is over for the host");
                    return End::Lost;
                }
                None => return End::Lost,
                // Of others that are here: the guard looks after them.
                Some(_) => {}
            }
        }
    }

    async fn came(&self, name: &str, attributes: &HashMap<String, String>, heard: &mut Heard) {
        heard.absent_since = None;
        self.attendance.comes(&self.ingest());
        if heard.mirror.is_some() {
            return;
        }
        let mut badge = Badge { name: moderated(&self.room, name).await, attributes: BTreeMap::new() };
        for shown in &self.attendance.attributes {
            if let Some(value) = attributes.get(&shown.0) {
                badge.attributes.insert(shown.0.clone(), moderated(&self.room, value).await);
            }
        }
        self.room.tell("livekit", json!({ "event": "joined", "identity": self.identity, "name": badge.name }));
        let (mint, room, identity) = (self.attendance.mint.clone(), self.room.name.clone(), self.identity.clone());
        let ticket = move || mint.mirror(&room, &identity, &badge).map_err(|error| error.to_string());
        let Attendance { library, url, .. } = &*self.attendance;
        let seat = Seat { library, url: url.clone(), key: self.key(), ticket: Box::new(ticket), after: heard.mirror_leaves.take() };
        let (mirror, leaves) = Mirror::join(seat);
        heard.mirror_leaves = Some(leaves);
        heard.talk = Some(Talk::start(self.room.clone(), self.identity.clone(), mirror.clone()));
        heard.mirror = Some(mirror);
    }

    fn left(&self, heard: &mut Heard) {
        self.finish(heard, "the broadcaster left");
        self.attendance.leaves(&self.ingest());
        heard.absent_since = Some(Instant::now());
        self.room.tell("livekit", json!({ "event": "left", "identity": self.identity }));
    }

    fn refused(&self, what: TrackSource, reason: &str) {
        tracing::warn!(room = %self.room.name, reason, "a track is not taken on");
        let what = what.as_str_name().trim_start_matches("SOURCE_").to_lowercase();
        self.room.tell("livekit", json!({ "event": "refused", "identity": self.identity, "track": what, "reason": reason }));
    }

    async fn subscribed(&self, joined: &Joined, track: RemoteTrack, heard: &mut Heard) {
        let (Some(mirror), Some(told)) = (heard.mirror.clone(), heard.published.get(&track.sid).copied()) else { return };
        let of = told.of;
        heard.tasks.retain(|task| !task.is_finished());
        if track.video
            && let Some(service) = self.service.upgrade()
            && self.attendance.arrives(&service, &self.room, &self.identity).is_err()
        {
            heard.turned_away = true;
            return;
        }
        let before = heard.channels.remove(&of);
        before.iter().for_each(Channel::cut);
        let video = track.video;
        let arrived = Arrived { track, told, mirror, before };
        let channel =
            if video { self.picture(joined, arrived, &mut heard.tasks).await } else { self.sound(joined, arrived, &mut heard.tasks) };
        match channel {
            Ok(channel) => _ = heard.channels.insert(of, channel),
            Err(reason) => self.refused(of, &reason),
        }
    }

    async fn picture(&self, joined: &Joined, arrived: Arrived, tasks: &mut Vec<JoinHandle<()>>) -> Result<Channel, String> {
        let Arrived { track, told: Told { of, size, encrypted }, mirror, before } = arrived;
        let (kind, word) = match of {
            TrackSource::SourceScreenshare => (SourceKind::Screen, "screen"),
            _ => (SourceKind::Camera, "camera"),
        };
        let service = self.service.upgrade().ok_or("the host is stopping")?;
        let source = Source { id: format!("{}:{word}", self.identity), kind, owner: self.identity.clone() };
        let stream =
            service.publish(&self.room, Origin { way: Way::LiveKit, source, raw: false }).await.map_err(|error| error.to_string())?;
        let (sid, is_muted) = (track.sid.clone(), track.muted);
        let video = VideoStream::of(joined, track).map_err(|error| {
            stream.detach();
            error.to_string()
        })?;
        let goes_on = before.filter(|before| matches!(&before.medium, Medium::Picture(was) if was.session == stream.session));
        let muted = match goes_on {
            // Its pump goes on with it.
            Some(before) => before.muted,
            None => {
                let muted = watch::channel(is_muted).0;
                let of = pump::Picture { from: of, name: word.to_owned(), encoding: pump::encoding_for(self.attendance.encoding, size) };
                let pump = pump::pictures(stream.clone(), mirror, of, muted.subscribe(), self.room.clone());
                tasks.push(self.room.shared.frame_path.spawn(pump));
                muted
            }
        };
        muted.send_replace(is_muted);
        let take_in = self.room.shared.frame_path.spawn(pump::take_in(video, stream.clone(), self.room.clone(), encrypted));
        Ok(Channel { sid, medium: Medium::Picture(stream), take_in, muted })
    }

    fn sound(&self, joined: &Joined, arrived: Arrived, tasks: &mut Vec<JoinHandle<()>>) -> Result<Channel, String> {
        let Arrived { track, told: Told { of, .. }, mirror, before } = arrived;
        let (sid, is_muted) = (track.sid.clone(), track.muted);
        let audio = AudioStream::of(joined, track, sound::RATE, sound::CHANNELS).map_err(|error| error.to_string())?;
        let (line, muted) = match before {
            Some(Channel { medium: Medium::Sound(line), muted, .. }) => (line, muted),
            _ => {
                let line = Track::new(self.room.clone(), self.identity.clone(), of);
                let muted = watch::channel(is_muted).0;
                self.attendance.add_line(self.ingest(), line.clone());
                tasks.push(self.room.shared.frame_path.spawn(sound::give_out(line.clone(), mirror, muted.subscribe())));
                (line, muted)
            }
        };
        muted.send_replace(is_muted);
        let take_in = self.room.shared.frame_path.spawn(sound::take_in(audio, line.clone(), self.room.shared.clock));
        Ok(Channel { sid, medium: Medium::Sound(line), take_in, muted })
    }

    fn unsubscribed(&self, heard: &mut Heard, sid: &str) {
        heard.published.remove(sid);
        let Some(of) = heard.channels.iter().find(|(_, channel)| channel.sid == sid).map(|(of, _)| *of) else { return };
        if heard.reconnecting {
            heard.channels.get(&of).into_iter().for_each(Channel::cut);
        } else if let Some(channel) = heard.channels.remove(&of) {
            self.end(&channel, "the track was unpublished");
        }
    }

    fn finish(&self, heard: &mut Heard, why: &str) {
        heard.channels.drain().for_each(|(_, channel)| self.end(&channel, why));
        heard.published.clear();
        // Each pump has the mirror for as long as it has something for it.
        heard.mirror = None;
        heard.talk = None;
    }

    /// Nothing follows; what is under way still goes out. The pump ends with its channel.
    fn end(&self, channel: &Channel, why: &str) {
        channel.cut();
        match &channel.medium {
            Medium::Picture(stream) => stream.finish(why),
            Medium::Sound(line) => self.attendance.remove_line(&self.ingest(), line),
        }
    }
}

impl Heard {
    /// The host hears nothing for now.
    fn cut(&mut self) {
        self.published.clear();
        self.channels.values().for_each(Channel::cut);
    }

    fn muted(&mut self, sid: &str, muted: bool) {
        if let Some(channel) = self.channels.values().find(|channel| channel.sid == sid) {
            channel.muted.send_replace(muted);
        }
    }
}

/// A name, or an attribute's value, as viewers may read it: by the room's text policy, masked where it finds something.
async fn moderated(room: &Arc<Room>, text: &str) -> String {
    chat::judge_name(room, text).await.masked
}
