//! `scrim-bench ocr [FRAMES] [PART…]`: words found on 720p frames by size, ground and contrast, in the mirror too; what a read costs on one
//! thread; what `vision::strokes` overlooks and marks. Parts: `words`, `contrast`,
//! `coded`, `costs`, `strokes`; all of them if none is named.

use std::ops::Range;
use std::process::Command;

use cpu_time::ThreadTime;
use scrim_host::geometry::Rect;
use scrim_host::infer::ocr::{Block, Files, Reader, ReaderOptions};
use scrim_host::media::frame::{self, Frame, FrameSeq, Matrix, Micros, i420_len};
use scrim_host::vision::blocks::BLOCK;
use scrim_host::vision::color::{Rgb, rgb_of};
use scrim_host::vision::strokes;

use super::model::{asset, runtime};
use crate::clip;
use crate::typeset::{Drawn, Style, Typeface};

const SIZE: (usize, usize) = (1280, 720);
/// Of the font, in pixels.
const SIZES: [f32; 6] = [12.0, 16.0, 20.0, 24.0, 32.0, 48.0];
/// What the detection network sees of the frame, in pixels.
const SCANS: [(usize, usize); 3] = [(640, 360), (960, 540), (1280, 720)];
/// Luma steps between text and ground.
const CONTRASTS: [u8; 4] = [24, 40, 80, 160];
/// Luma steps by which every piece of a word has to stand out from a picture to be counted.
const LEGIBLE: u8 = 40;
const PHRASES: [&str; 12] = [
    "the quick brown fox",
    "holy shit that was close",
    "subscribe for more",
    "what the fuck is this",
    "level 42 boss fight",
    "you stupid bitch",
    "good game everyone",
    "donated $5.00 thanks",
    "fuck off and die",
    "see you tomorrow",
    "kill yourself now",
    "hello from Berlin",
];

/// # Errors
/// When set-up has not fetched the models, the font, the pictures or ffmpeg.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    let frames: usize = arguments.first().map_or(Ok(4), |frames| frames.parse())?;
    let parts = arguments.get(1..).unwrap_or_default();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|named| named == part);
    let face = Typeface::open("DejaVuSans.ttf")?;
    let grounds = grounds(frames.max(1))?;
    if wanted("strokes") {
        strokes(&face, &grounds)?;
    }
    if wanted("words") {
        words(&face, &grounds)?;
    }
    if wanted("contrast") {
        contrasts(&face)?;
    }
    if wanted("coded") {
        coded(&face, &grounds)?;
    }
    if wanted("costs") {
        costs(&face)?;
    }
    Ok(())
}

fn words(face: &Typeface, grounds: &[Ground]) -> anyhow::Result<()> {
    for scan in SCANS {
        heading(&format!("seen at {}x{} at most: words read / found, of all drawn", scan.0, scan.1));
        for mirrored in [false, true] {
            // In the mirror, two grounds will do.
            for (name, frames) in grounds.iter().take(if mirrored { 2 } else { grounds.len() }) {
                let mut row = format!("{:24}", if mirrored { format!("{name}, mirrored") } else { (*name).to_owned() });
                for size in SIZES {
                    row += &format!("{:>18}", tried(face, frames, scan, size, None, mirrored)?.shown());
                }
                println!("{row}");
            }
        }
    }
    Ok(())
}

fn contrasts(face: &Typeface) -> anyhow::Result<()> {
    heading("seen at 1280x720, by contrast (luma steps) on a plain ground: words read / found, of all drawn");
    for contrast in CONTRASTS {
        let mut row = format!("{contrast:<24}");
        for size in SIZES {
            row += &format!("{:>18}", tried(face, &[plain(120), plain(60), plain(180)], SIZE, size, Some(contrast), false)?.shown());
        }
        println!("{row}");
    }
    Ok(())
}

