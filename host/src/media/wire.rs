//! The messages of `/v1/rooms/{room}/stream`, as bytes and as text: pure functions between them and values, in both directions.
//!
//! A binary message is one picture. All numbers are little endian; `docs/stream.md` has the same as tables.
//!
//! ```text
//! publisher → host     0 "SCRM" · 4 version u8 = 1 · 5 kind u8 · 6 flags u8 · 7 reserved u8 = 0 · 8 sequence u64 · 16 capture_us u64
//!                     24 width u32 · 28 height u32 · 32 the picture
//! host → viewer        the same up to 32 · 32 verdict_len u32 · 36 the verdict, JSON · then the covered picture
//!
//! kind                 1 JPEG · 2 I420
//! flags                bit 0: I420 of full range · bit 1: I420 of BT.709 · bit 2: covered whole · bit 3: passed unjudged
//! ```
//!
//! `capture_us` is of the publisher's own clock, and goes back to it as it came. A text message is a JSON object with a `type`
//! ([`Control`] from the host, [`PublisherControl`] from a publisher).
//!
//! Always holds: what is taken in is in shape to the last bit, or the error names the field, what it held and what it may hold; a size is
//! within its limits before anything is made of it. Whether the sequence grows is for the caller, who knows the one before.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::geometry::Rect;
use crate::media::frame::{Frame, FrameSeq, Matrix, Micros, Range, i420_len};
use crate::media::picture::{self, Limits, PictureError};

pub const MAGIC: [u8; 4] = *b"SCRM";
pub const VERSION: u8 = 1;

/// Bytes before a publisher's picture.
pub const HEAD_BYTES: usize = 32;
/// Bytes before a covered picture's verdict.
pub const COVERED_HEAD_BYTES: usize = HEAD_BYTES + 4;
/// Most bytes of a verdict: some 3,000 masks.
pub const VERDICT_BYTES_MAX: usize = 256 << 10;

const JPEG: u8 = 1;
const I420: u8 = 2;

const FULL_RANGE: u8 = 1 << 0;
const BT709: u8 = 1 << 1;
const COVERED_WHOLE: u8 = 1 << 2;
const PASSED_UNJUDGED: u8 = 1 << 3;

/// Most bytes of a message in either direction, for the socket to be bounded by.
pub const fn message_bytes_max(limits: Limits) -> usize {
    COVERED_HEAD_BYTES + VERDICT_BYTES_MAX + i420_len(limits.width, limits.height)
}

#[derive(Debug, Error, PartialEq)]
pub enum WireError {
    #[error("the message has {bytes} bytes; one that carries a picture begins with {least}")]
    Short { bytes: usize, least: usize },
    #[error("`{field}` is {value}; allowed is {allowed}")]
    Field { field: &'static str, value: String, allowed: String },
    #[error("the picture has {bytes} bytes; I420 of {width}x{height} has {expected}")]
    Length { bytes: usize, expected: usize, width: u32, height: u32 },
    #[error("the message ends after its head; a JPEG has to follow")]
    NoPicture,
    #[error("`width` and `height` say {width}x{height} but the JPEG is {jpeg_width}x{jpeg_height}; send its true size, or 0 for both")]
    OtherSize { width: u32, height: u32, jpeg_width: usize, jpeg_height: usize },
    #[error("the verdict is not as described: {0}")]
    Verdict(String),
    #[error("the text message is not as described: {0}")]
    Control(String),
    #[error(transparent)]
    Picture(#[from] PictureError),
}

fn field(field: &'static str, value: impl ToString, allowed: impl Into<String>) -> WireError {
    WireError::Field { field, value: value.to_string(), allowed: allowed.into() }
}

/// How a picture is written, and what its numbers mean. JPEG is always full range BT.601.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Jpeg,
    I420 { range: Range, matrix: Matrix },
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Kind::Jpeg => JPEG,
            Kind::I420 { .. } => I420,
        }
    }

    const fn flags(self) -> u8 {
        match self {
            Kind::Jpeg => 0,
            Kind::I420 { range, matrix } => {
                let range = if matches!(range, Range::Full) { FULL_RANGE } else { 0 };
                let matrix = if matches!(matrix, Matrix::Bt709) { BT709 } else { 0 };
                range | matrix
            }
        }
    }
}

