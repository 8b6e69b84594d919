//! `scrim-bench livekit [--seconds S] [--rounds N] [--python PYTHON]`: a broadcaster's 720p at 30 frames/s through a real LiveKit server, by the same
//! client in turn (`load/lk_latency.py`: it burns a number into each frame and reads it back as a viewer):
//!
//! - direct: broadcaster and viewer in one room;
//! - what a user would write instead, in Python (`load/lk_agent.py`), passing on, and looking at every fifth frame;
//! - Scrim in a room without detectors and with its shortest delay, and in one that looks at every fifth frame.
//!
//! Everything runs in a network namespace on one machine. Latency is also given without the room's delay, which is chosen. A frame is lost that the
//! viewer does not get; one that it gets and cannot read (covered at its number) counts among the lost, and is told too.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use cpu_time::ThreadTime;
use scrim_host::infer::Detector;
use scrim_host::media::frame::Frame;
use serde::Deserialize;
use serde_json::json;

use super::livekit_pair::clip;
use super::model::open;
use crate::livekit::{Server, alone_with, token};
use crate::served::Served;

const SIZE: (usize, usize) = (1280, 720);
const RATE: f64 = 30.0;
/// Pictures of the clip; it goes round.
const CLIP_FRAMES: usize = 120;
/// Without a cascade, so that what is sampled is looked at.
const CONFIGURATION: &str = "[detectors.nudity]\nmodel = \"nudenet-320n\"\ncover = [\"FACE_*\"]\n\
    [policy.text]\nplugin = \"profanity-context@2.0.0\"\n[policy.threshold]\nplugin = \"adaptive-threshold@1.0.0\"\n";
/// The shortest that there is.
const PASSING_MS: u64 = 67;
const LOOKING_MS: u64 = 400;
/// Runs of the network, of which the middle one counts.
const LOOKS: usize = 21;

struct Options {
    python: Option<String>,
    seconds: f64,
    rounds: usize,
}

fn options(arguments: &[String]) -> Result<Options> {
    let mut options = Options { python: None, seconds: 30.0, rounds: 1 };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let value = words.next().with_context(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--python" => options.python = Some(value.clone()),
            "--seconds" => options.seconds = value.parse()?,
            "--rounds" => options.rounds = value.parse()?,
            other => bail!("{other:?} is not known: livekit [--seconds S] [--rounds N] [--python PYTHON]"),
        }
    }
    Ok(options)
}

/// What the client says.
#[derive(Clone, Debug, Deserialize)]
struct Figures {
    sent: u64,
    seen: u64,
    unreadable: u64,
    p50: f64,
    p95: f64,
    p99: f64,
    cores: Vec<f64>,
}

/// Ends with this value.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How a broadcaster's frames get to a viewer.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Direct,
    Agent { every: u32 },
    Scrim { room: &'static str, delay_ms: u64 },
}

const WAYS: [Way; 5] = [
    Way::Direct,
    Way::Agent { every: 0 },
    Way::Scrim { room: "passing", delay_ms: PASSING_MS },
    Way::Agent { every: 5 },
    Way::Scrim { room: "looking", delay_ms: LOOKING_MS },
];

impl Way {
    fn name(self) -> String {
        match self {
            Way::Direct => "direct".to_owned(),
            Way::Agent { every: 0 } => "Python agent, passing on".to_owned(),
            Way::Agent { every } => format!("Python agent, every {every}th"),
            Way::Scrim { room: "passing", .. } => "Scrim, no detector".to_owned(),
            Way::Scrim { .. } => "Scrim, every 5th".to_owned(),
        }
    }

    fn delay_ms(self) -> f64 {
        if let Way::Scrim { delay_ms, .. } = self { delay_ms as f64 } else { 0.0 }
    }
}

/// What all ways share.
struct Bench<'a> {
    options: &'a Options,
    python: String,
    frames: &'a Path,
    server: Server,
    host: Served,
}

