//! Reading a YOLO head: scores and boxes of one picture to candidates, and non-maximum suppression among them. Pure.

use super::model::Head;
use super::preprocess::Placement;
use crate::geometry::Rect;

/// One box that stood.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    pub label: usize,
    /// 0..=1.
    pub score: f32,
    /// Inside the frame.
    pub area: Rect,
}

/// Number of labels and of anchors of one picture's output of `shape` (the batch axis left out); `None` if it is not such a head's.
pub fn dimensions(head: Head, shape: &[usize]) -> Option<(usize, usize)> {
    match (head, shape) {
        (Head::V8, &[values, anchors]) => Some((values.checked_sub(4)?, anchors)),
        (Head::V5, &[anchors, values]) => Some((values.checked_sub(5)?, anchors)),
        _ => None,
    }
    .filter(|(labels, anchors)| *labels > 0 && *anchors > 0)
}

/// Every box of one picture with a score of at least `floor`, strongest first, without those that overlap a stronger one by more
/// than `nms_iou`, whatever its label. `output` is one picture's, of [`dimensions`] `labels` and `anchors`.
pub fn decode(head: Head, output: &[f32], labels: usize, anchors: usize, floor: f32, nms_iou: f32, placement: &Placement) -> Vec<Found> {
    let mut candidates = match head {
        Head::V8 => v8(output, labels, anchors, floor),
        Head::V5 => v5(output, labels, floor),
    };
    // Stable, so that equals keep the model's order and an answer is the same on every run.
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Found> = Vec::new();
    for Candidate { label, score, at: [x, y, width, height] } in candidates {
        let area = placement.area(x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0);
        if !area.is_empty() && kept.iter().all(|other| other.area.iou(&area) <= nms_iou) {
            kept.push(Found { label, score, area });
        }
    }
    kept
}

struct Candidate {
    label: usize,
    score: f32,
    /// Centre and size in input pixels.
    at: [f32; 4],
}

/// Value by value over all anchors, which is how they lie in memory.
fn v8(output: &[f32], labels: usize, anchors: usize, floor: f32) -> Vec<Candidate> {
    let (places, scores) = output[..(4 + labels) * anchors].split_at(4 * anchors);
    let mut best = scores[..anchors].to_vec();
    for row in scores.chunks_exact(anchors).skip(1) {
        for (best, &score) in best.iter_mut().zip(row) {
            *best = best.max(score);
        }
    }
    let place = |anchor: usize| -> [f32; 4] { std::array::from_fn(|value| places[value * anchors + anchor]) };
    let strong = best.iter().enumerate().filter(|(anchor, score)| **score >= floor && place(*anchor).iter().all(|edge| edge.is_finite()));
    strong
        .map(|(anchor, &score)| Candidate {
            label: (0..labels).find(|label| scores[label * anchors + anchor] == score).unwrap_or(0),
            score: score.min(1.0),
            at: place(anchor),
        })
        .collect()
}

fn v5(output: &[f32], labels: usize, floor: f32) -> Vec<Candidate> {
    let anchors = output.chunks_exact(5 + labels).filter(|values| values[4] >= floor && values[..4].iter().all(|edge| edge.is_finite()));
    anchors
        .filter_map(|values| {
            let strongest = values[5..].iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
            let (label, score) = strongest.map(|(label, score)| (label, (score * values[4]).min(1.0)))?;
            (score >= floor).then(|| Candidate { label, score, at: [values[0], values[1], values[2], values[3]] })
        })
        .collect()
}

