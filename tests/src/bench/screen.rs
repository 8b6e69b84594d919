//! `scrim-bench screen [--short] [--offline] [--only GROUND] [--size PX] [--delay MS] [--seconds N]`: what viewers could read of bad words in
//! 720p clips made here, with every word's true area in every frame: still, scrolling and fading text of several sizes over a plain ground,
//! a photograph and a talking head; and what is covered beside them.
//!
//! A word is *exposed* in a frame when less than 95 % of it is covered though every piece of it stands out from its ground by 24 steps of
//! luma. Offline nothing is late; in real time the figures are this machine's.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use scrim_host::censor::{self, areas};
use scrim_host::config::Config;
use scrim_host::geometry::Rect;
use scrim_host::host::Host;
use scrim_host::media::frame::{Frame, FrameSeq, Matrix, Micros, Range, i420_len};
use scrim_host::plugin::types::{Source as Origin, SourceKind};
use scrim_host::room::offline::LOOK_AHEAD;
use scrim_host::room::published::Published;
use scrim_host::room::source::Source;
use scrim_host::vision::color::Rgb;
use scrim_host::vision::cover::covered_share;

use super::model::asset;
use super::policy::add_built;
use crate::clip;
use crate::coverage::score::COVERED_MIN;
use crate::typeset::{Drawn, Style, Typeface};

const SIZE: (usize, usize) = (1280, 720);
const FRAME_US: u64 = 33_333;
const SIZES: [f32; 6] = [12.0, 16.0, 20.0, 24.0, 32.0, 48.0];
const GROUNDS: [&str; 3] = ["plain", "photograph", "head"];
const MOTIONS: [Motion; 4] = [Motion::Still, Motion::Scroll, Motion::FadeIn, Motion::Pages];
const PAGES: [&[&str]; 3] = [
    &[
        "the weather is fine today",
        "you are a fucking idiot",
        "see you at the garden gate",
        "go to hell you cunt",
        "thank you for coming by",
    ],
    &[
        "our next meeting is on friday",
        "bring some bread and butter",
        "this bitch is not my friend",
        "please close the window",
        "good night everybody",
    ],
    &[
        "a short walk to the harbour",
        "shut up you stupid cunt",
        "the train leaves at seven",
        "sandwiches are on the table",
        "fuck off and leave me",
    ],
];
const BAD: [&str; 11] = ["fucking", "idiot", "up", "bitch", "cunt", "fuck", "stupid", "shut", "go", "to", "hell"];
/// Those that the policy is always to find by themselves; the others it may find in what is said.
const CERTAIN: [&str; 4] = ["fucking", "bitch", "cunt", "fuck"];
/// Steps of luma by which a legible word stands out.
const LEGIBLE: f32 = 24.0;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Motion {
    Still,
    /// Two pixels up a frame.
    Scroll,
    /// In half a second, after a second.
    FadeIn,
    /// Another page every two seconds.
    Pages,
}

impl Motion {
    fn name(self) -> &'static str {
        match self {
            Motion::Still => "still",
            Motion::Scroll => "scrolling",
            Motion::FadeIn => "fading in",
            Motion::Pages => "pages",
        }
    }
}

struct Options {
    short: bool,
    offline: bool,
    only: Option<String>,
    size: Option<f32>,
    delay_ms: u32,
    seconds: f32,
}

fn options(arguments: &[String]) -> anyhow::Result<Options> {
    let mut options = Options { short: false, offline: false, only: None, size: None, delay_ms: 1200, seconds: 6.0 };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} takes a value"));
        match argument.as_str() {
            "--short" => (options.short, options.offline, options.seconds) = (true, true, 3.0),
            "--offline" => options.offline = true,
            "--only" => options.only = Some(value()?.clone()),
            "--size" => options.size = Some(value()?.parse()?),
            "--delay" => options.delay_ms = value()?.parse()?,
            "--seconds" => options.seconds = value()?.parse()?,
            other => bail!("{other} is not known here"),
        }
    }
    Ok(options)
}

/// A clip whose frames are drawn when they are asked for.
struct Clip {
    face: Typeface,
    ground: Arc<Vec<Frame>>,
    motion: Motion,
    size: f32,
}

