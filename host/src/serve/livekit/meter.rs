//! The metrics of what is done with a LiveKit server.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Counter: participants that the guard put out. Label `why`: `watches`, `listens`, `publishes`, `speaks`, `shows`, `widened`.
pub const REMOVED: &str = "scrim_livekit_removed_total";
/// Histogram, seconds: from a participant's joining, by the server's clock, to its removal.
pub const REMOVED_AFTER: &str = "scrim_livekit_removed_after_seconds";
/// Gauge: participants in all rooms. Label `kind`: `broadcaster`, `viewer`.
pub const PARTICIPANTS: &str = "scrim_livekit_participants";
/// Counter: webhooks. Label `outcome`: `heard`, `again`, `refused`.
pub const WEBHOOKS: &str = "scrim_livekit_webhooks_total";
/// Counter: tokens asked for. Label `outcome`: `broadcaster`, `viewer`, `moderator`, `refused`.
pub const TOKENS: &str = "scrim_livekit_tokens_total";
/// Counter: broadcasters that came and had no place on this host.
pub const TURNED_AWAY: &str = "scrim_livekit_turned_away_total";
/// Counter: sound samples that broadcasters sent.
pub const SAMPLES_IN: &str = "scrim_sound_samples_in_total";
/// Counter: sound samples that left, silence in the place of muted ones among them.
pub const SAMPLES_OUT: &str = "scrim_sound_samples_out_total";
/// Counter: silent samples put in. Label `reason`: `missing` (none came in time) or `delay` (it grew, or there was no room).
pub const SAMPLES_INSERTED: &str = "scrim_sound_samples_inserted_total";
/// Counter: sound samples that something else was heard for. Label `reason`: `muted`, or `unjudged` (no judge had heard them in time).
pub const SAMPLES_SILENCED: &str = "scrim_sound_samples_silenced_total";
/// Counter: sound samples that a room which fails open let pass though no judge had heard them in time.
pub const SAMPLES_UNJUDGED: &str = "scrim_sound_samples_passed_unjudged_total";
/// Counter: spans that a judge had muted. Label `when`: `in_time`, `partly` (some had been heard), `late` (all had).
pub const MUTES: &str = "scrim_sound_mutes_total";
/// Gauge: sound in all delay lines.
pub const LINE_BYTES: &str = "scrim_sound_line_bytes";
/// Counter: sound samples lost. Label `reason`: `way` (before they came here), `drift` (more came than time passed, or too late), `behind` (not
/// fetched in time, or the delay shrank).
pub const SAMPLES_DROPPED: &str = "scrim_sound_samples_dropped_total";
/// Counter: connections to rooms that were lost and made again. Label `side`: `ingest` or `mirror`.
pub const RECONNECTS: &str = "scrim_livekit_reconnects_total";
/// Counter: hosts that were asked for, each for a room that had none.
pub const DISPATCHES: &str = "scrim_livekit_dispatches_total";
/// Gauge: rooms that were assigned to this host and are held.
pub const ROOMS_HELD: &str = "scrim_livekit_rooms_held";
/// Gauge: broadcasters that are attended.
pub const BROADCASTERS: &str = "scrim_livekit_broadcasters";

/// Tells the recorder what the figures mean; called once, after one is installed.
pub fn describe() {
    describe_counter!(REMOVED, Unit::Count, "participants that the guard put out, by reason");
    describe_histogram!(REMOVED_AFTER, Unit::Seconds, "from a participant's joining to its removal by the guard");
    describe_gauge!(PARTICIPANTS, Unit::Count, "participants of LiveKit rooms, by kind");
    describe_counter!(WEBHOOKS, Unit::Count, "webhooks of the LiveKit server, by outcome");
    describe_counter!(TOKENS, Unit::Count, "tokens for LiveKit rooms, by role, and those refused");
    describe_counter!(TURNED_AWAY, Unit::Count, "broadcasters that had no place on this host");
    describe_counter!(SAMPLES_IN, Unit::Count, "sound samples that broadcasters sent");
    describe_counter!(SAMPLES_OUT, Unit::Count, "sound samples that left");
    describe_counter!(SAMPLES_INSERTED, Unit::Count, "silent samples put in, by reason");
    describe_counter!(SAMPLES_SILENCED, Unit::Count, "sound samples that were not heard, by reason");
    describe_counter!(SAMPLES_UNJUDGED, Unit::Count, "sound samples that passed without a judge having heard them");
    describe_counter!(MUTES, Unit::Count, "spans that a judge had muted, by whether they had been heard");
    describe_gauge!(LINE_BYTES, Unit::Bytes, "sound in all delay lines");
    describe_counter!(SAMPLES_DROPPED, Unit::Count, "sound samples lost, by reason");
    describe_counter!(RECONNECTS, Unit::Count, "connections to rooms that were made again");
    describe_counter!(DISPATCHES, Unit::Count, "hosts that were asked for, each for a room that had none");
    describe_gauge!(ROOMS_HELD, Unit::Count, "rooms that were assigned to this host and are held");
    describe_gauge!(BROADCASTERS, Unit::Count, "broadcasters that are attended");
}
