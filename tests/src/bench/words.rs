//! `scrim-bench words FILE.csv [--wrong] [--speed]` and `scrim-bench evasion --bad FILE… --good FILE…`: how well profanity-context agrees with
//! people's labels, beside rustrict, VADER and better-profanity alone, and what its calls cost.
//!
//! Five folds, the same for all. profanity-context is set as it is by default, for every source alike, and its scorer is trained anew on
//! the other four folds; of the others the cut is tuned on the other four folds, for each source apart. Texts and labels come from a CSV
//! file (`text,offensive,source`).

mod figures;
mod others;
mod speed;

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use profanity_context::config::Config;
use profanity_context::judge::{Judge, Layers, Said};
use profanity_context::scorer::train::{Plan, Sample, train};
use scrim_host::words;
use serde::Deserialize;

use figures::{Counts, Outcome, intervals};

const FOLDS: usize = 5;
/// The layers, as they are printed. The first is what a room gets.
const LAYERS: [(&str, Layers); 3] = [("both layers", Layers::Both), ("rules alone", Layers::Rules), ("scorer alone", Layers::Scorer)];

#[derive(Deserialize)]
struct Row {
    text: String,
    offensive: u8,
    source: String,
}

impl Row {
    fn words(&self) -> Vec<&str> {
        words::split(&self.text).into_iter().map(|word| word.text).collect()
    }
}

/// What a method says of every text.
struct Method {
    name: &'static str,
    flagged: Vec<bool>,
}

/// A table for each source; with `--wrong` also the texts that profanity-context gets wrong.
///
/// # Errors
/// When the file cannot be read, or a tool that is compared is missing.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    let Some(path) = arguments.first() else { bail!("words needs a CSV file with the columns text, offensive, source") };
    let mut reader = csv::Reader::from_path(path).with_context(|| format!("{path} cannot be read"))?;
    let mut rows = Vec::new();
    for (at, row) in reader.deserialize::<Row>().enumerate() {
        rows.push(row.with_context(|| format!("{path}: row {}", at + 1))?);
    }
    if arguments.iter().any(|argument| argument == "--speed") {
        return speed::run(&rows.iter().map(|row| row.text.as_str()).collect::<Vec<_>>());
    }
    let folds = folds(&rows);
    let mut methods = own(&rows, &folds);
    for (name, scores) in others::scores(&rows) {
        methods.push(Method { name, flagged: tuned(&rows, &folds, &scores) });
    }
    // It says yes or no, so there is nothing to tune.
    let found = others::better_profanity(&rows)?;
    methods.push(Method { name: "better-profanity", flagged: found });
    let mut sources: Vec<&str> = rows.iter().map(|row| row.source.as_str()).collect();
    sources.sort_unstable();
    sources.dedup();
    for source in sources {
        table(&rows, &methods, source);
    }
    if arguments.iter().any(|argument| argument == "--wrong") {
        for (row, _) in rows.iter().zip(&methods[0].flagged).filter(|(row, flagged)| **flagged != (row.offensive == 1)) {
            println!("{}\t{}\t{}", row.source, row.offensive, row.text.replace('\n', " "));
        }
    }
    Ok(())
}

/// profanity-context by each of [`LAYERS`], each text judged with a scorer that was not trained on its fold.
fn own(rows: &[Row], folds: &[usize]) -> Vec<Method> {
    let words: Vec<Vec<&str>> = rows.iter().map(Row::words).collect();
    let mut methods: Vec<Method> = LAYERS.iter().map(|&(name, _)| Method { name, flagged: vec![false; rows.len()] }).collect();
    for fold in 0..FOLDS {
        let others = (0..rows.len()).filter(|&at| folds[at] != fold);
        let sample = |at: usize| Sample { words: &words[at], offensive: rows[at].offensive == 1, source: &rows[at].source };
        let scorer = train(&others.map(sample).collect::<Vec<_>>(), Plan::default());
        for (method, &(_, layers)) in methods.iter_mut().zip(&LAYERS) {
            let judge = Judge::with(Config::default(), scorer.clone(), layers);
            for at in (0..rows.len()).filter(|&at| folds[at] == fold) {
                method.flagged[at] = !judge.judge(Said { words: &words[at], ..Said::default() }).is_empty();
            }
        }
    }
    methods
}

