//! `scrim models`: what can be named as a detector's `model`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::{ConfigArg, Context, Failure, Outcome, say, table};
use crate::host::{self, HostError};
use crate::infer::model::{Decode, Labels, ModelSpec};
use crate::infer::onnx::{OnnxDetector, SessionOptions, check_file};
use crate::infer::{Detector, InferError};

/// List the models that a detector can use: licence, kind, labels, whether the file is there
///
/// The models that come with Scrim, and those declared in `models/*.toml` of the data directory. A model is `verified` when its file has
/// the SHA-256 that its declaration gives.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Print a JSON array instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    name: Arc<str>,
    about: String,
    licence: String,
    kind: &'static str,
    look_budget_ms: u128,
    threshold: f32,
    file: PathBuf,
    state: State,
    /// `None`: they are in the model's file, which cannot be opened.
    labels: Option<Vec<Arc<str>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Verified,
    /// There, and its declaration gives no digest.
    Present,
    Missing,
    /// There, with another digest.
    Changed,
}

pub fn run(args: Args, _: &Context) -> Outcome {
    let config = args.config.load()?;
    let registry = host::registry(&config).map_err(|error| Failure::Usage(error.into()))?;
    let rows = registry.iter().map(row).collect::<Result<Vec<Row>, _>>()?;
    if args.json {
        return Ok(say(serde_json::to_string_pretty(&rows)?)?);
    }
    let head = ["model", "kind", "licence", "file", "threshold", "look budget", "labels"];
    table(&head, rows.iter().map(cells))?;
    if rows.iter().any(|row| row.state == State::Missing) {
        say("\n`cargo xtask fetch` brings what is missing of the models that come with Scrim")?;
    }
    Ok(())
}

fn row(spec: &Arc<ModelSpec>) -> Result<Row, HostError> {
    let file = host::weights(&spec.weights)?;
    let state = match check_file(spec, &file) {
        Ok(()) if spec.sha256.is_some() => State::Verified,
        Ok(()) => State::Present,
        Err(InferError::ModelChanged { .. }) => State::Changed,
        Err(_) => State::Missing,
    };
    let labels = match &spec.labels {
        Labels::List(labels) => Some(labels.clone()),
        Labels::Metadata => {
            read_labels(spec, &file).inspect_err(|error| tracing::info!(model = &*spec.name, %error, "labels cannot be read")).ok()
        }
    };
    Ok(Row {
        name: spec.name.clone(),
        about: spec.about.clone(),
        licence: spec.licence.clone(),
        kind: match spec.decode {
            Decode::Yolo { .. } => "yolo",
            Decode::Classifier { .. } => "classifier",
        },
        look_budget_ms: spec.look_budget.as_millis(),
        threshold: spec.thresholds.default,
        file,
        state,
        labels,
    })
}

/// The labels that the model's own file gives.
fn read_labels(spec: &Arc<ModelSpec>, file: &Path) -> Result<Vec<Arc<str>>, HostError> {
    let (detector, _) = OnnxDetector::open(host::runtime()?, spec.clone(), file, &SessionOptions::cpu())?;
    Ok(detector.labels().to_vec())
}

fn cells(row: &Row) -> Vec<String> {
    let state = match row.state {
        State::Verified => "verified",
        State::Present => "present",
        State::Missing => "missing",
        State::Changed => "changed",
    };
    let labels = row.labels.as_ref().map_or_else(|| "in the file".to_owned(), |labels| labels.join(" "));
    vec![
        row.name.to_string(),
        row.kind.to_owned(),
        row.licence.clone(),
        state.to_owned(),
        row.threshold.to_string(),
        format!("{} ms", row.look_budget_ms),
        labels,
    ]
}