/// What a message says of its picture, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub kind: Kind,
    pub sequence: u64,
    /// Of the publisher's own clock.
    pub capture: Micros,
    /// A publisher may leave out a JPEG's size: 0 and 0.
    pub width: u32,
    pub height: u32,
}

/// A publisher's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inbound<'a> {
    pub head: Head,
    pub picture: &'a [u8],
}

/// The host's message: a picture as viewers see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Covered<'a> {
    pub head: Head,
    pub verdict: Verdict,
    pub picture: &'a [u8],
}

/// How much of a published frame is covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Extent {
    Clear,
    Masked,
    Full,
}

/// What was decided about a published frame, beside its picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether every enabled detector had judged the frame (invariant 1).
    pub judged: bool,
    pub cover: Extent,
    /// Why it was not judged.
    #[serde(default)]
    pub reason: Option<String>,
    /// Fractions of the frame.
    pub masks: Vec<Rect>,
    /// Counts on at every cut, gap, change of size and resumption.
    pub shot: u32,
}

impl Verdict {
    fn flags(&self) -> u8 {
        match (self.cover, self.judged) {
            (Extent::Full, _) => COVERED_WHOLE,
            (_, false) => PASSED_UNJUDGED,
            (_, true) => 0,
        }
    }
}

/// Takes a publisher's message apart.
///
/// # Errors
/// The first field that is not as described.
pub fn parse_inbound(message: &[u8], limits: Limits) -> Result<Inbound<'_>, WireError> {
    let (head, flags, picture) = parse_head(message, HEAD_BYTES)?;
    known_flags(flags, head.kind.flags(), head.kind)?;
    let size_left_out = head.kind == Kind::Jpeg && (head.width, head.height) == (0, 0);
    if !size_left_out {
        sizes(&head, limits)?;
    }
    check_length(&head, picture)?;
    Ok(Inbound { head, picture })
}

/// Takes a host's message apart, as a viewer does.
///
/// # Errors
/// The first field that is not as described.
pub fn parse_covered(message: &[u8], limits: Limits) -> Result<Covered<'_>, WireError> {
    let (head, flags, rest) = parse_head(message, COVERED_HEAD_BYTES)?;
    known_flags(flags & !(COVERED_WHOLE | PASSED_UNJUDGED), head.kind.flags(), head.kind)?;
    sizes(&head, limits)?;
    let (length, rest) = rest.split_first_chunk().ok_or(WireError::Short { bytes: message.len(), least: COVERED_HEAD_BYTES })?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > VERDICT_BYTES_MAX || length > rest.len() {
        return Err(field("verdict_len", length, format!("up to {VERDICT_BYTES_MAX}, within the message's {} bytes", message.len())));
    }
    let (verdict, picture) = rest.split_at(length);
    let verdict: Verdict = serde_json::from_slice(verdict).map_err(|error| WireError::Verdict(error.to_string()))?;
    if flags & (COVERED_WHOLE | PASSED_UNJUDGED) != verdict.flags() {
        return Err(field("flags", format!("{flags:#04x}"), format!("in bits 2 and 3, {:#04x}: what the verdict says", verdict.flags())));
    }
    check_length(&head, picture)?;
    Ok(Covered { head, verdict, picture })
}

