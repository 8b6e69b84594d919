// The page /watch: what viewers get of a room.

import { call } from "/host.js";
import { $, write } from "/parts.js";
import { hearChat, offerChat } from "/livekit/chat.js";
import { begin, ended, inRoom, keepJoined, passes, showQuality, showStatus } from "/livekit/rooms.js";
import { offerSound, showRoom } from "/livekit/tiles.js";

/** How often the host is asked whether it is there while no picture is. */
const ASK_EVERY_MS = 3000;

let kept = null, pass = null, isJoined = false, live = false, wasLive = false;

/** Nobody is live, or what was live is interrupted: the host knows who broadcasts. */
async function sayNobody() {
  $("nobody").hidden = live || !kept;
  if (live || !kept) return;
  const sending = await call("GET", inRoom("/audience")).then((audience) => audience.live > 0, () => null);
  if (live) return;
  const interrupted = sending === null || (wasLive && (sending || !isJoined));
  write($("nobody"), interrupted ? "the stream is interrupted" : !isJoined ? "joining" : sending ? "the first picture is about to come" : "nobody is live");
}

function changed(pictures, heard) {
  live = pictures > 0 || heard.length > 0;
  wasLive ||= live;
  write($("heard"), heard.length ? `Sound of ${heard.join(", ")}` : "No sound");
  sayNobody();
}

begin(async (lk, name) => {
  pass = passes(name, "viewer");
  await pass.get();
  $("join-form").hidden = true;
  $("stage").hidden = false;
  wasLive = false;
  kept = keepJoined(lk, {
    options: { adaptiveStream: true },
    pass: pass.get,
    refused: pass.forget,
    prepare(room) {
      showRoom(lk, room, $("tiles"), { changed });
      offerSound(lk, room, $("sound"));
      hearChat(room);
      room.on(lk.RoomEvent.ConnectionQualityChanged, (quality, who) => {
        if (who === room.localParticipant) showQuality(lk, $("quality"), quality);
      });
    },
    tell(state, text, detail) {
      if (state === "over") return leave(text);
      isJoined = state === "live";
      showStatus(state, text ?? "watching", detail);
      sayNobody();
    },
  });
  changed(0, []);
});

async function leave(why) {
  const over = kept;
  kept = null;
  await over?.leave();
  write($("quality"), "");
  ended(why);
}

// A viewer says nothing over LiveKit; its token lets it write to the host.
offerChat(async (text) => call("POST", inRoom("/chat"), { text }, (await pass.get()).token));
$("leave").addEventListener("click", () => leave());
setInterval(sayNobody, ASK_EVERY_MS);
