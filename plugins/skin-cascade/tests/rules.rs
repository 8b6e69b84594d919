//! Both versions as the host calls them, on pictures made here: what they answer, what they keep, what they refuse.

use proptest::prelude::*;
use scrim_sdk::testing::Harness;
use scrim_sdk::{Hints, Rect, Screening, Source, SourceKind, Thumbnail};
use skin_cascade::classic::Classic;
use skin_cascade::v2::Regions;

const FRAME_US: u64 = 40_000;

fn source(id: &str) -> Source {
    Source { id: id.into(), kind: SourceKind::Camera, owner: "ann".into() }
}

fn people() -> Vec<String> {
    vec!["nudity".into()]
}

fn ask(policy: &mut Harness<Regions>, at_us: u64, frame: &Thumbnail, hints: &Hints) -> Screening {
    policy.screen(at_us, &source("cam"), frame, &people(), hints).remove(0)
}

/// Grey wall with a patch of other luma and colour.
fn patched(x: usize, y: usize, side: usize, luma: u8, cb: u8, cr: u8) -> Thumbnail {
    let mut frame = Thumbnail::filled(320, 180, 120, 128, 128);
    for row in y..(y + side).min(180) {
        for column in x..(x + side).min(320) {
            frame.y[row * 320 + column] = luma;
            frame.cb[row / 2 * 160 + column / 2] = cb;
            frame.cr[row / 2 * 160 + column / 2] = cr;
        }
    }
    frame
}

/// Feeds a still picture until the policy has settled; the share of frames that it then asked for.
fn share_asked(policy: &mut Harness<Regions>, frame: &Thumbnail, frames: u64) -> f32 {
    let asked = (0..frames).filter(|i| ask(policy, i * FRAME_US, frame, &Hints::default()).look).count();
    asked as f32 / frames as f32
}

#[test]
fn classic_skips_a_face_sized_patch_of_skin_and_regions_do_not() {
    // 60 × 60 of 320 × 180: 6.25 %.
    let frame = patched(40, 60, 60, 150, 110, 150);
    let answer = Harness::<Classic>::new("{}").screen(0, &source("cam"), &frame, &people(), &Hints::default()).remove(0);
    assert!(!answer.look);
    assert!(answer.reason.starts_with("skin 6.2 %"), "{}", answer.reason);

    let mut policy = Harness::<Regions>::new("{}");
    let wall = Thumbnail::filled(320, 180, 120, 128, 128);
    for i in 0..20 {
        ask(&mut policy, i * FRAME_US, &wall, &Hints::default());
    }
    let answers: Vec<_> = (20..40).map(|i| ask(&mut policy, i * FRAME_US, &frame, &Hints::default())).collect();
    assert!(answers.iter().any(|a| a.look && a.reason.contains("skin region") && a.reason.ends_with("at left")), "{answers:?}");
}

#[test]
fn classic_reads_text_by_edges_and_names_nobody_it_does_not_know() {
    let mut frame = Thumbnail::filled(320, 180, 200, 128, 128);
    for row in (20..60).step_by(4) {
        for column in (20..200).step_by(6) {
            frame.y[row * 320 + column] = 0;
        }
    }
    let detectors = ["text".to_owned(), "weapons".to_owned()];
    let answers = Harness::<Classic>::new("{}").screen(0, &source("cam"), &frame, &detectors, &Hints::default());
    assert_eq!(answers.len(), 1);
    assert!(answers[0].detector == "text" && answers[0].look, "{answers:?}");
    let wall = Thumbnail::filled(320, 180, 200, 128, 128);
    assert!(!Harness::<Classic>::new("{}").screen(0, &source("cam"), &wall, &detectors, &Hints::default())[0].look);
}

#[test]
fn an_empty_wall_is_looked_at_now_and_then() {
    let mut policy = Harness::<Regions>::new("{}");
    let share = share_asked(&mut policy, &Thumbnail::filled(320, 180, 120, 128, 128), 250);
    // Five frames while it settles, then one a second of 25.
    assert!((0.04..0.10).contains(&share), "{share}");
}

