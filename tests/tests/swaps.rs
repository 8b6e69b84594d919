//! Two hundred swaps of each slot in one run of whole frames, bad plugins among them, against one recording of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use anyhow::{Context, Result, ensure};
use scrim_host::censor::{self, Swap, areas};
use scrim_host::config::Config;
use scrim_host::host::Host;
use scrim_host::media::file::FileError;
use scrim_host::media::frame::{Frame, FrameSeq, Micros};
use scrim_host::plugin::catalog::PluginName;
use scrim_host::plugin::events::{PolicyEvent, Stage};
use scrim_host::plugin::prepare::Candidate;
use scrim_host::plugin::record::{RECORDING_BYTES_MAX, Recorder};
use scrim_host::plugin::types::{Reply, Request, Slot, Source as Origin, SourceKind, Utterance};
use scrim_host::room::note::Note;
use scrim_host::room::policies::Policies;
use scrim_host::room::published::{Cover, Published};
use scrim_host::room::source::Source;
use scrim_tests::coverage::reference;
use scrim_tests::coverage::score::score;
use scrim_tests::coverage::variants::{self, Variant};
use scrim_tests::guest::{Guest, Hook, deed};
use scrim_tests::{built, recorded};

const SWAPS: usize = 200;
/// Frames between two swaps of a slot: with the room's delay of twelve frames no more than three generations retire at once.
const FRAMES_BETWEEN: usize = 5;
/// A bad plugin is tried before each so manieth swap.
const BAD_EVERY: usize = 10;
const FRAME: Micros = Micros(33_333);
/// What is said at every frame; only one of the two text configurations minds.
const SAID: &str = "a pineapple for ann";

