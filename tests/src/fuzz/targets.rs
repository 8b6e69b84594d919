//! What takes bytes within the process: pictures, messages of the socket, plugins, the configuration.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use proptest::strategy::{BoxedStrategy, Strategy};
use scrim_host::config::{Config, RoomSettings};
use scrim_host::media::frame::{Frame, FrameSeq, Micros};
use scrim_host::media::picture::{self, Limits};
use scrim_host::media::wire::{self, Extent, Format, Head, Inbound, Kind, Origin, Verdict};
use scrim_host::plugin::catalog::{CatalogError, load_bytes};
use scrim_host::plugin::engine::{EngineConfig, Engines};
use scrim_host::plugin::instance::Budgets;
use scrim_host::plugin::types::Slot;
use scrim_host::plugin::{check, tools};

use super::mutate::{Mutated, mutated};
use super::{Counts, Fuzz};
use crate::built;
use crate::guest::Guest;

/// Small, so that a case takes little; large enough for every table of a decoder.
const SIDES: [u32; 3] = [17, 48, 130];
/// A decoder that needs longer for a picture that a seed of this size became would hold a room up.
const DECODE_MAX: Duration = Duration::from_secs(5);

fn face() -> Result<Frame> {
    let png = std::fs::read(scrim_toolchain::assets::path("astronaut.png")?)?;
    Ok(picture::decode(&png, Limits::default(), FrameSeq(0), Micros::ZERO)?)
}

fn jpegs() -> Result<Vec<Vec<u8>>> {
    let face = face()?;
    let mut seeds: Vec<Vec<u8>> = SIDES.iter().map(|side| picture::encode_preview(&face, *side, 80)).collect::<Result<_, _>>()?;
    // As cameras write them: progressive, with an orientation.
    seeds.extend(reference_jpegs()?);
    Ok(seeds)
}

/// Other encoders' files, of the fetched ffmpeg: 4:4:4, 4:2:2, grey, restart markers.
fn reference_jpegs() -> Result<Vec<Vec<u8>>> {
    let picture = scrim_toolchain::assets::path("astronaut.png")?;
    let ffmpeg = scrim_toolchain::assets::path("ffmpeg").unwrap_or_else(|_| "ffmpeg".into());
    let mut seeds = Vec::new();
    for format in ["yuvj444p", "yuvj422p", "gray"] {
        let mut command = std::process::Command::new(&ffmpeg);
        command.args(["-v", "error", "-nostdin", "-i"]).arg(&picture);
        command.args(["-vf", "scale=64:48", "-pix_fmt", format, "-strict", "unofficial", "-f", "mjpeg", "-"]);
        let output = command.output().context("ffmpeg cannot be started")?;
        if output.status.success() && !output.stdout.is_empty() {
            seeds.push(output.stdout);
        }
    }
    Ok(seeds)
}

fn decoded(case: &Mutated, counts: &Counts) -> Result<(), String> {
    let (limits, since) = (Limits::default(), Instant::now());
    let outcome = picture::decode(&case.bytes, limits, FrameSeq(1), Micros(1));
    let took = since.elapsed();
    if took > DECODE_MAX {
        return Err(format!("{} bytes took {took:?}", case.bytes.len()));
    }
    let Ok(frame) = outcome else { return Ok(()) };
    counts.took();
    limits.check(frame.width, frame.height).map_err(|error| format!("what was decoded is over the limits: {error}"))?;
    if frame.width * frame.height < 1 << 20 {
        picture::encode_jpeg(&frame, 80).map_err(|error| format!("what was decoded cannot be encoded: {error}"))?;
    }
    Ok(())
}

pub fn jpeg() -> Result<Fuzz<BoxedStrategy<Mutated>>> {
    Ok(Fuzz { name: "jpeg", cases: mutated(jpegs()?, 8).boxed(), run: Box::new(|case, counts| decoded(&case, counts)) })
}

pub fn png() -> Result<Fuzz<BoxedStrategy<Mutated>>> {
    let face = face()?;
    let mut seeds = Vec::new();
    for side in SIDES {
        let small = picture::decode(&picture::encode_preview(&face, side, 90)?, Limits::default(), FrameSeq(0), Micros::ZERO)?;
        seeds.push(picture::encode_png(&small)?);
    }
    Ok(Fuzz { name: "png", cases: mutated(seeds, 8).boxed(), run: Box::new(|case, counts| decoded(&case, counts)) })
}