#[test]
fn what_the_host_follows_is_looked_at_and_held_for_a_second() {
    let mut policy = Harness::<Regions>::new("{}");
    let wall = Thumbnail::filled(320, 180, 120, 128, 128);
    share_asked(&mut policy, &wall, 50);
    let followed = Hints { trails: vec![Rect { x: 0.4, y: 0.4, width: 0.1, height: 0.2 }], ..Hints::default() };
    let answer = ask(&mut policy, 2_100_000, &wall, &followed);
    assert!(answer.look && answer.reason == "followed by the host: 1", "{}", answer.reason);
    assert!(ask(&mut policy, 3_080_000, &wall, &Hints::default()).look);
    assert!(!ask(&mut policy, 3_120_000, &wall, &Hints::default()).look);
}

#[test]
fn a_cut_is_looked_at() {
    let mut policy = Harness::<Regions>::new("{}");
    let wall = Thumbnail::filled(320, 180, 120, 128, 128);
    share_asked(&mut policy, &wall, 52);
    assert!(!ask(&mut policy, 52 * FRAME_US, &wall, &Hints::default()).look);
    let answer = ask(&mut policy, 53 * FRAME_US, &wall, &Hints { scene_cut: true, ..Hints::default() });
    assert!(answer.look && answer.reason == "the scene is new", "{}", answer.reason);
}

#[test]
fn text_is_read_when_it_changes() {
    let mut policy = Harness::<Regions>::new("{}");
    let text = vec!["text".to_owned()];
    let mut read = |at_us, frame: &Thumbnail| policy.screen(at_us, &source("cam"), frame, &text, &Hints::default()).remove(0).look;
    let page = |shift: usize| {
        let mut frame = Thumbnail::filled(320, 180, 220, 128, 128);
        for (i, y) in frame.y.iter_mut().enumerate() {
            let (x, row) = ((i % 320 + shift) / 3 % 2, i / 320);
            if row > 40 && row < 120 && x == 0 {
                *y = 0;
            }
        }
        frame
    };
    assert!(read(0, &page(0)));
    assert!(!read(400_000, &page(0)));
    let mut other = page(0);
    other.y[130 * 320..160 * 320].fill(0);
    assert!(read(440_000, &other));
    assert!(!read(480_000, &Thumbnail::filled(320, 180, 220, 128, 128)));
}

