//! A broadcaster as viewers have it: a participant of the viewers' room that publishes what was moderated.
//!
//! ```text
//! pumps (one a track) ── Order ──► Mirror's task ── joins, publishes, says ──► the viewers' room
//!                  ◄── epoch: which connection; tracks of an earlier one are gone and are published anew
//! ```
//! What always holds: nothing but moderated tracks and texts is handed over here; a connection that is lost is made again, with growing pauses,
//! for as long as the mirror lives; dropped, it leaves the room.

use std::collections::HashMap;
use std::time::Duration;

use backon::BackoffBuilder;
use scrim_livekit::proto::TrackSource;
use scrim_livekit::{AudioTrack, Encoding, Error, Event, Library, Options, Room, VideoTrack};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::attendance::{PAUSE_MAX, retries};
use super::meter;

/// Orders that wait while the room is joined, at most.
const ORDERS_MAX: usize = 32;

/// How long a mirror may take to leave before another takes its place: more than the longest delay.
const AFTER_MAX: Duration = Duration::from_secs(15);

/// How a mirror gets into its room; made anew for each try, since tokens run out.
pub type Ticket = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

/// Where a mirror is to be, and as whom.
pub struct Seat {
    pub library: &'static Library,
    pub url: String,
    /// The room's, if it is encrypted end to end.
    pub key: Option<Vec<u8>>,
    pub ticket: Ticket,
    /// The mirror that may still be there under this identity, with something left to say; the server would put it out.
    pub after: Option<JoinHandle<()>>,
}

enum Order {
    Video { name: String, size: (u32, u32), from: TrackSource, encoding: Encoding, tell: Tell<VideoTrack> },
    Audio { name: String, from: TrackSource, rate: u32, channels: u32, tell: Tell<AudioTrack> },
    TakeBack { epoch: u64, sid: String },
    Say { topic: &'static str, text: String, attributes: HashMap<String, String> },
}

type Tell<T> = oneshot::Sender<Result<Published<T>, Error>>;

/// See the module.
#[derive(Clone)]
pub struct Mirror {
    orders: mpsc::Sender<Order>,
    epoch: watch::Receiver<u64>,
}

/// A track of ours and the connection that it belongs to.
pub struct Published<T> {
    pub track: T,
    pub epoch: u64,
}

impl Mirror {
    /// Joins the viewers' room, and stays there until the last clone of this is dropped; the task ends when it has left.
    pub fn join(seat: Seat) -> (Self, JoinHandle<()>) {
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let (tell, epoch) = watch::channel(0);
        let task = tokio::spawn(run(seat, received, tell));
        (Self { orders, epoch }, task)
    }

    /// Which connection is up; 0 while there is none.
    pub fn epoch(&self) -> watch::Receiver<u64> {
        self.epoch.clone()
    }

    /// Publishes a picture track on the connection that is up.
    ///
    /// # Errors
    /// When there is none, or the server refuses.
    pub async fn video(&self, name: &str, size: (u32, u32), from: TrackSource, encoding: Encoding) -> Result<Published<VideoTrack>, Error> {
        let name = name.to_owned();
        self.order(|tell| Order::Video { name, size, from, encoding, tell }).await
    }

    /// Publishes a sound track on the connection that is up.
    ///
    /// # Errors
    /// When there is none, or the server refuses.
    pub async fn audio(&self, name: &str, from: TrackSource, rate: u32, channels: u32) -> Result<Published<AudioTrack>, Error> {
        let name = name.to_owned();
        self.order(|tell| Order::Audio { name, from, rate, channels, tell }).await
    }

    async fn order<T>(&self, order: impl FnOnce(Tell<T>) -> Order) -> Result<Published<T>, Error> {
        let gone = || Error::Failed { what: "publishing a track", reason: "the mirror is not in its room".to_owned() };
        let (tell, told) = oneshot::channel();
        self.orders.send(order(tell)).await.map_err(|_| gone())?;
        told.await.map_err(|_| gone())?
    }

    /// Says something to the viewers, in the broadcaster's place; lost while there is no connection.
    pub async fn say(&self, topic: &'static str, text: &str, attributes: HashMap<String, String>) {
        // A mirror that is gone says nothing.
        let _ = self.orders.send(Order::Say { topic, text: text.to_owned(), attributes }).await;
    }

