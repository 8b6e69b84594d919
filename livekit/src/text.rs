//! Texts that come as streams. The library puts each together by itself, up to [`TEXT_MAX`], and hands it over whole; here stands which ones it has
//! been asked for. A sender who begins more than a few at once loses its own oldest one, never another's.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::event::{Event, Inbox};
use crate::library::Library;
use crate::proto;
use crate::proto::ffi_request::Message as Request;
use crate::proto::text_stream_reader_read_all_callback::Result as Read;

/// Bytes of a text, as UTF-8; also of one that is sent, with its topic and attributes.
pub const TEXT_MAX: usize = 64 * 1024;
/// Bytes of the topic and the attributes of one that comes.
const HEADER_MAX: usize = 8 * 1024;
/// Texts of one sender that are being read at once; the oldest goes.
const READINGS_EACH_MAX: usize = 4;
/// Of all senders in a room; further ones are dropped.
const READINGS_MAX: usize = 64;

/// A text on its way.
struct Reading {
    inbox: Arc<Inbox>,
    identity: String,
    topic: String,
    id: String,
    attributes: HashMap<String, String>,
}

/// The texts that are being read, by the numbers of the requests: those that were begun later have higher ones.
#[derive(Default)]
pub(crate) struct Readings(BTreeMap<u64, Reading>);

impl Readings {
    /// Nobody hears this room any more.
    pub fn end(&mut self, inbox: &Arc<Inbox>) {
        self.0.retain(|_, reading| !Arc::ptr_eq(&reading.inbox, inbox));
    }

    /// False when there are too many already.
    fn begin(&mut self, number: u64, reading: Reading) -> bool {
        let (mut all, mut same) = (0, Vec::new());
        for (number, other) in self.0.iter().filter(|(_, other)| Arc::ptr_eq(&other.inbox, &reading.inbox)) {
            all += 1;
            if other.identity == reading.identity {
                same.push(*number);
            }
        }
        if same.len() >= READINGS_EACH_MAX {
            self.0.remove(&same[0]);
            reading.inbox.drop_one();
        } else if all >= READINGS_MAX {
            return false;
        }
        self.0.insert(number, reading);
        true
    }
}

/// Bytes of what goes with a text.
pub(crate) fn size(topic: &str, attributes: &HashMap<String, String>) -> usize {
    topic.len() + attributes.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>()
}

/// Somebody begins a text. On a thread of the library: it is only asked to go on reading, which it does on others.
pub(crate) fn opened(library: &Library, inbox: Option<Arc<Inbox>>, opened: proto::TextStreamOpened) {
    let proto::OwnedTextStreamReader { handle, info } = opened.reader;
    let handle = library.handle(handle.id);
    let Some(inbox) = inbox else { return };
    let too_long = info.total_length.is_some_and(|length| length > TEXT_MAX as u64);
    if too_long || size(&info.topic, &info.attributes) + info.stream_id.len() > HEADER_MAX {
        tracing::debug!("a text is too long and was dropped");
        inbox.drop_one();
        return;
    }
    let number = library.number();
    let proto::TextStreamInfo { stream_id, topic, attributes, .. } = info;
    let reading = Reading { inbox: inbox.clone(), identity: opened.participant_identity, topic, id: stream_id, attributes };
    // Before the request: its answer may come first.
    if !library.readings().begin(number, reading) {
        tracing::debug!("too many texts at once: one was dropped");
        inbox.drop_one();
        return;
    }
    // The request takes the reader with it.
    let request = proto::TextStreamReaderReadAllRequest { reader_handle: handle.given(), request_async_id: Some(number) };
    if let Err(error) = library.ask("reading a text", Request::TextReadAll(request)) {
        tracing::debug!(%error, "a text was dropped");
        if library.readings().0.remove(&number).is_some() {
            inbox.drop_one();
        }
    }
}

/// A text is there, or will not come.
pub(crate) fn read(library: &Library, answer: proto::TextStreamReaderReadAllCallback) {
    let Some(Reading { inbox, identity, topic, id, attributes }) = library.readings().0.remove(&answer.async_id) else { return };
    match answer.result {
        Some(Read::Content(text)) if text.len() <= TEXT_MAX => inbox.push(Event::Text { identity, topic, text, id, attributes }),
        Some(Read::Error(error)) => {
            tracing::debug!(reason = error.description, "a text broke off and was dropped");
            inbox.drop_one();
        }
        _ => inbox.drop_one(),
    }
}
