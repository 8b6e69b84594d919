//! ffmpeg child processes: finding the program, reading what it says of a file, frames out of one, frames into one.
//!
//! Decoding: raw I420 comes by standard output; each frame's time and the pixels' meaning come from the `showinfo` filter by standard
//! error, one line a frame in the same order, since raw video has no room for them. Times are in microseconds (`settb`); with
//! `-fps_mode passthrough` ffmpeg neither repeats nor drops a picture. Pixels other than 8-bit 4:2:0 are converted with range and matrix
//! stated on both sides, so that nothing is rescaled unasked.
//!
//! Encoding: frames go in as Matroska (see `matroska`), which carries times, range and matrix.
//!
//! Works with ffmpeg 5.1 and later (`-fps_mode`).

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use crate::media::file::{Container, FRAMES_IN_FLIGHT, FileError, Probe, RATE_DEFAULT, Rate, matrix_by_height, write_error};
use crate::media::frame::{Frame, FrameSeq, Matrix, Micros, Range, i420_len};
use crate::media::matroska;

/// The program to run, before the path is searched.
const PROGRAM_VAR: &str = "SCRIM_FFMPEG";

/// Of a file that ends early ffmpeg complains, and still exits with 0. Damage in mid-stream conceals itself and is none of these.
const ENDS_EARLY: [&str; 5] =
    ["partial file", "File ended prematurely", "Truncat", "Invalid data found when processing input", "Error during demuxing"];

/// Lines of complaint kept of a child, the newest.
const COMPLAINTS_MAX: usize = 8;

/// Rates above this are a time base given for a rate, as WebM's 1000; the mean of the stream's own line is taken then.
const RATE_MAX: f64 = 300.0;

/// Finest tick that encoders are given. MPEG-4's has 16 bits.
const TICKS_PER_SECOND_MAX: u32 = 1_000_000;
const TICKS_PER_SECOND_MPEG4: u32 = 60_000;

/// The ffmpeg to use: `SCRIM_FFMPEG`, else the path's, else the one that `cargo xtask fetch` left in the user's cache.
pub fn find() -> Result<PathBuf, FileError> {
    if let Some(path) = std::env::var_os(PROGRAM_VAR).filter(|v| !v.is_empty()).map(PathBuf::from) {
        return if path.is_file() { Ok(path) } else { Err(FileError::FfmpegWrong { path }) };
    }
    let name = format!("ffmpeg{}", std::env::consts::EXE_SUFFIX);
    let on_path = std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    // Without a cache folder there is nothing in it.
    let fetched = scrim_toolchain::assets::folder().ok();
    on_path.chain(fetched).map(|folder| folder.join(&name)).find(|program| program.is_file()).ok_or(FileError::FfmpegMissing)
}

/// What its name says and nothing else: a `-` or `http:` at its beginning means nothing.
pub(super) fn file_url(path: &Path) -> OsString {
    let mut url = OsString::from("file:");
    url.push(path);
    url
}

/// The encoders that it has.
pub(super) fn encoders(ffmpeg: &Path) -> Result<Vec<String>, FileError> {
    let listed = Command::new(ffmpeg).args(["-hide_banner", "-encoders"]).stdin(Stdio::null()).output().map_err(run_error(ffmpeg))?;
    let listed = String::from_utf8_lossy(&listed.stdout);
    Ok(listed.lines().filter_map(|line| line.split_whitespace().nth(1)).map(str::to_owned).collect())
}

pub(super) fn run_error(program: &Path) -> impl FnOnce(std::io::Error) -> FileError {
    let program = program.to_owned();
    move |source| FileError::FfmpegRun { program, source }
}

/// How the stored pixels become I420 of the probe's range and matrix, as ffmpeg filters.
pub(crate) struct Conversion(String);

