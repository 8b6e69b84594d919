//! Tokens: who may join which LiveKit room, and do what there. One table, [`Sealed::rights`], says what each kind of participant may; tokens are
//! made from it, and the guard holds participants against it.
//!
//! ```text
//! broadcaster ── publishes ─► NAME~in~IDENTITY ── the host, hidden ─► mirror ── publishes ─► NAME ─► viewers
//!                             alone but for the host and moderators                           broadcasters (hidden), moderators (hidden)
//! ```
//! What always holds: identities are made here, each with the prefix of its kind, so a mirror, a person and the host never collide. Every token
//! carries a seal over room, identity and kind, so that who joined with a token of ours is told from who did not; with the seal of one it cannot
//! be taken for another. Nobody may change its own name, metadata or attributes. A secret is never printed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hmac::{Hmac, Mac};
use livekit_api::access_token::{AccessToken, AccessTokenError, Claims, VideoGrants};
use sha2::Sha256;

use crate::config::IngestSuffix;

/// The participant's attribute that holds the seal.
pub const SEAL: &str = "scrim.seal";
/// Bytes of the seal: what nobody guesses, and short among a participant's attributes.
const SEAL_BYTES: usize = 16;
/// A LiveKit server takes no shorter one.
const SECRET_BYTES_MIN: usize = 32;
/// How long the host's own tokens let it join. It asks for a new one each time.
const OWN_TTL: Duration = Duration::from_secs(60);
/// What may be published: what is mirrored.
const SOURCES: [&str; 4] = ["camera", "microphone", "screen_share", "screen_share_audio"];

#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    #[error("{given} is set and {missing} is not: set both, as the LiveKit server's `keys` has them, or neither")]
    Half { given: &'static str, missing: &'static str },
    #[error("LIVEKIT_API_SECRET has {0} characters; a LiveKit server takes none under {SECRET_BYTES_MIN}: give the one of its `keys`")]
    Short(usize),
    #[error("{0} is no text")]
    NotText(&'static str),
}

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the system has no randomness for an identity: {0}")]
    Randomness(#[from] getrandom::Error),
    #[error("the token cannot be signed: {0}")]
    Signing(#[from] AccessTokenError),
}

/// The API key and secret of the LiveKit server. Whoever has the secret may do anything there.
#[derive(Clone)]
pub struct Secrets {
    pub key: String,
    pub secret: String,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Secrets {
    const KEY: &str = "LIVEKIT_API_KEY";
    const SECRET: &str = "LIVEKIT_API_SECRET";

    /// As the environment has them; none if it has neither.
    ///
    /// # Errors
    /// When it has one without the other, or a secret that no server takes.
    pub fn from_environment() -> Result<Option<Self>, SecretsError> {
        let read = |name: &'static str| match std::env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(SecretsError::NotText(name)),
        };
        Self::of(read(Self::KEY)?, read(Self::SECRET)?)
    }

    /// What is empty counts as absent.
    ///
    /// # Errors
    /// As [`Secrets::from_environment`].
    pub fn of(key: Option<String>, secret: Option<String>) -> Result<Option<Self>, SecretsError> {
        let given = |value: Option<String>| value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        match (given(key), given(secret)) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(SecretsError::Half { given: Self::KEY, missing: Self::SECRET }),
            (None, Some(_)) => Err(SecretsError::Half { given: Self::SECRET, missing: Self::KEY }),
            (Some(_), Some(secret)) if secret.len() < SECRET_BYTES_MIN => Err(SecretsError::Short(secret.chars().count())),
            (Some(key), Some(secret)) => Ok(Some(Self { key, secret })),
        }
    }
}

/// What somebody asks a token for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Broadcaster,
    Viewer,
    Moderator,
}

/// What others see of somebody: the caller has put both through the room's text policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Badge {
    pub name: String,
    pub attributes: BTreeMap<String, String>,
}

