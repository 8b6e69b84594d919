//! The kinds of value that `scrim.toml` and the command line share: each is parsed once, here, and carries its JSON Schema.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::infer::provider::ProviderChoice;
use crate::media::frame::Micros;
use crate::vision::sampler::SamplerRule;

/// A time in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Millis(pub u32);

impl Millis {
    pub const fn micros(self) -> Micros {
        Micros(self.0 as u64 * 1000)
    }

    /// Rounded down to whole milliseconds.
    pub fn floor(at: Micros) -> Self {
        Self(u32::try_from(at.0 / 1000).unwrap_or(u32::MAX))
    }

    /// Rounded up to whole milliseconds.
    pub fn ceil(at: Micros) -> Self {
        Self(u32::try_from(at.0.div_ceil(1000)).unwrap_or(u32::MAX))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// A value that did not parse: what it was and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} does not fit; give {expected}")]
pub struct BadValue {
    pub value: String,
    pub expected: &'static str,
}

/// A string type with a grammar: its schema's pattern, what it expects in words, and a way from and to text.
macro_rules! text_value {
    ($type:ident, $pattern:expr, $expected:expr) => {
        impl $type {
            /// What is allowed, in words.
            pub const EXPECTED: &str = $expected;
        }

        impl TryFrom<String> for $type {
            type Error = BadValue;
            fn try_from(value: String) -> Result<Self, BadValue> {
                value.parse()
            }
        }

        impl FromStr for $type {
            type Err = BadValue;
            fn from_str(value: &str) -> Result<Self, BadValue> {
                Self::read(value).ok_or_else(|| BadValue { value: value.to_owned(), expected: Self::EXPECTED })
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "format": stringify!($type), "x-expected": $expected })
            }
        }

        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
    };
}

/// A format's name, and whether a text fits it.
type Format = (&'static str, fn(&str) -> bool);

/// Which texts each type takes, by the format of its schema: a pattern can't say what an address is.
pub(super) const FORMATS: [Format; 11] = [
    ("Color", |text| Color::read(text).is_some()),
    ("DetectorName", |text| DetectorName::read(text).is_some()),
    ("LabelGlob", |text| LabelGlob::read(text).is_some()),
    ("PluginName", |text| PluginName::read(text).is_some()),
    ("PluginVersion", |text| PluginVersion::read(text).is_some()),
    ("Sampler", |text| Sampler::read(text).is_some()),
    ("ProviderName", |text| ProviderName::read(text).is_some()),
    ("BindAddress", |text| BindAddress::read(text).is_some()),
    ("ServerUrl", |text| ServerUrl::read(text).is_some()),
    ("IngestSuffix", |text| IngestSuffix::read(text).is_some()),
    ("AttributeName", |text| AttributeName::read(text).is_some()),
];

/// 8 bits a channel, sRGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Color {
    pub r: u8,
    pub g: u8,
    pub b: u8,
}

text_value!(Color, "^#[0-9a-fA-F]{6}$", "a colour as \"#rrggbb\", such as \"#000000\"");

impl Color {
    fn read(text: &str) -> Option<Self> {
        let hex = text.strip_prefix('#').filter(|hex| hex.len() == 6 && hex.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let [_, r, g, b] = u32::from_str_radix(hex, 16).ok()?.to_be_bytes();
        Some(Self { r, g, b })
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.r, self.g, self.b)
    }
}

/// What a detector is called in its room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct DetectorName(pub String);

text_value!(DetectorName, "^[a-z][a-z0-9_-]{0,31}$", "a name of 1 to 32 small letters, digits, - and _, a letter first");

impl DetectorName {
    /// The detector that a room has if nothing is said.
    pub fn nudity() -> Self {
        Self("nudity".to_owned())
    }

    fn read(text: &str) -> Option<Self> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        (text.len() <= 32 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(inner)).then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for DetectorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which labels: `*` any run of characters, `?` one character.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct LabelGlob(pub String);

text_value!(LabelGlob, r"^[^\s,]+$", "a label or a pattern such as \"*_EXPOSED\", without spaces or commas");

impl LabelGlob {
    /// What NudeNet calls bare.
    pub fn exposed() -> Self {
        Self("*_EXPOSED".to_owned())
    }