#[test]
fn settings_out_of_range_are_all_named() {
    let mut policy = Harness::<Regions>::new("{}");
    let error = policy.configure(r#"{"novelty": 2.0, "look_every_ms": 1, "skin_cr": {"least": 9, "most": 3}}"#).expect_err("refused");
    for culprit in ["novelty", "look_every_ms", "skin_cr"] {
        assert!(error.contains(culprit), "{error}");
    }
    assert!(policy.configure(r#"{"novelti": 0.5}"#).is_err());
    assert!(policy.configure(r#"{"head": 3.0, "head_in_doubt": 1.0}"#).is_err());
    assert!(Harness::<Classic>::new("{}").configure(r#"{"skin_share": 1.5}"#).is_err());
    assert!(Harness::<Classic>::new("{}").configure(r#"{"edges_least": 0.5}"#).is_err());
    for manifest in [Harness::<Classic>::manifest(), Harness::<Regions>::manifest()] {
        assert_eq!(manifest.name, "skin-cascade");
        let schema: serde_json::Value = serde_json::from_str(&manifest.config_schema).expect("JSON");
        assert_eq!(schema["additionalProperties"], false);
    }
    assert_ne!(Harness::<Classic>::manifest().version, Harness::<Regions>::manifest().version);
}

#[test]
fn an_ended_source_and_the_oldest_of_too_many_are_forgotten() {
    let mut policy = Harness::<Regions>::new(r#"{"sources_max": 3}"#);
    let empty = policy.snapshot().len();
    let wall = Thumbnail::filled(64, 36, 120, 128, 128);
    let mut sizes = Vec::new();
    for i in 0..20u64 {
        policy.screen(i, &source(&format!("cam{i:02}")), &wall, &people(), &Hints::default());
        sizes.push(policy.snapshot().len());
    }
    assert!(sizes[2] > sizes[1] && sizes[19] <= sizes[2] + 16, "{sizes:?}");
    for i in 17..20 {
        policy.source_ended(99, &format!("cam{i:02}"));
    }
    assert_eq!(policy.snapshot().len(), empty);
}

/// One can be swapped for the other, there and back; an unknown state is still refused.
#[test]
fn each_version_takes_over_from_the_other() {
    let (mut classic, mut regions) = (Harness::<Classic>::new("{}"), Harness::<Regions>::new("{}"));
    let wall = Thumbnail::filled(64, 36, 120, 128, 128);
    regions.screen(0, &source("cam"), &wall, &people(), &Hints::default());
    let full = regions.snapshot();
    classic.restore("2.0.0", &full).expect("2.0's state is left behind");
    regions.restore("1.0.0", &classic.snapshot()).expect("1.0 has none");
    assert!(regions.snapshot().len() < full.len(), "sources start anew");
    let mut unknown = full.clone();
    unknown[..4].copy_from_slice(&9u32.to_le_bytes());
    assert!(regions.restore("3.0.0", &unknown).is_err());
}

/// The largest state that the settings allow fits into a snapshot.
#[test]
fn a_full_memory_fits_a_snapshot() {
    let mut policy = Harness::<Regions>::new(r#"{"sources_max": 256, "edges_least": 0.0}"#);
    let wall = Thumbnail::filled(320, 180, 120, 128, 128);
    for i in 0..300u64 {
        policy.screen(i, &source(&format!("camera-{i}")), &wall, &["nudity".into(), "text".into()], &Hints::default());
    }
    assert!(policy.snapshot().len() < scrim_sdk::state::SNAPSHOT_BYTES_MAX);
}

#[test]
fn planes_of_the_wrong_size_name_nobody() {
    let mut frame = Thumbnail::filled(320, 180, 120, 128, 128);
    frame.cb.pop();
    assert!(Harness::<Regions>::new("{}").screen(0, &source("cam"), &frame, &people(), &Hints::default()).is_empty());
    assert!(Harness::<Classic>::new("{}").screen(0, &source("cam"), &frame, &people(), &Hints::default()).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No picture stops it, the answer names each detector once with a reason, and a snapshot goes on as the original does.
    #[test]
    fn any_picture_gets_an_answer_and_a_restored_policy_gives_the_same(
        width in 1u32..100, height in 1u32..80, seed in any::<u64>(), steps in 1usize..8,
    ) {
        let mut policy = Harness::<Regions>::new("{}");
        let mut noise = seed | 1;
        let mut frame = |wild: bool| {
            let mut frame = Thumbnail::filled(width, height, 90, 110, 150);
            for v in frame.y.iter_mut().chain(&mut frame.cb).chain(&mut frame.cr) {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                if wild { *v = noise as u8 } else { *v = v.wrapping_add((noise & 3) as u8) }
            }
            frame
        };
        let frames: Vec<_> = (0..2 * steps).map(|i| frame(i % 2 == 0)).collect();
        let detectors = ["nudity".to_owned(), "text".to_owned()];
        for (i, frame) in frames[..steps].iter().enumerate() {
            let answers = policy.screen(i as u64 * FRAME_US, &source("cam"), frame, &detectors, &Hints::default());
            prop_assert_eq!(answers.len(), 2);
            prop_assert!(answers.iter().all(|a| !a.reason.is_empty()));
        }
        let mut other = Harness::<Regions>::new("{}");
        other.restore("2.0.0", &policy.snapshot()).expect("its own snapshot");
        for (i, frame) in frames[steps..].iter().enumerate() {
            let at_us = (steps + i) as u64 * FRAME_US;
            let answers = [&mut policy, &mut other].map(|p| p.screen(at_us, &source("cam"), frame, &detectors, &Hints::default()));
            prop_assert_eq!(&answers[0], &answers[1]);
        }
    }
}
