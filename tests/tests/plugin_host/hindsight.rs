//! What a report changed of the hour before it, whichever way the policy takes it.

use std::time::Duration;

use anyhow::Result;
use scrim_host::media::frame::Micros;
use scrim_host::plugin::hindsight::{self, Label, Policy};
use scrim_host::plugin::inputs::Inputs;
use scrim_host::plugin::slot::Kept;
use scrim_host::plugin::types::{Request, Slot, Source, SourceKind};
use scrim_host::vision::detection::Detection;
use scrim_tests::guest::{Guest, Hook, deed};

use crate::room::{budgets, load};

/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
const MARK: f32 = 0.75;

fn detection(label: &str) -> Detection {
    Detection { detector: "nudity".into(), label: label.into(), confidence: 0.5, area: None, trail: None }
}

#[test]
fn what_counts_since_a_report_is_new_and_what_does_not_is_counted_no_longer() -> Result<()> {
    let source = Source { id: "studio".into(), kind: SourceKind::Camera, owner: String::new() };
    let inputs = Inputs::default();
    inputs.push(Micros(1), &source, &[detection("A"), detection("B")]);
    inputs.push(Micros(2), &source, &[detection("A")]);
    let now = Micros(10);
    for (deed, is_new) in [(deed::COUNT_AFTER_A_REPORT, true), (deed::COUNT_BEFORE_A_REPORT, false)] {
        let report = Request::Feedback { event_id: "1".into(), reporter: "ann".into(), found: detection("A"), correct: is_new };
        let policy = Policy {
            plugin: load(&Guest::new(Slot::Threshold, "1.0.0", MARK).doing(Hook::Judge, deed))?,
            config: "{}".into(),
            kept: Some(Kept { snapshot: None, reported: None, reports: vec![(Micros(5), report)] }),
            budgets: budgets(),
        };
        let found = hindsight::look_back(&policy, &inputs.take(now), [], now, PATIENCE).map_err(anyhow::Error::msg)?;
        let told: Vec<(&str, Label)> = found.labels.iter().map(|((_, label), told)| (&**label, told.clone())).collect();
        let wanted = |detections: u64| {
            let (newly, no_longer) = if is_new { (detections, 0) } else { (0, detections) };
            Label { threshold: MARK, untaught: MARK, detections, counted: newly, no_longer, newly }
        };
        assert_eq!(told, [("A", wanted(2)), ("B", wanted(1))], "{deed}");
        assert_eq!((found.inputs, found.since, found.cut), (2, Some(Micros(1)), false));
    }
    Ok(())
}
