//! Every test makes its clips with the ffmpeg that the code under test runs.

use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::*;
use crate::media::ffmpeg;
use crate::media::frame::{FrameSeq, i420_len};
use crate::vision::color::rgb_from_frame;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Runs ffmpeg with the words of `arguments`, the output file last.
fn make(arguments: &str, to: &Path) {
    let run = Command::new(ffmpeg::find().unwrap())
        .args(["-v", "error", "-nostdin", "-y"])
        .args(arguments.split_whitespace())
        .arg(to)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(run.status.success(), "ffmpeg {arguments}: {}", String::from_utf8_lossy(&run.stderr));
}

fn frames_of(path: &Path) -> Vec<Frame> {
    FileSource::open(path).unwrap().collect::<Result<_, _>>().unwrap()
}

fn copy(from: &Path, to: &Path) -> Vec<Frame> {
    let source = FileSource::open(from).unwrap();
    let mut sink = FileSink::create(to, source.probe(), Some(from)).unwrap();
    let frames: Vec<Frame> = source.collect::<Result<_, _>>().unwrap();
    frames.iter().for_each(|frame| sink.write(frame).unwrap());
    assert_eq!(sink.frames(), frames.len() as u64);
    sink.finish().unwrap();
    frames
}

/// Decibels of the luma's peak to its error.
fn psnr(a: &Frame, b: &Frame) -> f64 {
    let square: f64 = a.planes()[0].iter().zip(b.planes()[0]).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
    10.0 * (255.0f64.powi(2) / (square / a.planes()[0].len() as f64).max(1e-9)).log10()
}

#[test]
fn a_clip_goes_in_and_out_in_every_container() {
    let folder = folder();
    let clip = folder.path().join("in.mp4");
    make("-f lavfi -i testsrc2=d=1:s=320x240:r=30000/1001 -f lavfi -i sine=d=1 -pix_fmt yuv420p -c:a aac", &clip);
    let probe = probe(&clip).unwrap();
    assert_eq!((probe.width, probe.height, probe.rate), (320, 240, Rate { num: 30000, den: 1001 }));
    assert_eq!((probe.range, probe.matrix, probe.audio.as_slice()), (Range::Limited, Matrix::Bt601, ["aac".to_owned()].as_slice()));
    for name in ["out.mp4", "out.m4v", "out.mov", "out.mkv", "out.webm", "out.y4m"] {
        let out = folder.path().join(name);
        let frames = copy(&clip, &out);
        assert_eq!(frames.len(), 30);
        assert!(
            frames.iter().enumerate().all(|(i, f)| f.seq == FrameSeq(i as u64) && f.at.0.abs_diff(probe.rate.time_of(i as u64).0) <= 1)
        );
        let back = frames_of(&out);
        assert_eq!(back.len(), frames.len(), "{name}");
        for (a, b) in frames.iter().zip(&back) {
            // Matroska's ticks are milliseconds; it has no times before 0, so that the sound's lead-in moves both tracks alike.
            assert!(a.at.0.abs_diff(b.at.0 - back[0].at.0) <= 1000, "{name}: {:?} {:?}", a.at, b.at);
            assert!(psnr(a, b) > 32.0, "{name}: {}", psnr(a, b));
            assert_eq!((a.range, a.matrix), (b.range, b.matrix), "{name}");
        }
        let sound = match name {
            "out.webm" => vec!["opus".to_owned()],
            "out.y4m" => vec![],
            _ => vec!["aac".to_owned()],
        };
        assert_eq!(super::probe(&out).unwrap().audio, sound, "{name}");
    }
}

#[test]
fn a_variable_rate_keeps_each_time() {
    let folder = folder();
    let clip = folder.path().join("vfr.mkv");
    // Every 3rd and every 7th picture is missing.
    make("-f lavfi -i testsrc2=d=2:s=160x120:r=25 -vf select=mod(n\\,3)*mod(n\\,7) -fps_mode passthrough -c:v ffv1", &clip);
    let out = folder.path().join("out.mp4");
    let frames = copy(&clip, &out);
    let want: Vec<u64> = (0..50u64).filter(|n| n % 3 != 0 && n % 7 != 0).map(|n| n * 40_000).collect();
    let first = want[0];
    // A clip's own start is its time 0.
    assert_eq!(frames.iter().map(|f| f.at.0).collect::<Vec<_>>(), want.iter().map(|at| at - first).collect::<Vec<_>>());
    assert_eq!(frames_of(&out).iter().map(|f| f.at).collect::<Vec<_>>(), frames.iter().map(|f| f.at).collect::<Vec<_>>());
}