    fn read(text: &str) -> Option<Self> {
        (!text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == ',')).then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for LabelGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A plugin's name: small letters, digits and single hyphens between them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PluginName(pub String);

text_value!(PluginName, "^[a-z][a-z0-9]*(-[a-z0-9]+)*$", "a name of small letters, digits and hyphens, such as \"my-cascade\"");

impl PluginName {
    fn read(text: &str) -> Option<Self> {
        let part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        (text.starts_with(|c: char| c.is_ascii_lowercase()) && text.split('-').all(part)).then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One version of a plugin in the catalog, `NAME@VERSION`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PluginVersion {
    pub name: PluginName,
    /// Semantic version, as the plugin's manifest spells it.
    pub version: String,
}

text_value!(
    PluginVersion,
    r"^[a-z][a-z0-9]*(-[a-z0-9]+)*@[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.+-]+)?$",
    "\"NAME@VERSION\", such as \"skin-cascade@2.0.0\""
);

impl PluginVersion {
    fn read(text: &str) -> Option<Self> {
        let (name, version) = text.split_once('@')?;
        let (core, rest) = version.split_at(version.find(['-', '+']).unwrap_or(version.len()));
        let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let core_fits = core.split('.').count() == 3 && core.split('.').all(number);
        let rest_fits = rest.is_empty() || (rest.len() > 1 && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)));
        (core_fits && rest_fits).then_some(Self { name: PluginName::read(name)?, version: version.to_owned() })
    }
}

impl fmt::Display for PluginVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// Which frames are looked at beyond those that the host requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Sampler(pub SamplerRule);

text_value!(Sampler, "^(adaptive|prototype|fixed:[1-9][0-9]{0,3})$", "\"adaptive\", \"prototype\" or \"fixed:N\" with N from 1 to 9999");

impl Sampler {
    fn read(text: &str) -> Option<Self> {
        let rule: SamplerRule = text.parse().ok()?;
        // Written in one way only: no sign, no leading zero.
        let fits = !matches!(rule, SamplerRule::Fixed(every) if every > 9999) && rule.to_string() == text;
        fits.then_some(Self(rule))
    }
}

impl fmt::Display for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An execution provider of ONNX Runtime, or the best that works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ProviderName(pub ProviderChoice);

text_value!(ProviderName, "^(auto|tensorrt|cuda|cpu)$", "\"auto\", \"tensorrt\", \"cuda\" or \"cpu\"");

impl ProviderName {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ProviderChoice::Auto => f.write_str("auto"),
            ProviderChoice::Only(provider) => provider.fmt(f),
        }
    }
}

/// An address and a port to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct BindAddress(pub SocketAddr);

text_value!(BindAddress, r"^.+:[0-9]{1,5}$", "an address and a port, such as \"127.0.0.1:7890\" or \"[::1]:7890\"");

impl BindAddress {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a LiveKit server is reached.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ServerUrl(pub String);

text_value!(
    ServerUrl,
    r"^(ws|wss|http|https)://[A-Za-z0-9.:_\[\]-]+/?$",
    "a server's address, such as \"wss://livekit.example\" or \"ws://127.0.0.1:7880\""
);

impl ServerUrl {
    fn read(text: &str) -> Option<Self> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let (scheme, authority) = text.split_once("://")?;
        // What a host and a port are written with, and nothing that means anything where the address is quoted, as in a page's policy.
        let host = !authority.is_empty() && authority.bytes().all(|b| b.is_ascii_alphanumeric() || b".:_-[]".contains(&b));
        (["ws", "wss", "http", "https"].contains(&scheme) && host).then(|| Self(text.to_owned()))
    }

    /// As programs connect to a room.
    pub fn websocket(&self) -> String {
        self.0.strip_prefix("http").map_or_else(|| self.0.clone(), |rest| format!("ws{rest}"))
    }

    /// As its API is asked.
    pub fn http(&self) -> String {
        self.0.strip_prefix("ws").map_or_else(|| self.0.clone(), |rest| format!("http{rest}"))
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an attribute of a participant is called. Those of LiveKit's and of Scrim's own mean something else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct AttributeName(pub String);

text_value!(
    AttributeName,
    "^[A-Za-z][A-Za-z0-9._-]{0,63}$",
    "a name of 1 to 64 letters, digits, `.`, `_` and `-`, a letter first, that begins with neither `lk.` nor `scrim.`"
);

impl AttributeName {
    fn read(text: &str) -> Option<Self> {
        let plain = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        let own = text.starts_with("lk.") || text.starts_with("scrim.");
        (plain && !own && text.starts_with(|c: char| c.is_ascii_alphabetic())).then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for AttributeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What comes between a room's name and a broadcaster's identity. No room of ours has a `~` in its name, so none has the name of a broadcaster's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct IngestSuffix(pub String);

text_value!(IngestSuffix, "^~[a-z0-9~_-]{0,15}$", "`~` and up to 15 small letters, digits, `~`, `_` and `-`");

impl IngestSuffix {
    fn read(text: &str) -> Option<Self> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"~_-".contains(&b);
        (text.len() <= 16 && text.starts_with('~') && text.bytes().all(inner)).then(|| Self(text.to_owned()))
    }
}

impl Default for IngestSuffix {
    fn default() -> Self {
        Self("~in~".to_owned())
    }
}

impl fmt::Display for IngestSuffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