impl Clip {
    /// A frame, and its words as far as they can be read.
    fn frame(&self, index: usize) -> (Frame, Vec<Drawn>) {
        // To and fro, so that a short clip has no cut.
        let period = (self.ground.len() * 2).saturating_sub(2).max(1);
        let at = index % period;
        let ground = &self.ground[if at < self.ground.len() { at } else { period - at }];
        let mut frame = ground.clone();
        (frame.seq, frame.at) = (FrameSeq(index as u64), Micros(index as u64 * FRAME_US));
        let bright = mean_luma(ground) < 120.0;
        let colour = if bright { Rgb([245, 245, 245]) } else { Rgb([15, 15, 15]) };
        let (page, y, opacity) = match self.motion {
            Motion::Still => (0, 80.0, 1.0),
            Motion::Scroll => (0, 700.0 - 2.0 * index as f32, 1.0),
            Motion::FadeIn => (0, 80.0, ((index as f32 - 30.0) / 15.0).clamp(0.0, 1.0)),
            Motion::Pages => (index / 60 % PAGES.len(), 80.0, 1.0),
        };
        let mut words = Vec::new();
        let style = Style { opacity, ..Style::new(self.size, colour) };
        if opacity > 0.0 {
            for (row, line) in PAGES[page].iter().enumerate() {
                words.extend(self.face.draw(&mut frame, (90.0, y + row as f32 * self.size * 1.9), line, &style));
            }
        }
        words.retain(|word| legible(ground, &frame, &word.area));
        (frame, words)
    }
}

/// Whether every letter's width of a word holds ink that stands out from what was below.
fn legible(ground: &Frame, frame: &Frame, area: &Rect) -> bool {
    let pieces = (area.width * SIZE.0 as f32 / (area.height * SIZE.1 as f32)).ceil().max(1.0);
    (0..pieces as usize).all(|i| {
        let piece = Rect::new(area.x + area.width * i as f32 / pieces, area.y, area.width / pieces, area.height);
        let (mut most, [a, ..], [b, ..]) = (0, ground.planes(), frame.planes());
        for y in (piece.y * SIZE.1 as f32) as usize..((piece.bottom() * SIZE.1 as f32) as usize).min(SIZE.1) {
            for x in (piece.x * SIZE.0 as f32) as usize..((piece.right() * SIZE.0 as f32) as usize).min(SIZE.0) {
                most = most.max(a[y * SIZE.0 + x].abs_diff(b[y * SIZE.0 + x]));
            }
        }
        f32::from(most) >= LEGIBLE
    })
}

fn mean_luma(frame: &Frame) -> f32 {
    let luma = frame.planes()[0];
    luma.iter().step_by(97).map(|&v| f32::from(v)).sum::<f32>() / luma.len().div_ceil(97) as f32
}

#[derive(Clone, Debug, Default)]
struct Score {
    frames: usize,
    /// Times that a bad word could be seen, and those in which it was not covered.
    bad: usize,
    exposed: usize,
    /// Of the exposed: frame and word.
    first: Vec<(usize, String)>,
    /// The same for other words: under a mask, and under what is pending.
    good: usize,
    masked: usize,
    pending: usize,
    /// Mean share of what is not a bad word that is covered.
    spoilt: f64,
    reads: u64,
    reads_failed: u64,
    /// Cores that the whole process took.
    cores: f64,
}

fn share(area: &Rect, covers: &[Rect]) -> f32 {
    let parts: Vec<Rect> = covers
        .iter()
        .map(|cover| {
            Rect::from_edges(cover.x.max(area.x), cover.y.max(area.y), cover.right().min(area.right()), cover.bottom().min(area.bottom()))
        })
        .filter(|part| !part.is_empty())
        .map(|part| {
            Rect::new((part.x - area.x) / area.width, (part.y - area.y) / area.height, part.width / area.width, part.height / area.height)
        })
        .collect();
    covered_share(&parts)
}

impl Score {
    fn add(&mut self, index: usize, words: &[Drawn], published: &Published) {
        let all = areas(&published.cover);
        let masks: Vec<Rect> = all.iter().filter(|area| !published.pending.contains(area)).copied().collect();
        self.frames += 1;
        let mut bad_areas: Vec<Rect> = Vec::new();
        for word in words {
            if CERTAIN.contains(&&*word.text) {
                self.bad += 1;
                bad_areas.push(word.area);
                if share(&word.area, all) < COVERED_MIN {
                    self.exposed += 1;
                    if self.first.len() < 3 {
                        self.first.push((index, word.text.clone()));
                    }
                }
            } else if !BAD.contains(&&*word.text) {
                self.good += 1;
                self.masked += usize::from(share(&word.area, &masks) > 0.2);
                self.pending += usize::from(share(&word.area, &published.pending) > 0.2);
            } else {
                bad_areas.push(word.area);
            }
        }
        let bad: f32 = bad_areas.iter().map(Rect::area).sum();
        self.spoilt += f64::from((covered_share(all) - bad).max(0.0));
    }
}

