//! Which broadcasters are attended, and what they share. Bounded: tokens alone, however many are asked for, make the host join no more than a few
//! rooms that nobody is in.
//!
//! Who gets a token has a place for a short while, and keeps it once its pictures have come. Nobody gets one that the host has no place for, by its
//! measured [`Load`](crate::serve::load::Load) and by what its looks need; and who comes all the same is not attended until there is one.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use backon::ExponentialBuilder;
use dashmap::DashMap;
use scrim_livekit::proto;
use scrim_livekit::{Encoding, Library};
use serde_json::json;
use tokio::sync::watch;

use super::assigned::Assigned;
use super::ingest::Broadcaster;
use super::keys::SharedKeys;
use super::meter;
use super::sound::Line;
use super::token::Mint;
use crate::config::{self, AttributeName, FRAME_MS_NOMINAL};
use crate::host::HostError;
use crate::media::frame::Micros;
use crate::room::admission::Format;
use crate::serve::Service;
use crate::serve::load::{self, Broadcasters, Full};
use crate::serve::room::{Room, lock};

/// The longest pause before a room is tried again.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether nobody is attended any more.
const OVER_EVERY: Duration = Duration::from_millis(20);
/// What no codec of ours goes beyond.
const FRAMES_PER_S_MAX: f64 = 60.0;

/// A broadcaster to come is waited for in its room while fewer are attended; beyond that a round of the guard finds it when it has come.
const WAITED_FOR_MAX: usize = 64;
/// How long a place is kept for somebody whose pictures have not come.
const PLACE_HELD: Duration = Duration::from_secs(10);
/// A broadcaster that so many rounds of the guard in a row have not seen in its room has left it, whether or not the library has said so. The first
/// may have begun before it came.
const MISSED_MAX: u32 = 3;
/// What a broadcaster is taken to send while nobody does.
const FORMAT_NOMINAL: Format = Format { width: 1280, height: 720, frames_per_s: 30.0 };