/// A page that stands still over a clip, coded as live video is: words read, and what each read costs, of which memory saves the most.
fn coded(face: &Typeface, grounds: &[Ground]) -> anyhow::Result<()> {
    println!("\n20 px on a still picture, H.264 at a bit rate: frame by frame, words read of all drawn, ms");
    for (name, ground) in grounds {
        for kilobits in [600, 1500, 4000] {
            let mut page_of = ground[0].clone();
            let drawn = page(face, &mut page_of, 20.0, None, false, 1);
            let mut reader = reader(SIZE)?;
            let mut row = format!("{:24}", format!("{name}, {kilobits} kbit/s"));
            for frame in through_h264(&vec![page_of; 12], kilobits)?.iter().step_by(3) {
                let mut blocks = Vec::new();
                let spent = timed(&mut reader, |reader| reader.read(frame, &[]).map(|read| blocks = read))?;
                let read = drawn.iter().filter(|word| was_read(word, &blocks)).count();
                row += &format!("{:>18}", format!("{:.1} %, {spent:.0}", read as f64 * 100.0 / drawn.len().max(1) as f64));
            }
            println!("{row}");
        }
    }
    Ok(())
}

fn through_h264(frames: &[Frame], kilobits: usize) -> anyhow::Result<Vec<Frame>> {
    let folder = tempfile::tempdir()?;
    let (raw, coded) = (folder.path().join("raw.yuv"), folder.path().join("coded.mkv"));
    std::fs::write(&raw, frames.iter().flat_map(|frame| frame.data()).copied().collect::<Vec<u8>>())?;
    let size = format!("{}x{}", SIZE.0, SIZE.1);
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-r", "15", "-s", &size, "-i"])
        .arg(&raw)
        .args(["-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-b:v", &format!("{kilobits}k")])
        .arg(&coded)
        .status()?;
    anyhow::ensure!(status.success(), "ffmpeg could not code the page");
    clip::decode(&coded, SIZE.0, SIZE.1)
}

/// Of a table by size.
fn heading(title: &str) {
    println!("\n{title}\n{:24}{}", "", SIZES.map(|size| format!("{size:>15} px")).concat());
}

#[derive(Default)]
struct Score {
    drawn: usize,
    read: usize,
    found: usize,
}

impl Score {
    fn shown(&self) -> String {
        let share = |of: usize| of as f64 * 100.0 / self.drawn.max(1) as f64;
        format!("{:.1} / {:.1} %", share(self.read), share(self.found))
    }
}

fn reader(scan: (usize, usize)) -> anyhow::Result<Reader> {
    let options = ReaderOptions { scan_pixels: scan.0 * scan.1, ..ReaderOptions::default() };
    Ok(Reader::open(runtime()?, &Files::of(&scrim_toolchain::assets::folder()?), options)?)
}

fn tried(
    face: &Typeface,
    grounds: &[Frame],
    scan: (usize, usize),
    size: f32,
    contrast: Option<u8>,
    mirrored: bool,
) -> anyhow::Result<Score> {
    let mut reader = reader(scan)?;
    let mut score = Score::default();
    for (i, ground) in grounds.iter().enumerate() {
        let mut frame = ground.clone();
        let drawn = page(face, &mut frame, size, contrast, mirrored, i as u64);
        let blocks = reader.read(&frame, &[])?;
        let found = reader.find(&frame, &[])?;
        for word in &drawn {
            score.drawn += 1;
            score.read += usize::from(was_read(word, &blocks));
            score.found += usize::from(covered(&word.area, &found) > 0.7);
        }
    }
    Ok(score)
}

/// A dozen phrases over the frame, each dark or bright against what is below it.
fn page(face: &Typeface, frame: &mut Frame, size: f32, contrast: Option<u8>, mirrored: bool, seed: u64) -> Vec<Drawn> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut phrases = PHRASES;
    random.shuffle(&mut phrases);
    let columns = if size > 30.0 { 1 } else { 2 };
    let mut drawn = Vec::new();
    for (i, phrase) in phrases.into_iter().take(6 * columns).enumerate() {
        let x = (i % columns) as f32 * 620.0 + random.f32() * 60.0 + 10.0;
        let y = (i / columns) as f32 * 118.0 + random.f32() * 30.0 + 6.0;
        let at = if mirrored { SIZE.0 as f32 - x - 10.0 * size } else { x };
        let below = mean_luma(frame, Rect::new(at, y, 10.0 * size, size));
        let bright = below < 125.0;
        let code = match contrast {
            Some(contrast) => {
                if bright {
                    below as u8 + contrast
                } else {
                    below as u8 - contrast
                }
            }
            None => {
                if bright {
                    random.u8(200..236)
                } else {
                    random.u8(16..50)
                }
            }
        };
        // A tint now and then.
        let chroma = if contrast.is_none() && random.bool() { [random.u8(90..166), random.u8(90..166)] } else { [128, 128] };
        let colour = rgb_of([code, chroma[0], chroma[1]], frame.range, frame.matrix);
        let before = frame.clone();
        let words = face.draw(frame, (x, y), phrase, &Style { mirrored, ..Style::new(size, colour) });
        drawn.extend(words.into_iter().filter(|word| legible(word, &before, code, contrast.unwrap_or(LEGIBLE))));
    }
    drawn
}

