//! A real clip through the whole host: read, judged by policies that are swapped and that misbehave, covered, written, read again.

use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use scrim_host::censor::{self, Job, Swap, areas};
use scrim_host::config::Config;
use scrim_host::geometry::Rect;
use scrim_host::host::Host;
use scrim_host::media::file::FileSource;
use scrim_host::media::frame::{Frame, Micros};
use scrim_host::plugin::events::PolicyEvent;
use scrim_host::plugin::prepare::Candidate;
use scrim_host::plugin::types::Slot;
use scrim_host::room::note::Note;
use scrim_host::vision::cover::Style;
use scrim_tests::built;
use scrim_tests::coverage::{reference, score::score};

fn host(home: &Path) -> Result<Host> {
    let text = format!(
        "data_dir = {:?}\n[detectors.nudity]\nmodel = \"nudenet-320n\"\ncover = [\"FACE_*\"]\n",
        home.to_str().context("a path in UTF-8")?
    );
    let config = Config::parse(&text).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    Ok(Host::open(config)?)
}

fn add(host: &Host, bytes: &[u8]) -> Result<Candidate> {
    Ok(Candidate::Loaded(host.catalog.add(bytes, None)?))
}

struct Run {
    covers: Vec<Vec<Rect>>,
    full: usize,
    looks: usize,
    events: Vec<PolicyEvent>,
}

fn run(host: &Host, input: &Path, output: &Path, realtime: bool, swaps: Vec<Swap>) -> Result<Run> {
    let events: Arc<Mutex<Vec<PolicyEvent>>> = Arc::default();
    let heard = events.clone();
    let observer = Arc::new(move |note: Note| {
        if let (Note::Event(event), Ok(mut events)) = (note, heard.lock()) {
            events.push(event);
        }
    });
    let mut covers = Vec::new();
    let job = Job { input, output, style: Style::default(), realtime, swaps, listened: &|_| {}, record: None, transcribe: false };
    let outcome = censor::run(host, job, observer, |progress| covers.push(areas(&progress.published.cover).to_vec()))?;
    ensure!(outcome.frames_out == outcome.counts.captured, "{} frames in, {} out", outcome.counts.captured, outcome.frames_out);
    let full = outcome.counts.full_covers.values().sum::<u64>() as usize;
    let looks = outcome.counts.looks.values().sum::<u64>() as usize;
    let events = events.lock().map_err(|_| anyhow::anyhow!("an observer panicked"))?.clone();
    Ok(Run { covers, full, looks, events })
}

fn frames(file: &Path) -> Result<Vec<Frame>> {
    Ok(FileSource::open(file)?.collect::<Result<_, _>>()?)
}

#[test]
fn a_clip_comes_out_covered_whatever_its_cascade_does() -> Result<()> {
    let home = tempfile::tempdir()?;
    let host = host(home.path())?;
    let (classic, regions) = (built::plugin("skin-cascade", "1.0.0")?, built::plugin("skin-cascade", "2.0.0")?);
    let (classic, regions) = (add(&host, &classic)?, add(&host, &regions)?);
    let steady = add(&host, &built::guest("cascade")?)?;
    let input = scrim_toolchain::assets::path("carphone.mp4")?;
    let output = home.path().join("covered.y4m");
    let swap = |ms: u64, candidate: &Candidate, config: &str| Swap {
        at: Micros::from_millis(ms),
        slot: Slot::Cascade,
        candidate: candidate.clone(),
        config: config.to_owned(),
    };
    let swaps = vec![
        swap(0, &classic, "{}"),
        swap(500, &regions, "{}"),
        swap(1000, &steady, r#"{"how": "trap", "after": 1}"#),
        swap(1500, &steady, r#"{"how": "loop", "after": 1}"#),
        swap(2000, &steady, r#"{"how": "huge", "after": 1}"#),
        swap(2500, &steady, r#"{"how": "trap-configure"}"#),
        swap(3000, &regions, "{}"),
    ];
    let run = run(&host, &input, &output, false, swaps)?;

    let (raw, out) = (frames(&input)?, frames(&output)?);
    let scored = score(&run.covers, &reference::faces_on(&raw)?, 24, run.looks, run.full);
    assert!(scored.face_frames >= 100, "the clip shows a face: {scored:?}");
    assert_eq!((scored.exposed, scored.full_covers), (0, 0), "{scored:?}");
    assert!(scored.area_ratio() < 1.8, "{scored:?}");

    // What is not covered is the raw picture, bit for bit; what is covered has one colour.
    assert_eq!(raw.len(), out.len());
    for ((raw, out), cover) in raw.iter().zip(&out).zip(&run.covers) {
        let inside = |x: usize, y: usize| {
            // A pixel's chroma sample may be shared with a covered neighbour, so the rim belongs to neither.
            let (px, py) = ((x as f32 + 0.5) / raw.width as f32, (y as f32 + 0.5) / raw.height as f32);
            let (dx, dy) = (3.0 / raw.width as f32, 3.0 / raw.height as f32);
            let within = |r: Rect| r.x <= px && px <= r.right() && r.y <= py && py <= r.bottom();
            (cover.iter().any(|r| within(r.grown(-dx, -dy))), cover.iter().any(|r| within(r.grown(dx, dy))))
        };
        for y in 0..raw.height {
            for x in 0..raw.width {
                let at = y * raw.width + x;
                match inside(x, y) {
                    (true, _) => assert_eq!(out.planes()[0][at], 16, "frame {} at {x},{y} shows through", raw.seq.0),
                    (_, false) => assert_eq!(out.planes()[0][at], raw.planes()[0][at], "frame {} at {x},{y} was changed", raw.seq.0),
                    _ => {}
                }
            }
        }
    }

    let committed = run.events.iter().filter(|e| matches!(e, PolicyEvent::Committed { .. })).count();
    let refused = run.events.iter().filter(|e| matches!(e, PolicyEvent::Refused { .. })).count();
    assert!(committed >= 5 && refused >= 1, "{committed} committed, {refused} refused: {:?}", run.events);
    Ok(())
}

#[test]
fn a_live_source_beyond_the_limits_is_refused_before_it_begins() -> Result<()> {
    let home = tempfile::tempdir()?;
    let config = |limits: &str| Config::parse(&format!("data_dir = {:?}\ndetectors = {{}}\n[limits]\n{limits}\n", home.path()));
    let input = scrim_toolchain::assets::path("bigbuckbunny.mp4")?;
    let output = home.path().join("covered.y4m");
    for (limits, named) in [("megapixels_per_second = 1", "pixels"), ("delay_line_mib = 1", "delay")] {
        let host = Host::open(config(limits).map_err(|faults| anyhow::anyhow!("{faults:?}"))?)?;
        let refusal = run(&host, &input, &output, true, Vec::new()).err().context("it was taken on")?.to_string();
        assert!(refusal.contains(named), "{refusal}");
        assert!(!output.exists());
    }
    Ok(())
}