/// Why a broadcaster has no place here.
#[derive(Debug, thiserror::Error)]
pub enum NoPlace {
    #[error(transparent)]
    Full(#[from] Full),
    #[error(transparent)]
    Host(#[from] HostError),
    /// Where several hosts share the server.
    #[error("no host has taken it within {} s: all are full, or none is a worker of the LiveKit server (/health of each says)", .0.as_secs())]
    NoHost(Duration),
    #[error("no host could be asked for: {0}")]
    Unanswered(String),
}

/// Somebody that is attended.
struct Attended {
    /// When it asked for its token, or was found.
    since: Instant,
    /// When its pictures began to come.
    live: Option<Instant>,
    missed: Missed,
    /// It is in its room no more, as the guard has it.
    missing: watch::Sender<bool>,
}

/// Rounds of the guard in a row that have seen a room without its broadcaster.
#[derive(Default)]
struct Missed(u32);

impl Missed {
    /// Hears of one more round. True: the broadcaster has left.
    fn round(&mut self, seen: bool) -> bool {
        self.0 = if seen { 0 } else { self.0.saturating_add(1) };
        self.0 >= MISSED_MAX
    }
}

impl Attended {
    /// Whether a place is kept for it though it sends nothing.
    fn is_coming(&self) -> bool {
        self.live.is_none() && self.since.elapsed() < PLACE_HELD
    }
}

/// Pauses that grow, with jitter, so that many do not come back at once.
pub(super) fn retries() -> ExponentialBuilder {
    ExponentialBuilder::default().with_min_delay(Duration::from_millis(250)).with_max_delay(PAUSE_MAX).with_jitter().without_max_times()
}

/// See the module.
pub struct Attendance {
    pub(super) library: &'static Library,
    /// Where rooms are joined.
    pub(super) url: String,
    pub(super) mint: Mint,
    pub(super) encoding: Encoding,
    pub(super) keys: SharedKeys,
    /// Of broadcasters, that viewers may see.
    pub(super) attributes: Vec<AttributeName>,
    /// Rooms whose broadcasters are attended here.
    pub(super) assigned: Assigned,
    /// Rooms that this host has said it would take, and when: each has a place for the broadcaster that it was asked for.
    promised: DashMap<String, Instant>,
    /// Ingest rooms that are attended.
    attended: DashMap<String, Attended>,
    /// Ingest rooms whose broadcaster was told to have no place.
    turned_away: DashMap<String, ()>,
    /// One is given a place at a time.
    taking_on: Mutex<()>,
    /// Delay lines of sound, by the ingest room they come from.
    lines: DashMap<String, Vec<Line>>,
}

impl Attendance {
    pub fn new(library: &'static Library, url: String, mint: Mint, config: &config::LiveKit, keys: SharedKeys) -> Self {
        let codec = match config.codec {
            config::VideoCodec::Vp8 => proto::VideoCodec::Vp8,
            config::VideoCodec::H264 => proto::VideoCodec::H264,
            config::VideoCodec::Vp9 => proto::VideoCodec::Vp9,
            config::VideoCodec::Av1 => proto::VideoCodec::Av1,
        };
        let bitrate = u64::from(config.bitrate_kbps.get()) * 1000;
        let encoding = Encoding { codec, bitrate, frames_per_s: FRAMES_PER_S_MAX, simulcast: config.simulcast };
        Self {
            library,
            url,
            mint,
            encoding,
            keys,
            attributes: config.attributes.clone(),
            assigned: Assigned::new(!config.dispatch),
            promised: DashMap::new(),
            attended: DashMap::new(),
            turned_away: DashMap::new(),
            taking_on: Mutex::default(),
            lines: DashMap::new(),
        }
    }

    /// Attends a broadcaster that is to be given its token, so that the host is there before its first picture; unless too many are attended.
    ///
    /// # Errors
    /// When there is no place for one more.
    pub fn expect(self: &Arc<Self>, service: &Arc<Service>, room: &Arc<Room>, identity: &str) -> Result<(), NoPlace> {
        let _one = lock(&self.taking_on);
        self.has_place(service, room, "")?;
        if self.attended.len() < WAITED_FOR_MAX {
            self.begin(service, room, identity);
        }
        Ok(())
    }

    /// Attends a broadcaster that is in its room, unless it is attended already or has no place. Returns at once.
    pub fn attend(self: &Arc<Self>, service: &Arc<Service>, room: &Arc<Room>, identity: &str) {
        let ingest = self.mint.ingest_room(&room.name, identity);
        let is_ours = self.assigned.of(&room.name).is_some();
        if !is_ours || self.attended.contains_key(&ingest) || service.is_draining() || room.is_stopped() {
            return;
        }
        let _one = lock(&self.taking_on);
        match self.has_place(service, room, &ingest) {
            Ok(()) => self.begin(service, room, identity),
            Err(reason) => self.turn_away(room, identity, &reason),
        }
    }

    /// A broadcaster's pictures come. One that has been kept no place is given one, if there is one.
    ///
    /// # Errors
    /// When there is none: it is not attended any longer, and whoever looks at the room has been told.
    pub(super) fn arrives(&self, service: &Service, room: &Room, identity: &str) -> Result<(), NoPlace> {
        let ingest = self.mint.ingest_room(&room.name, identity);
        let _one = lock(&self.taking_on);
        let expected = self.attended.get(&ingest).is_some_and(|attended| attended.live.is_some() || attended.is_coming());
        if !expected && let Err(reason) = self.has_place(service, room, &ingest) {
            self.turn_away(room, identity, &reason);
            return Err(reason);
        }
        if let Some(mut attended) = self.attended.get_mut(&ingest) {
            attended.live.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// A broadcaster has left, and its place is free.
    pub(super) fn leaves(&self, ingest: &str) {
        if let Some(mut attended) = self.attended.get_mut(ingest) {
            attended.live = None;
        }
    }

    /// It is in its room, as the library says.
    pub(super) fn comes(&self, ingest: &str) {
        self.is_seen(ingest, true);
    }

    /// Whether a round of the guard has seen a broadcaster in its room.
    pub(super) fn is_seen(&self, ingest: &str, seen: bool) {
        if let Some(mut attended) = self.attended.get_mut(ingest) {
            let missing = attended.missed.round(seen);
            attended.missing.send_replace(missing);
        }
    }

    /// Those that are here or expected.
    pub fn broadcasters(&self) -> Broadcasters {
        self.broadcasters_but("", "")
    }

    /// Without the one of this ingest room, and without whom this room was promised for.
    fn broadcasters_but(&self, ingest: &str, room: &str) -> Broadcasters {
        self.promised.retain(|_, since| since.elapsed() < PLACE_HELD);
        let promised = self.promised.iter().filter(|promised| promised.key() != room).count();
        let mut broadcasters = Broadcasters { settled: 0, coming: promised, unseen: promised };
        for attended in self.attended.iter().filter(|attended| attended.key() != ingest) {
            match attended.live {
                Some(since) if since.elapsed() >= load::WINDOW => broadcasters.settled += 1,
                Some(_) => broadcasters.coming += 1,
                None if attended.is_coming() => {
                    broadcasters.coming += 1;
                    broadcasters.unseen += 1;
                }
                None => {}
            }
        }
        broadcasters
    }

    /// Says that this host takes a room that somebody is to broadcast in, and keeps a place for whoever that is.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn promise(&self, service: &Service, room: &Room) -> Result<(), NoPlace> {
        let _one = lock(&self.taking_on);
        self.has_place(service, room, "")?;
        self.promised.insert(room.name.to_string(), Instant::now());
        Ok(())
    }

    /// Whether there is a place for one more in this room, for whom none is kept.
    fn has_place(&self, service: &Service, room: &Room, ingest: &str) -> Result<(), NoPlace> {
        let (shared, broadcasters) = (&service.shared, self.broadcasters_but(ingest, &room.name));
        let most = f64::from(shared.host.config.limits.load_percent.get()) / 100.0;
        if most >= 1.0 || broadcasters == Broadcasters::default() {
            return Ok(());
        }
        shared.load.fits(broadcasters, most)?;
        // What looks need: those of this room for pictures such as others send.
        let sizes = service.all().into_iter().flat_map(|room| room.streams()).filter_map(|stream| stream.tally().size);
        let format = sizes.last().map_or(FORMAT_NOMINAL, |(width, height)| Format { width, height, ..FORMAT_NOMINAL });
        let config = &room.settled().config;
        let settings = shared.host.settings(config, FRAME_MS_NOMINAL.micros())?;
        Ok(shared.host.fits("one more broadcaster", &settings, config.speech.listen, &format, broadcasters.unseen + 1)?)
    }

    /// Tells a room's people once that a broadcaster has no place.
    fn turn_away(&self, room: &Room, identity: &str, reason: &NoPlace) {
        if self.turned_away.insert(self.mint.ingest_room(&room.name, identity), ()).is_none() {
            tracing::warn!(room = %room.name, %reason, "a broadcaster has no place on this host");
            metrics::counter!(meter::TURNED_AWAY).increment(1);
            room.tell("livekit", json!({ "event": "refused", "identity": identity, "reason": reason.to_string() }));
        }
    }

    /// Forgets those that were turned away and are in their rooms no more.
    pub(super) fn retain_turned_away(&self, is_there: impl Fn(&str) -> bool) {
        self.turned_away.retain(|ingest, ()| is_there(ingest));
    }

    fn begin(self: &Arc<Self>, service: &Arc<Service>, room: &Arc<Room>, identity: &str) {
        let ingest = self.mint.ingest_room(&room.name, identity);
        let Some(let_go) = self.assigned.of(&room.name) else { return };
        if service.is_draining() || room.is_stopped() || self.attended.contains_key(&ingest) {
            return;
        }
        self.promised.remove(&*room.name);
        let (missing, misses) = watch::channel(false);
        self.attended.insert(ingest.clone(), Attended { since: Instant::now(), live: None, missed: Missed::default(), missing });
        self.turned_away.remove(&ingest);
        metrics::gauge!(meter::BROADCASTERS).increment(1.0);
        let (attendance, identity) = (self.clone(), identity.to_owned());
        let broadcaster = Broadcaster::new(attendance.clone(), Arc::downgrade(service), room.clone(), identity, [let_go, misses]);
        tokio::spawn(async move {
            broadcaster.attend().await;
            attendance.lines.remove(&ingest);
            attendance.attended.remove(&ingest);
            metrics::gauge!(meter::BROADCASTERS).decrement(1.0);
        });
    }

    /// Whether a broadcaster of a room is attended.
    pub(super) fn is_in(&self, room: &str) -> bool {
        self.attended.iter().any(|attended| self.mint.parse_ingest(attended.key()).is_some_and(|(of, _)| of == room))
    }

    /// Returns when no broadcaster of a room is attended any more.
    pub(super) async fn over_in(&self, room: &str) {
        while self.is_in(room) {
            tokio::time::sleep(OVER_EVERY).await;
        }
    }

    /// Returns when nobody is attended any more.
    pub async fn over(&self) {
        while !self.attended.is_empty() {
            tokio::time::sleep(OVER_EVERY).await;
        }
    }

    /// Mutes all sound of a broadcaster between two moments of the host's clock. False if it has none here.
    pub fn mute(&self, ingest: &str, from: Micros, to: Micros) -> bool {
        let Some(lines) = self.lines.get(ingest) else { return false };
        lines.iter().for_each(|line| line.mute(from, to));
        !lines.is_empty()
    }

    /// A judge has heard all sound of a broadcaster until then. False if it has none here.
    pub fn judged(&self, ingest: &str, until: Micros, mutes: &[(Micros, Micros)]) -> bool {
        let Some(lines) = self.lines.get(ingest) else { return false };
        lines.iter().for_each(|line| line.judged(until, mutes));
        !lines.is_empty()
    }

    /// All sound that is here.
    pub fn sounds(&self) -> Vec<Line> {
        self.lines.iter().flat_map(|lines| lines.value().clone()).collect()
    }

    pub(super) fn add_line(&self, ingest: String, line: Line) {
        self.lines.entry(ingest).or_default().push(line);
    }

    pub(super) fn remove_line(&self, ingest: &str, line: &Line) {
        if let Some(mut lines) = self.lines.get_mut(ingest) {
            lines.retain(|known| !Arc::ptr_eq(known, line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broadcaster_is_missing_after_three_rounds_without_it_until_it_is_seen() {
        let mut missed = Missed::default();
        let rounds = [true, false, false, true, false, false, false, false, true, false];
        let missing = [false, false, false, false, false, false, true, true, false, false];
        assert_eq!(rounds.map(|seen| missed.round(seen)), missing);
    }
}
