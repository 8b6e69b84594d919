//! Changing who is in force in a room's slots: swap, shadow, promote, discard, roll back, and the global choice that rooms inherit.
//!
//! A swap is in force first and stored then; one that can't be stored is taken back, so that what was answered as done is what a restart
//! finds.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

use super::Service;
use super::room::{Chosen, Origin, Room};
use crate::plugin::catalog::{CatalogError, Loaded, PluginName};
use crate::plugin::events::{PolicyEvent, Stage};
use crate::plugin::prepare::Candidate;
use crate::plugin::types::Slot;
use crate::room::policies::{Order, Policies};
use crate::store::{Scope, StoreError};

/// How long a change may take until it is answered; it goes on by itself then.
const ORDER_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error("`{plugin}` is a {is} policy, not a {slot} policy")]
    OtherSlot { plugin: PluginName, is: Slot, slot: Slot },
    #[error("the plugin's schema refuses the configuration")]
    Config(Vec<(String, String)>),
    /// The slot refused; what was in force stays.
    #[error("refused ({}): {reason}", stage.as_str())]
    Refused { stage: Stage, reason: String },
    #[error("the change is still under way after {} s; its outcome will be an event", ORDER_MAX.as_secs())]
    Slow,
    #[error("this slot has no choice of its own to take back")]
    NothingChosen,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Service {
    /// A plugin for a slot, with its configuration held against its schema.
    async fn candidate(&self, slot: Slot, plugin: &str, config: &Value) -> Result<(Candidate, Arc<str>), PolicyError> {
        let name: PluginName = plugin.parse()?;
        let catalog = self.shared.host.catalog.clone();
        let loading = tokio::task::spawn_blocking(move || catalog.load(&name));
        let loaded: Arc<Loaded> =
            loading.await.map_err(|error| PolicyError::Refused { stage: Stage::Load, reason: error.to_string() })??;
        if loaded.slot != slot {
            return Err(PolicyError::OtherSlot { plugin: loaded.name.clone(), is: loaded.slot, slot });
        }
        let faults = loaded.config_faults(config);
        if !faults.is_empty() {
            return Err(PolicyError::Config(faults));
        }
        Ok((Candidate::Loaded(loaded), config.to_string().into()))
    }

    /// Puts a plugin in force in a room's slot, as the room's own choice.
    ///
    /// # Errors
    /// When the plugin, its configuration, the slot or the store refuses; what was in force stays.
    pub async fn set_policy(
        &self,
        room: &Arc<Room>,
        slot: Slot,
        plugin: &str,
        config: &Value,
        if_revision: Option<i64>,
    ) -> Result<Chosen, PolicyError> {
        let (candidate, text) = self.candidate(slot, plugin, config).await?;
        let _write = room.writes.lock().await;
        expect(room, slot, if_revision)?;
        let policies = room.policies().await;
        ordered(&policies, slot, Order::Swap { candidate, config: text }).await?;
        self.keep_choice(room, &policies, slot, plugin, config).await
    }

    /// Gives up the room's own choice: the global one, or the file's, comes into force.
    ///
    /// # Errors
    /// As [`Service::set_policy`], and when there is no own choice.
    pub async fn clear_policy(&self, room: &Arc<Room>, slot: Slot, if_revision: Option<i64>) -> Result<Chosen, PolicyError> {
        let _write = room.writes.lock().await;
        if room.chosen(slot).origin != Origin::Room {
            return Err(PolicyError::NothingChosen);
        }
        expect(room, slot, if_revision)?;
        self.shared.store.clear_policy(Scope::Room(&room.name), slot, if_revision).await?;
        room.choose(slot, None);
        self.follow_global(room, slot).await?;
        Ok(room.chosen(slot))
    }

    /// Brings what the room inherits into force. Where nothing is chosen the slot empties with the room's next idle time: until then
    /// what is in force stays.
    async fn follow_global(&self, room: &Arc<Room>, slot: Slot) -> Result<(), PolicyError> {
        let Chosen { plugin: Some(plugin), config, .. } = self.shared.global(slot) else { return Ok(()) };
        let Some(policies) = room.policies_if_warm() else { return Ok(()) };
        let (candidate, text) = self.candidate(slot, &plugin, &config).await?;
        ordered(&policies, slot, Order::Swap { candidate, config: text }).await.map(drop)
    }

    /// Lets a plugin see what the one in force sees.
    ///
    /// # Errors
    /// When the plugin, its configuration or the slot refuses.
    pub async fn shadow(&self, room: &Arc<Room>, slot: Slot, plugin: &str, config: &Value) -> Result<PolicyEvent, PolicyError> {
        let (candidate, text) = self.candidate(slot, plugin, config).await?;
        let _write = room.writes.lock().await;
        ordered(&room.policies().await, slot, Order::Shadow { candidate, config: text }).await
    }

    /// Ends the shadow.
    ///
    /// # Errors
    /// When there is none.
    pub async fn discard(&self, room: &Arc<Room>, slot: Slot) -> Result<PolicyEvent, PolicyError> {
        let _write = room.writes.lock().await;
        ordered(&room.policies().await, slot, Order::Discard).await
    }

    /// Puts the shadow in force, or brings the version before back; what then is in force is the room's own choice.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub async fn promote_or_roll_back(
        &self,
        room: &Arc<Room>,
        slot: Slot,
        order: Order,
        if_revision: Option<i64>,
    ) -> Result<Chosen, PolicyError> {
        let _write = room.writes.lock().await;
        expect(room, slot, if_revision)?;
        let policies = room.policies().await;
        ordered(&policies, slot, order).await?;
        let status = policies.slot(slot).status();
        let plugin = status.plugin.map(|plugin| plugin.to_string()).unwrap_or_default();
        let config = status.config.and_then(|config| serde_json::from_str(&config).ok()).unwrap_or_default();
        self.keep_choice(room, &policies, slot, &plugin, &config).await
    }

    async fn keep_choice(
        &self,
        room: &Arc<Room>,
        policies: &Policies,
        slot: Slot,
        plugin: &str,
        config: &Value,
    ) -> Result<Chosen, PolicyError> {
        let now = self.shared.clock.unix_us();
        match self.shared.store.set_policy(Scope::Room(&room.name), slot, plugin, config, None, now).await {
            Ok(row) => {
                room.choose(slot, Some(row));
                Ok(room.chosen(slot))
            }
            Err(error) => {
                // Not kept, so not in force. A first choice has nothing to go back to: then the event tells that it is not kept.
                let _back = ordered(policies, slot, Order::RollBack).await;
                Err(error.into())
            }
        }
    }

    /// The choice for rooms that make none; warm rooms follow at once.
    ///
    /// # Errors
    /// When the plugin, its configuration or the store refuses. A room whose slot refuses keeps what it has, as its events say.
    pub async fn set_global(&self, slot: Slot, plugin: &str, config: &Value, if_revision: Option<i64>) -> Result<Chosen, PolicyError> {
        self.candidate(slot, plugin, config).await?;
        let _change = self.changes.lock().await;
        let row = self.shared.store.set_policy(Scope::Global, slot, plugin, config, if_revision, self.shared.clock.unix_us()).await?;
        self.shared.set_global(slot, Some(row));
        self.all_follow(slot).await;
        Ok(self.shared.global(slot))
    }

    /// Gives up the global choice: the file's comes into force.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub async fn clear_global(&self, slot: Slot, if_revision: Option<i64>) -> Result<Chosen, PolicyError> {
        let _change = self.changes.lock().await;
        if self.shared.global(slot).origin != Origin::Global {
            return Err(PolicyError::NothingChosen);
        }
        self.shared.store.clear_policy(Scope::Global, slot, if_revision).await?;
        self.shared.set_global(slot, None);
        self.all_follow(slot).await;
        Ok(self.shared.global(slot))
    }

    async fn all_follow(&self, slot: Slot) {
        for room in self.all() {
            let _write = room.writes.lock().await;
            if room.chosen(slot).origin != Origin::Room
                && let Err(error) = self.follow_global(&room, slot).await
            {
                tracing::warn!(room = %room.name, %slot, %error, "the room keeps the policy it has");
            }
        }
    }
}

fn expect(room: &Room, slot: Slot, if_revision: Option<i64>) -> Result<(), StoreError> {
    let current = room.own_revision(slot);
    match if_revision {
        Some(expected) if expected != current => {
            Err(StoreError::Stale { what: format!("the {slot} policy of room {:?} (If-Match says {expected})", room.name), current })
        }
        _ => Ok(()),
    }
}

/// Carries an order out and waits for its outcome.
async fn ordered(policies: &Policies, slot: Slot, order: Order) -> Result<PolicyEvent, PolicyError> {
    let (tell, told) = oneshot::channel();
    policies.order(slot, order, move |event| _ = tell.send(event));
    let outcome = tokio::time::timeout(ORDER_MAX, told).await.map_err(|_| PolicyError::Slow)?;
    match outcome {
        Ok(PolicyEvent::Refused { stage, reason, .. }) => Err(PolicyError::Refused { stage, reason }),
        Ok(event) => Ok(event),
        Err(_) => Err(PolicyError::Refused { stage: Stage::Commit, reason: "the host is stopping".to_owned() }),
    }
}