impl From<&str> for Badge {
    /// A name alone.
    fn from(name: &str) -> Self {
        Self { name: name.to_owned(), attributes: BTreeMap::new() }
    }
}

/// The kinds of participant that Scrim makes tokens for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// In its own ingest room.
    Broadcaster,
    /// A broadcaster, hidden in the room of the viewers: it sees and hears the others as viewers do.
    Watching,
    Viewer,
    /// Hidden, in both kinds of room.
    Moderator,
    /// Scrim itself, hidden in an ingest room.
    Host,
    /// A broadcaster as viewers see it: published by Scrim.
    Mirror,
    /// Scrim itself, hidden in the viewers' room: it says what was written over HTTP.
    Chat,
    /// Scrim itself, hidden in the viewers' room: it says by being there which host has the room.
    Agent,
}

/// What a participant may do in its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    pub subscribe: bool,
    /// Tracks, of [`SOURCES`].
    pub publish: bool,
    /// Packets, text among them.
    pub data: bool,
    /// Nobody in the room is told of it.
    pub hidden: bool,
}

impl Sealed {
    pub const ALL: [Self; 8] =
        [Self::Broadcaster, Self::Watching, Self::Viewer, Self::Moderator, Self::Host, Self::Mirror, Self::Chat, Self::Agent];

    /// As the seal has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Broadcaster => "broadcaster",
            Self::Watching => "watching",
            Self::Viewer => "viewer",
            Self::Moderator => "moderator",
            Self::Host => "host",
            Self::Mirror => "mirror",
            Self::Chat => "chat",
            Self::Agent => "agent",
        }
    }

    /// The one table of who may do what. Nobody may change its own name, metadata or attributes.
    pub fn rights(self) -> Rights {
        let nothing = Rights { subscribe: false, publish: false, data: false, hidden: false };
        match self {
            // What it says as text reaches the host, which is hidden, and nobody else.
            Self::Broadcaster => Rights { publish: true, data: true, ..nothing },
            Self::Viewer => Rights { subscribe: true, ..nothing },
            Self::Watching | Self::Moderator => Rights { subscribe: true, hidden: true, ..nothing },
            // It tells the broadcaster what became of what it wrote.
            Self::Host => Rights { subscribe: true, hidden: true, data: true, ..nothing },
            Self::Mirror => Rights { publish: true, data: true, ..nothing },
            Self::Chat => Rights { data: true, hidden: true, ..nothing },
            Self::Agent => Rights { hidden: true, ..nothing },
        }
    }
}

/// A token that was made for somebody.
pub struct Minted {
    /// For `room`; a broadcaster's is its ingest room.
    pub token: String,
    /// A broadcaster's second one: hidden in the viewers' room.
    pub view_token: Option<String>,
    pub identity: String,
    /// The LiveKit room that `token` is for.
    pub room: String,
    /// Until when the token lets its holder join, microseconds since the Unix epoch. Who is in a room stays.
    pub expires_at: i64,
    /// A broadcaster's own room.
    pub ingest: Option<String>,
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { identity, room, expires_at, .. } = self;
        f.debug_struct("Minted").field("identity", identity).field("room", room).field("expires_at", expires_at).finish_non_exhaustive()
    }
}

/// Makes tokens. See the module.
#[derive(Clone, Debug)]
pub struct Mint {
    secrets: Secrets,
    ttl: Duration,
    suffix: String,
}

impl Mint {
    pub fn new(secrets: Secrets, ttl: Duration, suffix: &IngestSuffix) -> Self {
        Self { secrets, ttl, suffix: suffix.0.clone() }
    }

