//! `skin-cascade` 2.0.0 on clips that packages ship, with the host's forced looks off and nothing followed: a talking head is looked at on
//! every frame, in colour or not, and most of a street scene and of an animated film is not. Set-up fetches the clips.

use std::path::PathBuf;

use scrim_tests::bench::cascade_quality::{VARIANTS, regions, seen};

fn asset(name: &str) -> PathBuf {
    scrim_toolchain::assets::path(name).expect("set-up knows the clip")
}

#[test]
fn a_talking_head_is_looked_at_on_every_frame_of_every_variant() {
    for (variant, filter) in VARIANTS {
        let frames = seen(&asset("carphone.mp4"), filter, |_| Ok(Vec::new())).expect("the clip reads");
        let tally = regions(&frames, &vec![true; frames.len()], false);
        assert_eq!((tally.missed, tally.asked), (0, 120), "{variant}");
    }
}

#[test]
fn most_of_a_street_and_of_an_animated_film_is_skipped() {
    for (clip, count) in [("bikes.mp4", 250), ("bigbuckbunny.mp4", 132)] {
        let frames = seen(&asset(clip), "null", |_| Ok(Vec::new())).expect("the clip reads");
        assert_eq!(frames.len(), count);
        let tally = regions(&frames, &vec![false; frames.len()], false);
        assert!(tally.asked * 10 <= count * 4, "{clip}: asked for {} of {count}", tally.asked);
    }
}
