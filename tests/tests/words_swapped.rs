//! The text policy is swapped in mid-page and in mid-sentence: each utterance has one final judgement, its last, whoever gave it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use scrim_host::censor::{self, Swap};
use scrim_host::config::Config;
use scrim_host::host::Host;
use scrim_host::media::file::FileError;
use scrim_host::media::frame::{Frame, FrameSeq, Matrix, Micros, Range, i420_len};
use scrim_host::plugin::prepare::Candidate;
use scrim_host::plugin::record::{Entry, RECORDING_BYTES_MAX, Recorder, Recording, Step};
use scrim_host::plugin::types::{Generation, Request, Slot, Source as Origin, SourceKind, Utterance};
use scrim_host::room::listening::listen;
use scrim_host::room::policies::Policies;
use scrim_host::room::published::Published;
use scrim_host::room::source::Source;
use scrim_host::speech::Format;
use scrim_host::vision::color::Rgb;
use scrim_tests::bench::speech::corpus::{Kind, Sentence};
use scrim_tests::bench::speech::voices::{self, Spoken};
use scrim_tests::typeset::{Style, Typeface};
use scrim_tests::{built, recorded};

const FRAME: Micros = Micros(33_333);
const PAGES: [&str; 5] = [
    "good evening everybody\nwelcome to the show",
    "a pineapple for you\nand one for me",
    "tickets are sold out\ncome back tomorrow",
    "the next match begins\nin twenty minutes",
    "pineapple again\nthank you and good night",
];
/// Frames of a page, and between two swaps: while frames of more than three generations are in the delay line, a fourth is refused.
const PAGE: usize = 36;
const BETWEEN: usize = 18;
const SPOKEN: [&str; 3] = [
    "the flowers and the garden tools are waiting for a pineapple near the old wall",
    "seven chairs and a wooden table stand beside the river in the morning",
    "we went to the garden together and looked at the tickets for the next match",
];
const RATE: u32 = 16_000;
const PIECE: usize = 320;

/// One judgement that the recording holds.
struct Judged {
    generation: Generation,
    utterance: Arc<Utterance>,
}

/// All of the text policy's, by utterance, in the order in which they were made; each was made by the generation in force.
fn judged(file: &Path) -> Result<BTreeMap<String, Vec<Judged>>> {
    let share = recorded::read(file)?.remove(&Slot::Text).context("nothing of text is recorded")?;
    ensure!((share.faults, share.late, share.not_made, share.refused) == (0, 0, 0, 0), "{share:?}");
    let mut by_id: BTreeMap<String, Vec<Judged>> = BTreeMap::new();
    for entry in Recording::open(file)? {
        if let Entry::Step { slot: Slot::Text, generation, step: Step::Called { request: Request::Judge { utterance }, .. } } = entry? {
            by_id.entry(utterance.id.clone()).or_default().push(Judged { generation, utterance });
        }
    }
    Ok(by_id)
}

/// Holds the judgements of each utterance against the rule; answers with how many of them were judged by more than one generation.
fn hold(judged: &BTreeMap<String, Vec<Judged>>) -> Result<usize> {
    let mut swapped = 0;
    for (id, of) in judged {
        let told: Vec<(u32, bool, u32)> = of.iter().map(|j| (j.utterance.revision, j.utterance.is_final, j.generation.0)).collect();
        println!("{id}: {told:?}");
        ensure!(told.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].2 <= pair[1].2), "{id}: not one after the other: {told:?}");
        let finals: Vec<usize> = (0..told.len()).filter(|&index| told[index].1).collect();
        ensure!(finals == [told.len() - 1], "{id}: one final judgement, the last: {told:?}");
        swapped += usize::from(told[0].2 != told[told.len() - 1].2);
    }
    Ok(swapped)
}

fn words(judged: &[Judged]) -> String {
    let last = judged.last().map(|judged| judged.utterance.words.iter().map(|word| word.text.to_lowercase()).collect::<Vec<_>>());
    last.unwrap_or_default().join(" ")
}

fn host(home: &Path, table: &str) -> Result<Host> {
    let text = format!("data_dir = {home:?}\n[room]\nfail_mode = \"closed\"\n{table}");
    Ok(Host::open(Config::parse(&text).map_err(|faults| anyhow::anyhow!("{faults:?}"))?)?)
}

