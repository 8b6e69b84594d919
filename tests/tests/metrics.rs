//! docs/metrics.md and what a real host tells, held against each other; and nothing of a room, a person or a text is a label (invariant 8).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::{SinkExt, StreamExt};
use scrim_host::media::frame::{FrameSeq, Micros};
use scrim_host::media::picture::{self, Limits};
use scrim_host::media::wire::{Head, Inbound, Kind, write_inbound};
use scrim_tests::served::Served;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;

const ROOM: &str = "Zwiebelfisch.room";
const AUTHOR: &str = "quetzalcoatl";
const TEXT: &str = "floccinaucinihilipilification is no bad word";
const FRAMES: u64 = 45;

/// What the page says of one metric.
#[derive(Debug)]
struct Documented {
    kind: String,
    labels: BTreeSet<String>,
    seen: String,
}

fn words(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Rows of the tables whose head begins with `first`.
fn rows(page: &str, first: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        let cells: Vec<String> = line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        match line.starts_with('|') {
            true if cells[0] == first => inside = true,
            true if inside && !cells[0].starts_with("--") => rows.push(cells),
            true => {}
            false => inside = false,
        }
    }
    rows
}

fn documented(page: &str) -> BTreeMap<String, Documented> {
    let of = |row: Vec<String>| {
        let [name, kind, labels, _, seen, _] = &row[..] else { panic!("a row of other than 6 cells: {row:?}") };
        let documented = Documented { kind: kind.clone(), labels: words(labels).into_iter().collect(), seen: seen.clone() };
        (words(name).concat(), documented)
    };
    // The table of buckets has two cells.
    rows(page, "metric").into_iter().filter(|row| row.len() > 2).map(of).collect()
}

/// One line of a scrape: the metric, its labels.
fn series(line: &str) -> Result<(String, BTreeMap<String, String>)> {
    let (name, rest) = line.split_at(line.find(['{', ' ']).with_context(|| format!("no series: {line:?}"))?);
    let inner = rest.strip_prefix('{').and_then(|rest| rest.rsplit_once('}')).map_or("", |(inner, _)| inner);
    let labels = inner.split_terminator("\",").filter_map(|pair| pair.split_once("=\""));
    Ok((
        name.to_owned(),
        labels.map(|(key, value)| (key.trim_start_matches(',').to_owned(), value.trim_end_matches('"').to_owned())).collect(),
    ))
}

/// A picture, a message, a report, swaps, a shadow, a kill, and a stream of a few frames.
fn traffic(host: &Served) -> Result<()> {
    host.json("POST", "/v1/rooms", &json!({ "name": ROOM }))?.expect(201)?;
    let at = |rest: &str| format!("/v1/rooms/{ROOM}/{rest}");
    let png = std::fs::read(scrim_toolchain::assets::path("astronaut.png")?)?;
    let judged = host.send("POST", &at("frames"), &[("content-type", "image/png")], &png)?.expect(200)?;
    let event = judged["detections"].as_array().into_iter().flatten().find_map(|found| found["event_id"].as_str());
    let event = event.with_context(|| format!("no face in {judged}"))?;
    host.json("POST", &at("feedback"), &json!({ "event_id": event, "correct": true }))?.expect(200)?;
    host.json("POST", &at("messages"), &json!({ "text": TEXT, "author": AUTHOR }))?.expect(200)?;
    host.json("POST", &at("policy/threshold/shadow"), &json!({ "plugin": "adaptive-threshold@1.0.0" }))?.expect(200)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let during = std::thread::scope(|scope| {
        let streaming = scope.spawn(|| runtime.block_on(stream(host, &png)));
        std::thread::sleep(Duration::from_millis(900));
        let swapped =
            host.json("PUT", &at("policy/cascade"), &json!({ "plugin": "skin-cascade@1.0.0" })).and_then(|answer| answer.expect(200));
        let killed = host.send("POST", &at("policy/threshold/kill"), &[], &[]).and_then(|answer| answer.expect(200));
        let streamed = streaming.join().map_err(|_| anyhow::anyhow!("the stream panicked"));
        swapped.and(killed).and(streamed)
    })?;
    ensure!(during? > 0, "no covered frame came back");
    // What needs a trip through a policy once more after the kill.
    host.send("POST", &at("frames"), &[("content-type", "image/png")], &png)?.expect(200)?;
    Ok(())
}