pub(crate) fn probe(ffmpeg: &Path, path: &Path) -> Result<(Probe, Conversion), FileError> {
    let mut command = Command::new(ffmpeg);
    command.args(["-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+info", "-i"]).arg(file_url(path));
    command.args(["-map", "0:V:0", "-vf", "showinfo=checksum=0", "-frames:v", "1", "-f", "null", "-"]);
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).output().map_err(run_error(ffmpeg))?;
    let said = String::from_utf8_lossy(&output.stderr);
    parse_probe(&said).ok_or_else(|| {
        let complaint = said.lines().rev().find_map(complaint).unwrap_or_else(|| "it has no picture".to_owned());
        FileError::NotAVideo { path: path.to_owned(), detail: complaint }
    })
}

/// The text of a line of level `error` or worse; or where a file ends early, what another of ffmpeg's threads said of it in the middle of
/// a frame's line, which `showinfo` writes in pieces: such words have lost their level and the line's end is theirs.
fn complaint(line: &str) -> Option<String> {
    let of_level = ["[error] ", "[fatal] ", "[panic] "].iter().find_map(|level| Some(line.split_once(level)?.1));
    let within = || of_showinfo(line).and_then(|shown| ENDS_EARLY.iter().find_map(|sign| Some(&shown[shown.find(sign)?..])));
    of_level.or_else(within).map(|text| text.trim().to_owned())
}

/// Value of `key:value` words; ffmpeg pads some values with blanks.
fn word<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_once(key)?.1.split_whitespace().next()
}

fn fraction(text: &str, by: char) -> Option<(u32, u32)> {
    let (num, den) = text.split_once(by)?;
    Some((num.parse().ok()?, den.trim_end_matches(',').parse().ok()?)).filter(|&(num, den)| num > 0 && den > 0)
}

/// Line of the filter that tells of frames, without its prefix. Text of the file's own (titles and so on) never begins a line.
fn of_showinfo(line: &str) -> Option<&str> {
    Some(line.strip_prefix("[Parsed_showinfo")?.split_once("[info] ")?.1)
}

fn parse_probe(said: &str) -> Option<(Probe, Conversion)> {
    let (mut audio, mut duration, mut mean_rate, mut rotation) = (Vec::new(), None, None, 0);
    let input = said.lines().take_while(|line| !line.contains("Stream mapping:") && !line.starts_with("[info] Output #"));
    for line in input.filter_map(|line| Some(line.strip_prefix("[info]")?.trim_start())) {
        if let Some(length) = line.strip_prefix("Duration: ") {
            duration = clock(length.split(',').next().unwrap_or_default());
        } else if let Some(stream) = line.strip_prefix("Stream #0:") {
            if let Some(codec) = word(stream, ": Audio: ") {
                audio.push(codec.trim_end_matches(',').to_owned());
            } else if stream.contains(": Video: ") && mean_rate.is_none() {
                mean_rate = stream.split(", ").find_map(|part| part.strip_suffix(" fps")?.parse::<f64>().ok());
            }
        } else if let Some(degrees) = rotation_of(line) {
            rotation = degrees.parse::<f64>().map_or(0, |d| d.round() as i32);
        }
    }
    let shown: Vec<&str> = said.lines().filter_map(of_showinfo).collect();
    let config = shown.iter().find(|line| line.starts_with("config in"))?;
    let frame = shown.iter().find(|line| line.starts_with("n:"))?;
    let colour = shown.iter().find(|line| line.starts_with("color_range:")).copied().unwrap_or_default();

    let (width, height) = word(frame, " s:")?.split_once('x')?;
    let (width, height): (usize, usize) = (width.parse().ok()?, height.parse().ok()?);
    let pixels = word(frame, "fmt:")?.to_owned();
    let stated = word(config, "frame_rate: ").and_then(|rate| fraction(rate, '/')).and_then(|(num, den)| Rate::new(num, den));
    let mean = mean_rate.and_then(|rate| Rate::new((rate * 1000.0).round() as u32, 1000));
    let rate = stated.filter(|rate| rate.per_second() <= RATE_MAX).or(mean).unwrap_or(RATE_DEFAULT);
    let (range, matrix, conversion) = conversion(&pixels, word(colour, "color_range:"), word(colour, "color_space:"), height);
    let probe = Probe {
        width,
        height,
        rate,
        time_base: word(config, "time_base: ").and_then(|base| fraction(base, '/')),
        pixel_aspect: word(frame, "sar:").and_then(|sar| fraction(sar, '/')).unwrap_or((1, 1)),
        duration,
        frames: duration.map(|d: Micros| (d.0 as f64 / 1e6 * rate.per_second()).round() as u64),
        range,
        matrix,
        rotation,
        pixels,
        audio,
    };
    Some((probe, conversion))
}