    /// A token for a room of Scrim's. The badge is shown to others as it is: the name has gone through [`display_name`](super::names), too. A moderator's is for the viewers' room; [`Mint::moderator_in`] makes those for ingest rooms.
    ///
    /// # Errors
    /// When there is no randomness for an identity, or the token can't be signed.
    pub fn mint(&self, room: &str, badge: impl Into<Badge>, role: Role) -> Result<Minted, TokenError> {
        let badge = badge.into();
        let kind = match role {
            Role::Broadcaster => Sealed::Broadcaster,
            Role::Viewer => Sealed::Viewer,
            Role::Moderator => Sealed::Moderator,
        };
        let identity = format!("{}~{}", kind.word(), random::<16>()?);
        let (joins, ingest, view_token) = match role {
            Role::Broadcaster => {
                let own = self.ingest_room(room, &identity);
                let view = self.signed(room, &identity, &badge.name.as_str().into(), Sealed::Watching, self.ttl)?;
                (own.clone(), Some(own), Some(view))
            }
            Role::Viewer | Role::Moderator => (room.to_owned(), None, None),
        };
        let token = self.signed(&joins, &identity, &badge, kind, self.ttl)?;
        let expires_at = i64::try_from(Claims::from_unverified(&token)?.exp).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        Ok(Minted { token, view_token, identity, room: joins, expires_at, ingest })
    }

    /// A moderator's token for one broadcaster's own room: hidden, it sees the raw tracks.
    ///
    /// # Errors
    /// When the token can't be signed.
    pub fn moderator_in(&self, ingest_room: &str, identity: &str, name: &str) -> Result<String, TokenError> {
        self.signed(ingest_room, identity, &name.into(), Sealed::Moderator, self.ttl)
    }

    /// The host's own token for an ingest room.
    ///
    /// # Errors
    /// When there is no randomness for an identity, or the token can't be signed.
    pub fn host_in_ingest(&self, ingest_room: &str) -> Result<String, TokenError> {
        let identity = format!("scrim~host~{}", random::<4>()?);
        self.signed(ingest_room, &identity, &Badge::default(), Sealed::Host, OWN_TTL)
    }

    /// The host's token as a broadcaster's mirror in the viewers' room. The badge is shown to viewers as it is.
    ///
    /// # Errors
    /// When the token can't be signed.
    pub fn mirror(&self, room: &str, broadcaster_identity: &str, badge: &Badge) -> Result<String, TokenError> {
        self.signed(room, &mirror_of(broadcaster_identity), badge, Sealed::Mirror, OWN_TTL)
    }

    /// The host's token to say in the viewers' room what was written over HTTP.
    ///
    /// # Errors
    /// When there is no randomness for an identity, or the token can't be signed.
    pub fn chat(&self, room: &str) -> Result<String, TokenError> {
        self.signed(room, &format!("scrim~chat~{}", random::<4>()?), &Badge::default(), Sealed::Chat, OWN_TTL)
    }

    /// The host's token to be in the viewers' room as the one that has it, for a job of the server's.
    ///
    /// # Errors
    /// When the token can't be signed.
    pub fn agent(&self, room: &str, job: &str) -> Result<String, TokenError> {
        self.signed(room, &agent_of(job), &Badge::default(), Sealed::Agent, OWN_TTL)
    }

    /// A broadcaster's own room.
    pub fn ingest_room(&self, room: &str, identity: &str) -> String {
        format!("{room}{}{identity}", self.suffix)
    }

