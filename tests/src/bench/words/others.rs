//! What a user would run today instead, on the same texts. The higher a score, the worse the text; only the order matters.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rustrict::{Censor, Type};
use vader_sentiment::SentimentIntensityAnalyzer;

use super::Row;

/// The scores of rustrict and VADER; prints what each took for a text.
pub fn scores(rows: &[Row]) -> Vec<(&'static str, Vec<f32>)> {
    let vader = SentimentIntensityAnalyzer::new();
    let mut all = Vec::new();
    let mut timed = |name: &'static str, score: &dyn Fn(&str) -> f32| {
        let begun = Instant::now();
        all.push((name, rows.iter().map(|row| score(&row.text)).collect()));
        println!("{name:18} {:7.1} µs a text, native", begun.elapsed().as_secs_f64() * 1e6 / rows.len().max(1) as f64);
    };
    timed("rustrict", &|text| {
        let kind = Censor::from_str(text).analyze();
        let levels = [Type::ANY, Type::INAPPROPRIATE & Type::MILD_OR_HIGHER, Type::INAPPROPRIATE, Type::SEVERE];
        levels.iter().filter(|&&level| kind.is(level)).count() as f32
    });
    timed("vader", &|text| -(vader.polarity_scores(text)["compound"] as f32));
    all
}

/// Whether better-profanity, a Python package in an environment of its own, finds something in each text. It takes 35 ms a text.
pub fn better_profanity(rows: &[Row]) -> Result<Vec<bool>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let programs =
        scrim_toolchain::python::environment(&folder.join("../target/words"), &folder.join("words/requirements.txt"), &|line| {
            eprintln!("{line}");
        })?;
    let mut command = Command::new(programs.join("python"));
    let mut judge = command.arg(folder.join("words/judge.py")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut texts = String::new();
    for row in rows {
        texts.push_str(&serde_json::to_string(&row.text)?);
        texts.push('\n');
    }
    let mut input = judge.stdin.take().context("the judge has an input")?;
    let feeding = std::thread::spawn(move || input.write_all(texts.as_bytes()));
    let output = judge.wait_with_output()?;
    ensure!(output.status.success(), "better-profanity ended with {}", output.status);
    ensure!(matches!(feeding.join(), Ok(Ok(()))), "better-profanity did not take all texts");
    let found: Vec<bool> = String::from_utf8(output.stdout)?.lines().map(|line| line == "1").collect();
    ensure!(found.len() == rows.len(), "better-profanity answered {} times for {} texts", found.len(), rows.len());
    Ok(found)
}
