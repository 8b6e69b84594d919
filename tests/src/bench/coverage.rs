//! `scrim-bench coverage DIR [--seconds N] [--only VARIANT] [--offline] [--no-policies]`: what viewers could see of faces, on every clip
//! of a folder and on harder variants of each, offline and in real time at 30 frames/s.
//!
//! `scrim-bench coverage --short` takes the one packaged clip that shows a face, some of the variants, offline, and fails when a face is
//! exposed or a frame covered whole: nothing is late offline, so no machine is too slow for it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use scrim_host::censor::{self, areas};
use scrim_host::config::Config;
use scrim_host::geometry::Rect;
use scrim_host::host::Host;
use scrim_host::infer::Detector;
use scrim_host::infer::model::Fit;
use scrim_host::infer::onnx::OnnxDetector;
use scrim_host::media::frame::{Frame, Micros};
use scrim_host::plugin::types::{Source as Origin, SourceKind};
use scrim_host::room::offline::LOOK_AHEAD;
use scrim_host::room::published::{Cover, Published};
use scrim_host::room::source::Source;

use crate::coverage::baseline::{self, Between};
use crate::coverage::reference;
use crate::coverage::score::{Score, score};
use crate::coverage::variants::{self, Variant};

/// What the bench runs with: faces are covered, so that no explicit picture is needed.
const CONFIG: &str = r#"
[detectors.nudity]
model = "nudenet-320n"
cover = ["FACE_*"]
"#;

/// The packaged clip of a short run, and its variants: those in which the reference sees the face as often as there is one.
const SHORT_CLIP: &str = "carphone.mp4";
const SHORT_VARIANTS: [Variant; 3] = [Variant::Plain, Variant::DoubleSpeed, Variant::Dark];
const SHORT_S: f32 = 2.0;

/// Length of a piece of the montage, s.
const CUT_PIECE_S: f32 = 0.4;

struct Options {
    /// None: the packaged clip.
    folder: Option<PathBuf>,
    seconds: f32,
    short: bool,
    only: Option<String>,
    offline: bool,
    policies: bool,
}

fn options(arguments: &[String]) -> anyhow::Result<Options> {
    let mut options = Options { folder: None, seconds: 8.0, short: false, only: None, offline: false, policies: true };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => options.seconds = arguments.next().context("--seconds takes a number")?.parse()?,
            "--only" => options.only = Some(arguments.next().context("--only takes a variant's name")?.clone()),
            "--short" => options.short = true,
            "--offline" => options.offline = true,
            "--no-policies" => options.policies = false,
            other if other.starts_with("--") => bail!("{other} is not an option of this bench"),
            folder => options.folder = Some(folder.into()),
        }
    }
    if options.short {
        (options.folder, options.seconds, options.offline) = (None, SHORT_S, true);
    } else if options.folder.is_none() {
        bail!("which folder? scrim-bench coverage DIR, or --short");
    }
    Ok(options)
}

/// One clip's way of being shown.
struct Case {
    clip: String,
    variant: &'static str,
    frames: Vec<Frame>,
}

/// # Errors
/// When a clip can't be read, or set-up has not been done; of a short run also when something was exposed or covered whole.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    let options = options(arguments)?;
    let mut config = Config::parse(CONFIG).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    if options.policies {
        let policies = "[policy]\ncascade = { plugin = \"skin-cascade@2.0.0\" }\nthreshold = { plugin = \"adaptive-threshold@1.0.0\" }\n";
        config = Config::parse(&format!("{CONFIG}{policies}")).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    }
    // A catalog of its own with this repository's plugins, whatever the user has installed.
    let data = tempfile::tempdir()?;
    config.data_dir = Some(data.path().to_path_buf());
    let host = Host::open(config)?;
    if options.policies {
        super::policy::add_built(&host.catalog)?;
    }
    let mut square = super::model::open("nudenet-320n", 2, |spec| Arc::make_mut(spec).input.fit = Fit::Square)?;
    let modes: &[bool] = if options.offline { &[false] } else { &[false, true] };
    println!(
        "{:22} {:6} {:8} {:>6} {:>6} {:>8} {:>6} {:>7} {:>7} {:>6}  first exposed",
        "clip", "as", "run", "frames", "faces", "EXPOSED", "area x", "saved %", "far %", "full"
    );
    let mut totals: Vec<(String, Score)> = Vec::new();
    for_each_case(&options, |case| {
        let found = detections(&mut square, &case.frames)?;
        let faces = reference::faces(&found);
        let hold = 24;
        for &realtime in modes {
            let (covers, looks, full) = through(&host, &case.frames, realtime)?;
            let scored = score(&covers, &faces, hold, looks, full);
            let name = if realtime { "realtime" } else { "offline" };
            row(case, name, &scored);
            if options.short {
                verify(case, &scored)?;
            }
            add(&mut totals, &format!("{} {name}", case.variant), &scored);
        }
        let boxes: Vec<Vec<Rect>> = found
            .iter()
            .map(|f| f.iter().filter(|d| d.label.starts_with("FACE_") && d.confidence >= 0.25).filter_map(|d| d.area).collect())
            .collect();
        for between in Between::ALL {
            let (covers, looks) = baseline::run(between, &boxes);
            add(&mut totals, &format!("{} {}", case.variant, between.name()), &score(&covers, &faces, hold, looks, 0));
        }
        Ok(())
    })?;
    println!("\nsummed over clips");
    for (name, total) in &totals {
        println!(
            "{name:38} faces {:5}  EXPOSED {:4}  area {:5.2}x  saved {:5.1} %  covered far from faces {:.2} % of {} frames  full covers {}",
            total.face_frames,
            total.exposed,
            total.area_ratio(),
            100.0 * total.saved(),
            100.0 * total.far_share(),
            total.far_frames,
            total.full_covers
        );
    }
    Ok(())
}