/// The two configurations that take turns.
fn turns(host: &Host) -> Result<[(Candidate, &'static str); 2]> {
    let loaded = Candidate::Loaded(host.catalog.add(&built::plugin("profanity-context", "2.0.0")?, None)?);
    Ok([(loaded.clone(), "{}"), (loaded, r#"{"deny": ["pineapple"]}"#)])
}

fn policies(host: &Host, recorder: &Arc<Recorder>) -> Result<(Policies, [(Candidate, &'static str); 2])> {
    let policies = host.policies(Some(recorder.clone()), censor::silent());
    let turns = turns(host)?;
    policies.install(Slot::Text, &turns[0].0, turns[0].1, None).map_err(anyhow::Error::msg)?;
    Ok((policies, turns))
}

fn page(typeface: &Typeface, index: usize) -> Frame {
    let (width, height) = (640, 360);
    let mut data = vec![128; i420_len(width, height)];
    data[..width * height].fill(225);
    let mut frame = Frame::new(FrameSeq(index as u64), Micros(index as u64 * FRAME.0), width, height, Range::Limited, Matrix::Bt601, data);
    let text = PAGES[index / PAGE % PAGES.len()];
    // Another place on each page, so that nothing of the one before seems to stay.
    let top = 40.0 + (index / PAGE % 3) as f32 * 90.0;
    typeface.draw(&mut frame, (50.0, top), text, &Style::new(30.0, Rgb([10, 10, 30])));
    frame
}

#[test]
fn a_page_has_one_final_judgement_though_its_policy_is_swapped_while_it_is_shown() -> Result<()> {
    let home = tempfile::tempdir()?;
    let host = host(home.path(), "[text]\nread = true\n")?;
    let file = home.path().join("pages.rec");
    let recorder = Arc::new(Recorder::create(&file, RECORDING_BYTES_MAX)?);
    let (policies, turns) = policies(&host, &recorder)?;
    let count = PAGES.len() * PAGE;
    let swap = |number: usize| {
        let (candidate, config) = &turns[number % 2];
        Swap {
            at: Micros((number * BETWEEN + BETWEEN / 2) as u64 * FRAME.0),
            slot: Slot::Text,
            candidate: candidate.clone(),
            config: (*config).to_owned(),
        }
    };
    let swaps: VecDeque<Swap> = (1..count / BETWEEN).map(swap).collect();
    let committed = swaps.len();
    let origin = Origin { id: "page".into(), kind: SourceKind::Screen, owner: "ann".into() };
    let judges = host.judges(0, origin, policies.clone(), censor::silent());
    let source = Source::new(Arc::new(host.settings(&host.config, FRAME)?));
    let typeface = Typeface::open("DejaVuSans.ttf")?;
    let input = (0..count).map(move |index| Ok::<_, FileError>(page(&typeface, index)));
    let mut published = 0;
    let mut publish = |_: &Source, frame: Published| {
        policies.published(0, frame.frame.at);
        published += 1;
    };
    let (_, read) = censor::run_offline(source, input, &judges, swaps, &mut publish)?;
    read?;
    drop((judges, policies));
    ensure!(recorder.finish()? == 0, "the recording holds everything");
    ensure!(published == count, "{published} of {count} frames left");

    let judged = judged(&file)?;
    let swapped = hold(&judged)?;
    let finals: BTreeSet<String> = judged.values().map(|of| words(of)).collect();
    println!("{committed} swaps, {swapped} of {} pages judged by more than one generation", judged.len());
    ensure!(judged.len() == PAGES.len() && swapped == PAGES.len(), "each page is an utterance with swaps in its middle");
    for page in PAGES {
        ensure!(finals.contains(&page.replace('\n', " ")), "{page:?} is not among what was judged for good: {finals:?}");
    }
    Ok(())
}

fn spoken() -> Result<Vec<i16>> {
    let sentence =
        |text: &str| Sentence { text: text.to_owned(), kind: Kind::Bad, bad: None, engine: "espeak", voice: "en-us", speed: 0.9 };
    let folder = tempfile::tempdir()?;
    let spoken = voices::speak(&SPOKEN.map(sentence), folder.path())?;
    let samples = spoken.into_iter().flat_map(|Spoken { samples, .. }| samples.into_iter().chain(vec![0.0; RATE as usize]));
    Ok(samples.map(|sample| (sample * 2.5 * 32_767.0) as i16).collect())
}

#[test]
fn a_sentence_has_one_final_judgement_though_its_policy_is_swapped_while_it_is_said() -> Result<()> {
    let home = tempfile::tempdir()?;
    let host = host(home.path(), "[speech]\nlisten = true\n")?;
    // A room that listens opens the recognisers.
    host.settings(&host.config, FRAME)?;
    let file = home.path().join("speech.rec");
    let recorder = Arc::new(Recorder::create(&file, RECORDING_BYTES_MAX)?);
    let (policies, turns) = policies(&host, &recorder)?;
    let sound = spoken()?;
    let length = Micros(sound.len() as u64 * 1_000_000 / u64::from(RATE));

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build()?;
    let entered = runtime.enter();
    let origin = Origin { id: "microphone".into(), kind: SourceKind::Microphone, owner: "ann".into() };
    let speaker = host.speaker(origin, policies.clone(), censor::silent(), Format { rate: RATE, channels: 1 }, true);
    let (tell, told) = mpsc::channel();
    let begin = Instant::now();
    let (asking, clock) = (policies.clone(), move || Micros(begin.elapsed().as_micros() as u64));
    let listening = listen(speaker, move || asking.moment(clock()), move |until, _| _ = tell.send(until))?;
    let mut swaps = 0;
    for (number, piece) in sound.chunks(PIECE).enumerate() {
        let at = Micros((number * PIECE) as u64 * 1_000_000 / u64::from(RATE));
        std::thread::sleep((begin + Duration::from(at)).saturating_duration_since(Instant::now()));
        listening.sound(at, piece);
        // Twice a second; a sentence lasts several.
        if number % 25 == 24 {
            swaps += 1;
            let (candidate, config) = &turns[swaps % 2];
            policies.swap_now(Slot::Text, candidate.clone(), (*config).into(), policies.moment(clock()));
        }
    }
    listening.finish();
    // A chunk of the voice detector may be left over.
    let all = length.saturating_sub(Micros::from_millis(40));
    let last = std::iter::from_fn(|| told.recv_timeout(Duration::from_secs(60)).ok()).find(|until| *until >= all);
    ensure!(last.is_some(), "all that was said is judged in the end");
    drop((listening, entered));
    drop(runtime);
    drop((policies, host));
    ensure!(recorder.finish()? == 0, "the recording holds everything");

    let judged = judged(&file)?;
    let swapped = hold(&judged)?;
    println!("{swaps} swaps, {swapped} of {} utterances judged by more than one generation", judged.len());
    ensure!(judged.len() >= SPOKEN.len() && swapped >= SPOKEN.len(), "swaps in the middle of each sentence");
    let said: String = judged.values().map(|of| words(of) + " ").collect();
    for word in ["flowers", "wooden", "together"] {
        ensure!(said.contains(word), "{word:?} was judged for good: {said:?}");
    }
    Ok(())
}