    /// The room and the broadcaster that an ingest room is of; none if it is no name that [`Mint::ingest_room`] makes for an identity of ours.
    pub fn parse_ingest<'a>(&self, name: &'a str) -> Option<(&'a str, &'a str)> {
        // No room of ours has a `~` in its name, with which the suffix begins.
        let (room, identity) = name.split_once(self.suffix.as_str())?;
        let made = identity.strip_prefix("broadcaster~").is_some_and(|id| id.len() == 32 && id.bytes().all(is_hex));
        (!room.is_empty() && !room.contains('~') && made).then_some((room, identity))
    }

    /// Which token of ours somebody in a LiveKit room came with, by its seal; none if it came with none of ours.
    pub fn sealed(&self, room: &str, identity: &str, seal: Option<&str>) -> Option<Sealed> {
        let seal = unhex(seal?)?;
        // Compared in constant time.
        Sealed::ALL.into_iter().find(|kind| self.mac(room, identity, *kind).verify_truncated_left(&seal).is_ok())
    }

    /// What is sealed has bytes that are 0, which nothing that a token's signature is made of has: the two uses of the secret can't be mixed up.
    fn mac(&self, room: &str, identity: &str, kind: Sealed) -> Hmac<Sha256> {
        let mut mac =
            <Hmac<Sha256> as Mac>::new_from_slice(self.secrets.secret.as_bytes()).unwrap_or_else(|_| unreachable!("any length does"));
        for part in [room.as_bytes(), &[0], identity.as_bytes(), &[0], kind.word().as_bytes()] {
            mac.update(part);
        }
        mac
    }

    fn signed(&self, room: &str, identity: &str, badge: &Badge, kind: Sealed, ttl: Duration) -> Result<String, TokenError> {
        let Rights { subscribe, publish, data, hidden } = kind.rights();
        let grants = VideoGrants {
            room_join: true,
            room: room.to_owned(),
            can_publish: Some(publish),
            can_publish_sources: if publish { SOURCES.map(str::to_owned).to_vec() } else { Vec::new() },
            can_subscribe: Some(subscribe),
            can_publish_data: Some(data),
            can_update_own_metadata: Some(false),
            hidden,
            ..VideoGrants::default()
        };
        let seal = hex(&self.mac(room, identity, kind).finalize().into_bytes()[..SEAL_BYTES]);
        let Secrets { key, secret } = &self.secrets;
        let token = AccessToken::with_api_key(key, secret).with_identity(identity).with_name(&badge.name).with_grants(grants);
        let shown = badge.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Ok(token.with_attributes(shown.chain([(SEAL, seal.as_str())])).with_ttl(ttl).to_jwt()?)
    }
}

/// What a broadcaster is called in the viewers' room.
pub fn mirror_of(broadcaster_identity: &str) -> String {
    format!("mirror~{broadcaster_identity}")
}

/// What the host that does a job is called in the viewers' room.
pub fn agent_of(job: &str) -> String {
    format!("scrim~agent~{job}")
}

/// The kind that an identity's prefix says; what is sealed is told by the seal alone.
pub fn kind_of(identity: &str) -> Option<Sealed> {
    if identity.starts_with("scrim~host~") {
        return Some(Sealed::Host);
    }
    let (kind, _) = identity.split_once('~')?;
    [Sealed::Broadcaster, Sealed::Viewer, Sealed::Moderator, Sealed::Mirror].into_iter().find(|known| known.word() == kind)
}

/// So many random bytes, as hexadecimal digits.
fn random<const BYTES: usize>() -> Result<String, getrandom::Error> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