/// The fields that both directions share, the flags as they stand, and what follows.
fn parse_head(message: &[u8], least: usize) -> Result<(Head, u8, &[u8]), WireError> {
    let short = || WireError::Short { bytes: message.len(), least };
    if message.len() < least {
        return Err(short());
    }
    let (head, rest) = message.split_first_chunk::<HEAD_BYTES>().ok_or_else(short)?;
    let &[m0, m1, m2, m3, version, kind, flags, reserved, ref numbers @ ..] = head;
    let magic = [m0, m1, m2, m3];
    if magic != MAGIC {
        return Err(field("magic", format!("\"{}\"", magic.escape_ascii()), "\"SCRM\""));
    }
    if version != VERSION {
        return Err(field("version", version, VERSION.to_string()));
    }
    let range = if flags & FULL_RANGE == 0 { Range::Limited } else { Range::Full };
    let matrix = if flags & BT709 == 0 { Matrix::Bt601 } else { Matrix::Bt709 };
    let kind = match kind {
        JPEG => Kind::Jpeg,
        I420 => Kind::I420 { range, matrix },
        other => return Err(field("kind", other, "1 (JPEG) and 2 (I420)")),
    };
    if reserved != 0 {
        return Err(field("reserved", reserved, "0"));
    }
    let (words, _) = numbers.as_chunks::<8>();
    let [sequence, capture, size] = std::array::from_fn(|at| words.get(at).map_or(0, |word| u64::from_le_bytes(*word)));
    // Two u32, the lower one first.
    let (width, height) = (size as u32, (size >> 32) as u32);
    Ok((Head { kind, sequence, capture: Micros(capture), width, height }, flags, rest))
}

fn known_flags(flags: u8, known: u8, kind: Kind) -> Result<(), WireError> {
    if flags == known {
        return Ok(());
    }
    let allowed = match kind {
        Kind::Jpeg => "no bit of the range or the matrix with JPEG, which is full range BT.601, and none that is not described",
        Kind::I420 { .. } => "bit 0 (full range) and bit 1 (BT.709), and none that is not described",
    };
    Err(field("flags", format!("{flags:#04x}"), allowed))
}

fn sizes(head: &Head, limits: Limits) -> Result<(), WireError> {
    for (name, value, max) in [("width", head.width, limits.width), ("height", head.height, limits.height)] {
        if value == 0 || value as usize > max {
            let left_out = if head.kind == Kind::Jpeg { ", or 0 for both where a publisher leaves out a JPEG's size" } else { "" };
            return Err(field(name, value, format!("1 to {max}{left_out}")));
        }
    }
    Ok(())
}

/// To be asked only of sizes that are within limits.
fn check_length(head: &Head, picture: &[u8]) -> Result<(), WireError> {
    match head.kind {
        Kind::Jpeg if picture.is_empty() => Err(WireError::NoPicture),
        Kind::Jpeg => Ok(()),
        Kind::I420 { .. } => {
            let Head { width, height, .. } = *head;
            let (bytes, expected) = (picture.len(), i420_len(width as usize, height as usize));
            if bytes == expected { Ok(()) } else { Err(WireError::Length { bytes, expected, width, height }) }
        }
    }
}

/// The frame of a publisher's message, captured `at` by the stream's clock; its number is the message's.
///
/// # Errors
/// When the picture is broken, too large, or of another size than the message says.
pub fn frame_of(message: &Inbound, at: Micros, limits: Limits) -> Result<Frame, WireError> {
    let Head { kind, sequence, width, height, .. } = message.head;
    let seq = FrameSeq(sequence);
    match kind {
        Kind::I420 { range, matrix } => {
            sizes(&message.head, limits)?;
            check_length(&message.head, message.picture)?;
            Ok(Frame::new(seq, at, width as usize, height as usize, range, matrix, message.picture.to_vec()))
        }
        Kind::Jpeg => {
            if !message.picture.starts_with(&picture::JPEG_MAGIC) {
                return Err(PictureError::Broken("it does not begin as a JPEG does".to_owned()).into());
            }
            let frame = picture::decode(message.picture, limits, seq, at)?;
            let left_out = (width, height) == (0, 0);
            if !left_out && (width as usize, height as usize) != (frame.width, frame.height) {
                return Err(WireError::OtherSize { width, height, jpeg_width: frame.width, jpeg_height: frame.height });
            }
            Ok(frame)
        }
    }
}

fn write_head(head: &Head, flags: u8, spare: usize) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEAD_BYTES + spare);
    message.extend(MAGIC);
    message.extend([VERSION, head.kind.code(), head.kind.flags() | flags, 0]);
    message.extend(head.sequence.to_le_bytes());
    message.extend(head.capture.0.to_le_bytes());
    message.extend(head.width.to_le_bytes());
    message.extend(head.height.to_le_bytes());
    message
}

