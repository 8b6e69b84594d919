//! Words before the room's policies: the text policy about an utterance, then the threshold policy about what it found.

use std::sync::Arc;
use std::time::Duration;

use super::note::{Finding, Judging, Medium, Note, Observer};
use super::policies::Policies;
use super::transcript::{Transcript, mask_reasons};
use crate::geometry::Rect;
use crate::media::frame::Micros;
use crate::plugin::types::{self, Place, Reply, Utterance};
use crate::vision::detection::{Detection, Verdict};

/// The detectors' names that findings are weighed under.
pub const fn detector(medium: Medium) -> &'static str {
    match medium {
        Medium::Screen => "text",
        Medium::Speech => "speech",
    }
}

/// What became of an utterance: one for each of its words, whether something that counts was found in it. None: it could not be judged.
pub type Flagged = Option<Vec<bool>>;

/// Asks about what is read or heard of one source.
#[derive(Clone)]
pub struct Asker {
    pub source: Arc<types::Source>,
    pub policies: Policies,
    pub observer: Observer,
    /// Notes carry a transcript, masked.
    pub transcribes: bool,
}

impl Asker {
    /// `reply` is called once, from any thread, perhaps before this returns; it must not block. With `patience` each policy has so long, and a
    /// tokio runtime is needed; without, it takes as long as it takes.
    pub fn judge(
        &self,
        medium: Medium,
        at: Micros,
        utterance: Utterance,
        patience: Option<Duration>,
        reply: impl FnOnce(Flagged) + Send + 'static,
    ) {
        let asker = self.clone();
        // The second question is asked from the first one's thread, which has no runtime of its own.
        let runtime = tokio::runtime::Handle::try_current().ok();
        let utterance = Arc::new(utterance);
        let question = types::Request::Judge { utterance: utterance.clone() };
        self.policies.ask(at, question, patience, move |answered| {
            let _entered = runtime.as_ref().map(tokio::runtime::Handle::enter);
            let policy = answered.plugin;
            let findings = match answered.result {
                Ok(Reply::Findings(findings)) => findings,
                Ok(_) => return reply(asker.unjudged(medium, at, &utterance, policy, "it answered something else".to_owned())),
                Err(why) => return reply(asker.unjudged(medium, at, &utterance, policy, why)),
            };
            let detections: Vec<Detection> = findings.iter().map(|finding| detection(medium, &utterance, finding)).collect();
            if detections.is_empty() {
                return reply(asker.found(medium, at, &utterance, policy, Vec::new()));
            }
            let question = types::Request::Weigh { source: asker.source.clone(), found: detections.clone() };
            let policies = asker.policies.clone();
            policies.ask(at, question, patience, move |answered| {
                let verdicts = match answered.result {
                    Ok(Reply::Verdicts(verdicts)) if verdicts.len() == detections.len() => verdicts,
                    // What a text policy found counts, unless somebody says otherwise.
                    _ => detections.iter().map(|_| Verdict { counts: true, threshold: 0.0 }).collect(),
                };
                let found = findings.into_iter().zip(detections).zip(verdicts);
                let found = found.map(|((finding, detection), verdict)| Finding { finding, detection, verdict }).collect();
                reply(asker.found(medium, at, &utterance, policy, found));
            });
        });
    }

    fn unjudged(&self, medium: Medium, at: Micros, utterance: &Arc<Utterance>, policy: Option<String>, fault: String) -> Flagged {
        let transcript = self.transcribes.then(|| Transcript::of(utterance, policy, None));
        (self.observer)(Note::Judged(Judging {
            medium,
            at,
            utterance: utterance.clone(),
            findings: Vec::new(),
            fault: Some(fault),
            transcript,
        }));
        None
    }

    fn found(&self, medium: Medium, at: Micros, utterance: &Arc<Utterance>, policy: Option<String>, mut findings: Vec<Finding>) -> Flagged {
        let mut flagged = vec![false; utterance.words.len()];
        for Finding { finding, .. } in findings.iter().filter(|found| found.verdict.counts) {
            // A checked answer lies inside the utterance.
            let span = finding.first as usize..(finding.first as usize).saturating_add(finding.count as usize).min(flagged.len());
            if let Some(span) = flagged.get_mut(span) {
                span.fill(true);
            }
        }
        let transcript = self.transcribes.then(|| {
            mask_reasons(utterance, &mut findings);
            Transcript::of(utterance, policy, Some(&findings))
        });
        (self.observer)(Note::Judged(Judging { medium, at, utterance: utterance.clone(), findings, fault: None, transcript }));
        Some(flagged)
    }
}

/// A finding as a threshold policy weighs it: its category is the label.
fn detection(medium: Medium, utterance: &Utterance, finding: &types::Finding) -> Detection {
    let words = utterance.words.iter().skip(finding.first as usize).take(finding.count as usize);
    let areas = words.filter_map(|word| match word.place {
        Place::Area(area) => Some(area),
        Place::Nowhere | Place::Time { .. } => None,
    });
    Detection {
        detector: detector(medium).into(),
        label: finding.category.as_str().into(),
        confidence: finding.confidence,
        area: areas.reduce(|a: Rect, b| a.hull(&b)),
        trail: None,
    }
}
