//! `scrim-bench parity REFERENCE.json DIR…`: agreement with the NudeNet package in both letterbox modes, and what a look costs there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, ensure};
use scrim_host::infer::Detector;
use scrim_host::infer::model::Fit;

use crate::bench::model::open;
use crate::{clip, parity};

/// # Errors
/// When a clip or the model can't be read.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    ensure!(arguments.len() >= 2, "usage: scrim-bench parity REFERENCE.json DIR...");
    let pictures = parity::read(Path::new(&arguments[0]))?;
    let find = |file: &str| -> PathBuf {
        let places = arguments[1..].iter().map(|directory| Path::new(directory).join(file));
        places.into_iter().find(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(file))
    };
    for (mode, fit) in [("aspect", Fit::Aspect { stride: 32 }), ("square", Fit::Square)] {
        let mut detector = open("nudenet-320n", 1, |spec| Arc::make_mut(spec).input.fit = fit)?;
        for score_min in [0.25, 0.4] {
            let parity = parity::compare(&pictures, find, &mut detector, score_min)?;
            println!(
                "{mode} score >= {score_min}: {} boxes, IoU >= 0.9 for {:.1} %, >= 0.5 for {:.1} %, scores within {:.3}",
                parity.boxes,
                parity.share() * 100.0,
                parity.near as f32 / parity.boxes.max(1) as f32 * 100.0,
                parity.score_error_max
            );
        }
        let first = pictures.first().context("the reference is empty")?;
        let frames = clip::decode(&find(&first.file), first.width, first.height)?;
        let mut times: Vec<f64> = (0..60)
            .map(|i| {
                let begin = Instant::now();
                detector.detect(&[&frames[i % frames.len()]]).map(|_| begin.elapsed().as_secs_f64() * 1e3)
            })
            .collect::<Result<_, _>>()?;
        times.sort_by(f64::total_cmp);
        println!("{mode} {}x{} frames: median look {:.2} ms", first.width, first.height, times[times.len() / 2]);
    }
    Ok(())
}
