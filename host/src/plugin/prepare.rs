//! The part of a swap that needs no hold: load, check, instantiate, configure, and a smoke call on a throw-away instance (invariant 6).

use std::sync::Arc;
use std::time::Instant;

use super::catalog::{Catalog, Loaded, PluginName};
use super::events::Stage;
use super::instance::{Budgets, PolicyInstance};
use super::slot::Prepared;
use super::tenant::{Fresh, PolicySpec, StartError};
use super::types::{Fault, Hints, Request, Slot, Source, SourceKind, Thumbnail, Utterance};
use crate::geometry::Rect;
use crate::media::frame::Micros;
use crate::vision::detection::Detection;

/// A plugin to be put into a slot.
#[derive(Clone)]
pub enum Candidate {
    Loaded(Arc<Loaded>),
    /// Loaded from the catalog by the preparing thread.
    Named(Arc<Catalog>, PluginName),
}

impl Candidate {
    pub(super) fn label(&self) -> String {
        match self {
            Candidate::Loaded(loaded) => loaded.name.to_string(),
            Candidate::Named(_, name) => name.to_string(),
        }
    }

    fn load(&self) -> Result<Arc<Loaded>, String> {
        match self {
            Candidate::Loaded(loaded) => Ok(loaded.clone()),
            Candidate::Named(catalog, name) => catalog.load(name).map_err(|error| error.to_string()),
        }
    }
}

/// Brings a candidate to where only the commit is left. The error names the stage.
pub fn prepare(slot: Slot, candidate: &Candidate, config: &str, at: Micros, budgets: &Budgets) -> Result<Prepared, (Stage, String)> {
    let since = Instant::now();
    let plugin = candidate.load().map_err(|reason| (Stage::Load, reason))?;
    if plugin.slot != slot {
        return Err((Stage::Slot, format!("`{}` is a {} policy, not a {slot} policy", plugin.name, plugin.slot)));
    }
    plugin.check_config(config).map_err(|reason| (Stage::Configure, format!("the plugin's schema refuses the configuration: {reason}")))?;
    let spec = PolicySpec { plugin, config: config.into() };
    let trial = start(&spec, at, budgets)?;
    smoke(trial.instance, slot, at).map_err(|reason| (Stage::Smoke, reason))?;
    let fresh = start(&spec, at, budgets)?;
    Ok(Prepared { spec, fresh, took: since.elapsed() })
}

fn start(spec: &PolicySpec, at: Micros, budgets: &Budgets) -> Result<Fresh, (Stage, String)> {
    let mut instance = PolicyInstance::start(&spec.plugin, at, budgets).map_err(|fault| (Stage::Instantiate, fault.to_string()))?;
    let refused = |error: StartError| (Stage::Configure, error.to_string());
    let configured = instance.configure(at, &spec.config).map_err(|fault| refused(fault.into()))?;
    configured.map_err(|why| refused(StartError::Configure(why)))?;
    Ok(Fresh { instance, at })
}

/// One call of each kind that the plugin must be able to answer, and its own snapshot given back to it.
fn smoke(mut instance: PolicyInstance, slot: Slot, at: Micros) -> Result<(), String> {
    let said = |what: &'static str| move |fault: Fault| format!("in {what}: {fault}");
    let request = smoke_request(slot);
    instance.call(at, &request).map_err(said(request.function()))?;
    if slot == Slot::Threshold {
        instance.current(at).map_err(said("current"))?;
    }
    let state = instance.snapshot(at).map_err(said("snapshot"))?;
    let version = instance.loaded().name.version().to_string();
    instance.restore(at, &version, &state).map_err(said("restore"))?.map_err(|why| format!("it cannot read its own snapshot: {why}"))
}

/// A plain input for a slot.
pub fn smoke_request(slot: Slot) -> Request {
    let source = Arc::new(Source { id: "smoke".into(), kind: SourceKind::Camera, owner: "smoke".into() });
    match slot {
        Slot::Cascade => Request::Screen {
            source,
            thumbnail: Arc::new(Thumbnail::uniform(64, 36, 128, 128, 128)),
            detectors: vec!["nudity".into()],
            hints: Hints { since_look: Some(Micros::from_millis(100)), ..Hints::default() },
        },
        Slot::Text => Request::Judge { utterance: Arc::new(Utterance::typed("smoke", "hello there, how are you")) },
        Slot::Threshold => Request::Weigh {
            source,
            found: vec![Detection {
                detector: "nudity".into(),
                label: "FACE_FEMALE".into(),
                confidence: 0.5,
                area: Some(Rect::new(0.25, 0.25, 0.5, 0.5)),
                trail: None,
            }],
        },
    }
}