fn unhex(text: &str) -> Option<[u8; SEAL_BYTES]> {
    if text.len() != 2 * SEAL_BYTES || !text.bytes().all(is_hex) {
        return None;
    }
    let mut bytes = [0; SEAL_BYTES];
    for (byte, at) in bytes.iter_mut().zip((0..text.len()).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use livekit_api::access_token::TokenVerifier;

    use super::*;

    const KEY: &str = "scrim-test";
    const SECRET: &str = "a secret for tests alone, and long enough";

    fn mint() -> Mint {
        let secrets = Secrets { key: KEY.to_owned(), secret: SECRET.to_owned() };
        Mint::new(secrets, Duration::from_secs(3600), &IngestSuffix::default())
    }

    fn claims(token: &str) -> Claims {
        TokenVerifier::with_api_key(KEY, SECRET).verify(token).expect("a token of ours")
    }

    fn may(claims: &Claims) -> (bool, bool, bool, bool) {
        let video = &claims.video;
        (video.can_subscribe(), video.can_publish(), video.can_publish_data(), video.hidden)
    }

    #[test]
    fn a_broadcaster_publishes_into_its_own_room_and_watches_hidden() {
        let mint = mint();
        let Minted { token, view_token, identity, room, expires_at, ingest } =
            mint.mint("studio", "Ann", Role::Broadcaster).expect("a token");
        assert_eq!(room, format!("studio~in~{identity}"));
        assert_eq!(ingest.as_deref(), Some(room.as_str()));
        assert_eq!(mint.parse_ingest(&room), Some(("studio", identity.as_str())));
        let own = claims(&token);
        assert_eq!((own.sub.as_str(), own.name.as_str(), own.video.room.as_str()), (identity.as_str(), "Ann", room.as_str()));
        assert_eq!(may(&own), (false, true, true, false));
        assert_eq!(own.video.can_publish_sources, SOURCES);
        assert_eq!(own.exp as i64 * 1_000_000, expires_at);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs() as usize;
        assert!((now + 3590..=now + 3600).contains(&own.exp), "{} is not an hour from {now}", own.exp);
        let view = claims(&view_token.expect("a broadcaster watches"));
        assert_eq!((view.video.room.as_str(), may(&view)), ("studio", (true, false, false, true)));
        for claims in [&own, &view] {
            assert!(!claims.video.can_update_own_metadata() && claims.video.room_join && !claims.video.room_admin);
            assert!(claims.metadata.is_empty());
        }
    }

    #[test]
    fn viewers_moderators_and_the_host_get_what_the_table_says() {
        let mint = mint();
        let viewer = mint.mint("studio", "Bob", Role::Viewer).expect("a token");
        assert_eq!((viewer.room.as_str(), viewer.view_token, viewer.ingest), ("studio", None, None));
        assert_eq!(may(&claims(&viewer.token)), (true, false, false, false));
        assert!(claims(&viewer.token).video.can_publish_sources.is_empty());
        let moderator = mint.mint("studio", "Mo", Role::Moderator).expect("a token");
        assert_eq!(may(&claims(&moderator.token)), (true, false, false, true));
        let ingest = mint.ingest_room("studio", "broadcaster~0");
        let inside = claims(&mint.moderator_in(&ingest, &moderator.identity, "Mo").expect("a token"));
        assert_eq!(
            (inside.video.room.as_str(), inside.sub.as_str(), may(&inside)),
            (ingest.as_str(), moderator.identity.as_str(), (true, false, false, true))
        );
        let host = claims(&mint.host_in_ingest(&ingest).expect("a token"));
        assert_eq!((kind_of(&host.sub), may(&host)), (Some(Sealed::Host), (true, false, true, true)));
        let mirror = claims(&mint.mirror("studio", "broadcaster~0", &"Ann".into()).expect("a token"));
        assert_eq!(
            (mirror.sub.as_str(), mirror.video.room.as_str(), may(&mirror)),
            ("mirror~broadcaster~0", "studio", (false, true, true, false))
        );
    }

    #[test]
    fn a_seal_holds_for_one_room_one_identity_and_one_kind() {
        let mint = mint();
        let viewer = mint.mint("studio", "Bob", Role::Viewer).expect("a token");
        let seal = claims(&viewer.token).attributes.remove(SEAL).expect("a seal");
        let id = viewer.identity.as_str();
        assert_eq!(seal.len(), 32);
        assert_eq!(mint.sealed("studio", id, Some(&seal)), Some(Sealed::Viewer));
        assert_eq!(mint.sealed("other", id, Some(&seal)), None);
        assert_eq!(mint.sealed("studio", "viewer~0", Some(&seal)), None);
        assert_eq!(mint.sealed("studio", id, None), None);
        for wrong in ["", "zz", &"0".repeat(32), &seal[..30], &seal.to_uppercase(), &format!("{seal}00")] {
            // One of only digits has no capitals.
            assert!(wrong == seal || mint.sealed("studio", id, Some(wrong)).is_none(), "{wrong}");
        }
        let other = Mint::new(Secrets { key: KEY.to_owned(), secret: "b".repeat(32) }, Duration::from_secs(60), &IngestSuffix::default());
        assert_eq!(other.sealed("studio", id, Some(&seal)), None);
        // Where a room's name ends and an identity begins is part of the seal.
        let (one, two) = (mint.mac("ab", "c", Sealed::Viewer), mint.mac("a", "bc", Sealed::Viewer));
        assert_ne!(one.finalize().into_bytes(), two.finalize().into_bytes());
        let broadcaster = mint.mint("studio", "Ann", Role::Broadcaster).expect("a token");
        let (own, view) = (claims(&broadcaster.token), claims(&broadcaster.view_token.expect("two")));
        let seal = |claims: &Claims| mint.sealed(&claims.video.room, &claims.sub, claims.attributes.get(SEAL).map(String::as_str));
        assert_eq!((seal(&own), seal(&view)), (Some(Sealed::Broadcaster), Some(Sealed::Watching)));
    }

    #[test]
    fn identities_tell_their_kind_and_never_meet() {
        let mint = mint();
        let ids: Vec<String> = (0..50)
            .map(|i| mint.mint("r", "n", [Role::Viewer, Role::Broadcaster, Role::Moderator][i % 3]).expect("a token").identity)
            .collect();
        let mut once = ids.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), ids.len());
        assert_eq!(kind_of(&ids[0]), Some(Sealed::Viewer));
        assert_eq!(kind_of(&mirror_of(&ids[1])), Some(Sealed::Mirror));
        for other in ["", "viewer", "bob", "watching~1", "viewers~1"] {
            assert_eq!(kind_of(other), None, "{other}");
        }
    }

    #[test]
    fn only_names_that_are_made_here_are_ingest_rooms() {
        let mint = mint();
        let id = format!("broadcaster~{}", "0a".repeat(16));
        assert_eq!(mint.parse_ingest(&format!("a.b-c~in~{id}")), Some(("a.b-c", id.as_str())));
        for other in [
            "studio",
            "studio~in~",
            "~in~",
            &format!("~in~{id}"),
            &format!("a~b~in~{id}"),
            &format!("studio~in~{id}0"),
            "studio~in~viewer~00",
            &format!("studio~out~{id}"),
        ] {
            assert_eq!(mint.parse_ingest(other), None, "{other}");
        }
        let tilde: IngestSuffix = "~".parse().expect("a suffix");
        let bare = Mint::new(Secrets { key: KEY.to_owned(), secret: SECRET.to_owned() }, Duration::from_secs(60), &tilde);
        assert_eq!(bare.parse_ingest(&bare.ingest_room("studio", &id)), Some(("studio", id.as_str())));
    }

    #[test]
    fn half_a_pair_and_a_short_secret_are_told_and_none_is_printed() {
        let of = |key: Option<&str>, secret: Option<&str>| Secrets::of(key.map(str::to_owned), secret.map(str::to_owned));
        assert!(of(None, None).expect("neither").is_none() && of(Some(""), Some(" ")).expect("neither").is_none());
        let error = of(Some("k"), None).expect_err("half").to_string();
        assert!(error.contains("LIVEKIT_API_KEY is set and LIVEKIT_API_SECRET is not"), "{error}");
        let error = of(None, Some(SECRET)).expect_err("half").to_string();
        assert!(error.contains("LIVEKIT_API_SECRET is set and LIVEKIT_API_KEY is not"), "{error}");
        let error = of(Some("k"), Some("short one")).expect_err("too short").to_string();
        assert!(error.contains("9 characters") && !error.contains("short one"), "{error}");
        let secrets = of(Some("k"), Some(SECRET)).expect("both").expect("both");
        let minted = mint().mint("studio", "Ann", Role::Viewer).expect("a token");
        let shown = format!("{secrets:?} {:?} {minted:?}", mint());
        assert!(!shown.contains(SECRET) && !shown.contains(&minted.token), "{shown}");
    }
}