/// Labels in the order of their numbers, from the dictionary that Ultralytics writes into an ONNX file: `{0: 'cat', 1: "dog's"}`.
/// `None` if it is no such dictionary, or its numbers have gaps.
pub fn parse_names(text: &str) -> Option<Vec<String>> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    let mut names = Vec::new();
    while !rest.is_empty() {
        let (number, after) = rest.split_once(':')?;
        if number.trim().trim_matches(['\'', '"']).parse::<usize>().ok()? != names.len() {
            return None;
        }
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let mut name = String::new();
        let mut characters = after[1..].char_indices();
        let end = loop {
            match characters.next()? {
                (_, '\\') => name.push(characters.next()?.1),
                (at, c) if c == quote => break at + 2,
                (_, c) => name.push(c),
            }
        };
        names.push(name);
        rest = after[end..].trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    (!names.is_empty()).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::model::{Colour, Filter, Fit, InputSpec, Layout};
    use crate::infer::preprocess::Preprocessor;
    use crate::media::frame::{Frame, FrameSeq, Matrix, Micros, Range, i420_len};

    /// A 100 × 100 frame in a 100 × 100 input: pixels are hundredths.
    fn placement() -> Placement {
        let spec = InputSpec {
            fit: Fit::Square,
            size: 100,
            filter: Filter::Bilinear,
            layout: Layout::Nchw,
            colour: Colour::Rgb,
            mean: [0.0; 3],
            scale: [1.0; 3],
        };
        let frame = Frame::new(FrameSeq(0), Micros(0), 100, 100, Range::Full, Matrix::Bt601, vec![0; i420_len(100, 100)]);
        Preprocessor::new(spec).fill(&frame, &mut vec![0.0; 30_000])
    }

    /// Anchors as rows of x, y, w, h, scores…, transposed to the v8 layout.
    fn v8_output(anchors: &[[f32; 6]]) -> Vec<f32> {
        (0..6).flat_map(|value| anchors.iter().map(move |anchor| anchor[value])).collect()
    }

    fn near(a: Rect, b: Rect) -> bool {
        a.iou(&b) > 0.999
    }

    #[test]
    fn boxes_come_strongest_first_and_suppress_their_overlaps() {
        let output = v8_output(&[
            [50.0, 50.0, 20.0, 20.0, 0.30, 0.10],
            [51.0, 50.0, 20.0, 20.0, 0.20, 0.90],
            [20.0, 20.0, 10.0, 10.0, 0.20, 0.05],
            [80.0, 80.0, 10.0, 10.0, 0.19, 0.05],
        ]);
        let found = decode(Head::V8, &output, 2, 4, 0.2, 0.45, &placement());
        assert_eq!(found.iter().map(|f| (f.label, f.score)).collect::<Vec<_>>(), [(1, 0.9), (0, 0.2)]);
        assert!(near(found[0].area, Rect::new(0.41, 0.40, 0.2, 0.2)) && near(found[1].area, Rect::new(0.15, 0.15, 0.1, 0.1)));
    }

    #[test]
    fn boxes_are_clipped_to_the_frame_and_dropped_outside_it() {
        let output = v8_output(&[[0.0, 50.0, 20.0, 20.0, 0.8, 0.0], [150.0, 50.0, 20.0, 20.0, 0.9, 0.0]]);
        let found = decode(Head::V8, &output, 2, 2, 0.2, 0.45, &placement());
        assert_eq!(found.len(), 1);
        assert!(near(found[0].area, Rect::new(0.0, 0.4, 0.1, 0.2)));
    }

    #[test]
    fn objectness_multiplies_in_the_older_head() {
        let output = [50.0, 50.0, 20.0, 20.0, 0.5, 0.2, 0.8, 10.0, 10.0, 4.0, 4.0, 0.5, 0.3, 0.2];
        let found = decode(Head::V5, &output, 2, 2, 0.2, 0.45, &placement());
        assert_eq!(found.iter().map(|f| (f.label, f.score)).collect::<Vec<_>>(), [(1, 0.4)]);
    }

    #[test]
    fn a_score_that_is_no_number_finds_nothing() {
        let output = v8_output(&[[50.0, 50.0, 20.0, 20.0, f32::NAN, f32::NAN], [f32::NAN, 50.0, 20.0, 20.0, 0.9, 0.1]]);
        assert!(decode(Head::V8, &output, 2, 2, 0.2, 0.45, &placement()).is_empty());
    }

    #[test]
    fn shapes_that_are_no_such_heads_are_refused() {
        assert_eq!(dimensions(Head::V8, &[22, 1260]), Some((18, 1260)));
        assert_eq!(dimensions(Head::V5, &[1260, 85]), Some((80, 1260)));
        for shape in [&[4_usize, 1260][..], &[3, 1260], &[22, 0], &[22], &[1, 22, 1260]] {
            assert_eq!(dimensions(Head::V8, shape), None, "{shape:?}");
        }
    }

    #[test]
    fn names_are_read_as_python_writes_them() {
        assert_eq!(parse_names("{0: 'cat', 1: \"dog's\", 2: 'a, b: \\'c\\''}").unwrap(), ["cat", "dog's", "a, b: 'c'"]);
        for bad in ["", "{}", "[]", "{1: 'a'}", "{0: 'a', 2: 'b'}", "{0: 'a", "{0: a}", "{0: 'a}"] {
            assert_eq!(parse_names(bad), None, "{bad:?}");
        }
    }
}
