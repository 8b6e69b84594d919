//! Which broadcasters are attended, and what they share. Bounded: tokens alone, however many are asked for, make the host join no more than a few
//! rooms that nobody is in.

use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBuilder;
use dashmap::DashMap;
use scrim_livekit::proto;
use scrim_livekit::{Encoding, Library};

use super::ingest::Broadcaster;
use super::meter;
use super::sound::Line;
use super::token::Mint;
use crate::config;
use crate::media::frame::Micros;
use crate::serve::Service;
use crate::serve::room::Room;

/// The longest pause before a room is tried again.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether nobody is attended any more.
const OVER_EVERY: Duration = Duration::from_millis(20);
/// What no codec of ours goes beyond.
const FRAMES_PER_S_MAX: f64 = 60.0;

/// A broadcaster to come is waited for in its room while fewer are attended; beyond that a round of the guard finds it when it has come.
const WAITED_FOR_MAX: usize = 64;

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
    /// Ingest rooms that are attended.
    attended: DashMap<String, ()>,
    /// Delay lines of sound, by the ingest room they come from.
    lines: DashMap<String, Vec<Line>>,
}

impl Attendance {
    pub fn new(library: &'static Library, url: String, mint: Mint, config: &config::LiveKit) -> Self {
        let codec = match config.codec {
            config::VideoCodec::Vp8 => proto::VideoCodec::Vp8,
            config::VideoCodec::H264 => proto::VideoCodec::H264,
            config::VideoCodec::Vp9 => proto::VideoCodec::Vp9,
            config::VideoCodec::Av1 => proto::VideoCodec::Av1,
        };
        let bitrate = u64::from(config.bitrate_kbps.get()) * 1000;
        let encoding = Encoding { codec, bitrate, frames_per_s: FRAMES_PER_S_MAX, simulcast: config.simulcast };
        Self { library, url, mint, encoding, attended: DashMap::new(), lines: DashMap::new() }
    }

    /// Attends a broadcaster that has been given its token, so that the host is there before its first picture; unless too many are attended.
    pub fn expect(self: &Arc<Self>, service: &Arc<Service>, room: &Arc<Room>, identity: &str) {
        if self.attended.len() < WAITED_FOR_MAX {
            self.attend(service, room, identity);
        }
    }

    /// Attends a broadcaster of a room, unless it is attended already. Returns at once.
    pub fn attend(self: &Arc<Self>, service: &Arc<Service>, room: &Arc<Room>, identity: &str) {
        let ingest = self.mint.ingest_room(&room.name, identity);
        if service.is_draining() || room.is_stopped() || self.attended.insert(ingest.clone(), ()).is_some() {
            return;
        }
        metrics::gauge!(meter::BROADCASTERS).increment(1.0);
        let (attendance, identity) = (self.clone(), identity.to_owned());
        let broadcaster = Broadcaster::new(attendance.clone(), Arc::downgrade(service), room.clone(), identity);
        tokio::spawn(async move {
            broadcaster.attend().await;
            attendance.lines.remove(&ingest);
            attendance.attended.remove(&ingest);
            metrics::gauge!(meter::BROADCASTERS).decrement(1.0);
        });
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
