//! What the scorer sees of an utterance: features in groups, each hashed to one of [`BUCKETS`](super::BUCKETS) places. One pass, no
//! allocation; linear in the text.

use crate::context::Context;
use crate::glyphs::{Row, Shape};
use crate::judge::Hit;
use crate::lexicon::Category;

/// What the features of a group have in common: how much each counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The constant, and what is true of the whole utterance.
    Whole,
    /// Single words and pairs.
    Words,
    /// Four or five letters in a row within a word, its ends counted in.
    Pieces,
    /// What the rules found, and in which context.
    Rules,
}

impl Group {
    pub const ALL: [Self; 4] = [Self::Whole, Self::Words, Self::Pieces, Self::Rules];

    /// What one of `count` features of the group counts: the more there are, the less each says.
    pub fn value(self, count: u32) -> f32 {
        match self {
            Self::Whole => 1.0,
            Self::Words => 2.0 / (count.max(4) as f32).sqrt(),
            Self::Pieces => 1.0 / (count.max(16) as f32).sqrt(),
            Self::Rules => 2.0 / (count.max(16) as f32).sqrt(),
        }
    }
}

/// An utterance, as far as the rules have read it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub row: &'a Row,
    /// Per word, its classes as bits of [`crate::lexicon::cue`].
    pub cues: &'a [u16],
    /// What the search found.
    pub hits: &'a [Hit<'a>],
}

const PRIME: u32 = 0x0100_0193;
const BASIS: u32 = 0x811c_9dc5;

fn feed(hash: u32, byte: u8) -> u32 {
    (hash ^ u32::from(byte)).wrapping_mul(PRIME)
}

fn hash(kind: u8, bytes: &[u8]) -> u32 {
    bytes.iter().fold(feed(BASIS, kind), |hash, &byte| feed(hash, byte))
}

/// The place of a hash: its bits mixed down, for those of FNV-1a that are low differ least.
fn bucket(hash: u32) -> u16 {
    let mixed = (hash ^ hash >> 15).wrapping_mul(0x2c1b_3c6d);
    (mixed >> 16) as u16
}

/// Calls `emit` for every feature of the utterance: its group, its place, and the word that it is of.
pub fn each(seen: &Seen<'_>, mut emit: impl FnMut(Group, u16, Option<usize>)) {
    whole(seen, &mut emit);
    words(seen, &mut emit);
    rules(seen, &mut emit);
}

fn whole(seen: &Seen<'_>, emit: &mut impl FnMut(Group, u16, Option<usize>)) {
    emit(Group::Whole, bucket(hash(b'W', b"constant")), None);
    let cues = seen.cues.iter().fold(0, |all, cues| all | cues);
    for bit in 0..16u8 {
        if cues >> bit & 1 == 1 {
            emit(Group::Whole, bucket(hash(b'W', &[b'c', bit])), None);
        }
    }
    let shouted = seen.row.shapes.iter().filter(|shape| shape.shouted).count();
    emit(Group::Whole, bucket(hash(b'W', &[b's', (shouted * 4 / seen.row.shapes.len().max(1)) as u8])), None);
    let style = |yes: fn(&Shape) -> bool| seen.row.shapes.iter().filter(|shape| yes(shape)).count().min(2) as u8;
    for (at, count) in [style(|s| s.mention), style(|s| s.hashtag), style(|s| s.url), style(|s| s.ends_sentence)].into_iter().enumerate() {
        emit(Group::Whole, bucket(hash(b'W', &[b'y', at as u8, count])), None);
    }
    emit(Group::Whole, bucket(hash(b'W', &[b'l', seen.row.shapes.len().max(1).ilog2() as u8])), None);
    emit(Group::Whole, bucket(hash(b'W', &[b'h', seen.hits.len().min(3) as u8])), None);
}

fn words(seen: &Seen<'_>, emit: &mut impl FnMut(Group, u16, Option<usize>)) {
    let mut before = hash(b'B', b"");
    let mut hits = seen.hits.iter().peekable();
    let mut covered: Option<(&Hit<'_>, usize)> = None;
    for (at, word) in seen.row.plain.iter().enumerate() {
        while let Some(hit) = hits.next_if(|hit| hit.found.first as usize <= at) {
            covered = Some((hit, hit.found.last as usize));
        }
        let shape = &seen.row.shapes[at];
        let hit = covered.filter(|&(_, last)| last >= at).map(|(hit, _)| hit);
        // Who is named, and where a link leads, says nothing that would hold elsewhere, nor does a word in an innocent sense.
        let (own, spelled) = match hit {
            Some(hit) if hit.is_cleared() => (hash(b'!', b""), false),
            _ if shape.mention => (hash(b'@', b""), false),
            _ if shape.url => (hash(b'/', b""), false),
            _ if word.is_empty() => continue,
            _ => (hash(b'w', word.as_bytes()), true),
        };
        emit(Group::Words, bucket(own), Some(at));
        emit(Group::Words, bucket(before.wrapping_mul(PRIME) ^ own.rotate_left(7)), Some(at));
        before = own;
        if spelled {
            pieces(word.as_bytes(), at, emit);
        }
    }
}

/// Longest word whose pieces are read.
const PIECES_WORD_MAX: usize = 24;

/// Shortest piece, letters and ends of the word.
const PIECE_MIN: usize = 4;

fn pieces(word: &[u8], of: usize, emit: &mut impl FnMut(Group, u16, Option<usize>)) {
    let len = word.len().min(PIECES_WORD_MAX);
    let letter = |at: usize| match at {
        0 => b'^',
        at if at <= len => word[at - 1],
        _ => b'$',
    };
    for start in 0..len {
        let mut hash = feed(BASIS, b'p');
        for (count, at) in (start..(start + 5).min(len + 2)).enumerate() {
            hash = feed(hash, letter(at));
            if count >= PIECE_MIN - 1 {
                emit(Group::Pieces, bucket(hash), Some(of));
            }
        }
    }
}

fn rules(seen: &Seen<'_>, emit: &mut impl FnMut(Group, u16, Option<usize>)) {
    for hit in seen.hits.iter().filter(|hit| !hit.is_cleared()) {
        let (sense, category) = (hit.entry.sense as u8, category(hit.entry.category));
        let at = Some(hit.found.last as usize);
        let mut say = |what: u8, value: u8| emit(Group::Rules, bucket(hash(b'R', &[what, sense, value])), at);
        say(b'k', category);
        say(b's', (hit.weighed.severity * 20.0) as u8);
        for (flag, holds) in flags(&hit.context).into_iter().enumerate() {
            if holds {
                say(b'x', flag as u8);
            }
        }
        if hit.found.disguised {
            say(b'd', u8::from(hit.found.masked));
        }
        emit(Group::Rules, bucket(hash(b'f', hit.term.as_bytes())), at);
        let aimed = u8::from(hit.context.aimed) | u8::from(hit.context.positive) << 1 | u8::from(hit.context.negative) << 2;
        emit(Group::Rules, bucket(feed(hash(b'g', hit.term.as_bytes()), aimed)), at);
    }
}

fn category(category: Category) -> u8 {
    category as u8
}

fn flags(context: &Context) -> [bool; 15] {
    [
        context.aimed,
        context.predicated,
        context.told,
        context.confessed,
        context.praise,
        context.positive,
        context.negative,
        context.reported,
        context.medical,
        context.place,
        context.name,
        context.negated,
        context.warned,
        context.play,
        context.claimed,
    ]
}