/// Whether every piece of a word stands out from what was below it, by its mean.
fn legible(word: &Drawn, before: &Frame, code: u8, contrast: u8) -> bool {
    let Rect { x, y, width, height } = word.area;
    let (x, y, width, height) = (x * SIZE.0 as f32, y * SIZE.1 as f32, width * SIZE.0 as f32, height * SIZE.1 as f32);
    let pieces = (width / 8.0).ceil().max(1.0);
    let piece = |i: usize| Rect::new(x + i as f32 * width / pieces, y, width / pieces, height);
    (0..pieces as usize).all(|i| (mean_luma(before, piece(i)) - f32::from(code)).abs() + 1.0 >= f32::from(contrast))
}

fn mean_luma(frame: &Frame, area: Rect) -> f32 {
    let luma = frame.planes()[0];
    let rows = (area.y.max(0.0) as usize)..(area.bottom() as usize).min(frame.height);
    let columns = (area.x.max(0.0) as usize)..(area.right() as usize).min(frame.width);
    let count = (rows.len() * columns.len()).max(1);
    rows.flat_map(|y| &luma[y * frame.width..][columns.clone()]).map(|&v| u32::from(v)).sum::<u32>() as f32 / count as f32
}

/// Whether the word is among those read where it was drawn.
fn was_read(word: &Drawn, blocks: &[Block]) -> bool {
    let (x, y) = word.area.center();
    let holds = |area: &Rect| x >= area.x && x <= area.right() && y >= area.y && y <= area.bottom();
    blocks.iter().flat_map(Block::words).any(|read| read.text.eq_ignore_ascii_case(&word.text) && holds(&read.area))
}

/// The share of an area that lies in the one of these that holds most of it.
fn covered(area: &Rect, by: &[Rect]) -> f32 {
    by.iter().map(|other| other.intersection(area).area() / area.area()).fold(0.0, f32::max)
}

fn plain(luma: u8) -> Frame {
    let mut data = vec![128; i420_len(SIZE.0, SIZE.1)];
    data[..SIZE.0 * SIZE.1].fill(luma);
    Frame::new(FrameSeq(0), Micros::ZERO, SIZE.0, SIZE.1, frame::Range::Limited, Matrix::Bt709, data)
}

