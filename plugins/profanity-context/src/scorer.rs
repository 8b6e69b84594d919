//! The learned layer: a linear model of an utterance's hashed words, pairs of words, pieces of words and of what the rules found. Its
//! answer is a margin: above 0 the texts that it was trained on were offensive more often than not, both kinds taken for equally frequent.
//!
//! The weights are bytes in `weights/context.bin`, written by `examples/train.rs`; `weights/context.toml` says from what. Sums are of
//! small integers and of square roots, which IEEE 754 rounds in one way: natively and in WebAssembly the margin is the same to the bit.

pub mod features;
#[cfg(not(target_arch = "wasm32"))]
pub mod train;

use features::{Group, Seen};

/// Number of weights, and of places that a feature can be hashed to. One byte each: half of the 128 KiB that a model may take.
pub const BUCKETS: usize = 1 << 16;
/// What a byte of weight stands for, in units of the margin.
pub const QUANTUM: f32 = 1.0 / 32.0;

/// A model.
#[derive(Debug, Clone, PartialEq)]
pub struct Scorer {
    weights: std::borrow::Cow<'static, [u8]>,
}

/// What the model says of one utterance.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Opinion {
    /// Log-odds, roughly; 0 is undecided.
    pub margin: f32,
    /// What each group of features adds, in the order of [`Group::ALL`].
    pub parts: [f32; Group::ALL.len()],
}

static EMBEDDED: Scorer = Scorer { weights: std::borrow::Cow::Borrowed(include_bytes!("../weights/context.bin")) };

impl Scorer {
    /// The model that this crate carries.
    pub fn embedded() -> &'static Self {
        &EMBEDDED
    }

    /// # Errors
    /// If there are not [`BUCKETS`] bytes.
    pub fn from_bytes(weights: Vec<u8>) -> Result<Self, String> {
        if weights.len() != BUCKETS {
            return Err(format!("a model has {BUCKETS} bytes, this one {}", weights.len()));
        }
        Ok(Self { weights: weights.into() })
    }

    /// The model's bytes, [`BUCKETS`] of them, each a signed multiple of [`QUANTUM`].
    pub fn bytes(&self) -> &[u8] {
        &self.weights
    }

    pub fn opinion(&self, seen: &Seen<'_>) -> Opinion {
        let (mut sums, mut counts) = ([0i32; Group::ALL.len()], [0u32; Group::ALL.len()]);
        features::each(seen, |group, bucket, _| {
            sums[group as usize] += self.weight(bucket);
            counts[group as usize] += 1;
        });
        let mut opinion = Opinion::default();
        for group in Group::ALL {
            let at = group as usize;
            opinion.parts[at] = sums[at] as f32 * QUANTUM * group.value(counts[at]);
            opinion.margin += opinion.parts[at];
        }
        opinion
    }

    /// What each word adds, its pieces, pairs and what the rules found there together; without the groups' scale, so of use for comparing
    /// words of one utterance.
    pub fn per_word(&self, seen: &Seen<'_>) -> Vec<f32> {
        let mut weights = vec![0.0; seen.row.plain.len()];
        features::each(seen, |_, bucket, word| {
            if let Some(weight) = word.and_then(|at| weights.get_mut(at)) {
                *weight += self.weight(bucket) as f32 * QUANTUM;
            }
        });
        weights
    }

    fn weight(&self, bucket: u16) -> i32 {
        self.weights.get(usize::from(bucket)).map_or(0, |&byte| i32::from(byte as i8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    fn sha256(pieces: &[Vec<u8>]) -> String {
        Sha256::digest(pieces.concat()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Who changes a lexicon trains again: what the rules find is among what the scorer sees.
    #[test]
    fn the_weights_are_those_that_their_note_names() {
        let note: toml::Table = include_str!("../weights/context.toml").parse().unwrap();
        assert_eq!(note["weights_sha256"].as_str().unwrap(), sha256(&[Scorer::embedded().bytes().to_vec()]));
        assert_eq!(note["quantum"].as_float().unwrap() as f32, QUANTUM);
        let mut paths: Vec<_> = std::fs::read_dir("lexicons").unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
        paths.sort();
        let lexicons: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
        assert_eq!(note["lexicons_sha256"].as_str().unwrap(), sha256(&lexicons));
    }

    #[test]
    fn a_model_has_its_size() {
        assert!(BUCKETS <= 128 * 1024 && Scorer::from_bytes(vec![0; 7]).is_err());
        assert_eq!(Scorer::from_bytes(vec![0; BUCKETS]).unwrap().bytes().len(), BUCKETS);
    }
}
