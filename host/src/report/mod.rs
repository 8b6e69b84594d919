//! The page that `scrim censor --report` writes: what was seen, decided and covered, and why, in one HTML file that needs nothing else.
//!
//! In flows a [`Report`], plain data that the run fills; out comes the text of the page. Always holds: the page loads nothing from
//! anywhere (a content security policy in it says so to the browser), text from the clip or from a policy is never markup, words that
//! something was found in are masked, and pictures and sound stay within the budgets of [`Previews`] and [`Sound`].

mod data;
mod previews;
mod sound;
mod words;

use std::fmt::Write;
use std::sync::Arc;

use serde::Serialize;

use crate::geometry::Rect;
use crate::media::frame::Micros;
use crate::vision::cover::covered_share;
use crate::vision::detection::{Detection, Verdict};

pub use previews::{Preview, Previews};
pub use sound::{Peaks, Sound};
pub use words::{Mute, Reason, Said, Words};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
/// One script, in this order.
const SCRIPT: [&str; 5] =
    [include_str!("page.js"), include_str!("summary.js"), include_str!("player.js"), include_str!("words.js"), include_str!("timeline.js")];

/// Everything that the page shows.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Heading, such as the clip's file name.
    pub title: String,
    pub clip: Clip,
    /// Facts of the run that the frames do not tell, such as policies, models, speed; name and value.
    pub facts: Vec<(String, String)>,
    /// In order of time.
    pub frames: Vec<ReportFrame>,
    pub decisions: Vec<Decision>,
    pub events: Vec<Event>,
    pub previews: Vec<Preview>,
    /// What was read and heard, masked; none where neither was done.
    pub words: Option<Words>,
    /// What was muted, by stretch; none where nothing listened.
    pub mutes: Option<Vec<Mute>>,
    pub sound: Option<Sound>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Clip {
    pub width: usize,
    pub height: usize,
    /// Frames a second.
    pub rate: f64,
}

/// One published frame.
#[derive(Clone, Debug)]
pub struct ReportFrame {
    pub at: Micros,
    /// Share of blocks that changed since the frame before, 0..=1.
    pub change: f32,
    pub cut: bool,
    /// Of this frame; empty for one that was not sampled.
    pub looks: Vec<Look>,
    /// What was covered, in fractions of the frame.
    pub masks: Vec<Rect>,
    pub cover: Cover,
}

/// Why and how a frame left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cover {
    Clear,
    Masks,
    Full { reason: String },
}

/// What one detector had to do with one frame.
#[derive(Clone, Debug)]
pub struct Look {
    pub detector: Arc<str>,
    pub kind: LookKind,
    pub found: Vec<(Detection, Verdict)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LookKind {
    /// The host required it.
    Required,
    /// The cascade asked for it.
    Asked,
    /// The cascade was asked and said no.
    Skipped,
}

/// One answer of a policy.
#[derive(Clone, Debug, Serialize)]
pub struct Decision {
    pub at: Micros,
    /// `cascade`, `text` or `threshold`.
    pub slot: String,
    /// `name@version` of the generation that answered.
    pub policy: String,
    /// What it decided and why, for people.
    pub text: String,
}

/// Something that happened to a policy or a source.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    pub at: Micros,
    pub kind: EventKind,
    /// A slot's or detector's name.
    pub subject: String,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    Swap,
    Rollback,
    Refused,
    Fault,
    Config,
}

/// The figures at the top of the page.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    pub frames: usize,
    pub clear: usize,
    pub masked: usize,
    pub full: usize,
    /// Mean share of the picture that was covered, over all frames, 0..=1.
    pub covered_share: f32,
    /// Looks that ran, all detectors together, and those that every frame with every detector would have taken.
    pub looks: usize,
    pub looks_possible: usize,
    pub counted: usize,
    pub swaps: usize,
    pub faults: usize,
}

