//! Reading text on screen with the real networks, on pictures whose words are known.

use scrim_host::geometry::Rect;
use scrim_host::infer::InferError;
use scrim_host::infer::ocr::{Block, Files, Reader, ReaderOptions, Run};
use scrim_host::media::frame::{Frame, FrameSeq, Matrix, Micros, Range, i420_len};
use scrim_host::vision::color::Rgb;
use scrim_tests::bench::model::{asset, runtime};
use scrim_tests::clip;
use scrim_tests::typeset::{Drawn, Motion, Style, Typeface, over};

const WHITE: Rgb = Rgb([255, 255, 255]);

fn reader() -> Reader {
    Reader::open(runtime().unwrap(), &Files::of(&scrim_toolchain::assets::folder().unwrap()), ReaderOptions::default()).unwrap()
}

fn face() -> Typeface {
    Typeface::open("DejaVuSans.ttf").unwrap()
}

fn plain(width: usize, height: usize) -> Frame {
    let mut data = vec![128; i420_len(width, height)];
    data[..width * height].fill(60);
    Frame::new(FrameSeq(0), Micros::ZERO, width, height, Range::Limited, Matrix::Bt709, data)
}

fn texts(blocks: &[Block]) -> Vec<String> {
    let text = |block: &Block| block.words().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
    blocks.iter().map(text).collect()
}

/// That each word was read, and where it was drawn: most of it is covered, and not much else.
fn assert_read(blocks: &[Block], drawn: &[Drawn]) {
    for word in drawn {
        let read = blocks.iter().flat_map(Block::words).find(|read| read.text == word.text);
        let read = read.unwrap_or_else(|| panic!("{:?} is not in {:?}", word.text, texts(blocks)));
        let shared = read.area.intersection(&word.area).area();
        assert!(shared > 0.8 * word.area.area() && shared > 0.4 * read.area.area(), "{word:?} was read at {:?}", read.area);
    }
}

#[test]
fn words_are_read_where_they_stand_on_a_photograph() {
    let mut frame = clip::scaled(&asset("astronaut.png"), 640, 360, 1).unwrap().swap_remove(0);
    let luma = &mut frame.planes_mut()[0];
    // A caption's band, so that every letter stands out.
    luma[640 * 40..640 * 130].iter_mut().for_each(|value| *value = *value / 4 + 16);
    let mut drawn = face().draw(&mut frame, (30.0, 50.0), "you stupid piece", &Style::new(24.0, WHITE));
    drawn.extend(face().draw(&mut frame, (330.0, 90.0), "small letters here", &Style::new(14.0, WHITE)));
    assert_read(&reader().read(&frame, &[]).unwrap(), &drawn);
}

#[test]
fn broken_and_spaced_words_are_in_one_block_in_order() {
    let mut frame = plain(640, 360);
    face().draw(&mut frame, (40.0, 40.0), "what the fuc-\nking hell", &Style::new(24.0, WHITE));
    face().draw(&mut frame, (40.0, 220.0), "f  u  c  k", &Style::new(24.0, WHITE));
    let blocks = reader().read(&frame, &[]).unwrap();
    let [broken, spaced] = &texts(&blocks)[..] else { panic!("{blocks:?}") };
    assert_eq!(broken, "what the fuc- king hell");
    // Whether there is a space between two letters set apart is the network's guess.
    assert_eq!(spaced.replace(' ', ""), "fuck");
}

#[test]
fn mirrored_text_is_read_and_its_areas_are_the_frames() {
    let mut frame = plain(640, 360);
    let style = Style { mirrored: true, ..Style::new(28.0, WHITE) };
    let drawn = face().draw(&mut frame, (60.0, 100.0), "go fuck yourself", &style);
    assert!(drawn[0].area.x > drawn[2].area.x);
    let blocks = reader().read(&frame, &[]).unwrap();
    assert_read(&blocks, &drawn);
    assert_eq!((texts(&blocks), blocks[0].lines[0].run), (vec!["go fuck yourself".to_owned()], Run::Mirrored));
}

#[test]
fn a_part_is_read_to_its_lines_ends_and_nothing_else_is() {
    let mut frame = plain(1280, 720);
    let drawn = face().draw(&mut frame, (100.0, 300.0), "only the middle of this line has changed", &Style::new(24.0, WHITE));
    face().draw(&mut frame, (100.0, 600.0), "far away", &Style::new(24.0, WHITE));
    let mut reader = reader();
    let part = drawn[3].area;
    let blocks = reader.read(&frame, &[part]).unwrap();
    assert_eq!(texts(&blocks), ["only the middle of this line has changed"]);
    assert_read(&blocks, &drawn);
    assert!(reader.find(&frame, &[part]).unwrap().iter().any(|found| !found.intersection(&part).is_empty()));
    assert_eq!(reader.find(&frame, &[Rect::new(0.1, 0.0, 0.5, 0.2)]).unwrap(), []);
}

#[test]
fn a_letter_that_changes_is_noticed_and_what_stays_reads_the_same() {
    let mut reader = reader();
    let mut read = |text: &str| {
        let mut frame = plain(640, 360);
        face().draw(&mut frame, (40.0, 100.0), text, &Style::new(20.0, Rgb([120, 120, 120])));
        reader.read(&frame, &[]).unwrap()
    };
    let first = read("oh look a duck on the lake");
    assert_eq!(texts(&first), ["oh look a duck on the lake"]);
    assert_eq!(read("oh look a duck on the lake"), first);
    assert_eq!(texts(&read("oh look a fuck on the lake")), ["oh look a fuck on the lake"]);
    assert_eq!(read("oh look a duck on the lake"), first);
}

#[test]
fn text_is_read_while_it_scrolls_and_once_it_has_faded_in() {
    let mut reader = reader();
    for motion in [Motion::Scroll { x: -17.0, y: 3.0 }, Motion::FadeIn { frames: 5 }] {
        let mut frames = vec![plain(640, 360); 5];
        let drawn = over(&face(), &mut frames, (200.0, 100.0), "breaking news", &Style::new(24.0, WHITE), motion);
        // The first step of the fade leaves it at a fifth of its contrast.
        for (frame, drawn) in frames.iter().zip(&drawn).skip(1) {
            assert_read(&reader.read(frame, &[]).unwrap(), drawn);
        }
    }
}

#[test]
fn other_files_than_those_tried_are_refused() {
    let files = Files { detection: asset("nudenet-320n.onnx"), ..Files::of(&scrim_toolchain::assets::folder().unwrap()) };
    let refused = Reader::open(runtime().unwrap(), &files, ReaderOptions::default());
    assert!(matches!(refused, Err(InferError::ModelChanged { .. })));
}