/// # Errors
/// When something that set-up fetches is missing; in a short run, when a word of 20 px or more is exposed or a still page is spoilt.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    let options = options(arguments)?;
    let home = tempfile::tempdir()?;
    let text = format!(
        "data_dir = {:?}\n[room]\ndelay_ms = {}\n[text]\nread = true\nbudget_ms = {}\n[policy.text]\nplugin = \"profanity-context@2.0.0\"\n[detectors]\n",
        home.path(),
        options.delay_ms,
        600.min(options.delay_ms - 100),
    );
    let config = Config::parse(&text).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    let host = Host::open(config)?;
    add_built(&host.catalog)?;
    println!(
        "{:11} {:10} {:>5} {:8} {:>6} {:>6} {:>7} {:>6} {:>8} {:>9} {:>9} {:>5} {:>6}  first exposed",
        "ground", "text", "px", "run", "frames", "bad", "EXPOSED", "good", "masked %", "pending %", "spoilt %", "reads", "cores"
    );
    let (sizes, motions): (&[f32], &[Motion]) = if options.short { (&[20.0], &MOTIONS[..2]) } else { (&SIZES, &MOTIONS) };
    for ground in GROUNDS.iter().filter(|name| options.only.as_ref().is_none_or(|only| only == *name)) {
        let frames = (options.seconds * 30.0) as usize;
        let frames_of = Arc::new(ground_of(ground)?);
        for &motion in motions {
            for &size in sizes.iter().filter(|size| options.size.is_none_or(|only| only == **size)) {
                let clip = Clip { face: Typeface::open("DejaVuSans.ttf")?, ground: frames_of.clone(), motion, size };
                // Drawn before anything is timed.
                let drawn: Vec<(Frame, Vec<Drawn>)> = (0..frames).map(|index| clip.frame(index)).collect();
                for realtime in [false, true] {
                    if realtime && options.offline {
                        continue;
                    }
                    let score = through(&host, &drawn, realtime)?;
                    row(ground, motion, size, realtime, &score);
                    if options.short {
                        ensure!(score.bad > 0, "nothing was tried");
                        ensure!(score.exposed == 0, "a bad word could be read in {} frames, first {:?}", score.exposed, score.first);
                        ensure!(score.masked == 0, "{} words were covered that are not bad", score.masked);
                        ensure!(motion != Motion::Still || score.pending == 0, "a still page is pending");
                    }
                }
            }
        }
    }
    Ok(())
}

fn ground_of(name: &str) -> anyhow::Result<Vec<Frame>> {
    match name {
        "plain" => {
            let mut data = vec![128; i420_len(SIZE.0, SIZE.1)];
            data[..SIZE.0 * SIZE.1].fill(200);
            Ok(vec![Frame::new(FrameSeq(0), Micros::ZERO, SIZE.0, SIZE.1, Range::Limited, Matrix::Bt601, data)])
        }
        "photograph" => clip::scaled(&asset("astronaut.png"), SIZE.0, SIZE.1, 1),
        _ => clip::scaled(&asset("carphone.mp4"), SIZE.0, SIZE.1, 90),
    }
}

fn through(host: &Host, clip: &[(Frame, Vec<Drawn>)], realtime: bool) -> anyhow::Result<Score> {
    let mut settings = host.settings(&host.config, Micros(FRAME_US))?;
    if !realtime {
        settings.delay = settings.delay.max(LOOK_AHEAD);
    }
    let origin = Origin { id: "clip".into(), kind: SourceKind::Camera, owner: "clip".into() };
    let policies = host.configured_policies(None, censor::silent())?;
    let judges = host.judges(0, origin, policies, censor::silent());
    let source = Source::new(Arc::new(settings));
    let mut left = Vec::new();
    let mut publish = |_: &Source, published: Published| left.push(published);
    let input: Vec<_> = clip.iter().map(|(frame, _)| Ok(frame.clone())).collect();
    let (cpu, wall) = (cpu_time::ProcessTime::now(), Instant::now());
    let (source, read) = if realtime {
        censor::run_live(source, input.into_iter(), &judges, VecDeque::new(), &mut publish)
    } else {
        censor::run_offline(source, input.into_iter(), &judges, VecDeque::new(), &mut publish)?
    };
    read?;
    ensure!(left.len() == clip.len(), "{} frames in, {} out", clip.len(), left.len());
    let mut score = Score { cores: cpu.elapsed().as_secs_f64() / wall.elapsed().as_secs_f64(), ..Score::default() };
    for (index, (published, (_, words))) in left.iter().zip(clip).enumerate() {
        score.add(index, words, published);
    }
    let text = source.counts().text;
    (score.reads, score.reads_failed) = (text.reads, text.reads_failed);
    Ok(score)
}

fn row(ground: &str, motion: Motion, size: f32, realtime: bool, score: &Score) {
    let percent = |part: usize| 100.0 * part as f64 / score.good.max(1) as f64;
    println!(
        "{:11} {:10} {:>5} {:8} {:>6} {:>6} {:>7} {:>6} {:>8.2} {:>9.2} {:>9.2} {:>5} {:>6.2}  {:?}",
        ground,
        motion.name(),
        size,
        if realtime { "realtime" } else { "offline" },
        score.frames,
        score.bad,
        score.exposed,
        score.good,
        percent(score.masked),
        percent(score.pending),
        100.0 * score.spoilt / score.frames.max(1) as f64,
        format!("{}{}", score.reads, if score.reads_failed > 0 { format!("-{}", score.reads_failed) } else { String::new() }),
        score.cores,
        score.first
    );
}