impl Report {
    pub fn summary(&self) -> Summary {
        let mut detectors: Vec<&str> = Vec::new();
        let mut summary = Summary { frames: self.frames.len(), ..Summary::default() };
        let mut share = 0.0;
        for frame in &self.frames {
            match frame.cover {
                Cover::Clear => summary.clear += 1,
                Cover::Masks => summary.masked += 1,
                Cover::Full { .. } => summary.full += 1,
            }
            share += f64::from(share_of(frame));
            for look in &frame.looks {
                if !detectors.contains(&&*look.detector) {
                    detectors.push(&look.detector);
                }
                summary.looks += usize::from(look.kind != LookKind::Skipped);
                summary.counted += look.found.iter().filter(|(_, verdict)| verdict.counts).count();
            }
        }
        summary.covered_share = (share / self.frames.len().max(1) as f64) as f32;
        summary.looks_possible = detectors.len() * self.frames.len();
        summary.swaps = self.events.iter().filter(|e| e.kind == EventKind::Swap).count();
        summary.faults = self.events.iter().filter(|e| e.kind == EventKind::Fault).count();
        summary
    }

    /// The page.
    pub fn to_html(&self) -> Result<String, serde_json::Error> {
        let data = for_script(&serde_json::to_string(&data::Data::of(self))?);
        let mut html = String::with_capacity(data.len() + PAGE.len() + STYLE.len() + SCRIPT.iter().map(|part| part.len()).sum::<usize>());
        // Each part is put in once and not searched again, so that no text of the clip is taken for a place.
        let mut rest = PAGE;
        while let Some((before, after)) = rest.split_once("{{") {
            html.push_str(before);
            let (name, behind) = after.split_once("}}").unwrap_or((after, ""));
            match name {
                "title" => html.push_str(&escaped(&self.title)),
                "style" => html.push_str(STYLE),
                "script" => SCRIPT.iter().for_each(|part| html.push_str(part)),
                "data" => html.push_str(&data),
                _ => {}
            }
            rest = behind;
        }
        html.push_str(rest);
        Ok(html)
    }
}

fn share_of(frame: &ReportFrame) -> f32 {
    match frame.cover {
        Cover::Clear => 0.0,
        Cover::Masks => covered_share(&frame.masks),
        Cover::Full { .. } => 1.0,
    }
}

/// Text as HTML shows it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// JSON that cannot end its script element nor open a comment in it: `<` occurs only within strings, where an escape stands for it.
fn for_script(json: &str) -> String {
    json.replace('<', "\\u003c")
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let group = part.iter().fold(0u32, |group, &byte| group << 8 | u32::from(byte)) << (8 * (3 - part.len()));
        for digit in 0..4 {
            let six = (group >> (18 - 6 * digit) & 63) as usize;
            out.push(if digit <= part.len() { char::from(DIGITS[six]) } else { '=' });
        }
    }
    out
}