/// Degrees of a line on how the picture is turned, in the words of ffmpeg 5 or of ffmpeg 9.
fn rotation_of(line: &str) -> Option<&str> {
    let rest = ["displaymatrix: rotation of ", "Display Matrix: rotation of "].iter().find_map(|words| line.strip_prefix(words))?;
    rest.split(' ').next()
}

/// `HH:MM:SS.cc`; `N/A` is none.
fn clock(text: &str) -> Option<Micros> {
    let mut parts = text.trim().split(':');
    let hours: u64 = parts.next()?.parse().ok()?;
    let minutes: u64 = parts.next()?.parse().ok()?;
    let seconds: f64 = parts.next()?.parse().ok()?;
    Some(Micros((hours * 3600 + minutes * 60) * 1_000_000 + (seconds * 1e6).round() as u64))
}

fn conversion(pixels: &str, range: Option<&str>, space: Option<&str>, height: usize) -> (Range, Matrix, Conversion) {
    const RGB: [&str; 12] = ["rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "pal8", "x2rgb", "x2bgr", "mono", "bayer"];
    let is_rgb = RGB.iter().any(|kind| pixels.starts_with(kind));
    // ffmpeg takes greyscale as full range whatever it is tagged as.
    let is_full = pixels.starts_with("yuvj") || (pixels.starts_with("gray") || pixels.starts_with("ya")) || range == Some("pc");
    let range = if is_full && !is_rgb { Range::Full } else { Range::Limited };
    // Names of ffmpeg's for the matrices of BT.601 and BT.709; others are converted to the one that goes by the height.
    let (matrix, is_other) = match space {
        Some("bt709") => (Matrix::Bt709, false),
        Some("bt470bg" | "smpte170m") => (Matrix::Bt601, false),
        None | Some("unknown" | "reserved" | "unspecified") => (matrix_by_height(height), false),
        Some(_) => (matrix_by_height(height), true),
    };
    let range_name = match range {
        Range::Limited => "limited",
        Range::Full => "full",
    };
    let matrix_name = match matrix {
        Matrix::Bt601 => "bt601",
        Matrix::Bt709 => "bt709",
    };
    let filters = match pixels {
        // The two names of the same layout; what is stored stays as it is.
        "yuv420p" | "yuvj420p" if !is_other => "format=yuv420p|yuvj420p".to_owned(),
        _ => {
            let from = match (is_rgb, is_other) {
                (true, _) => String::new(),
                (false, true) => format!("in_range={range_name}:"),
                (false, false) => format!("in_range={range_name}:in_color_matrix={matrix_name}:"),
            };
            let how = "flags=bicubic+accurate_rnd+full_chroma_int";
            format!("scale={from}out_range={range_name}:out_color_matrix={matrix_name}:{how},format=yuv420p|yuvj420p")
        }
    };
    (range, matrix, Conversion(filters))
}

/// The child that decodes, with the threads that read from it.
pub(crate) struct Decoder {
    child: std::sync::Arc<std::sync::Mutex<Child>>,
    reader: Option<JoinHandle<()>>,
}

impl Decoder {
    /// Frames come by the receiver, after them at most one error.
    pub fn spawn(
        ffmpeg: &Path,
        path: &Path,
        probe: &Probe,
        conversion: &Conversion,
    ) -> Result<(Decoder, Receiver<Result<Frame, FileError>>), FileError> {
        let filters = format!("{},settb=1/1000000,showinfo=checksum=0", conversion.0);
        let mut command = Command::new(ffmpeg);
        command.args(["-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+info", "-i"]).arg(file_url(path));
        command.args(["-map", "0:V:0", "-vf", &filters, "-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(run_error(ffmpeg))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            unreachable!("both were just asked for");
        };
        let (times_in, times) = channel();
        let listener = std::thread::spawn(move || listen(BufReader::new(stderr), &times_in));
        let (frames_in, frames) = sync_channel(FRAMES_IN_FLIGHT);
        let child = std::sync::Arc::new(std::sync::Mutex::new(child));
        let reading = Reading { path: path.to_owned(), probe: probe.clone(), times, frames: frames_in, next: 0, last: None };
        let of_reader = child.clone();
        let reader = std::thread::spawn(move || {
            let (reading, is_cut) = reading.run(stdout);
            let complaints = listener.join().unwrap_or_default();
            let has_failed = of_reader.lock().map_or(true, |mut child| !child.wait().is_ok_and(|status| status.success()));
            reading.conclude(is_cut, has_failed, &complaints);
        });
        Ok((Decoder { child, reader: Some(reader) }, frames))
    }

    /// Ends the child whatever it is doing. The receiver must be gone, or the reading thread may wait for it for ever.
    pub fn stop(&mut self) {
        // An error means that it has already ended. The reader holds the lock only to wait for a child that closed its pipes.
        if let Ok(mut child) = self.child.lock() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Passes on each frame's time and returns the newest complaints.
fn listen(from: impl BufRead, times: &Sender<Option<u64>>) -> Vec<String> {
    let mut complaints = VecDeque::new();
    for line in from.split(b'\n') {
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line);
        if let Some(shown) = of_showinfo(&line).filter(|shown| shown.starts_with("n:")) {
            // A frame without a time says `NOPTS`; one before the start is the start.
            let at = word(shown, " pts:").and_then(|pts| pts.parse::<i64>().ok());
            // Nobody listens any more once the source is dropped.
            let _ = times.send(at.map(|at| at.max(0) as u64));
        }
        if let Some(text) = complaint(&line) {
            complaints.push_back(text);
            if complaints.len() > COMPLAINTS_MAX {
                complaints.pop_front();
            }
        }
    }
    complaints.into()
}

/// What the reading thread carries along.
struct Reading {
    path: PathBuf,
    probe: Probe,
    times: Receiver<Option<u64>>,
    frames: SyncSender<Result<Frame, FileError>>,
    next: u64,
    last: Option<Micros>,
}

impl Reading {
    /// Reads to the end; whether it came in the middle of a frame. Returns early when nobody wants more frames.
    fn run(mut self, mut from: ChildStdout) -> (Reading, bool) {
        let Probe { width, height, range, matrix, .. } = self.probe;
        let bytes = i420_len(width, height);
        loop {
            let mut data = Vec::with_capacity(bytes);
            let read = (&mut from).take(bytes as u64).read_to_end(&mut data);
            if read.is_err() || data.len() < bytes {
                return (self, !data.is_empty());
            }
            let at = self.time();
            let frame = Frame::new(FrameSeq(self.next), at, width, height, range, matrix, data);
            (self.next, self.last) = (self.next + 1, Some(at));
            if self.frames.send(Ok(frame)).is_err() {
                return (self, false);
            }
        }
    }

    /// The next frame's time: later than the one before it, whatever the file says.
    fn time(&self) -> Micros {
        let stated = self.times.recv().ok().flatten().map(Micros);
        match (stated, self.last) {
            (Some(at), Some(last)) => at.max(last + Micros(1)),
            (Some(at), None) => at,
            (None, Some(last)) => last + self.probe.rate.time_of(1),
            (None, None) => Micros::ZERO,
        }
    }

    fn conclude(self, is_cut: bool, has_failed: bool, complaints: &[String]) {
        let is_early = complaints.iter().any(|line| ENDS_EARLY.iter().any(|sign| line.contains(sign)));
        if is_cut || has_failed || is_early {
            let detail = complaints.last().cloned().unwrap_or_else(|| "it ends within a picture".to_owned());
            // Refused only where the source was dropped, which is why the child has failed then.
            let _ = self.frames.send(Err(FileError::Truncated { path: self.path, frames: self.next, detail }));
        }
    }
}

/// The child that encodes. It starts with the first frame, whose size, range and matrix it needs.
pub(crate) struct Encoder {
    ffmpeg: PathBuf,
    path: PathBuf,
    container: Container,
    probe: Probe,
    audio_from: Option<PathBuf>,
    codec: &'static Codec,
    audio_codec: &'static str,
    running: Option<Running>,
}

struct Running {
    child: Child,
    frames: Option<SyncSender<Frame>>,
    writer: Option<JoinHandle<std::io::Result<()>>>,
    listener: Option<JoinHandle<Vec<String>>>,
}

struct Codec {
    name: &'static str,
    options: &'static [&'static str],
}

/// Best first. Qualities at which nobody sees a difference to the input; speeds that leave the processor to inference.
const H264_OR_LIKE: [Codec; 3] = [
    Codec { name: "libx264", options: &["-preset", "veryfast", "-crf", "18"] },
    Codec { name: "libopenh264", options: &["-b:v", "8M"] },
    Codec { name: "mpeg4", options: &["-q:v", "2"] },
];
const FOR_WEBM: [Codec; 2] = [
    Codec { name: "libvpx-vp9", options: &["-crf", "20", "-b:v", "0", "-deadline", "realtime", "-cpu-used", "6", "-row-mt", "1"] },
    Codec { name: "libvpx", options: &["-crf", "8", "-b:v", "8M", "-deadline", "realtime", "-cpu-used", "6"] },
];

impl Encoder {
    pub fn new(ffmpeg: PathBuf, path: &Path, container: Container, probe: &Probe, audio_from: Option<&Path>) -> Result<Encoder, FileError> {
        let listed = encoders(&ffmpeg)?;
        let has = |name: &str| listed.iter().any(|listed| listed == name);
        let codecs: &'static [Codec] = if container == Container::Webm { &FOR_WEBM } else { &H264_OR_LIKE };
        let no_encoder = |wanted: Vec<&str>| FileError::NoEncoder { path: path.to_owned(), wanted: wanted.join(", ") };
        let codec = codecs.iter().find(|c| has(c.name)).ok_or_else(|| no_encoder(codecs.iter().map(|c| c.name).collect()))?;
        let audio_codecs: &[&str] = if container == Container::Webm { &["libopus", "libvorbis"] } else { &["aac"] };
        let audio_codec = audio_codecs.iter().find(|name| has(name)).ok_or_else(|| no_encoder(audio_codecs.to_vec()))?;
        Ok(Encoder {
            ffmpeg,
            path: path.to_owned(),
            container,
            probe: probe.clone(),
            audio_from: audio_from.map(Path::to_owned),
            codec,
            audio_codec,
            running: None,
        })
    }

    /// Waits while [`FRAMES_IN_FLIGHT`] frames wait before it.
    pub fn write(&mut self, frame: &Frame) -> Result<(), FileError> {
        if self.running.is_none() {
            self.running = Some(self.start(frame)?);
        }
        let sent = self.running.as_ref().and_then(|running| running.frames.as_ref()).is_some_and(|to| to.send(frame.clone()).is_ok());
        if sent { Ok(()) } else { Err(self.end().err().unwrap_or_else(|| self.encode_error(&[]))) }
    }

    pub fn finish(mut self) -> Result<(), FileError> {
        self.end()
    }

    fn encode_error(&self, complaints: &[String]) -> FileError {
        if is_disk_full(complaints) {
            return FileError::DiskFull { path: self.path.clone() };
        }
        // The first line names the cause, what follows is its consequence.
        let detail = complaints.first().cloned().unwrap_or_else(|| "ffmpeg ended early and did not say why".to_owned());
        FileError::Encode { path: self.path.clone(), detail }
    }

    /// Lets the child complete the file and asks how that went.
    fn end(&mut self) -> Result<(), FileError> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        drop(running.frames.take());
        let written = running.writer.take().map(JoinHandle::join);
        let status = running.child.wait().map_err(run_error(&self.ffmpeg))?;
        let complaints = running.listener.take().and_then(|listener| listener.join().ok()).unwrap_or_default();
        match written {
            // Version 5 exits with 0 even where the trailer could not be written.
            _ if !status.success() || is_disk_full(&complaints) => Err(self.encode_error(&complaints)),
            Some(Ok(Err(error))) => Err(write_error(&self.path, error)),
            _ => Ok(()),
        }
    }

    fn start(&self, first: &Frame) -> Result<Running, FileError> {
        let mut command = Command::new(&self.ffmpeg);
        command.args(["-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+error", "-y"]);
        // ffmpeg lets each input begin at 0; the offset gives a picture that begins late its delay back.
        let offset = format!("{}.{:06}", first.at.0 / 1_000_000, first.at.0 % 1_000_000);
        command.args(["-f", "matroska", "-itsoffset", &offset, "-i", "pipe:0"]);
        self.add_audio(&mut command);
        self.add_video(&mut command, first);
        command.args(["-map_metadata", "-1", "-map_chapters", "-1"]);
        match self.container {
            Container::Mp4 => command.args(["-movflags", "+faststart", "-f", "mp4"]),
            Container::Mov => command.args(["-movflags", "+faststart", "-f", "mov"]),
            Container::Webm => command.args(["-f", "webm"]),
            Container::Mkv | Container::Y4m => command.args(["-f", "matroska"]),
        };
        command.arg(file_url(&self.path));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(run_error(&self.ffmpeg))?;
        let (Some(mut stdin), Some(stderr)) = (child.stdin.take(), child.stderr.take()) else {
            unreachable!("both were just asked for");
        };
        let (frames_in, frames) = sync_channel::<Frame>(FRAMES_IN_FLIGHT);
        let evens = self.container != Container::Webm;
        let (width, height) = if evens { (even(first.width), even(first.height)) } else { (first.width, first.height) };
        let header = matroska::header(width, height, self.probe.rate, first.range, first.matrix);
        let (start, tick) = (first.at, self.tick_micros());
        let writer = std::thread::spawn(move || {
            use std::io::Write;
            stdin.write_all(&header)?;
            let mut next = Micros::ZERO;
            for frame in frames {
                // Two frames within one tick of the output would be refused.
                let at = frame.at.saturating_sub(start).max(next);
                next = at + tick;
                if (frame.width, frame.height) == (width, height) {
                    matroska::write_frame(&mut stdin, at, frame.data())?;
                } else {
                    matroska::write_frame(&mut stdin, at, &padded(&frame, width, height))?;
                }
            }
            Ok(())
        });
        let listener = std::thread::spawn(move || {
            let mut complaints = Vec::new();
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                // The first ones are kept, the pipe is emptied to its end.
                if let Some(text) = complaint(&String::from_utf8_lossy(&line)).filter(|_| complaints.len() < COMPLAINTS_MAX) {
                    complaints.push(text);
                }
            }
            complaints
        });
        Ok(Running { child, frames: Some(frames_in), writer: Some(writer), listener: Some(listener) })
    }

    /// Seconds per tick of the encoded times: the input's own where the encoder can, so that times are kept to the tick.
    fn time_base(&self) -> (u32, u32) {
        let ticks_max = if self.codec.name == "mpeg4" { TICKS_PER_SECOND_MPEG4 } else { TICKS_PER_SECOND_MAX };
        self.probe.time_base.filter(|&(_, den)| den <= ticks_max).unwrap_or((1, ticks_max))
    }

    fn tick_micros(&self) -> Micros {
        let (num, den) = self.time_base();
        // Matroska's own tick is a millisecond, whatever the encoder's is.
        let container = if matches!(self.container, Container::Mkv | Container::Webm) { 1000 } else { 1 };
        Micros((u64::from(num) * 1_000_000).div_ceil(u64::from(den)).max(container))
    }

    fn add_audio(&self, command: &mut Command) {
        let Some(audio_from) = &self.audio_from else {
            command.args(["-map", "0:v:0"]);
            return;
        };
        command.arg("-i").arg(file_url(audio_from)).args(["-map", "0:v:0"]);
        // ffmpeg calls a codec that it does not know `none`.
        for (out, (track, codec)) in self.probe.audio.iter().enumerate().filter(|(_, codec)| *codec != "none").enumerate() {
            let kept = if fits(self.container, codec) { "copy" } else { self.audio_codec };
            command.args(["-map", &format!("1:a:{track}"), &format!("-c:a:{out}"), kept]);
        }
    }

    fn add_video(&self, command: &mut Command, first: &Frame) {
        let (num, den) = self.time_base();
        let (aspect_num, aspect_den) = self.probe.pixel_aspect;
        let range = match first.range {
            Range::Limited => "tv",
            Range::Full => "pc",
        };
        let matrix = match first.matrix {
            Matrix::Bt601 => "smpte170m",
            Matrix::Bt709 => "bt709",
        };
        command.args(["-vf", &format!("setsar={aspect_num}/{aspect_den}"), "-fps_mode", "passthrough"]);
        command.args(["-enc_time_base", &format!("{num}/{den}"), "-c:v", self.codec.name]).args(self.codec.options);
        command.args(["-pix_fmt", "yuv420p", "-color_range", range, "-colorspace", matrix]);
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // Not finished: what is written so far stays, incomplete, and the child does not outlive us.
        if let Some(mut running) = self.running.take() {
            drop(running.frames.take());
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

/// Whether players expect this sound in this container, so that it is copied untouched.
fn fits(container: Container, codec: &str) -> bool {
    match container {
        Container::Mp4 => matches!(codec, "aac" | "mp3" | "ac3" | "eac3" | "alac" | "opus" | "flac"),
        Container::Mov => matches!(codec, "aac" | "mp3" | "ac3" | "eac3" | "alac") || codec.starts_with("pcm_s"),
        Container::Webm => matches!(codec, "opus" | "vorbis"),
        Container::Mkv | Container::Y4m => true,
    }
}

fn is_disk_full(complaints: &[String]) -> bool {
    complaints.iter().any(|line| line.contains("No space left on device") || line.contains("Disk quota exceeded"))
}

fn even(side: usize) -> usize {
    side + side % 2
}

/// The frame with its last column and row repeated up to `width` × `height`, each at most one more; chroma has them already.
fn padded(frame: &Frame, width: usize, height: usize) -> Vec<u8> {
    let [y, cb, cr] = frame.planes();
    let mut data = Vec::with_capacity(i420_len(width, height));
    let mut rows: Vec<&[u8]> = y.chunks_exact(frame.width).collect();
    rows.extend(rows.last().copied().filter(|_| height > frame.height));
    for row in rows {
        data.extend_from_slice(row);
        data.extend(row.last().filter(|_| width > frame.width));
    }
    data.extend_from_slice(cb);
    data.extend_from_slice(cr);
    data
}

#[cfg(test)]
#[path = "ffmpeg_tests.rs"]
mod tests;
