//! What ffmpeg says, as it was said. Runs of the program itself: `file_tests`.

use super::*;

#[test]
fn a_complaint_in_the_middle_of_a_frames_line_is_heard() {
    const FRAME: &str =
        "[Parsed_showinfo_2 @ 0x7f57] [info] n:  13 pts: 520000 pts_time:0.52 fmt:yuv420p cl:unspecified sar:1/1 s:160x120 i:P";
    const COLOUR: &str = "[Parsed_showinfo_2 @ 0x7f57] [info] color_range:tv color_space:unknown";
    const EARLY: &str = "File ended prematurely";
    let within_frame = format!("{FRAME} iskey:0 type:I {EARLY}\n{COLOUR}\n");
    let within_colour = format!("{FRAME} iskey:0 type:I \n{COLOUR}{EARLY}\n[Parsed_showinfo_2 @ 0x7f57] [info]  color_trc:unknown\n");
    let between = format!("{FRAME} iskey:0 type:I \n{COLOUR}\n[in#0/matroska,webm @ 0x55a9] [error] {EARLY}\n");
    for said in [within_frame, within_colour, between] {
        let (times_in, times) = channel();
        assert_eq!(listen(said.as_bytes(), &times_in), [EARLY], "{said}");
        drop(times_in);
        assert_eq!(times.iter().collect::<Vec<_>>(), [Some(520_000)], "{said}");
    }
}

#[test]
fn a_title_that_speaks_like_a_complaint_is_none() {
    let (times_in, _times) = channel();
    assert!(listen("[info]     title           : File ended prematurely\n".as_bytes(), &times_in).is_empty());
}
