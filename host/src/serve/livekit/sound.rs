//! A broadcaster's sound: into its delay line, and out of it to the mirror, as late as the pictures are.
//!
//! The library gives sound no times: the line ties a count of samples to when they came, on the host's clock, which pictures are tied to as well.
//! What is muted is replaced as it leaves the line, so that a mute may be asked for up to a delay after what it is about; so is, in a room whose sound
//! is judged, what no judge has heard until then. What came and what went is counted and hashed on both sides of the line, and told when a track is over.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use scrim_livekit::proto::TrackSource;
use scrim_livekit::{AudioStream, AudioTrack};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::meter;
use super::mirror::{Mirror, Published};
use crate::host::{HostError, Seat};
use crate::media::frame::Micros;
use crate::plugin::types::{self, SourceKind};
use crate::room::listening::{self, Listening};
use crate::serve::clock::HostClock;
use crate::serve::room::{Room, lock};
use crate::speech::{AudioLine, Chunk, Counts, Format, Unjudged};

/// What Opus works at, so that the library resamples nothing.
pub const RATE: u32 = 48_000;
pub const CHANNELS: u32 = 1;
/// For how long the library holds sound back beyond pictures of the same moment: its jitter buffer's least, and a chunk. Measured with a flash and a
/// beep (`tests/tests/livekit_av.rs`): 42 to 58 ms from a publisher on the same machine.
const HELD_BY_LIBRARY: Micros = Micros::from_millis(45);
/// A chunk of the line.
const CHUNK: Duration = Duration::from_millis(10);
/// A track that the server did not take is offered again, and a seat for a speaker asked for again, after so long.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// More than the longest delay takes, 10 s, and what may be behind.
const BYTES_MAX: usize = 2 * RATE as usize * CHANNELS as usize * 12;
/// For so long what is left in the line of a track that is over may still be due.
const LINGER: Duration = Duration::from_secs(1);

/// A track of sound while it is here, shared by what fills its line, what empties it, who mutes it and who judges it.
pub struct Track {
    room: Arc<Room>,
    identity: String,
    from: TrackSource,
    through: Mutex<Through>,
    /// While the room listens.
    ears: Mutex<Ears>,
}

/// Who listens, on which seat, or since when nobody could.
#[derive(Default)]
struct Ears {
    open: Option<(Listening, Seat)>,
    refused: Option<Instant>,
}

pub type Line = Arc<Track>;

struct Through {
    line: AudioLine,
    came: Tap,
    went: Tap,
    /// Samples that were lost before they came here.
    lost: u64,
}

/// What passed at one place, sample by sample.
#[derive(Default)]
struct Tap {
    samples: u64,
    digest: Sha256,
}

impl Tap {
    fn pass(&mut self, samples: &[i16]) {
        self.samples += samples.len() as u64;
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        self.digest.update(bytes);
    }