#[test]
fn a_picture_that_begins_late_stays_in_step_with_the_sound() {
    let folder = folder();
    let clip = folder.path().join("late.mkv");
    make("-f lavfi -i sine=d=2 -itsoffset 0.4 -f lavfi -i testsrc2=d=1:s=160x120:r=25 -map 1:v -map 0:a -c:a flac", &clip);
    let out = folder.path().join("out.mkv");
    let frames = copy(&clip, &out);
    assert_eq!(frames[0].at, Micros(400_000));
    assert_eq!(frames_of(&out)[0].at, Micros(400_000));
}

/// Six large patches: what they are as RGB, and a clip of them in the given pixels, range and matrix.
const PATCHES: [[u8; 3]; 6] = [[194, 150, 130], [70, 148, 73], [56, 61, 150], [175, 54, 60], [243, 243, 242], [52, 52, 52]];

fn chart(folder: &Path) -> PathBuf {
    let png = folder.join("chart.png");
    let pixels = image::RgbImage::from_fn(96, 64, |x, y| image::Rgb(PATCHES[(y / 32 * 3 + x / 32) as usize]));
    pixels.save(&png).unwrap();
    png
}

fn assert_chart(frame: &Frame, way: &str) {
    let rgb = rgb_from_frame(frame);
    for (patch, want) in PATCHES.iter().enumerate() {
        let at = ((patch / 3 * 32 + 16) * frame.width + patch % 3 * 32 + 16) * 3;
        let got = &rgb[at..at + 3];
        assert!(got.iter().zip(want).all(|(a, b)| a.abs_diff(*b) <= 3), "{way}: patch {patch} is {got:?}, should be {want:?}");
    }
}

#[test]
fn colours_survive_every_way_in_and_out() {
    let folder = folder();
    let png = chart(folder.path());
    let lossless = "-c:v ffv1";
    for (pixels, range, matrix, codec, want) in [
        ("yuv420p", "tv", "bt601", lossless, (Range::Limited, Matrix::Bt601)),
        ("yuv420p", "tv", "bt709", lossless, (Range::Limited, Matrix::Bt709)),
        ("yuv420p", "pc", "bt601", lossless, (Range::Full, Matrix::Bt601)),
        ("yuv420p", "pc", "bt709", lossless, (Range::Full, Matrix::Bt709)),
        ("yuv420p", "pc", "bt709", "-c:v libx264 -crf 4", (Range::Full, Matrix::Bt709)),
        ("yuv420p10le", "tv", "bt709", lossless, (Range::Limited, Matrix::Bt709)),
        ("yuv420p10le", "pc", "bt601", lossless, (Range::Full, Matrix::Bt601)),
        ("yuv444p", "tv", "bt601", lossless, (Range::Limited, Matrix::Bt601)),
        ("yuv422p", "pc", "bt709", lossless, (Range::Full, Matrix::Bt709)),
        ("yuv444p", "tv", "bt2020", lossless, (Range::Limited, Matrix::Bt601)),
        ("yuvj420p", "pc", "bt601", "-c:v mjpeg -q:v 1", (Range::Full, Matrix::Bt601)),
        ("bgr0", "pc", "bt601", lossless, (Range::Limited, Matrix::Bt601)),
    ] {
        let way = format!("{pixels} {range} {matrix} {codec}");
        let clip = folder.path().join("chart.mkv");
        let tag = match (matrix, pixels) {
            (_, "bgr0") => "rgb",
            ("bt601", _) => "smpte170m",
            ("bt2020", _) => "bt2020nc",
            _ => "bt709",
        };
        let filter = match pixels {
            "bgr0" => "format=bgr0".to_owned(),
            _ => format!("scale=out_range={range}:out_color_matrix={matrix}:flags=accurate_rnd+full_chroma_int,format={pixels}"),
        };
        make(&format!("-loop 1 -i {} -frames:v 3 -vf {filter} {codec} -color_range {range} -colorspace {tag}", png.display()), &clip);
        let frames = frames_of(&clip);
        assert_eq!(frames.len(), 3, "{way}");
        assert_eq!((frames[0].range, frames[0].matrix), want, "{way}");
        assert_chart(&frames[0], &way);
        for name in ["chart.mp4", "chart.webm", "chart.y4m"] {
            let out = folder.path().join(name);
            copy(&clip, &out);
            let back = frames_of(&out);
            assert_eq!((back[0].range, back[0].matrix), want, "{way} to {name}");
            assert_chart(&back[0], &format!("{way} to {name}"));
        }
    }
}

