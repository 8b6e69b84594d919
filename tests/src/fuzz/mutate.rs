//! Mutations of real bytes: what a fuzzer does to a file, as a strategy that shrinks.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;

/// One change.
#[derive(Clone, Debug)]
enum Edit {
    Flip(Index, u8),
    Set(Index, u8),
    /// A number at the edge of some range, little or big endian.
    Number(Index, u64, u8, bool),
    Insert(Index, Vec<u8>),
    Delete(Index, usize),
    Repeat(Index, usize, u8),
    /// A piece of another seed.
    Splice(Index, Index, Index, usize),
    Cut(Index),
}

const EDGES: [u64; 14] =
    [0, 1, 7, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x10000, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, u64::MAX];
/// A mutated case grows no further than this beyond its seed.
const GROWTH_BYTES_MAX: usize = 64 << 10;

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), 0_u8..8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        4 => (at(), prop::sample::select(&EDGES[..]), prop::sample::select(&[1_u8, 2, 4, 8][..]), any::<bool>())
            .prop_map(|(at, value, width, big)| Edit::Number(at, value, width, big)),
        2 => (at(), prop::collection::vec(any::<u8>(), 1..32)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        2 => (at(), 1_usize..256).prop_map(|(at, length)| Edit::Delete(at, length)),
        1 => (at(), 1_usize..64, 1_u8..32).prop_map(|(at, length, times)| Edit::Repeat(at, length, times)),
        2 => (at(), at(), at(), 1_usize..4096).prop_map(|(at, other, from, length)| Edit::Splice(at, other, from, length)),
        1 => at().prop_map(Edit::Cut),
    ]
}

fn apply(edit: &Edit, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    match edit {
        Edit::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
        Edit::Set(at, byte) => bytes[at.index(length)] = *byte,
        Edit::Number(at, value, width, big) => {
            let (start, width) = (at.index(length), usize::from(*width));
            let digits = if *big { value.to_be_bytes()[8 - width..].to_vec() } else { value.to_le_bytes()[..width].to_vec() };
            let end = (start + width).min(length);
            bytes[start..end].copy_from_slice(&digits[..end - start]);
        }
        Edit::Insert(at, more) => {
            let start = at.index(length + 1);
            bytes.splice(start..start, more.iter().copied());
        }
        Edit::Delete(at, count) => {
            let start = at.index(length);
            bytes.drain(start..(start + count).min(length));
        }
        Edit::Repeat(at, count, times) => {
            let start = at.index(length);
            let piece = bytes[start..(start + count).min(length)].repeat(usize::from(*times));
            bytes.splice(start..start, piece);
        }
        Edit::Splice(at, other, from, count) => {
            let other = &seeds[other.index(seeds.len())];
            if !other.is_empty() {
                let (start, from) = (at.index(length), from.index(other.len()));
                let piece = &other[from..(from + count).min(other.len())];
                bytes.splice(start..(start + piece.len()).min(length), piece.iter().copied());
            }
        }
        Edit::Cut(at) => bytes.truncate(at.index(length)),
    }
}

/// A mutated seed.
#[derive(Clone)]
pub struct Mutated {
    pub bytes: Vec<u8>,
    seed: usize,
    edits: Vec<Edit>,
}

impl std::fmt::Debug for Mutated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let head: Vec<u8> = self.bytes.iter().copied().take(256).collect();
        let Self { bytes, seed, edits } = self;
        write!(f, "seed {seed} with {edits:?}: {} bytes, the first {head:02x?} {:?}", bytes.len(), String::from_utf8_lossy(&head))
    }
}

/// A seed with up to `edits_max` changes; one in ten unchanged.
pub fn mutated(seeds: Vec<Vec<u8>>, edits_max: usize) -> impl Strategy<Value = Mutated> {
    let seeds = Arc::new(seeds);
    let edits = prop_oneof![1 => Just(Vec::new()), 9 => prop::collection::vec(edit(), 1..=edits_max)];
    (0..seeds.len(), edits).prop_map(move |(seed, edits)| {
        let mut bytes = seeds[seed].clone();
        let most = bytes.len() + GROWTH_BYTES_MAX;
        for edit in &edits {
            apply(edit, &mut bytes, &seeds);
            bytes.truncate(most);
        }
        Mutated { bytes, seed, edits }
    })
}