/// Runs of full cover with one reason, as lines for a terminal: start and end in seconds, frames, reason.
pub fn full_covers(frames: &[ReportFrame]) -> String {
    let mut out = String::new();
    for run in frames.chunk_by(|a, b| a.cover == b.cover) {
        if let (Cover::Full { reason }, Some(last)) = (&run[0].cover, run.last()) {
            let (from, to) = (run[0].at.as_secs_f32(), last.at.as_secs_f32());
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{from:.3} to {to:.3} s, {} frames: {reason}", run.len());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame::{Frame, FrameSeq, Matrix, Range, i420_len};
    use crate::plugin::types::Utterance;
    use crate::room::note::{Judging, Medium};
    use crate::room::transcript::Transcript;

    fn frame(index: u64, cover: Cover) -> ReportFrame {
        let masks = if cover == Cover::Masks { vec![Rect::new(0.25, 0.25, 0.5, 0.5)] } else { vec![] };
        let at = Micros::from_millis(index * 40);
        ReportFrame { at, change: 0.1, cut: index == 5, looks: vec![], masks, cover }
    }

    fn picture(at: u64) -> Frame {
        let (w, h) = (64, 48);
        Frame::new(FrameSeq(0), Micros(at), w, h, Range::Full, Matrix::Bt601, vec![(at % 251) as u8; i420_len(w, h)])
    }

    fn report() -> Report {
        let mut frames: Vec<ReportFrame> = (0..10).map(|i| frame(i, if i < 6 { Cover::Clear } else { Cover::Masks })).collect();
        frames[0].cover = Cover::Full { reason: "no look yet".into() };
        frames[1].cover = Cover::Full { reason: "no look yet".into() };
        let found = |confidence, counts| {
            let detection = Detection {
                detector: "nudity".into(),
                label: "FACE_FEMALE".into(),
                confidence,
                area: Some(Rect::new(0.3, 0.3, 0.2, 0.2)),
                trail: Some(1),
            };
            (detection, Verdict { counts, threshold: 0.4 })
        };
        frames[2].looks =
            vec![Look { detector: "nudity".into(), kind: LookKind::Required, found: vec![found(0.9, true), found(0.2, false)] }];
        frames[4].looks = vec![Look { detector: "nudity".into(), kind: LookKind::Skipped, found: vec![] }];
        let at = Micros(120_000);
        Report {
            title: "</title><script>alert(1)</script>".into(),
            clip: Clip { width: 64, height: 48, rate: 25.0 },
            facts: vec![("policy".into(), "</script><!-- {{style}}".into())],
            frames,
            decisions: vec![Decision { at, slot: "cascade".into(), policy: "a@1.0.0".into(), text: "look".into() }],
            events: vec![Event { at, kind: EventKind::Swap, subject: "cascade".into(), text: "a@1.0.0 to a@2.0.0".into() }],
            previews: vec![Preview::of(&picture(1), Some(&picture(2))).unwrap()],
            words: Some(hostile_words()),
            ..Report::default()
        }
    }

    /// A page that says what would be markup.
    fn hostile_words() -> Words {
        let utterance = Utterance::typed("page", "</script><img onerror=alert(1) src=x> <!-- {{script}}");
        let transcript = Some(Transcript::of(&utterance, None, Some(&[])));
        let mut words = Words::default();
        let (medium, at) = (Medium::Screen, Micros(80_000));
        let utterance = std::sync::Arc::new(Utterance { is_final: false, ..utterance });
        words.judged(&Judging { medium, at, utterance, findings: vec![], fault: None, transcript });
        words
    }

    #[test]
    fn the_summary_counts() {
        let summary = report().summary();
        let wanted = Summary {
            frames: 10,
            clear: 4,
            masked: 4,
            full: 2,
            covered_share: 0.3,
            looks: 1,
            looks_possible: 10,
            counted: 1,
            swaps: 1,
            faults: 0,
        };
        assert_eq!(summary, wanted);
        assert_eq!(full_covers(&report().frames), "0.000 to 0.040 s, 2 frames: no look yet\n");
    }

    #[test]
    fn text_is_never_markup_and_nothing_is_loaded() {
        let html = report().to_html().unwrap();
        assert!(html.contains("&lt;/title&gt;&lt;script&gt;alert(1)"));
        assert!(!html.contains("<script>alert"));
        // What looks like a place in the page stays what the clip or a policy said.
        assert_eq!((html.matches(STYLE).count(), html.matches(SCRIPT[0]).count()), (1, 1));
        assert_eq!((html.matches("</script>").count(), html.matches("<img onerror").count()), (2, 0));
        for outside in ["http:", "https:", "src=\"/", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
    }

    #[test]
    fn the_data_reads_back() {
        let html = report().to_html().unwrap();
        let (_, data) = html.split_once("id=\"data\">").unwrap();
        let data: serde_json::Value = serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
        assert_eq!(data["facts"][0][1], "</script><!-- {{style}}");
        assert_eq!(data["frames"].as_array().unwrap().len(), 10);
        assert_eq!(data["frames"][2][6][0][2][0], serde_json::json!([1, 0.9, 0.4, 1, [0.3, 0.3, 0.2, 0.2]]));
        assert_eq!(data["names"][1], "FACE_FEMALE");
        let said = serde_json::json!(["screen", 80_000, null, [["</script><img", 0, null], ["onerror=alert(1)", 0, null]], null]);
        assert_eq!((&data["said"][0][0], &data["said"][0][1], &data["said"][0][3][0]), (&said[0], &said[1], &said[3][0]));
        assert!(data["previews"][0]["raw"].as_str().unwrap().starts_with("data:image/jpeg;base64,/9j/"));
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