impl Bench<'_> {
    /// Two tokens for one way, the client's figures, and how many looks the host took for each frame that came in.
    fn run(&self, way: Way, round: usize) -> Result<(Figures, f64)> {
        let (ingest, moderated) = (format!("ingest-{round}-{}", way.name().len()), format!("moderated-{round}-{}", way.name().len()));
        let looks = |of: &Self| -> Result<[f64; 2]> {
            let text = of.host.get("/metrics")?;
            let text = String::from_utf8_lossy(&text.body).into_owned();
            let looks = sum(&text, "scrim_stream_looks_total") + sum(&text, "scrim_audit_frames_total");
            Ok([looks, sum(&text, "scrim_stream_frames_in_total")])
        };
        let before = looks(self)?;
        let figures = match way {
            Way::Direct => self.client(&token(&ingest, "b", true, false)?, &token(&ingest, "v", false, true)?, &[])?,
            Way::Agent { every } => {
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("load/lk_agent.py");
                let mut command = Command::new(&self.python);
                command.arg(script).arg(self.server.url()).arg(token(&ingest, "agent", false, true)?);
                command.arg(token(&moderated, "agent", true, false)?).args([SIZE.0.to_string(), SIZE.1.to_string(), every.to_string()]);
                let agent = Agent(command.stdout(Stdio::null()).spawn().with_context(|| format!("{} cannot be run", self.python))?);
                let pid = agent.0.id();
                self.client(&token(&ingest, "b", true, false)?, &token(&moderated, "v", false, true)?, &[pid])?
            }
            Way::Scrim { room, .. } => {
                let token = |role: &str| -> Result<String> {
                    let answer = self.host.json("POST", &format!("/v1/rooms/{room}/tokens"), &json!({ "name": role, "role": role }))?;
                    Ok(answer.expect(201)?["token"].as_str().context("a token")?.to_owned())
                };
                self.client(&token("broadcaster")?, &token("viewer")?, &[self.host.pid()])?
            }
        };
        let after = looks(self)?;
        Ok((figures, (after[0] - before[0]) / (after[1] - before[1]).max(1.0)))
    }

    fn client(&self, broadcaster: &str, viewer: &str, pids: &[u32]) -> Result<Figures> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("load/lk_latency.py");
        let mut command = Command::new(&self.python);
        command.arg(script).args([&self.server.url(), broadcaster, viewer]).arg(self.frames);
        command.args([SIZE.0.to_string(), SIZE.1.to_string(), RATE.to_string(), self.options.seconds.to_string()]);
        command.args(std::iter::once(self.server.pid()).chain(pids.iter().copied()).map(|pid| pid.to_string()));
        let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("{} cannot be run", self.python))?;
        ensure!(output.status.success(), "the client ended with {}", output.status);
        serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// All series of a metric together.
pub(super) fn sum(metrics: &str, name: &str) -> f64 {
    let of = |line: &str| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    };
    metrics.lines().filter_map(of).sum()
}

/// Processor time of one look, preprocessing included, seconds.
fn look_s(frame: &Frame) -> Result<f64> {
    let mut detector = open("nudenet-320n", 1, |_| {})?;
    let mut took = Vec::new();
    for _ in 0..LOOKS {
        let since = ThreadTime::now();
        detector.detect(&[frame])?;
        took.push(since.elapsed().as_secs_f64());
    }
    took.sort_by(f64::total_cmp);
    Ok(took[LOOKS / 2])
}

