//! `scrim-bench serve [--python PYTHON] [--peer URL] [--seconds S] [--rounds N]`: closed-loop 720p JPEG against `POST …/frames?cascade=off` at 1, 4
//! and 8 connections, verdict only, beside a peer that takes the same pictures as a form (the field `frame_data`), in turn, by the same client.
//!
//! Also prints the ceiling of this machine: JPEG decoding and ONNX Runtime alone, one thread a core.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use scrim_host::infer::Detector;
use scrim_host::media::frame::{FrameSeq, Micros};
use scrim_host::media::picture::{Limits, decode};

use super::model::open;
use crate::served::Served;

const CONNECTIONS: [usize; 3] = [1, 4, 8];
const PICTURES: u32 = 48;

struct Options {
    python: String,
    peer: Option<String>,
    seconds: f64,
    rounds: usize,
}

fn options(arguments: &[String]) -> Result<Options> {
    let mut options = Options { python: "python3".to_owned(), peer: None, seconds: 8.0, rounds: 3 };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().cloned().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--python" => options.python = value()?,
            "--peer" => options.peer = Some(value()?),
            "--seconds" => options.seconds = value()?.parse()?,
            "--rounds" => options.rounds = value()?.parse()?,
            other => bail!("{other:?} is not known: serve [--python PYTHON] [--peer URL] [--seconds S] [--rounds N]"),
        }
    }
    Ok(options)
}

/// One client's run: frames/s, and p50, p95, p99 in ms.
type Figures = [f64; 4];

fn load(options: &Options, url: &str, pictures: &Path, connections: usize, field: Option<&str>) -> Result<Figures> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("load/load.py");
    let mut command = Command::new(&options.python);
    command.arg(script).arg(url).arg(pictures).args([connections.to_string(), options.seconds.to_string()]).args(field);
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("{} cannot be run", options.python))?;
    ensure!(output.status.success(), "the client ended with {}; it needs Python's httpx", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    figures.try_into().map_err(|_| anyhow::anyhow!("the client said {text:?}"))
}

/// 720p pictures of real clips.
fn pictures(folder: &Path) -> Result<()> {
    for (number, clip) in ["carphone.mp4", "bikes.mp4", "bigbuckbunny.mp4"].iter().enumerate() {
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(scrim_toolchain::assets::path(clip)?)
            .args(["-vf", "scale=1280:720", "-q:v", "4", "-frames:v", &(PICTURES / 3).to_string()])
            .arg(folder.join(format!("{number}-%03d.jpg")))
            .status()
            .context("ffmpeg cannot be run")?;
        ensure!(made.success(), "ffmpeg ended with {made}");
    }
    Ok(())
}

/// Decoding and inference alone on every core, frames/s.
fn ceiling(pictures: &Path, seconds: f64) -> Result<f64> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(pictures)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    let bytes: Vec<Vec<u8>> = files.iter().map(std::fs::read).collect::<Result<_, _>>()?;
    let cores = std::thread::available_parallelism()?.get();
    let mut detectors = (0..cores).map(|_| open("nudenet-320n", 1, |_| {})).collect::<Result<Vec<_>>>()?;
    let span = Duration::from_secs_f64(seconds);
    let counts: Vec<Result<usize>> = std::thread::scope(|scope| {
        let run = |detector: &mut dyn Detector| -> Result<usize> {
            let (begin, mut count) = (Instant::now(), 0);
            while begin.elapsed() < span {
                let frame = decode(&bytes[count % bytes.len()], Limits::default(), FrameSeq(0), Micros::ZERO)?;
                detector.detect(&[&frame])?;
                count += 1;
            }
            Ok(count)
        };
        let threads: Vec<_> = detectors.iter_mut().map(|detector| scope.spawn(move || run(detector))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked"))).collect()
    });
    Ok(counts.into_iter().sum::<Result<usize>>()? as f64 / seconds)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// # Errors
/// When the host, the client or the peer fails.
pub fn run(arguments: &[String]) -> Result<()> {
    let options = options(arguments)?;
    let (home, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    pictures(folder.path())?;
    println!("ceiling, decoding and ONNX Runtime alone: {:.1} frames/s", ceiling(folder.path(), options.seconds)?);
    let served = Served::start(home.path(), "")?;
    served.json("POST", "/v1/rooms", &serde_json::json!({ "name": "load" }))?.expect(201)?;
    let ours = served.url("/v1/rooms/load/frames?cascade=off");
    for connections in CONNECTIONS {
        let mut runs: [Vec<Figures>; 2] = [Vec::new(), Vec::new()];
        for _ in 0..options.rounds {
            runs[0].push(load(&options, &ours, folder.path(), connections, None)?);
            if let Some(peer) = &options.peer {
                runs[1].push(load(&options, peer, folder.path(), connections, Some("frame_data"))?);
            }
        }
        let of = |side: usize, figure: usize| median(runs[side].iter().map(|run| run[figure]).collect());
        println!(
            "{connections} connection(s): scrim {:.1} frames/s, p50 {:.1} p95 {:.1} p99 {:.1} ms",
            of(0, 0),
            of(0, 1),
            of(0, 2),
            of(0, 3)
        );
        if options.peer.is_some() {
            println!("                 peer  {:.1} frames/s, p50 {:.1} p95 {:.1} p99 {:.1} ms", of(1, 0), of(1, 1), of(1, 2), of(1, 3));
            let ratios = |figure: usize| median(runs[0].iter().zip(&runs[1]).map(|(a, b)| a[figure] / b[figure]).collect());
            println!(
                "                 ratio {:.2} frames/s, {:.2} p50 (medians of {} rounds in turn)",
                ratios(0),
                ratios(1),
                options.rounds
            );
        }
    }
    Ok(())
}
