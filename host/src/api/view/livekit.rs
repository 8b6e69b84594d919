//! Tokens for LiveKit rooms, and who is in them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::serve::livekit::Admission;
use crate::serve::livekit::dispatch::Whereabouts;
use crate::serve::livekit::post::Posted;
use crate::serve::livekit::presence::Audience;
use crate::serve::livekit::token::Role;

/// Which rooms.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RoomsQuery {
    /// `true`: those with a live stream alone; `false`: those without.
    #[serde(default)]
    #[param(required = false, value_type = bool)]
    pub live: Option<bool>,
}

/// What somebody is to be in a LiveKit room.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenRole {
    /// Publishes into a room of its own, from which what is judged goes to the viewers. Takes a key with the role publisher.
    Broadcaster,
    /// Sees and hears what was judged, and says nothing. Takes a key with the role viewer.
    Viewer,
    /// Hidden, sees both what was judged and what was not. Takes a key with the role operator.
    Moderator,
}

impl From<TokenRole> for Role {
    fn from(role: TokenRole) -> Self {
        match role {
            TokenRole::Broadcaster => Role::Broadcaster,
            TokenRole::Viewer => Role::Viewer,
            TokenRole::Moderator => Role::Moderator,
        }
    }
}

/// Whom a token is for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What others see: 1 to 64 characters, none that can't be seen or turns the text around it. It goes through the room's text policy.
    #[schema(min_length = 1, max_length = 64, example = "Ann")]
    pub name: String,
    #[schema(inline)]
    pub role: TokenRole,
    /// A broadcaster's, as viewers see them of its mirror: of those alone that `livekit.attributes` names, at most 256 characters each. They go
    /// through the room's text policy and are masked where it finds something.
    #[serde(default)]
    #[schema(required = false)]
    pub attributes: BTreeMap<String, String>,
}

/// A token for one LiveKit room.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoomTokenView {
    /// The LiveKit room.
    pub room: String,
    pub token: String,
}

/// Tokens for LiveKit rooms.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenView {
    /// For `room`.
    pub token: String,
    /// Where the LiveKit server is reached.
    pub url: String,
    /// What its bearer is in LiveKit's rooms.
    pub identity: String,
    /// The LiveKit room that `token` is for: the viewers' room, or a broadcaster's own.
    pub room: String,
    /// Until when the tokens let their bearer join. Who is in a room stays.
    pub expires_at: i64,
    /// A broadcaster's second token: hidden in the viewers' room, so that broadcasters see and hear each other as viewers do.
    pub view_token: Option<String>,
    /// A moderator's further tokens: for the own room of each broadcaster that is connected now, with the raw tracks.
    pub rooms: Vec<RoomTokenView>,
}

impl From<Admission> for TokenView {
    fn from(admission: Admission) -> Self {
        let Admission { minted, url, rooms } = admission;
        Self {
            token: minted.token,
            url,
            identity: minted.identity,
            room: minted.room,
            expires_at: minted.expires_at,
            view_token: minted.view_token,
            rooms: rooms.into_iter().map(|(room, token)| RoomTokenView { room, token }).collect(),
        }
    }
}

/// Something to be said to a room's viewers.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPost {
    #[schema(min_length = 1, max_length = 4096, example = "what a lovely show")]
    pub text: String,
    /// Who writes, as viewers are to see it: 1 to 64 characters, judged as a name is. With a key alone.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64, example = "Ann")]
    pub author: Option<String>,
}

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct PostedView {
    pub id: String,
    /// `passed`, `masked` or `refused`.
    pub outcome: String,
    /// As viewers read it; absent if it was refused.
    pub shown: Option<String>,
    /// Why the policy has not judged it; the room's fail mode spoke.
    pub fault: Option<String>,
}

impl From<Posted> for PostedView {
    fn from(posted: Posted) -> Self {
        let Posted { id, outcome, shown, fault } = posted;
        Self { id, outcome: outcome.to_owned(), shown, fault }
    }
}

/// How many are in a room over LiveKit.
#[derive(Debug, Serialize, ToSchema)]
pub struct AudienceView {
    /// Broadcasters that are connected.
    pub broadcasters: usize,
    /// Of these, who publish a track.
    pub live: usize,
    pub viewers: usize,
    /// The most viewers at once since the host started.
    pub peak: usize,
    /// Viewers that came since the host started, each time they did.
    pub total: u64,
    /// Which host attends the broadcasters.
    pub host: AttendedBy,
}

/// Which host attends a room's broadcasters: mutes and policies are its business.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AttendedBy {
    /// This one; always so without `livekit.dispatch`.
    Here,
    /// Another one.
    Elsewhere,
    /// None yet.
    Nowhere,
}

impl AudienceView {
    pub fn new(audience: Audience, whereabouts: Whereabouts) -> Self {
        let Audience { broadcasters, live, viewers, peak, total } = audience;
        let host = match whereabouts {
            Whereabouts::Here => AttendedBy::Here,
            Whereabouts::Elsewhere => AttendedBy::Elsewhere,
            Whereabouts::Nowhere => AttendedBy::Nowhere,
        };
        Self { broadcasters, live, viewers, peak, total, host }
    }
}

/// What became of a webhook.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeardView {
    /// False: it was heard before, and has no effect.
    pub new: bool,
}

/// A span of a broadcaster's sound that is not to be heard.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMute {
    /// As its token says.
    #[schema(min_length = 1, max_length = 256, example = "broadcaster~0123456789abcdef0123456789abcdef")]
    pub identity: String,
    /// Microseconds since the Unix epoch.
    #[schema(minimum = 0, maximum = 9007199254740991_i64)]
    pub from: i64,
    /// Microseconds since the Unix epoch.
    #[schema(minimum = 0, maximum = 9007199254740991_i64)]
    pub to: i64,
}

/// Spans of one request, at most.
pub const MUTES_MAX: usize = 64;

/// A span of sound.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SpanOfSound {
    /// Microseconds since the Unix epoch.
    #[schema(minimum = 0, maximum = 9007199254740991_i64)]
    pub from: i64,
    /// Microseconds since the Unix epoch.
    #[schema(minimum = 0, maximum = 9007199254740991_i64)]
    pub to: i64,
}

/// How far a judge has heard a broadcaster's sound, and what of it is not to be heard.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewJudged {
    /// As its token says.
    #[schema(min_length = 1, max_length = 256, example = "broadcaster~0123456789abcdef0123456789abcdef")]
    pub identity: String,
    /// All sound until then is judged; microseconds since the Unix epoch, by the host's clock, and not after now.
    #[schema(minimum = 0, maximum = 9007199254740991_i64)]
    pub until: i64,
    /// What is to be muted, also of what was judged before.
    #[serde(default)]
    #[schema(required = false, max_items = 64)]
    pub mutes: Vec<SpanOfSound>,
}