/// What a score finds with the cut that is best on the other four folds of the same source.
fn tuned(rows: &[Row], folds: &[usize], scores: &[f32]) -> Vec<bool> {
    let mut cuts: BTreeMap<(&str, usize), f32> = BTreeMap::new();
    (0..rows.len())
        .map(|at| {
            let (source, fold) = (rows[at].source.as_str(), folds[at]);
            let train = || (0..rows.len()).filter(|&other| rows[other].source == source && folds[other] != fold).collect::<Vec<_>>();
            scores[at] >= *cuts.entry((source, fold)).or_insert_with(|| best_cut(rows, scores, &train()))
        })
        .collect()
}

/// The cut with the best F1 on `train`, of all that tell scores apart; the highest of equals. One sweep over the sorted scores.
fn best_cut(rows: &[Row], scores: &[f32], train: &[usize]) -> f32 {
    let mut order: Vec<usize> = train.to_vec();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut counts = Counts { missed: train.iter().filter(|&&at| rows[at].offensive == 1).count(), ..Counts::default() };
    let (mut best, mut cut) = (-1.0, f32::INFINITY);
    for (place, &at) in order.iter().enumerate() {
        match rows[at].offensive {
            1 => (counts.hit, counts.missed) = (counts.hit + 1, counts.missed - 1),
            _ => counts.false_alarm += 1,
        }
        let last_of_its_score = order.get(place + 1).is_none_or(|&next| scores[next] != scores[at]);
        if last_of_its_score && counts.f1() > best {
            (best, cut) = (counts.f1(), scores[at]);
        }
    }
    cut
}

fn table(rows: &[Row], methods: &[Method], source: &str) {
    let of: Vec<usize> = (0..rows.len()).filter(|&at| rows[at].source == source).collect();
    let offensive = of.iter().filter(|&&at| rows[at].offensive == 1).count();
    println!("\n{source}: {} texts, {offensive} offensive; 95 % intervals by bootstrap", of.len());
    println!("  {:18} precision recall  F1                      F1, balanced            F1 less both layers'", "");
    let outcomes = |method: &Method| -> Vec<Outcome> {
        of.iter().map(|&at| Outcome { flagged: method.flagged[at], offensive: rows[at].offensive == 1 }).collect()
    };
    let first = outcomes(&methods[0]);
    for method in methods {
        let own = outcomes(method);
        let counts: Counts = own.iter().collect();
        let [f1, balanced, difference] = intervals(&own, &first);
        println!("  {:18} {:.4}    {:.4}  {f1}  {balanced}  {difference}", method.name, counts.precision(), counts.recall());
    }
}

/// Stratified by source and label: the k-th text of each kind goes into fold k mod 5.
fn folds(rows: &[Row]) -> Vec<usize> {
    let mut seen: BTreeMap<(String, u8), usize> = BTreeMap::new();
    let mut fold = |row: &Row| {
        let count = seen.entry((row.source.clone(), row.offensive)).or_insert(0);
        *count += 1;
        (*count - 1) % FOLDS
    };
    rows.iter().map(&mut fold).collect()
}

/// The share of texts, a line each, in which the shipped policy finds something.
///
/// # Errors
/// When a file cannot be read.
pub fn evasion(arguments: &[String]) -> anyhow::Result<()> {
    let judge = Judge::new(Config::default());
    let mut bad = None;
    for argument in arguments {
        match argument.as_str() {
            "--bad" => bad = Some(true),
            "--good" => bad = Some(false),
            path => {
                let bad = bad.context("evasion needs --bad or --good before the files")?;
                let text = std::fs::read_to_string(path).with_context(|| format!("{path} cannot be read"))?;
                let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
                let found = |line: &&&str| {
                    let words: Vec<&str> = words::split(line).into_iter().map(|word| word.text).collect();
                    judge.judge(Said { words: &words, ..Said::default() }).is_empty() != bad
                };
                let right = lines.iter().filter(found).count();
                println!("{path}: {right} of {} right, {:.2} %", lines.len(), 100.0 * right as f64 / lines.len().max(1) as f64);
            }
        }
    }
    Ok(())
}