/// Publishers' pictures and words, and covered frames as a client reads them.
pub fn wire() -> Result<Fuzz<BoxedStrategy<Mutated>>> {
    let limits = Limits::default();
    let jpegs = jpegs()?;
    let small = picture::decode(&jpegs[0], limits, FrameSeq(0), Micros::ZERO)?;
    let mut seeds = Vec::new();
    for (sequence, picture) in (1..).zip(&jpegs) {
        let head = Head { kind: Kind::Jpeg, sequence, capture: Micros(sequence * 33_333), width: 0, height: 0 };
        seeds.push(wire::write_inbound(&Inbound { head, picture }));
    }
    let kind = Kind::I420 { range: small.range, matrix: small.matrix };
    let head = Head { kind, sequence: 9, capture: Micros(9), width: small.width as u32, height: small.height as u32 };
    seeds.push(wire::write_inbound(&Inbound { head, picture: &small.planes().concat() }));
    let verdict = Verdict { judged: true, cover: Extent::Clear, reason: None, masks: Vec::new(), shot: 3 };
    seeds.push(wire::cover_message(&small, Format::Jpeg, 80, Origin { sequence: 4, capture: Micros(5) }, verdict)?.to_vec());
    for text in [r#"{"type":"hello","version":1,"format":"jpeg","want":"i420","resume":true}"#, r#"{"type":"hello","version":1}"#] {
        seeds.push(text.as_bytes().to_vec());
    }
    let run = move |case: Mutated, counts: &Counts| {
        if let Ok(inbound) = wire::parse_inbound(&case.bytes, limits) {
            if wire::write_inbound(&inbound) != case.bytes {
                return Err("what was read is not what is written".to_owned());
            }
            if let Ok(frame) = wire::frame_of(&inbound, Micros(7), limits) {
                limits.check(frame.width, frame.height).map_err(|error| error.to_string())?;
                counts.took();
            }
        }
        // A client reads what a host may have been made to say.
        let _ = wire::parse_covered(&case.bytes, limits);
        if let Ok(text) = std::str::from_utf8(&case.bytes)
            && wire::parse_publisher_control(text).is_ok()
        {
            counts.took();
        }
        Ok(())
    };
    Ok(Fuzz { name: "wire", cases: mutated(seeds, 6).boxed(), run: Box::new(run) })
}

/// Components and core modules: checked, and what passes is loaded, instantiated and asked who it is.
pub fn plugin() -> Result<Fuzz<BoxedStrategy<Mutated>>> {
    let engines = Engines::start(&EngineConfig::default())?;
    let budgets = Budgets::default();
    let mut seeds = vec![built::plugin("adaptive-threshold", "1.0.0")?];
    // Small ones, written by hand: a case of these takes a hundredth of the time.
    for slot in Slot::ALL {
        seeds.push(Guest::new(slot, "1.0.0", 0.5).component()?);
        seeds.push(Guest::new(slot, "1.0.0", 0.5).module()?);
    }
    let run = move |case: Mutated, counts: &Counts| {
        if check::check(&case.bytes).is_err() {
            return Ok(());
        }
        match load_bytes(&engines, &case.bytes, &budgets) {
            Ok(loaded) => {
                counts.took();
                let _ = tools::inspect_loaded(&loaded, &budgets);
                Ok(())
            }
            Err(error @ (CatalogError::Io { .. } | CatalogError::Key(_))) => Err(format!("bytes made the host fail: {error}")),
            Err(_) => Ok(()),
        }
    };
    Ok(Fuzz { name: "plugin", cases: mutated(seeds, 4).boxed(), run: Box::new(run) })
}

const CONFIGS: [&str; 4] = [
    "",
    "data_dir = \"/var/lib/scrim\"\n[room]\nfail_mode = \"open\"\ndelay_ms = 400\nhold_ms = 800\nlook_max_ms = 307\nskip_max_ms = 0\nsampler = \"fixed:3\"\n[cover]\nstyle = \"blur\"\ncolor = \"#00ff7f\"\n",
    "[detectors.nudity]\nmodel = \"nudenet-320n\"\nlook_budget_ms = 60\nthreshold = 0.25\ncover = [\"*_EXPOSED\", \"FACE_?EMALE\"]\n[detectors.nsfw]\nmodel = \"opennsfw\"\n[limits]\ndelay_line_mib = 512\nmegapixels_per_second = 500\n",
    "[policy.cascade]\nplugin = \"skin-cascade@2.0.0\"\n[policy.cascade.config]\nskip_below = 0.1\n[policy.text]\nplugin = \"profanity-context@2.0.0\"\n[plugins]\ncpu_ms = 8\nmemory_mib = 16\nfaults_max = 3\nfault_window_s = 60\n[provider]\nchoice = \"cpu\"\nthreads = 2\n[serve]\nbind = \"127.0.0.1:7890\"\naudit_every = 30\n",
];

/// The text of `scrim.toml`.
pub fn config() -> Result<Fuzz<BoxedStrategy<Mutated>>> {
    let seeds = CONFIGS.iter().map(|text| text.as_bytes().to_vec()).collect();
    let run = |case: Mutated, counts: &Counts| match Config::parse(&String::from_utf8_lossy(&case.bytes)) {
        Ok(config) => {
            counts.took();
            let same = config.for_room(&RoomSettings::default());
            if same.as_ref() == Ok(&config) { Ok(()) } else { Err(format!("a room that sets nothing has another configuration: {same:?}")) }
        }
        // A gap between the schema and the types shows as a fault without a place.
        Err(faults) => match faults.iter().find(|fault| fault.key == "(the whole file)") {
            Some(fault) => Err(format!("the schema lets through what the types do not take: {fault}")),
            None if faults.is_empty() => Err("refused without a fault".to_owned()),
            None => Ok(()),
        },
    };
    Ok(Fuzz { name: "config", cases: mutated(seeds, 5).boxed(), run: Box::new(run) })
}