/// What takes turns in a slot, and what must leave it as it is.
struct Cast {
    slot: Slot,
    turns: [(Candidate, &'static str); 2],
    bad: Vec<(Candidate, &'static str, Stage)>,
}

fn at(index: usize) -> Micros {
    Micros(index as u64 * FRAME.0)
}

fn add(host: &Host, bytes: &[u8]) -> Result<Candidate> {
    Ok(Candidate::Loaded(host.catalog.add(bytes, None)?))
}

/// A plugin whose bytes on disk are not those that were added.
fn corrupt(host: &Host, slot: Slot) -> Result<Candidate> {
    let bytes = Guest::new(slot, "6.6.6", 0.1).named(&format!("spoilt-{slot}")).component()?;
    let (name, digest) = {
        let loaded = host.catalog.add(&bytes, None)?;
        (loaded.name.clone(), loaded.digest)
    };
    let path = host.catalog.root().join("blobs").join(format!("{digest}.wasm"));
    let mut bytes = std::fs::read(&path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&path, bytes)?;
    Ok(Candidate::Named(host.catalog.clone(), name))
}

fn casts(host: &Host) -> Result<Vec<Cast>> {
    let shipped = |name: &str, version: &str| add(host, &built::plugin(name, version)?);
    let (adaptive, profanity) = (shipped("adaptive-threshold", "1.0.0")?, shipped("profanity-context", "2.0.0")?);
    let (classic, regions) = (shipped("skin-cascade", "1.0.0")?, shipped("skin-cascade", "2.0.0")?);
    let turns = |slot| match slot {
        Slot::Cascade => [(classic.clone(), "{}"), (regions.clone(), "{}")],
        Slot::Text => [(profanity.clone(), "{}"), (profanity.clone(), r#"{"deny": ["pineapple"]}"#)],
        Slot::Threshold => [
            (adaptive.clone(), r#"{"default_base": 0.25, "trail_margin": 0.0}"#),
            (adaptive.clone(), r#"{"default_base": 0.2, "trail_margin": 0.0}"#),
        ],
    };
    let cast = |slot: Slot| {
        let (guest, own) = match slot {
            Slot::Cascade => ("cascade", "skin-cascade"),
            Slot::Text => ("text", "profanity-context"),
            Slot::Threshold => ("threshold", "adaptive-threshold"),
        };
        let wrong_world = if slot == Slot::Text { &adaptive } else { &profanity };
        let unreadable = Guest::new(slot, "9.9.9", 0.1).named(own).doing(Hook::Restore, deed::REFUSE);
        let bad = vec![
            (wrong_world.clone(), "{}", Stage::Slot),
            (add(host, &built::guest(guest)?)?, r#"{"how": "trap-configure"}"#, Stage::Configure),
            (corrupt(host, slot)?, "{}", Stage::Load),
            // It is tried with its own snapshot first, which it cannot read either.
            (add(host, &unreadable.component()?)?, "{}", Stage::Smoke),
        ];
        Ok(Cast { slot, turns: turns(slot), bad })
    };
    Slot::ALL.into_iter().map(cast).collect()
}

/// Every swap of the run, and of how many of each slot's it is known where they must stop.
fn plan(casts: &[Cast]) -> VecDeque<Swap> {
    let mut swaps = Vec::new();
    for (offset, cast) in casts.iter().enumerate() {
        for number in 1..=SWAPS {
            let at = at(number * FRAMES_BETWEEN + offset);
            if number % BAD_EVERY == 0 {
                let (candidate, config, _) = &cast.bad[number / BAD_EVERY % cast.bad.len()];
                swaps.push(Swap { at, slot: cast.slot, candidate: candidate.clone(), config: (*config).to_owned() });
            }
            let (candidate, config) = &cast.turns[number % 2];
            swaps.push(Swap { at, slot: cast.slot, candidate: candidate.clone(), config: (*config).to_owned() });
        }
    }
    // Stable, so a bad one stays before the good one of its moment.
    swaps.sort_by_key(|swap| swap.at);
    swaps.into()
}

/// Says something at the time of the frame before, when its own swaps are done and the next frame's are not.
fn say(policies: &Policies, at: Micros) {
    let utterance = Arc::new(Utterance::typed(format!("chat-{}", at.0), SAID));
    let (tell, told) = mpsc::channel();
    policies.ask(at, Request::Judge { utterance }, None, move |answered| _ = tell.send(answered.result.is_ok()));
    // An answer that does not come is missing in the recording.
    let _ = told.recv();
}

#[test]
fn two_hundred_swaps_of_each_slot_lose_repeat_and_expose_nothing() -> Result<()> {
    let home = tempfile::tempdir()?;
    // The cascade is asked about every frame, so that each of its generations has something to say.
    let text = format!(
        "data_dir = {:?}\n[room]\nsampler = \"fixed:1\"\n[detectors.nudity]\nmodel = \"nudenet-320n\"\ncover = [\"FACE_*\"]\n",
        home.path()
    );
    let host = Host::open(Config::parse(&text).map_err(|faults| anyhow::anyhow!("{faults:?}"))?)?;
    let casts = casts(&host)?;

    let clip = variants::frames(&scrim_toolchain::assets::path("carphone.mp4")?, Variant::Plain, 13.0)?;
    let faces = reference::faces_on(&clip)?;
    let count = (SWAPS + 2) * FRAMES_BETWEEN + casts.len();
    let frames: Vec<Frame> = (0..count)
        .map(|index| {
            let mut frame = clip[index % clip.len()].clone();
            (frame.seq, frame.at) = (FrameSeq(index as u64), at(index));
            frame
        })
        .collect();

    let file = home.path().join("run.rec");
    let recorder = Arc::new(Recorder::create(&file, RECORDING_BYTES_MAX)?);
    let events: Arc<Mutex<Vec<PolicyEvent>>> = Arc::default();
    let heard = events.clone();
    let observer = Arc::new(move |note: Note| {
        if let Note::Event(event) = note {
            heard.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        }
    });
    let policies = host.policies(Some(recorder.clone()), observer.clone());
    for cast in &casts {
        let (candidate, config) = &cast.turns[0];
        policies.install(cast.slot, candidate, config, None).map_err(anyhow::Error::msg)?;
    }
    let origin = Origin { id: "clip".into(), kind: SourceKind::Camera, owner: "ann".into() };
    let judges = host.judges(0, origin, policies.clone(), observer);
    let source = Source::new(Arc::new(host.settings(&host.config, FRAME)?));
    let speaking = policies.clone();
    let input = frames.into_iter().map(move |frame| {
        if let Some(before) = frame.seq.0.checked_sub(1) {
            say(&speaking, at(before as usize));
        }
        Ok::<_, FileError>(frame)
    });
    let (mut shown, mut covers, mut full) = (Vec::new(), Vec::new(), 0);
    let mut publish = |_: &Source, published: Published| {
        full += usize::from(matches!(published.cover, Cover::Full { .. }));
        policies.published(0, published.frame.at);
        shown.push(published.frame.seq.0);
        covers.push(areas(&published.cover).to_vec());
    };
    let (_, read) = censor::run_offline(source, input, &judges, plan(&casts), &mut publish)?;
    read?;
    drop(judges);
    ensure!(recorder.finish()? == 0, "the recording holds everything");

    ensure!(shown == (0..count as u64).collect::<Vec<_>>(), "frames lost or repeated: {} of {count}", shown.len());
    let faces: Vec<_> = (0..count).map(|index| faces[index % faces.len()].clone()).collect();
    let scored = score(&covers, &faces, 24, 0, full);
    println!("{count} frames, {} with faces, {} exposed, area {:.2}x", scored.face_frames, scored.exposed, scored.area_ratio());
    ensure!(scored.face_frames > count / 2 && (scored.exposed, scored.full_covers) == (0, 0), "{scored:?}");

    let events = events.lock().unwrap_or_else(PoisonError::into_inner);
    let shares = recorded::read(&file)?;
    for cast in &casts {
        let refused: Vec<Stage> = events
            .iter()
            .filter_map(|event| match event {
                PolicyEvent::Refused { slot, stage, .. } if *slot == cast.slot => Some(*stage),
                _ => None,
            })
            .collect();
        let expected: Vec<Stage> = (1..=SWAPS / BAD_EVERY).map(|bad| cast.bad[bad % cast.bad.len()].2).collect();
        ensure!(refused == expected, "{}: refused at {refused:?}", cast.slot);
        let share = shares.get(&cast.slot).with_context(|| format!("nothing of {} is recorded", cast.slot))?;
        hold(cast.slot, share)?;
    }
    in_turns(&events)
}

/// The recording tells each generation by what it says.
fn hold(slot: Slot, share: &recorded::Share) -> Result<()> {
    let held = share.held_us.iter().max().copied().unwrap_or_default();
    println!("{slot}: {} judgements by {} generations, at most {held} us held up", share.judged.len(), share.commits.len());
    ensure!(share.commits.len() == SWAPS + 1, "{slot}: {} commits", share.commits.len());
    ensure!((share.faults, share.late, share.not_made) == (0, 0, 0), "{slot}: {share:?}");
    ensure!(held <= FRAME.0, "{slot}: {held} us is longer than a frame");
    let mut told = 0;
    for (at, generation, reply) in &share.judged {
        let second = generation.0 % 2 == 1;
        let as_it_should = match reply {
            Some(Reply::Findings(findings)) => findings.is_empty() != second,
            Some(Reply::Verdicts(verdicts)) => verdicts.iter().all(|v| (v.threshold - if second { 0.2 } else { 0.25 }).abs() < 1e-4),
            Some(Reply::Screenings(_)) => true,
            _ => false,
        };
        ensure!(as_it_should, "{slot}: at {} us generation {} said {reply:?}", at.0, generation.0);
        told += 1;
    }
    let generations: std::collections::BTreeSet<u32> = share.judged.iter().map(|(_, generation, _)| generation.0).collect();
    ensure!(told >= SWAPS && generations.len() > SWAPS / 2, "{slot}: {told} judgements by {} generations", generations.len());
    ensure!(slot != Slot::Text || generations.len() == SWAPS + 1, "each generation judged what was said in its time");
    Ok(())
}

/// The two versions of the cascade were in force by turns.
fn in_turns(events: &[PolicyEvent]) -> Result<()> {
    let committed = events.iter().filter_map(|event| match event {
        PolicyEvent::Committed { slot: Slot::Cascade, plugin, .. } => Some(plugin),
        _ => None,
    });
    let committed: Vec<&PluginName> = committed.collect();
    ensure!(committed.windows(2).all(|pair| pair[0] != pair[1]), "{committed:?}");
    Ok(())
}
