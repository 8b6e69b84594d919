//! What we say in a room: texts and data packets.

use std::collections::HashMap;

use crate::event::DATA_MAX;
use crate::library::Error;
use crate::proto;
use crate::proto::ffi_event::Message as Answer;
use crate::proto::ffi_request::Message as Request;
use crate::room::{ANSWER_S, Room};
use crate::text::{TEXT_MAX, size};

impl Room {
    /// Sends a text to all, or to those who are named. In another's name it goes only where the server lets us speak for others.
    ///
    /// # Errors
    /// When it is too long, or the library or the server refuses it.
    pub async fn send_text(
        &self,
        topic: &str,
        text: &str,
        attributes: HashMap<String, String>,
        destination: &[String],
        as_identity: Option<&str>,
    ) -> Result<(), Error> {
        const WHAT: &str = "sending a text";
        let found = text.len() + size(topic, &attributes);
        if found > TEXT_MAX {
            return Err(Error::Text { found, most: TEXT_MAX });
        }
        let options = proto::StreamTextOptions {
            topic: topic.to_owned(),
            attributes,
            destination_identities: destination.to_vec(),
            sender_identity: as_identity.map(str::to_owned),
        };
        let (local_participant_handle, text) = (self.local(), text.to_owned());
        let request = |request_async_id| {
            Request::SendText(proto::StreamSendTextRequest { local_participant_handle, options, text, request_async_id })
        };
        match self.library().ask_and_wait(WHAT, ANSWER_S, request).await? {
            Answer::SendText(proto::StreamSendTextCallback { result: Some(result), .. }) => match result {
                proto::stream_send_text_callback::Result::Info(_) => Ok(()),
                proto::stream_send_text_callback::Result::Error(error) => Err(Error::Failed { what: WHAT, reason: error.description }),
            },
            _ => Err(Error::Refused { what: WHAT }),
        }
    }

    /// Sends a packet to all, or to those who are named: in order and certainly, or `lossy`, at once or never.
    ///
    /// # Errors
    /// When it is too long, or the library refuses it.
    pub async fn send_data(&self, topic: &str, payload: &[u8], lossy: bool, destination: &[String]) -> Result<(), Error> {
        const WHAT: &str = "sending data";
        if payload.len() > DATA_MAX {
            return Err(Error::Data { found: payload.len(), most: DATA_MAX });
        }
        let request = proto::PublishDataRequest {
            local_participant_handle: self.local(),
            // Copied when this is first polled.
            data_ptr: payload.as_ptr() as u64,
            data_len: payload.len() as u64,
            reliable: !lossy,
            topic: Some(topic.to_owned()),
            destination_identities: destination.to_vec(),
            request_async_id: None,
        };
        let request = |request_async_id| Request::PublishData(proto::PublishDataRequest { request_async_id, ..request });
        match self.library().ask_and_wait(WHAT, ANSWER_S, request).await? {
            Answer::PublishData(proto::PublishDataCallback { error: Some(reason), .. }) => Err(Error::Failed { what: WHAT, reason }),
            _ => Ok(()),
        }
    }
}