/// A publisher's message as bytes.
pub fn write_inbound(message: &Inbound) -> Vec<u8> {
    let mut bytes = write_head(&message.head, 0, message.picture.len());
    bytes.extend(message.picture);
    bytes
}

/// The host's message as bytes. Flags follow from the verdict; masks end at the frame's edge, and none is empty.
///
/// # Errors
/// When the verdict is longer than [`VERDICT_BYTES_MAX`].
pub fn write_covered(message: &Covered) -> Result<Bytes, WireError> {
    let masks = message.verdict.masks.iter().map(Rect::clamped).filter(|mask| !mask.is_empty()).collect();
    let verdict =
        serde_json::to_vec(&Verdict { masks, ..message.verdict.clone() }).map_err(|error| WireError::Verdict(error.to_string()))?;
    if verdict.len() > VERDICT_BYTES_MAX {
        return Err(field("verdict_len", verdict.len(), format!("up to {VERDICT_BYTES_MAX}")));
    }
    let mut bytes = write_head(&message.head, message.verdict.flags(), 4 + verdict.len() + message.picture.len());
    bytes.extend((verdict.len() as u32).to_le_bytes());
    bytes.extend(verdict);
    bytes.extend(message.picture);
    Ok(bytes.into())
}

/// How the pictures of one direction are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Jpeg,
    I420,
}

/// The host's message of a frame that is covered already; `quality` is that of a JPEG, 1..=100.
///
/// # Errors
/// When the frame can't be encoded or the verdict is too long.
pub fn cover_message(frame: &Frame, format: Format, quality: u8, origin: Origin, verdict: Verdict) -> Result<Bytes, WireError> {
    let jpeg;
    let (kind, picture) = match format {
        Format::I420 => (Kind::I420 { range: frame.range, matrix: frame.matrix }, frame.data()),
        Format::Jpeg => {
            jpeg = picture::encode_jpeg(frame, quality)?;
            (Kind::Jpeg, &jpeg[..])
        }
    };
    let (width, height) = (frame.width as u32, frame.height as u32);
    let head = Head { kind, sequence: origin.sequence, capture: origin.capture, width, height };
    write_covered(&Covered { head, verdict, picture })
}

/// How the publisher named a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub sequence: u64,
    pub capture: Micros,
}

/// What the host says in text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Control {
    /// First of all.
    Hello {
        version: u8,
        room: String,
        session: String,
        delay_ms: u64,
        /// The last sequence number that was published, where a session is resumed: the publisher goes on above it.
        resume: Option<u64>,
    },
    /// Frames were left out since the last such message.
    Dropped { count: u64, total: u64, reason: String },
    /// More comes than can be taken.
    SlowDown { queue: u32, frames_per_second: f32 },
    /// A message was not taken.
    Error { title: String, detail: String },
    /// Last of all.
    Bye { reason: String },
}

impl Control {
    /// The text message. Numbers that are not finite are written as `null`.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What a publisher wants back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Want {
    #[default]
    Jpeg,
    I420,
    None,
}

impl Want {
    pub fn format(self) -> Option<Format> {
        match self {
            Want::Jpeg => Some(Format::Jpeg),
            Want::I420 => Some(Format::I420),
            Want::None => None,
        }
    }
}

/// What a publisher may say in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum PublisherControl {
    /// Before its first picture, or never.
    Hello {
        version: u8,
        #[serde(default)]
        format: Format,
        #[serde(default)]
        want: Want,
        #[serde(default)]
        resume: bool,
    },
}

/// Reads a publisher's text message.
///
/// # Errors
/// When it is not JSON, of another type or version, or has other fields.
pub fn parse_publisher_control(text: &str) -> Result<PublisherControl, WireError> {
    let control = serde_json::from_str(text).map_err(|error| WireError::Control(error.to_string()))?;
    let PublisherControl::Hello { version, .. } = control;
    if version == VERSION { Ok(control) } else { Err(field("version", version, VERSION.to_string())) }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