#[test]
fn greyscale_keeps_its_levels() {
    let folder = folder();
    let clip = folder.path().join("grey.mkv");
    make("-f lavfi -i color=c=0x606060:s=64x48:d=0.2 -vf format=gray -c:v ffv1", &clip);
    let rgb = rgb_from_frame(&frames_of(&clip)[0]);
    assert!(rgb.iter().all(|v| v.abs_diff(0x60) <= 2), "{:?}", &rgb[..3]);
}

#[test]
fn odd_sizes_and_rotation_are_as_shown() {
    let folder = folder();
    let odd = folder.path().join("odd.mkv");
    make("-f lavfi -i testsrc=d=0.2:s=161x119:r=25 -pix_fmt yuv420p -c:v ffv1", &odd);
    for (name, size) in [("odd.mp4", (162, 120)), ("odd.webm", (161, 119)), ("odd.y4m", (161, 119))] {
        let out = folder.path().join(name);
        let frames = copy(&odd, &out);
        assert_eq!((frames[0].width, frames[0].height), (161, 119));
        let back = frames_of(&out);
        assert_eq!((back.len(), back[0].width, back[0].height), (5, size.0, size.1), "{name}");
    }
    let flat = folder.path().join("flat.mp4");
    make("-f lavfi -i testsrc2=d=0.2:s=160x120:r=25 -pix_fmt yuv420p", &flat);
    let turned = folder.path().join("turned.mov");
    // Two ways of tagging, for older and newer versions of ffmpeg.
    let run = |before: &str, after: &str| {
        let mut command = Command::new(ffmpeg::find().unwrap());
        command.args(["-v", "error", "-y"]).args(before.split_whitespace()).arg("-i").arg(&flat);
        command.args(["-c", "copy"]).args(after.split_whitespace()).arg(&turned).stdin(Stdio::null()).status().unwrap().success()
    };
    assert!(run("-display_rotation 90", "") || run("", "-metadata:s:v:0 rotate=270"));
    let frames = frames_of(&turned);
    assert_eq!((frames[0].width, frames[0].height, frames.len()), (120, 160, 5));
    assert_ne!(probe(&turned).unwrap().rotation, 0);
}

