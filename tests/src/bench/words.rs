//! How well profanity-context agrees with people's labels, beside rustrict alone and VADER alone: five folds, the same for all three,
//! the cut of each method tuned on the other four. Texts and labels come from a CSV file (`text,offensive,source`).

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, bail};
use profanity_context::config::Config;
use profanity_context::judge::{Judge, Said};
use rustrict::{Censor, Type};
use scrim_host::words;
use serde::Deserialize;
use vader_sentiment::SentimentIntensityAnalyzer;

const FOLDS: usize = 5;

#[derive(Deserialize)]
struct Row {
    text: String,
    offensive: u8,
    source: String,
}

/// A text as one method sees it: the higher, the worse. Only the order matters.
type Score = fn(&Methods, &str) -> f32;

struct Methods {
    judge: Judge,
    vader: SentimentIntensityAnalyzer<'static>,
}

const METHODS: [(&str, Score); 3] = [
    ("profanity-context", |methods, text| {
        let words: Vec<&str> = words::split(text).into_iter().map(|word| word.text).collect();
        let found = methods.judge.judge(Said { words: &words, ..Said::default() });
        found.iter().map(|finding| finding.severity).fold(0.0, f32::max)
    }),
    ("rustrict", |_, text| {
        let kind = Censor::from_str(text).analyze();
        let levels = [Type::ANY, Type::INAPPROPRIATE & Type::MILD_OR_HIGHER, Type::INAPPROPRIATE, Type::SEVERE];
        levels.iter().filter(|&&level| kind.is(level)).count() as f32
    }),
    ("vader", |methods, text| -(methods.vader.polarity_scores(text)["compound"] as f32)),
];

#[derive(Clone, Copy, Default)]
struct Counts {
    hit: usize,
    false_alarm: usize,
    missed: usize,
}

impl Counts {
    fn add(&mut self, flagged: bool, offensive: bool) {
        match (flagged, offensive) {
            (true, true) => self.hit += 1,
            (true, false) => self.false_alarm += 1,
            (false, true) => self.missed += 1,
            (false, false) => {}
        }
    }

    fn precision(self) -> f64 {
        self.hit as f64 / (self.hit + self.false_alarm).max(1) as f64
    }

    fn recall(self) -> f64 {
        self.hit as f64 / (self.hit + self.missed).max(1) as f64
    }

    fn f1(self) -> f64 {
        2.0 * self.hit as f64 / (2 * self.hit + self.false_alarm + self.missed).max(1) as f64
    }
}

/// `scrim-bench words FILE.csv [--wrong]`: a table per source; with `--wrong` also the texts that profanity-context gets wrong as
/// it is set by default.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    let Some(path) = arguments.first() else { bail!("words needs a CSV file with the columns text, offensive, source") };
    let mut reader = csv::Reader::from_path(path).with_context(|| format!("{path} cannot be read"))?;
    let mut rows = Vec::new();
    for (at, row) in reader.deserialize::<Row>().enumerate() {
        rows.push(row.with_context(|| format!("{path}: row {}", at + 1))?);
    }
    let folds = folds(&rows);
    let methods =
        Methods { judge: Judge::new(Config { min_severity: 0.0, ..Config::default() }), vader: SentimentIntensityAnalyzer::new() };
    let mut scores = Vec::new();
    for (name, score) in METHODS {
        let begun = Instant::now();
        scores.push(rows.iter().map(|row| score(&methods, &row.text)).collect::<Vec<f32>>());
        println!("{name:18} {:7.1} µs a text", begun.elapsed().as_secs_f64() * 1e6 / rows.len().max(1) as f64);
    }
    let mut sources: Vec<Option<&str>> = vec![None];
    let mut named: Vec<&str> = rows.iter().map(|row| row.source.as_str()).collect();
    named.sort_unstable();
    named.dedup();
    sources.extend(named.into_iter().map(Some));
    let default_cut = Config::default().min_severity;
    for source in sources {
        let of: Vec<usize> = (0..rows.len()).filter(|&at| source.is_none_or(|source| rows[at].source == source)).collect();
        let offensive = of.iter().filter(|&&at| rows[at].offensive == 1).count();
        println!("\n{} ({} texts, {offensive} offensive): precision recall F1", source.unwrap_or("all"), of.len());
        for ((name, _), scores) in METHODS.iter().zip(&scores) {
            let mut counts = Counts::default();
            let mut cuts = Vec::new();
            for fold in 0..FOLDS {
                let (test, train): (Vec<usize>, Vec<usize>) = of.iter().partition(|&&at| folds[at] == fold);
                let cut = best_cut(&rows, scores, &train);
                cuts.push(cut);
                test.iter().for_each(|&at| counts.add(scores[at] >= cut, rows[at].offensive == 1));
            }
            print(name, counts, &format!("cuts {cuts:.3?}"));
        }
        let mut counts = Counts::default();
        of.iter().for_each(|&at| counts.add(scores[0][at] >= default_cut, rows[at].offensive == 1));
        print("  as set by default", counts, &format!("cut {default_cut}"));
    }
    if arguments.iter().any(|argument| argument == "--wrong") {
        for (row, &score) in rows.iter().zip(&scores[0]).filter(|(row, score)| (**score >= default_cut) != (row.offensive == 1)) {
            println!("{}\t{}\t{score:.2}\t{}", row.source, row.offensive, row.text.replace('\n', " "));
        }
    }
    Ok(())
}

fn print(name: &str, counts: Counts, note: &str) {
    println!("  {name:20} {:.4} {:.4} {:.4}  {note}", counts.precision(), counts.recall(), counts.f1());
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