    fn hex(&self) -> String {
        self.digest.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Track {
    /// One that nothing has come of.
    pub fn new(room: Arc<Room>, identity: String, from: TrackSource) -> Line {
        let line = AudioLine::new(Format { rate: RATE, channels: CHANNELS }, room.delay(), BYTES_MAX);
        let through = Mutex::new(Through { line, came: Tap::default(), went: Tap::default(), lost: 0 });
        Arc::new(Self { room, identity, from, through, ears: Mutex::default() })
    }

    /// What viewers' apps show.
    fn name(&self) -> &'static str {
        if self.from == TrackSource::SourceScreenshareAudio { "screen sound" } else { "microphone" }
    }

    /// Whose room it is in.
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    pub fn mute(&self, from: Micros, to: Micros) {
        lock(&self.through).line.mute(from, to);
    }

    /// A judge has heard all until then, and found what is to be muted: the way of every judge, whether it is here or outside. Nobody has heard what
    /// is still to come, whatever a judge says.
    pub fn judged(&self, until: Micros, mutes: &[(Micros, Micros)]) {
        let now = self.room.shared.clock.now();
        let gone = now.saturating_sub(self.room.delay());
        for (from, to) in mutes {
            let when = if *from >= gone {
                "in_time"
            } else if *to > gone {
                "partly"
            } else {
                "late"
            };
            metrics::counter!(meter::MUTES, "when" => when).increment(1);
        }
        let until = until.min(own_time(now));
        let line = &mut lock(&self.through).line;
        mutes.iter().for_each(|&(from, to)| line.mute(from, to));
        line.judged(until);
    }

    pub fn judge_is_late(&self) -> bool {
        lock(&self.through).line.judge_is_late()
    }

    /// Begins or ends to listen, as the room wants it now, and hands over what came.
    async fn listen(self: &Arc<Self>, at: Micros, samples: &[i16]) {
        let rule = self.room.sound();
        let closed = rule.unjudged == Unjudged::Silent;
        if !rule.listens {
            *lock(&self.ears) = Ears::default();
            return;
        }
        let is_due = {
            let ears = lock(&self.ears);
            ears.open.is_none() && ears.refused.is_none_or(|since| since.elapsed() >= AGAIN_AFTER)
        };
        if is_due {
            let begun = self.begin_to_listen(closed).await;
            let ears = &mut lock(&self.ears);
            match begun {
                Ok(open) => **ears = Ears { open: Some(open), refused: None },
                Err(reason) => {
                    if ears.refused.replace(Instant::now()).is_none() {
                        self.tell_unheard(closed, &reason);
                    }
                }
            }
        }
        if let Some((listening, _)) = &lock(&self.ears).open {
            listening.close(closed);
            listening.sound(at, samples);
        }
    }

    fn tell_unheard(&self, closed: bool, reason: &HostError) {
        let heard = if closed { "nothing" } else { "all" };
        tracing::warn!(identity = %self.identity, track = self.name(), %reason, heard, "speech is not listened to");
        let body = json!({
            "event": "not_listened",
            "identity": self.identity,
            "track": self.name(),
            "reason": reason.to_string(),
            "heard_unjudged": heard,
        });
        self.room.tell("sound", body);
    }

    async fn begin_to_listen(self: &Arc<Self>, closed: bool) -> Result<(Listening, Seat), HostError> {
        let host = &self.room.shared.host;
        let seat = host.seat(&format!("{} of {} in {}", self.name(), self.identity, self.room.name))?;
        let policies = self.room.policies().await;
        let id = format!("{}-{}", self.identity, self.name().replace(' ', "-"));
        let source = types::Source { id: id.clone(), kind: SourceKind::Microphone, owner: self.identity.clone() };
        let told = Arc::downgrade(&self.room);
        let observer = Arc::new(move |note| {
            if let Some(room) = told.upgrade() {
                room.noted(&id, note);
            }
        });
        let format = Format { rate: RATE, channels: CHANNELS };
        let speaker = host.speaker(source, policies.clone(), observer, format, closed);
        let (clock, line) = (self.room.shared.clock, Arc::downgrade(self));
        let say = move |until: Micros, mutes: &[(Micros, Micros)]| {
            if let Some(line) = line.upgrade() {
                line.judged(until, mutes);
            }
        };
        let listening = listening::listen(speaker, move || policies.moment(clock.now()), say).map_err(HostError::Hearing)?;
        Ok((listening, seat))
    }

    fn take(&self, at: Micros, samples: &[i16], lost: u64) {
        let through = &mut *lock(&self.through);
        if lost > 0 {
            through.lost += lost;
            through.line.lost(lost / u64::from(CHANNELS));
        }
        through.came.pass(samples);
        through.line.push(at, samples);
    }

    /// What is due, as the room treats it now.
    fn due(&self, now: Micros, told: &mut Told) -> Option<Chunk> {
        let rule = self.room.sound();
        let (due, counts, late) = {
            let line = &mut lock(&self.through).line;
            line.set_delay(rule.delay);
            line.treat(rule.unjudged);
            line.replace_with(rule.replacement);
            (line.pop(now), line.counts(), line.judge_is_late())
        };
        if std::mem::replace(&mut told.late, late) != late {
            let event = match (late, rule.unjudged) {
                (true, _) => "judge_late",
                (false, Unjudged::Unasked) => "judge_unasked",
                (false, _) => "judge_back",
            };
            let heard = if rule.unjudged == Unjudged::Silent { "nothing" } else { "all" };
            self.room.tell("sound", json!({ "event": event, "identity": self.identity, "track": self.name(), "heard_unjudged": heard }));
        }
        count(&mut told.counts, counts);
        due
    }

    fn left(&self, chunk: &Chunk) {
        metrics::counter!(meter::SAMPLES_OUT).increment(chunk.samples.len() as u64);
        let went = &mut lock(&self.through).went;
        chunk.came.iter().filter_map(|came| chunk.samples.get(came.clone())).for_each(|samples| went.pass(samples));
    }

    /// Tells what has become of it: where both digests are the same, every sample left as it came.
    fn over(&self, told: &mut Told) {
        let through = lock(&self.through);
        let counts = through.line.counts();
        // Nothing waits any more.
        count(&mut told.counts, Counts { held: 0, ..counts });
        let body = json!({
            "event": "over",
            "identity": self.identity,
            "track": self.name(),
            "came": through.came.samples,
            "went": through.went.samples,
            "came_sha256": through.came.hex(),
            "went_sha256": through.went.hex(),
            "muted": counts.muted,
            "silent_unjudged": counts.withheld,
            "passed_unjudged": counts.unjudged,
            "inserted": counts.underruns + counts.inserted,
            "dropped": counts.overruns + counts.dropped + counts.held,
            "lost": through.lost,
        });
        drop(through);
        self.room.tell("sound", body);
    }
}

/// When sound that comes at this moment was heard, as far as the library's holding back goes; none that was heard later has come.
fn own_time(came: Micros) -> Micros {
    came.saturating_sub(HELD_BY_LIBRARY)
}

/// Fills the line until the track is over.
pub async fn take_in(mut audio: AudioStream, line: Line, clock: HostClock) {
    let mut lost = 0;
    while let Some(sound) = audio.next().await {
        let at = own_time(clock.at(sound.arrived));
        metrics::counter!(meter::SAMPLES_IN).increment(sound.samples.len() as u64);
        // The oldest goes: what is lost lies before this.
        let dropped = audio.dropped();
        let missing = (dropped - std::mem::replace(&mut lost, dropped)) * u64::from(CHANNELS * RATE / 100);
        metrics::counter!(meter::SAMPLES_DROPPED, "reason" => "way").increment(missing);
        line.take(at, &sound.samples, missing);
        line.listen(at, &sound.samples).await;
    }
    if let Some((listening, _)) = &lock(&line.ears).open {
        listening.finish();
    }
}

/// What has been told of a line.
#[derive(Default)]
struct Told {
    counts: Counts,
    late: bool,
}

/// Publishes what is due, on whatever connection the mirror has, until the sender of `muted` is gone: the broadcaster's track is over.
pub async fn give_out(line: Line, mirror: Mirror, mut muted: watch::Receiver<bool>) {
    let mut told = Told::default();
    publish(&line, &mirror, &mut muted, &mut told).await;
    line.over(&mut told);
}

async fn publish(line: &Track, mirror: &Mirror, muted: &mut watch::Receiver<bool>, told: &mut Told) {
    let mut epoch = mirror.epoch();
    loop {
        while *epoch.borrow_and_update() == 0 {
            tokio::select! {
                changed = epoch.changed() => if changed.is_err() { return },
                // Whether it is muted is asked for when there is a track to mute.
                changed = muted.changed() => if changed.is_err() { return },
            }
        }
        let published = match mirror.audio(line.name(), line.from, RATE, CHANNELS).await {
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
        if !play(line, &published, &mut epoch, muted, told).await {
            mirror.take_back(published.epoch, published.track.sid()).await;
            return;
        }
    }
}

/// One connection. False when the broadcaster's track is over.
async fn play(
    line: &Track,
    published: &Published<AudioTrack>,
    epoch: &mut watch::Receiver<u64>,
    muted: &mut watch::Receiver<bool>,
    told: &mut Told,
) -> bool {
    let mut tick = tokio::time::interval(CHUNK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (room, clock) = (&line.room, line.room.shared.clock);
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
                Err(_) => {
                    ends_at = Some(Instant::now() + Duration::from(room.delay()));
                    lock(&line.through).line.settle();
                }
            },
        }
        let now = Instant::now();
        if mute_at.take_if(|at| *at <= now).is_some() {
            mute(published, true);
        }
        while let Some(chunk) = line.due(clock.now(), told) {
            if let Err(error) = published.track.capture(&chunk.samples).await {
                tracing::warn!(%error, "moderated sound is not taken");
                break;
            }
            line.left(&chunk);
        }
        if ends_at.is_some_and(|at| at <= now && (told.counts.held == 0 || at + LINGER <= now)) {
            return false;
        }
    }
}