fn for_each_case(options: &Options, mut run: impl FnMut(&Case) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let clips = match &options.folder {
        Some(folder) => variants::clips(folder)?,
        None => vec![super::model::asset(SHORT_CLIP)],
    };
    let wanted = |name: &str| options.only.as_deref().is_none_or(|only| only == name);
    for clip in &clips {
        let name = clip.file_stem().and_then(|s| s.to_str()).unwrap_or("clip").chars().take(22).collect::<String>();
        for variant in Variant::ALL {
            if wanted(variant.name()) && (!options.short || SHORT_VARIANTS.contains(&variant)) {
                run(&Case { clip: name.clone(), variant: variant.name(), frames: variants::frames(clip, variant, options.seconds)? })?;
            }
        }
    }
    if wanted("cuts") {
        let pieces = if options.short { 5 } else { 30 };
        run(&Case { clip: "(all)".to_owned(), variant: "cuts", frames: variants::cuts(&clips, CUT_PIECE_S, pieces)? })?;
    }
    Ok(())
}

fn verify(case: &Case, scored: &Score) -> anyhow::Result<()> {
    let Score { face_frames, exposed, exposed_at, full_covers, .. } = scored;
    let of = format!("{} as {}, offline", case.clip, case.variant);
    ensure!(*face_frames > 0, "{of}: the reference sees no face, so nothing was tried");
    ensure!(*exposed == 0, "{of}: a face is exposed in {exposed} frames, first {exposed_at:?}");
    ensure!(*full_covers == 0, "{of}: {full_covers} frames were covered whole");
    Ok(())
}

fn detections(detector: &mut OnnxDetector, frames: &[Frame]) -> anyhow::Result<Vec<Vec<scrim_host::vision::detection::Detection>>> {
    Ok(frames.iter().map(|frame| detector.detect(&[frame]).map(|mut found| found.pop().unwrap_or_default())).collect::<Result<_, _>>()?)
}

/// Covers of each frame, looks made, and full covers after the first look's frame.
fn through(host: &Host, frames: &[Frame], realtime: bool) -> anyhow::Result<(Vec<Vec<Rect>>, usize, usize)> {
    let mut settings = host.settings(&host.config, Micros(33_333))?;
    if !realtime {
        settings.delay = settings.delay.max(LOOK_AHEAD);
    }
    let origin = Origin { id: "clip".into(), kind: SourceKind::Camera, owner: "clip".into() };
    let policies = host.configured_policies(None, censor::silent())?;
    let judges = host.judges(0, origin, policies, censor::silent());
    let source = Source::new(Arc::new(settings));
    let mut covers = Vec::new();
    let mut full = 0;
    let mut publish = |_: &Source, published: Published| {
        if let Cover::Full { .. } = published.cover {
            full += 1;
        }
        covers.push(areas(&published.cover).to_vec());
    };
    let input: Vec<_> = frames.iter().cloned().map(Ok).collect();
    let (source, read) = if realtime {
        censor::run_live(source, input.into_iter(), &judges, VecDeque::new(), &mut publish)
    } else {
        censor::run_offline(source, input.into_iter(), &judges, VecDeque::new(), &mut publish)?
    };
    read?;
    if covers.len() != frames.len() {
        bail!("{} frames in, {} out", frames.len(), covers.len());
    }
    Ok((covers, source.counts().looks.values().sum::<u64>() as usize, full))
}

fn row(case: &Case, run: &str, s: &Score) {
    println!(
        "{:22} {:6} {:8} {:6} {:6} {:8} {:6.2} {:7.1} {:7.2} {:6}  {:?}",
        case.clip,
        case.variant,
        run,
        s.frames,
        s.face_frames,
        s.exposed,
        s.area_ratio(),
        100.0 * s.saved(),
        100.0 * s.far_share(),
        s.full_covers,
        s.exposed_at
    );
}

fn add(totals: &mut Vec<(String, Score)>, name: &str, scored: &Score) {
    let total = match totals.iter_mut().position(|(n, _)| n == name) {
        Some(i) => &mut totals[i].1,
        None => {
            totals.push((name.to_owned(), Score::default()));
            let last = totals.len() - 1;
            &mut totals[last].1
        }
    };
    total.frames += scored.frames;
    total.face_frames += scored.face_frames;
    total.exposed += scored.exposed;
    total.covered_area += scored.covered_area;
    total.faces_area += scored.faces_area;
    total.far_frames += scored.far_frames;
    total.far_area += scored.far_area;
    total.full_covers += scored.full_covers;
    total.looks += scored.looks;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run_fails_on_what_viewers_should_not_have_seen() {
        let case = Case { clip: "clip".to_owned(), variant: "plain", frames: Vec::new() };
        let good = Score { face_frames: 9, ..Score::default() };
        assert!(verify(&case, &good).is_ok());
        for bad in [Score::default(), Score { exposed: 1, ..good.clone() }, Score { full_covers: 1, ..good }] {
            assert!(verify(&case, &bad).is_err(), "{bad:?}");
        }
    }
}
