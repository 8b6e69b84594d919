//! Trains the scorer on a CSV file with the columns text, offensive (0 or 1) and source:
//!
//!     cargo run --release -p profanity-context --example train -- FILE.csv plugins/profanity-context/weights
//!
//! One thread, no clock, no randomness: the same file and the same lexicons give the same bytes. Beside `context.bin` it writes
//! `context.toml`, which says from what the weights were made; a test holds the committed weights against it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use profanity_context::scorer::QUANTUM;
use profanity_context::scorer::train::{Plan, Sample, train};
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Row {
    text: String,
    offensive: u8,
    source: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, folder] = arguments.as_slice() else { return Err("usage: train FILE.csv FOLDER".into()) };
    let bytes = std::fs::read(data).map_err(|error| format!("{data}: {error}"))?;
    let rows = csv::Reader::from_reader(bytes.as_slice()).into_deserialize().collect::<Result<Vec<Row>, _>>()?;
    let words: Vec<Vec<&str>> = rows.iter().map(|row| split(&row.text)).collect();
    let samples: Vec<Sample<'_>> =
        rows.iter().zip(&words).map(|(row, words)| Sample { words, offensive: row.offensive == 1, source: &row.source }).collect();
    let plan = Plan::default();
    let scorer = train(&samples, plan);
    let mut kinds: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    for sample in &samples {
        *kinds.entry((sample.source, sample.offensive)).or_default() += 1;
    }
    let name = Path::new(data).file_name().unwrap_or_default().to_string_lossy();
    let mut note = format!(
        "# Where context.bin comes from. Written by examples/train.rs; do not edit.\n\
         command = \"cargo run --release -p profanity-context --example train -- {name} plugins/profanity-context/weights\"\n\
         weights_sha256 = \"{}\"\n\
         # One signed byte a weight, in units of this.\n\
         quantum = {QUANTUM}\n\
         # Hash of the files lexicons/*.toml, in the order of their names.\n\
         lexicons_sha256 = \"{}\"\n\
         data_sha256 = \"{}\"\n\
         # Tweets of Davidson et al. (2017) and comments of Surge AI's toxicity set, a 30 % sample of each; both MIT. Not in this repository.\n\
         data_license = \"MIT\"\n\n\
         [plan]\nepochs = {}\nrate = {:?}\ndecay = {:?}\nblind = {:?}\n\n[texts]\n",
        sha256(&[scorer.bytes()]),
        sha256(&lexicons()?),
        sha256(&[bytes]),
        plan.epochs,
        plan.rate,
        plan.decay,
        plan.blind,
    );
    for ((source, offensive), count) in kinds {
        writeln!(note, "{source}-{} = {count}", if offensive { "offensive" } else { "other" })?;
    }
    std::fs::write(Path::new(folder).join("context.bin"), scorer.bytes())?;
    std::fs::write(Path::new(folder).join("context.toml"), note)?;
    Ok(())
}

fn lexicons() -> Result<Vec<Vec<u8>>, std::io::Error> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("lexicons");
    let mut paths = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    paths.sort();
    paths.iter().map(std::fs::read).collect()
}

fn sha256(pieces: &[impl AsRef<[u8]>]) -> String {
    let mut hash = Sha256::new();
    pieces.iter().for_each(|piece| hash.update(piece));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The words of a scraped text, as the host splits them: at white space and at what is left of HTML (`&amp;`, `&#8220;`).
fn split(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for mut piece in text.split_whitespace() {
        while let Some((at, len)) = entity(piece) {
            words.push(&piece[..at]);
            piece = &piece[at + len..];
        }
        words.push(piece);
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Where the first entity of HTML is, and how many bytes it has.
fn entity(piece: &str) -> Option<(usize, usize)> {
    piece.match_indices('&').find_map(|(at, _)| {
        let end = piece[at..].bytes().take(10).position(|byte| byte == b';')?;
        let name = &piece[at + 1..at + end];
        let number = name.strip_prefix('#').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_alphanumeric()));
        (number || matches!(name, "amp" | "lt" | "gt" | "quot" | "nbsp" | "apos")).then_some((at, end + 1))
    })
}
