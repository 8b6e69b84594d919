//! 2.0.0: looks where a head-like shape is (on luma alone, so grey, dark and tinted pictures count), where the host follows something, where a
//! skin region or much of the picture is new, and now and then anyway.
//!
//! Flow of a call: thumbnail → [`heads`] and [`skin`] measure → [`decide`] weighs them with what is remembered of the source and with the
//! host's hints → one reason. Always holds: time only comes from the call; the memory of a source is about 2 KiB and of at most
//! `sources_max` sources; a look that found nothing raises the bar, it never closes the gate, for a cascade sees a look's result only through
//! the host's trails, and a plain head asks for a look on every frame whatever they say.

mod config;
pub mod decide;
mod dot;
pub mod heads;
pub mod picture;
pub mod skin;
mod weights;

use scrim_sdk::{Cascade, Hints, Screening, Source, Thumbnail};

pub use config::Config;
pub use decide::{Memory, State};

use crate::classic::edge_density;
use crate::picks::Planes;
use decide::{Measured, novelty};
use heads::Heads;
use skin::Skin;

/// The policy: settings and the buffers of a call.
pub struct Regions {
    config: Config,
    heads: Heads,
    skin: Skin,
}

impl Cascade for Regions {
    type Config = Config;
    type State = State;
    const STATE_VERSION: u32 = 2;

    /// 1.0 keeps nothing, so there is nothing to take over: sources start anew, which asks for a look at each.
    fn upgrade(version: u32, _: &[u8]) -> Result<State, String> {
        if version == 1 { Ok(State::default()) } else { Err(scrim_sdk::state::unknown(version, Self::STATE_VERSION)) }
    }

    fn new(config: Config) -> Result<Self, String> {
        config.check()?;
        Ok(Self { config, heads: Heads::default(), skin: Skin::default() })
    }

    fn screen(
        &mut self,
        state: &mut State,
        at_us: u64,
        source: &Source,
        frame: &Thumbnail,
        detectors: &[String],
        hints: &Hints,
    ) -> Vec<Screening> {
        // Nobody named: every detector looks.
        let Some(planes) = Planes::of(frame) else { return Vec::new() };
        let people = detectors.iter().any(|name| self.config.people.contains(name));
        let text = detectors.iter().any(|name| self.config.text.contains(name));
        if !people && !text {
            return Vec::new();
        }
        let memory = state.of(&source.id, at_us, self.config.sources_max as usize);
        let head = if people {
            self.heads.look_at(planes.y, planes.width, planes.height, memory.turn(hints.scene_cut));
            self.heads.find()
        } else {
            self.heads.look_at(planes.y, planes.width, planes.height, &[]);
            None
        };
        let small = &self.heads.small().data;
        let mut answers = Vec::new();
        if people {
            let measured = Measured {
                head,
                skin: self.skin.largest(&planes, self.config.skin_cb, self.config.skin_cr),
                novelty: novelty(small, &memory.looked_at).max(hints.change),
            };
            let (look, reason) = memory.people(&self.config, at_us, &measured, hints);
            if look {
                memory.looked_at.clone_from(small);
            }
            let named = detectors.iter().filter(|name| self.config.people.contains(name));
            answers.extend(named.map(|name| Screening { detector: name.clone(), look, areas: Vec::new(), reason: reason.clone() }));
        }
        if text {
            let edges = edge_density(planes.y, planes.width, planes.height, self.config.edge_step);
            let (look, reason) = memory.text(&self.config, at_us, edges, novelty(small, &memory.read), hints.scene_cut);
            if look {
                memory.read.clone_from(small);
            }
            let named = detectors.iter().filter(|name| self.config.text.contains(name));
            answers.extend(named.map(|name| Screening { detector: name.clone(), look, areas: Vec::new(), reason: reason.clone() }));
        }
        answers
    }

    fn source_ended(&mut self, state: &mut State, _at_us: u64, source_id: &str) {
        state.forget(source_id);
    }
}
