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

/// Tells the recorder what the figures mean; called once, after one is installed.
pub fn describe() {
    describe_counter!(REMOVED, Unit::Count, "participants that the guard put out, by reason");
    describe_histogram!(REMOVED_AFTER, Unit::Seconds, "from a participant's joining to its removal by the guard");
    describe_gauge!(PARTICIPANTS, Unit::Count, "participants of LiveKit rooms, by kind");
    describe_counter!(WEBHOOKS, Unit::Count, "webhooks of the LiveKit server, by outcome");
    describe_counter!(TOKENS, Unit::Count, "tokens for LiveKit rooms, by role, and those refused");
}