#[test]
fn a_cut_file_gives_what_it_holds_and_then_the_error() {
    let folder = folder();
    for (name, how) in [("a.mkv", "-c:v ffv1"), ("a.mp4", "-pix_fmt yuv420p -movflags +faststart"), ("a.y4m", "-pix_fmt yuv420p")] {
        let clip = folder.path().join(name);
        make(&format!("-f lavfi -i testsrc2=d=2:s=160x120:r=25 {how}"), &clip);
        let whole = std::fs::read(&clip).unwrap();
        std::fs::write(&clip, &whole[..whole.len() / 2 + 77]).unwrap();
        let all: Vec<_> = FileSource::open(&clip).unwrap().collect();
        let good = all.iter().filter(|frame| frame.is_ok()).count();
        assert!((5..50).contains(&good), "{name}: {good} frames");
        match all.last() {
            Some(Err(FileError::Truncated { frames, .. })) => assert_eq!(*frames, good as u64, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(all.len(), good + 1, "{name}");
    }
}

#[test]
fn what_is_no_clip_is_refused_by_name() {
    let folder = folder();
    let text = folder.path().join("notes.mp4");
    std::fs::write(&text, "not a clip").unwrap();
    assert!(matches!(probe(&folder.path().join("none.mp4")), Err(FileError::NotFound { .. })));
    assert!(matches!(FileSource::open(&text).map(drop), Err(FileError::NotAVideo { .. })));
    assert!(matches!(probe(folder.path()), Err(FileError::NotAVideo { .. })));
    let sound = folder.path().join("sound.wav");
    make("-f lavfi -i sine=d=0.1", &sound);
    assert!(matches!(probe(&sound), Err(FileError::NotAVideo { .. })));
    let header = folder.path().join("bad.y4m");
    for bad in ["YUV4MPEG2 W16\n", "YUV4MPEG2 W0 H16\n", "MPEG\n", "YUV4MPEG2 W99999999 H2\n", ""] {
        std::fs::write(&header, bad).unwrap();
        assert!(matches!(probe(&header), Err(FileError::Y4m { .. })), "{bad:?}");
    }
}

#[test]
fn an_output_is_refused_before_anything_is_lost() {
    let folder = folder();
    let clip = folder.path().join("in.mp4");
    make("-f lavfi -i testsrc2=d=0.2:s=160x120:r=25 -pix_fmt yuv420p", &clip);
    let probe = probe(&clip).unwrap();
    let create = |name: &str| FileSink::create(&folder.path().join(name), &probe, Some(&clip)).map(drop);
    assert!(matches!(create("out.gif"), Err(FileError::UnknownExtension { .. })));
    assert!(matches!(create("in.mp4"), Err(FileError::SameFile { .. })));
    assert!(matches!(create("missing/out.mp4"), Err(FileError::Write { .. })));
    let none = FileSink::create(&folder.path().join("none.mp4"), &probe, None).unwrap();
    assert!(matches!(none.finish(), Err(FileError::NoFrames { .. })));
    let mut sink = FileSink::create(&folder.path().join("sizes.y4m"), &probe, None).unwrap();
    let frame = |w, h| Frame::new(FrameSeq(0), Micros::ZERO, w, h, Range::Limited, Matrix::Bt601, vec![0; i420_len(w, h)]);
    sink.write(&frame(16, 16)).unwrap();
    assert!(matches!(sink.write(&frame(18, 16)), Err(FileError::SizeChanged { frame: 1, .. })));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named() {
    let folder = folder();
    let clip = folder.path().join("in.mp4");
    make("-f lavfi -i testsrc2=d=1:s=320x240:r=25 -pix_fmt yuv420p", &clip);
    for name in ["full.y4m", "full.mkv"] {
        let full = folder.path().join(name);
        std::os::unix::fs::symlink("/dev/full", &full).unwrap();
        let source = FileSource::open(&clip).unwrap();
        let mut sink = FileSink::create(&full, source.probe(), None).unwrap();
        let written = source.map(|frame| frame.unwrap()).try_for_each(|frame| sink.write(&frame)).and_then(|()| sink.finish());
        assert!(matches!(written, Err(FileError::DiskFull { .. })), "{name}: {written:?}");
    }
}

#[test]
fn a_source_dropped_early_ends_its_child() {
    let folder = folder();
    let clip = folder.path().join("long.mp4");
    make("-f lavfi -i testsrc2=d=20:s=640x360:r=30 -pix_fmt yuv420p -preset ultrafast", &clip);
    let mut source = FileSource::open(&clip).unwrap();
    assert!(matches!(source.next(), Some(Ok(_))));
    // Returns only when the child and both threads have ended.
    drop(source);
}

#[test]
fn real_clips_come_out_with_as_many_frames() {
    let folder = folder();
    for name in ["carphone.mp4", "bikes.mp4", "bigbuckbunny.mp4"] {
        let clip = scrim_toolchain::assets::path(name).unwrap();
        assert!(clip.is_file(), "{} is missing: run `cargo xtask fetch`", clip.display());
        // One line a frame, by another way through ffmpeg.
        let listed = Command::new(ffmpeg::find().unwrap())
            .args(["-v", "error", "-nostdin", "-i"])
            .arg(&clip)
            .args(["-map", "0:V:0", "-fps_mode", "passthrough", "-f", "framecrc", "-"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let count = listed.stdout.split(|&byte| byte == b'\n').filter(|line| line.first().is_some_and(u8::is_ascii_digit)).count();
        let out = folder.path().join(name);
        let source = FileSource::open(&clip).unwrap();
        let mut sink = FileSink::create(&out, source.probe(), Some(&clip)).unwrap();
        let mut times = Vec::new();
        for frame in source {
            let frame = frame.unwrap();
            times.push(frame.at);
            sink.write(&frame).unwrap();
        }
        sink.finish().unwrap();
        assert!(count > 50 && times.len() == count, "{name}: {} of {count} frames", times.len());
        let back: Vec<Micros> = FileSource::open(&out).unwrap().map(|frame| frame.unwrap().at).collect();
        assert_eq!(back, times, "{name}");
    }
}