/// Python with what the scripts need.
///
/// # Errors
/// When it can't be had.
pub fn python(given: Option<&String>) -> Result<String> {
    if let Some(python) = given {
        return Ok(python.clone());
    }
    let target = crate::served::binary()?.parent().and_then(Path::parent).context("a target folder")?.to_owned();
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("load/requirements.txt");
    let programs = scrim_toolchain::python::environment(&target.join("load"), &requirements, &|line| eprintln!("{line}"))?;
    Ok(programs.join("python").to_string_lossy().into_owned())
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// # Errors
/// When the server, the host, the client or the agent fails.
pub fn run(arguments: &[String]) -> Result<()> {
    let options = options(arguments)?;
    // Inside there is no way to a package index.
    let python = python(options.python.as_ref())?;
    let mut inside = vec!["livekit".to_owned()];
    inside.extend(arguments.iter().cloned().chain(["--python".to_owned(), python.clone()]));
    if alone_with(&inside)? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let pictures = clip(SIZE, CLIP_FRAMES)?;
    let frames = folder.path().join("frames.i420");
    std::fs::write(&frames, pictures.iter().flat_map(|frame| frame.data()).copied().collect::<Vec<u8>>())?;
    let look_s = look_s(&pictures[0])?;
    let server = Server::start(folder.path())?;
    let data_dir = folder.path().join("data");
    std::fs::create_dir(&data_dir)?;
    let host = Served::start_livekit_with(&[], &data_dir, &server, CONFIGURATION)?;
    let passing = json!({ "name": "passing", "detectors": [], "delay_ms": PASSING_MS });
    let looking = json!({ "name": "looking", "sampler": "fixed:5", "delay_ms": LOOKING_MS });
    for room in [passing, looking] {
        host.json("POST", "/v1/rooms", &room)?.expect(201)?;
    }
    println!(
        "{}×{} at {RATE} frames/s, {} s each after 5 s, {} round(s) in turn; a look takes {:.1} ms",
        SIZE.0,
        SIZE.1,
        options.seconds,
        options.rounds,
        1e3 * look_s
    );
    let bench = Bench { options: &options, python, frames: &frames, server, host };
    let mut runs: Vec<Vec<(Figures, f64)>> = vec![Vec::new(); WAYS.len()];
    for round in 0..options.rounds {
        for (way, runs) in WAYS.iter().zip(&mut runs) {
            runs.push(bench.run(*way, round)?);
        }
    }
    print(&runs, look_s);
    Ok(())
}

/// The middle of the rounds.
fn print(runs: &[Vec<(Figures, f64)>], look_s: f64) {
    let of = |way: usize, figure: fn(&Figures) -> f64| middle(runs[way].iter().map(|(figures, _)| figure(figures)).collect());
    let cores = |figures: &Figures| figures.cores.get(1).copied().unwrap_or(0.0);
    println!(
        "{:<26} {:>8} {:>8} {:>8} {:>10} {:>6} {:>12} {:>7} {:>7}",
        "", "p50 ms", "p95 ms", "p99 ms", "less delay", "lost", "(unreadable)", "cores", "server"
    );
    for (index, way) in WAYS.iter().enumerate() {
        let lost = |figures: &Figures| figures.sent.saturating_sub(figures.seen) as f64;
        println!(
            "{:<26} {:>8.1} {:>8.1} {:>8.1} {:>10.1} {:>6} {:>12} {:>7.2} {:>7.2}",
            way.name(),
            of(index, |figures| figures.p50),
            of(index, |figures| figures.p95),
            of(index, |figures| figures.p99),
            of(index, |figures| figures.p50) - way.delay_ms(),
            format!("{}/{}", of(index, lost), of(index, |figures| figures.sent as f64)),
            of(index, |figures| figures.unreadable as f64),
            of(index, cores),
            of(index, |figures| figures.cores.first().copied().unwrap_or(0.0)),
        );
    }
    let [direct, agent, passing, _, looking] = [0, 1, 2, 3, 4];
    let p50 = |way: usize| of(way, |figures| figures.p50) - WAYS[way].delay_ms();
    let looks = RATE * middle(runs[looking].iter().map(|(_, looks)| *looks).collect());
    let (base, with) = (of(passing, cores), of(looking, cores));
    println!("looking over passing, without the delays: {:+.1} ms at the median (goal 5)", p50(looking) - p50(passing));
    println!(
        "its processor time: {with:.2} cores; passing {base:.2} and {looks:.1} looks/s of {:.1} ms are {:.2}: {:+.0} % (goal 15)",
        1e3 * look_s,
        base + looks * look_s,
        100.0 * (with / (base + looks * look_s) - 1.0)
    );
    println!(
        "passing over direct: {:+.1} ms and {base:.2} cores; the Python agent's {:+.1} ms and {:.2} cores",
        p50(passing) - p50(direct),
        p50(agent) - p50(direct),
        of(agent, cores)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_series_and_no_other() {
        let text = "# HELP a b\nlooks_total{why=\"clock\"} 3\nlooks_total{why=\"cut\"} 4\nlooks_total_more 9\nlooks 7\n";
        assert_eq!((sum(text, "looks_total"), sum(text, "looks"), sum(text, "none")), (7.0, 7.0, 0.0));
    }
}