/// A name, and frames without text.
type Ground = (&'static str, Vec<Frame>);

fn grounds(frames: usize) -> anyhow::Result<Vec<Ground>> {
    let shades = [16, 40, 90, 120, 160, 200, 235];
    let clip = |name: &str| -> anyhow::Result<Vec<Frame>> {
        let all = clip::scaled(&asset(name), SIZE.0, SIZE.1, 120)?;
        let step = (all.len() / frames).max(1);
        Ok(all.into_iter().step_by(step).take(frames).collect())
    };
    Ok(vec![
        ("plain", shades.into_iter().cycle().take(frames).map(plain).collect()),
        ("photograph", vec![clip::scaled(&asset("astronaut.png"), SIZE.0, SIZE.1, 1)?.swap_remove(0); frames.div_ceil(2)]),
        ("film (bigbuckbunny)", clip("bigbuckbunny.mp4")?),
        ("street (bikes)", clip("bikes.mp4")?),
    ])
}

fn costs(face: &Typeface) -> anyhow::Result<()> {
    println!("\nmilliseconds of one thread's processor time, the least of 3 to 5 (720p)");
    for (lines, ground) in
        [(0, plain(60)), (1, plain(60)), (12, plain(60)), (12, clip::scaled(&asset("bikes.mp4"), SIZE.0, SIZE.1, 1)?.swap_remove(0))]
    {
        let mut frame = ground;
        for (i, phrase) in PHRASES.iter().take(lines).enumerate() {
            face.draw(&mut frame, (100.0, 30.0 + 55.0 * i as f32), phrase, &Style::new(20.0, Rgb([255, 255, 255])));
        }
        for (name, within) in
            [("whole frame", vec![]), ("part of 256x64", vec![Rect::new(100.0 / 1280.0, 20.0 / 720.0, 0.2, 64.0 / 720.0)])]
        {
            for scan in SCANS {
                let mut fresh = f64::MAX;
                for _ in 0..3 {
                    fresh = fresh.min(timed(&mut reader(scan)?, |reader| reader.read(&frame, &within).map(drop))?);
                }
                let mut warm = reader(scan)?;
                let (mut cached, mut find) = (f64::MAX, f64::MAX);
                for _ in 0..5 {
                    cached = cached.min(timed(&mut warm, |reader| reader.read(&frame, &within).map(drop))?);
                    find = find.min(timed(&mut warm, |reader| reader.find(&frame, &within).map(drop))?);
                }
                println!("{lines:>3} lines, {name:16} at most {}x{}: read {fresh:.0}, again {cached:.0}, find {find:.0}", scan.0, scan.1);
            }
        }
    }
    Ok(())
}

/// What `vision::strokes` marks: words it overlooks altogether, blocks of words it does not mark, and blocks of clips it marks.
fn strokes(face: &Typeface, grounds: &[Ground]) -> anyhow::Result<()> {
    heading("words without a marked block / blocks of words not marked, of all, by contrast (luma steps)");
    for contrast in CONTRASTS {
        for (name, grounds) in grounds {
            let mut row = format!("{:24}", format!("{name}, {contrast}"));
            for size in SIZES {
                let (mut words, mut overlooked, mut blocks, mut unmarked) = (0, 0, 0, 0);
                for (i, ground) in grounds.iter().enumerate() {
                    let mut frame = ground.clone();
                    let drawn = page(face, &mut frame, size, Some(contrast), false, i as u64);
                    let strokes = strokes::strokes(frame.planes()[0], SIZE.0);
                    for word in drawn {
                        words += 1;
                        overlooked += usize::from(!strokes.any_in(&word.area));
                        let (columns, rows) = blocks_within(&word.area);
                        for row in rows {
                            for column in columns.clone() {
                                blocks += 1;
                                unmarked += usize::from(!strokes.has(row * strokes.across() + column));
                            }
                        }
                    }
                }
                let share = |part: usize, of: usize| part as f64 * 100.0 / of.max(1) as f64;
                row += &format!("{:>18}", format!("{:.1} / {:.1} %", share(overlooked, words), share(unmarked, blocks)));
            }
            println!("{row}");
        }
    }
    println!("\nblocks marked of clips without text, in the mean (and the most), at 1280x720 and at 640x360; ms a frame");
    for name in ["bigbuckbunny.mp4", "bikes.mp4", "carphone.mp4", "astronaut.png"] {
        let mut shown = format!("{name:24}");
        for (width, height) in [SIZE, (640, 360)] {
            let frames = clip::scaled(&asset(name), width, height, 100)?;
            let (mut shares, mut spent) = (Vec::new(), f64::MAX);
            for frame in &frames {
                let begin = ThreadTime::now();
                shares.push(strokes::strokes(frame.planes()[0], width).share());
                spent = spent.min(begin.elapsed().as_secs_f64() * 1e3);
            }
            let (mean, most) = (shares.iter().sum::<f32>() / shares.len() as f32, shares.iter().copied().fold(0.0, f32::max));
            shown += &format!("  {:.1} % ({:.1} %), {spent:.2} ms", mean * 100.0, most * 100.0);
        }
        println!("{shown}");
    }
    Ok(())
}

/// Blocks of which the area covers the centre.
fn blocks_within(area: &Rect) -> (Range<usize>, Range<usize>) {
    let centres = |from: f32, to: f32, side: usize| {
        let block = |share: f32| (share * side as f32 / BLOCK as f32 - 0.5).ceil().max(0.0) as usize;
        block(from)..block(to)
    };
    (centres(area.x, area.right(), SIZE.0), centres(area.y, area.bottom(), SIZE.1))
}

fn timed(reader: &mut Reader, work: impl FnOnce(&mut Reader) -> Result<(), scrim_host::infer::InferError>) -> anyhow::Result<f64> {
    let begin = ThreadTime::now();
    work(reader)?;
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}
