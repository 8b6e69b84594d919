//! The service's metrics. No label holds a room's name, a user's text or a file's name (invariant 8). docs/metrics.md lists each with the
//! parts' own.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Counter: frames that publishers sent. Label `way`: `socket`, `clip` or `livekit`.
pub const FRAMES_IN: &str = "scrim_stream_frames_in_total";
/// Counter: frames that left covered as the policy says. Label `cover`: `clear`, `masked`, `full`.
pub const FRAMES_OUT: &str = "scrim_stream_frames_out_total";
/// Counter: frames lost. Label `reason`: `queue`, `undecodable`, `order`, `shortened`, `output`, `viewer`, `refused`, `way` (lost before it came here).
pub const FRAMES_DROPPED: &str = "scrim_stream_frames_dropped_total";
/// Counter: frames covered whole. Label `reason`: one of invariant 1's, such as `no-later-look`.
pub const FULL_COVERS: &str = "scrim_stream_full_covers_total";
/// Counter: frames that an open room let pass unjudged. Label `reason`.
pub const PASSED_UNJUDGED: &str = "scrim_stream_passed_unjudged_total";
/// Counter: frames in which text that is not read or judged yet was covered.
pub const FRAMES_PENDING: &str = "scrim_stream_frames_pending_total";
/// Counter: looks asked for. Label `why`.
pub const LOOKS: &str = "scrim_stream_looks_total";
/// Counter: detectors that a cascade told not to look: inferences saved.
pub const SKIPS: &str = "scrim_stream_skips_total";
/// Histogram, seconds: from a frame's due time to its publication.
pub const LATENESS: &str = "scrim_stream_lateness_seconds";
/// Histogram, seconds: one step of a frame's way. Label `stage`: `decode`, `cover`, `encode`.
pub const STAGE: &str = "scrim_stream_stage_seconds";
/// Gauge: streams that are live.
pub const STREAMS: &str = "scrim_streams";
/// Gauge, bytes: pictures in all delay lines.
pub const DELAY_LINE_BYTES: &str = "scrim_delay_line_bytes";
/// Gauge: share of the processors' time that is in use, over the last seconds. Label `of`: `machine` (all processes) or `host` (this one).
pub const LOAD: &str = "scrim_load";
/// Gauge: rooms that exist. Label `state`: `warm` (with plugin instances) or `idle`.
pub const ROOMS: &str = "scrim_rooms";
/// Counter: published frames that the auditor looked at.
pub const AUDITED: &str = "scrim_audit_frames_total";
/// Counter: of these, frames that showed less than 95 % covered what the room covers.
pub const EXPOSED: &str = "scrim_audit_exposed_frames_total";
/// Histogram, seconds: from the first exposed frame that the auditor saw to the first that was covered again.
pub const TIME_TO_COVER: &str = "scrim_audit_time_to_cover_seconds";
/// Counter: looks of the auditor that were not made, since live looks come first.
pub const AUDIT_SHED: &str = "scrim_audit_shed_total";
/// Counter: events that the store could not take in time.
pub const EVENTS_DROPPED: &str = "scrim_events_dropped_total";
/// Counter: pictures judged. Label `outcome`: `judged` or `unjudged`.
pub const PICTURES: &str = "scrim_pictures_total";
/// Counter: messages judged. Label `outcome`: `passed`, `flagged`, `unjudged`.
pub const MESSAGES: &str = "scrim_messages_total";
/// Counter: reports journalled. Label `outcome`: `new` or `repeated`.
pub const FEEDBACK: &str = "scrim_feedback_total";
/// Histogram, seconds: requests. Labels `route` (its pattern), `status` (2xx, 4xx …).
pub const HTTP_SECONDS: &str = "scrim_http_request_seconds";
/// Gauge: 1 while the store takes writes.
pub const STORE_OK: &str = "scrim_store_ok";

/// From a tenth of a millisecond to ten seconds.
pub const SECONDS_BUCKETS: [f64; 15] = [0.0001, 0.0003, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.06, 0.12, 0.3, 1.0, 2.0, 5.0, 10.0];

/// Tells the recorder what the figures mean; called once, after one is installed.
pub fn describe() {
    describe_counter!(FRAMES_IN, Unit::Count, "frames that publishers sent");
    describe_counter!(FRAMES_OUT, Unit::Count, "frames that left, by how they were covered");
    describe_counter!(FRAMES_DROPPED, Unit::Count, "frames lost, by reason");
    describe_counter!(FULL_COVERS, Unit::Count, "frames covered whole, by reason");
    describe_counter!(PASSED_UNJUDGED, Unit::Count, "frames that an open room let pass unjudged, by reason");
    describe_counter!(FRAMES_PENDING, Unit::Count, "frames in which unread text was covered");
    describe_counter!(LOOKS, Unit::Count, "looks asked for, by reason");
    describe_counter!(SKIPS, Unit::Count, "inferences that cascades saved");
    describe_histogram!(LATENESS, Unit::Seconds, "from a frame's due time to its publication");
    describe_histogram!(STAGE, Unit::Seconds, "one step of a frame's way");
    describe_gauge!(STREAMS, Unit::Count, "live streams");
    describe_gauge!(DELAY_LINE_BYTES, Unit::Bytes, "pictures in all delay lines");
    describe_gauge!(LOAD, Unit::Count, "share of the processors in use");
    describe_gauge!(ROOMS, Unit::Count, "rooms, by state");
    describe_counter!(AUDITED, Unit::Count, "published frames that the auditor looked at");
    describe_counter!(EXPOSED, Unit::Count, "published frames that showed what the room covers");
    describe_histogram!(TIME_TO_COVER, Unit::Seconds, "how long what the auditor saw stayed uncovered");
    describe_counter!(AUDIT_SHED, Unit::Count, "looks of the auditor given up for live ones");
    describe_counter!(EVENTS_DROPPED, Unit::Count, "events that the store could not take in time");
    describe_counter!(PICTURES, Unit::Count, "pictures judged");
    describe_counter!(MESSAGES, Unit::Count, "messages judged");
    describe_counter!(FEEDBACK, Unit::Count, "reports journalled");
    describe_histogram!(HTTP_SECONDS, Unit::Seconds, "requests");
    describe_gauge!(STORE_OK, Unit::Count, "1 while the store takes writes");
}
