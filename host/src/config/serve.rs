//! `[serve]`: what the service listens on, whom it lets in, and what it keeps.

use std::num::NonZeroU32;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::nz;
use super::values::BindAddress;

/// What `scrim serve` listens on, whom it lets in, and what it keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Serve {
    /// Where to listen. Anything but a loopback address needs keys.
    pub bind: BindAddress,
    /// File of bearer keys, one `NAME ROLE SHA256` a line, as `scrim key` prints them. `SCRIM_KEYS` holds such lines too. With any key, every `/v1` route requires one.
    pub keys_file: Option<PathBuf>,
    /// Web origins that may call from a browser, such as `https://console.example`; the host's own pages always may.
    #[schemars(length(max = 64))]
    pub allowed_origins: Vec<String>,
    /// Names, besides the loopback ones and the bound address, under which the host is reached: what a `Host` header may say, such as `scrim.example:7890`.
    #[schemars(length(max = 64))]
    pub allowed_hosts: Vec<String>,
    /// How long frames and requests under way may take to finish after SIGTERM, s.
    #[schemars(range(max = 600))]
    pub drain_timeout_s: NonZeroU32,
    /// A room that nothing was asked of for this long gives its plugin instances back, s. Its state is kept.
    #[schemars(range(max = 86_400))]
    pub idle_s: NonZeroU32,
    /// How long a stream waits for its publisher after a cut, s.
    #[schemars(range(max = 600))]
    pub resume_s: NonZeroU32,
    /// The auditor looks at every so manieth published frame of a stream, when there is time; 0 switches it off.
    #[schemars(range(max = 100_000))]
    pub audit_every: u32,
    /// Events kept of a room, at most.
    #[schemars(range(max = 10_000_000))]
    pub events_max: NonZeroU32,
    /// Days for which events are kept.
    #[schemars(range(max = 3_650))]
    pub events_days: NonZeroU32,
    /// Size of one recording, MiB; it stops there. A room has one at a time, and a new one replaces the last.
    #[schemars(range(max = 16_384))]
    pub recording_mib: NonZeroU32,
    /// Hours after which a recording is deleted.
    #[schemars(range(max = 8_760))]
    pub recording_hours: NonZeroU32,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            // Nobody but this machine, until somebody says otherwise.
            bind: BindAddress(std::net::SocketAddr::from(([127, 0, 0, 1], 7890))),
            keys_file: None,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            // Longer than the longest delay, so that what was captured is published.
            drain_timeout_s: nz(15),
            idle_s: nz(300),
            // A phone that changes its network is back within a few seconds.
            resume_s: nz(10),
            // Once a second at 30 frames/s: 2 % of a core, and an exposure is known within a second or two.
            audit_every: 30,
            events_max: nz(10_000),
            events_days: nz(7),
            recording_mib: nz(256),
            recording_hours: nz(24),
        }
    }
}
