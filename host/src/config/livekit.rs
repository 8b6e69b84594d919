//! `[livekit]`: the server whose rooms the host moderates, and how it publishes into them.

use std::num::NonZeroU32;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::nz;
use super::values::{AttributeName, IngestSuffix, ServerUrl};

/// The LiveKit server whose rooms are moderated. Its API key and secret are read from `LIVEKIT_API_KEY` and `LIVEKIT_API_SECRET`, never from this file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LiveKit {
    /// Where the host reaches the server. `LIVEKIT_URL` overrides it. Absent in both: no room is moderated over LiveKit.
    #[schemars(with = "ServerUrl")]
    pub url: Option<ServerUrl>,
    /// Where broadcasters and viewers reach it, told with their tokens. Absent: as `url`.
    #[schemars(with = "ServerUrl")]
    pub public_url: Option<ServerUrl>,
    /// What comes between a room's name and a broadcaster's identity in the name of the broadcaster's own room. Change it if another application makes rooms of such names.
    pub ingest_suffix: IngestSuffix,
    /// How long a token lets its holder join, s. Who is in a room stays.
    #[schemars(range(min = 60, max = 86_400))]
    pub token_ttl_s: NonZeroU32,
    /// Attributes of a broadcaster that viewers get to see, such as `color`, as its token was asked for with. Their values go through the room's text policy. Metadata is never carried.
    #[schemars(length(max = 16))]
    pub attributes: Vec<AttributeName>,
    /// A file with a line `ROOM KEY` for each room that is encrypted end to end: the key that its broadcasters and viewers share. With it the host judges what is encrypted, and encrypts what it publishes; without it nothing encrypted is published. Read at the start.
    #[schemars(with = "PathBuf")]
    pub shared_keys_file: Option<PathBuf>,
    /// Several hosts share the server. Each then attends the broadcasters of those rooms alone that the server assigns to it, as one of the agent workers `scrim`; the rooms themselves have to be the same on each. Off: every room is this host's.
    pub dispatch: bool,
    /// What moderated video is encoded with.
    pub codec: VideoCodec,
    /// Bits a second of one moderated picture track of 720p or more, at most, in thousands. A smaller one takes fewer, in proportion.
    #[schemars(range(min = 50, max = 50_000))]
    pub bitrate_kbps: NonZeroU32,
    /// Smaller layers beside the whole picture, for viewers with less bandwidth. Each costs another encoding.
    pub simulcast: bool,
}

/// What moderated video is encoded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum VideoCodec {
    Vp8,
    H264,
    Vp9,
    Av1,
}

impl Default for LiveKit {
    fn default() -> Self {
        Self {
            url: None,
            public_url: None,
            ingest_suffix: IngestSuffix::default(),
            // Long enough for a page to be opened, forgotten and opened again; who has joined is not put out by it.
            token_ttl_s: nz(3600),
            // What nobody has asked for is nobody's to see.
            attributes: Vec::new(),
            shared_keys_file: None,
            // One host needs nobody to choose it.
            dispatch: false,
            // Every browser decodes it, and it is the cheapest to encode in software.
            codec: VideoCodec::Vp8,
            // What LiveKit's own SDKs take for 720p at 30 frames/s is 1,700; covers have hard edges.
            bitrate_kbps: nz(2500),
            simulcast: false,
        }
    }
}
