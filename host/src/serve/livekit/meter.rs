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
/// Counter: silent samples put where none came in time.
pub const SAMPLES_INSERTED: &str = "scrim_sound_samples_inserted_total";
/// Counter: sound samples lost. Label `reason`: `way` (before they came here) or `drift` (more came than time passed).
pub const SAMPLES_DROPPED: &str = "scrim_sound_samples_dropped_total";
/// Counter: connections to rooms that were lost and made again. Label `side`: `ingest` or `mirror`.
pub const RECONNECTS: &str = "scrim_livekit_reconnects_total";
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
    describe_counter!(SAMPLES_INSERTED, Unit::Count, "silent samples put where none came in time");
    describe_counter!(SAMPLES_DROPPED, Unit::Count, "sound samples lost, by reason");
    describe_counter!(RECONNECTS, Unit::Count, "connections to rooms that were made again");
    describe_gauge!(BROADCASTERS, Unit::Count, "broadcasters that are attended");
}