    /// Takes a track back; one of an earlier connection is gone already.
    pub async fn take_back(&self, epoch: u64, sid: &str) {
        // A mirror that is gone has no tracks.
        let _ = self.orders.send(Order::TakeBack { epoch, sid: sid.to_owned() }).await;
    }
}

/// Returns when nobody has orders any more.
async fn run(seat: Seat, mut orders: mpsc::Receiver<Order>, tell: watch::Sender<u64>) {
    let Seat { library, url, key, ticket, after } = seat;
    // It publishes and hears nothing.
    let options = Options { subscribe: false, dynacast: true, key };
    if let Some(before) = after
        && tokio::time::timeout(AFTER_MAX, before).await.is_err()
    {
        tracing::warn!("a mirror takes long to leave: its place is taken");
    }
    let (mut pauses, mut epoch) = (retries().build(), 0_u64);
    loop {
        let joined = match ticket() {
            Ok(token) => Room::join(library, &url, &token, options.clone()).await.map_err(|error| error.to_string()),
            Err(reason) => Err(reason),
        };
        match joined {
            Ok(room) => {
                pauses = retries().build();
                epoch += 1;
                tell.send_replace(epoch);
                let stays = serve(room, epoch, &mut orders).await;
                tell.send_replace(0);
                if !stays {
                    return;
                }
                metrics::counter!(meter::RECONNECTS, "side" => "mirror").increment(1);
            }
            Err(reason) => tracing::warn!(reason, "a viewers' room cannot be joined"),
        }
        let pause = tokio::time::sleep(pauses.next().unwrap_or(PAUSE_MAX));
        tokio::pin!(pause);
        // Who asks meanwhile is told that there is no connection: it waits for the next one.
        loop {
            tokio::select! {
                () = &mut pause => break,
                order = orders.recv() => if order.is_none() { return },
            }
        }
    }
}

/// One connection. Whether it is to be made again.
async fn serve(mut room: Room, epoch: u64, orders: &mut mpsc::Receiver<Order>) -> bool {
    let mut renamed = Renamed::default();
    loop {
        let order = tokio::select! {
            order = orders.recv() => order,
            event = room.next() => match event {
                Some(Event::Over { reason }) => {
                    tracing::warn!(reason, "a viewers' room is over for its mirror");
                    return true;
                }
                None => return true,
                Some(Event::Republished { previous, sid }) => {
                    renamed.rename(previous, sid);
                    continue;
                }
                Some(_) => continue,
            },
        };
        match order {
            Some(Order::Video { name, size, from, encoding, tell }) => {
                let made = VideoTrack::publish(&room, &name, size, from, encoding).await.map(|track| Published { track, epoch });
                if let Err(Ok(unheard)) = tell.send(made) {
                    unpublish(&room, unheard.track.sid()).await;
                }
            }
            Some(Order::Audio { name, from, rate, channels, tell }) => {
                let made = AudioTrack::publish(&room, &name, from, rate, channels).await.map(|track| Published { track, epoch });
                if let Err(Ok(unheard)) = tell.send(made) {
                    unpublish(&room, unheard.track.sid()).await;
                }
            }
            Some(Order::TakeBack { epoch: of, sid }) if of == epoch => {
                unpublish(&room, &renamed.take(sid)).await;
            }
            Some(Order::TakeBack { .. }) => {}
            Some(Order::Say { topic, text, attributes }) => {
                if let Err(error) = room.send_text(topic, &text, attributes, &[], None).await {
                    tracing::warn!(%error, "a moderated message is not said");
                }
            }
            None => {
                if let Err(error) = tokio::time::timeout(Duration::from_secs(5), room.leave()).await.unwrap_or(Ok(())) {
                    tracing::info!(%error, "a viewers' room was left without a word from the server");
                }
                return false;
            }
        }
    }
}

async fn unpublish(room: &Room, sid: &str) {
    if let Err(error) = room.unpublish(sid).await {
        tracing::info!(%error, "a track was not taken back");
    }
}

/// The sids that tracks have now, by their first: where the library could not resume a connection, it has published them anew.
#[derive(Default)]
struct Renamed(HashMap<String, String>);

impl Renamed {
    fn rename(&mut self, previous: String, now: String) {
        let first = self.0.iter().find(|(_, sid)| **sid == previous).map(|(first, _)| first.clone());
        self.0.insert(first.unwrap_or(previous), now);
    }

    /// The sid of a track that goes.
    fn take(&mut self, first: String) -> String {
        self.0.remove(&first).unwrap_or(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_is_taken_back_by_the_sid_that_it_has_now() {
        let mut renamed = Renamed::default();
        renamed.rename("a".into(), "b".into());
        renamed.rename("x".into(), "y".into());
        renamed.rename("b".into(), "c".into());
        assert_eq!(["a", "x", "q"].map(|sid| renamed.take(sid.into())), ["c", "y", "q"]);
        assert!(renamed.0.is_empty());
    }
}