/// Publishes one and a half seconds; answers with how many covered frames came back.
async fn stream(host: &Served, png: &[u8]) -> Result<usize> {
    let frame = picture::decode(png, Limits::default(), FrameSeq(0), Micros::ZERO)?;
    let jpeg = picture::encode_preview(&frame, 320, 80)?;
    let (socket, _) = tokio_tungstenite::connect_async(format!("ws://{}/v1/rooms/{ROOM}/stream", host.address)).await?;
    let (mut out, mut back) = socket.split();
    let reading = tokio::spawn(async move {
        let mut covered = 0;
        while let Ok(Some(Ok(message))) = tokio::time::timeout(Duration::from_secs(3), back.next()).await {
            covered += usize::from(message.is_binary());
        }
        covered
    });
    let mut tick = tokio::time::interval(Duration::from_micros(33_333));
    for sequence in 1..=FRAMES {
        tick.tick().await;
        let head = Head { kind: Kind::Jpeg, sequence, capture: Micros(sequence * 33_333), width: 0, height: 0 };
        out.send(Message::Binary(write_inbound(&Inbound { head, picture: &jpeg }).into())).await?;
    }
    tokio::time::sleep(Duration::from_millis(800)).await;
    out.send(Message::Close(None)).await?;
    Ok(reading.await?)
}

#[test]
fn every_metric_is_documented_and_says_nothing_of_anybody() -> Result<()> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md"))?;
    let documented = documented(&page);
    let data = TempDir::new()?;
    let host = Served::start(data.path(), "[serve]\naudit_every = 2")?;
    traffic(&host)?;
    // The keeper goes round once a second.
    std::thread::sleep(Duration::from_secs(3));
    let scraped = String::from_utf8(host.get("/metrics")?.body)?;

    let kinds: BTreeMap<&str, &str> = scraped.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    for (name, kind) in &kinds {
        let told = documented.get(*name).with_context(|| format!("docs/metrics.md lacks {name} ({kind})"))?;
        ensure!(told.kind == *kind, "{name} is a {kind}, not a {}", told.kind);
    }
    for (name, told) in &documented {
        ensure!(
            told.seen == "rare" || kinds.contains_key(name.as_str()),
            "{name} is documented, but this traffic brings none: {}",
            told.seen
        );
    }

    let values: BTreeMap<String, Vec<String>> =
        rows(&page, "label").into_iter().map(|row| (words(&row[0]).concat(), words(&row[1]))).collect();
    let routes = routes(&host)?;
    let mut bounds: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in scraped.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (series, mut labels) = series(line)?;
        let family =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| series.strip_suffix(end).filter(|family| kinds.contains_key(family)));
        let family = family.unwrap_or(&series);
        if let Some(bound) = labels.remove("le").filter(|bound| bound != "+Inf") {
            bounds.entry(family.to_owned()).or_default().insert(bound);
        }
        let told = documented.get(family).with_context(|| format!("docs/metrics.md lacks {family}"))?;
        ensure!(labels.keys().cloned().collect::<BTreeSet<_>>() == told.labels, "{line}: documented are {:?}", told.labels);
        for (label, value) in &labels {
            let known = match label.as_str() {
                "plugin" => {
                    value == "none"
                        || ["skin-cascade@", "profanity-context@", "adaptive-threshold@"].iter().any(|name| value.starts_with(name))
                }
                "detector" => value == "nudenet-320n",
                "route" => routes.contains(value),
                _ => values.get(label).is_some_and(|known| known.contains(value)),
            };
            ensure!(known, "{line}: {label} = {value:?} is in no list of docs/metrics.md");
        }
    }
    for private in [ROOM, AUTHOR].into_iter().chain(TEXT.split(' ').filter(|word| word.len() > 5)) {
        ensure!(!scraped.contains(private), "{private:?} is in the metrics");
    }
    buckets(&page, &bounds)?;
    host.terminate(Duration::from_secs(20))
}

/// Patterns that a route label may be.
fn routes(host: &Served) -> Result<BTreeSet<String>> {
    let document: Value = host.get("/openapi.json")?.expect(200)?;
    let paths = document["paths"].as_object().context("the document has paths")?;
    Ok(paths.keys().cloned().chain(["(none)", "/openapi.json"].map(str::to_owned)).collect())
}

fn buckets(page: &str, bounds: &BTreeMap<String, BTreeSet<String>>) -> Result<()> {
    let told: Vec<(Vec<String>, BTreeSet<String>)> = rows(page, "metric")
        .into_iter()
        .filter(|row| row.len() == 2)
        .map(|row| (words(&row[0]), row[1].split(' ').map(str::to_owned).collect()))
        .collect();
    for (name, found) in bounds {
        let own = told.iter().find(|(names, _)| names.contains(name)).or_else(|| told.iter().find(|(names, _)| names.is_empty()));
        let (_, said) = own.context("docs/metrics.md says what every other histogram's buckets are")?;
        ensure!(said == found, "{name} has the buckets {found:?}");
    }
    Ok(())
}