/// What is new since it was told last, on this connection or an earlier one.
fn count(told: &mut Counts, now: Counts) {
    let before = std::mem::replace(told, now);
    let inserted = |reason, more| metrics::counter!(meter::SAMPLES_INSERTED, "reason" => reason).increment(more);
    inserted("missing", now.underruns - before.underruns);
    inserted("delay", now.inserted - before.inserted);
    let dropped = |reason, more| metrics::counter!(meter::SAMPLES_DROPPED, "reason" => reason).increment(more);
    dropped("drift", now.overruns - before.overruns);
    dropped("behind", now.dropped - before.dropped);
    let silenced = |reason, more| metrics::counter!(meter::SAMPLES_SILENCED, "reason" => reason).increment(more);
    silenced("muted", now.muted - before.muted);
    silenced("unjudged", now.withheld - before.withheld);
    metrics::counter!(meter::SAMPLES_UNJUDGED).increment(now.unjudged - before.unjudged);
    metrics::gauge!(meter::LINE_BYTES).increment((now.held as f64 - before.held as f64) * f64::from(2 * CHANNELS));
}

fn mute(published: &Published<AudioTrack>, mute: bool) {
    if let Err(error) = published.track.mute(mute) {
        tracing::warn!(%error, mute, "a moderated sound track is not muted as its broadcaster's is");
    }
}
