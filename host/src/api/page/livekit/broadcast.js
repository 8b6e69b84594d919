// The page /broadcast: what is sent, raw, beside what viewers see of it.
//
//   camera, screen, microphone or clip ──► the broadcaster's own room ──► the host ──► the viewers' room ──► the other half of this page
//
// What always holds: a source that is off holds no device; what is on is sent again after every joining; nothing is played back to its speaker.

import { Refused } from "/host.js";
import { $, write } from "/parts.js";
import { TOPIC, hearChat, offerChat, sayOutcome } from "/livekit/chat.js";
import { begin, ended, keepJoined, passes, showQuality, showStatus } from "/livekit/rooms.js";
import { offerSound, showRoom, tile } from "/livekit/tiles.js";

const CAMERA = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
const MICROPHONE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
/** What is sent of one pixel, bits a second: 3 Mbit/s for 1280×720. The host looks at it before anybody else does. */
const BITS_A_PIXEL = 3.2;
const NAMES = { camera: "camera", screen: "screen", microphone: "microphone", clip: "clip" };
/** What a browser says when there is no picture or sound to be had. */
const FAULTS = {
  NotAllowedError: "not allowed: let this page use it in the browser's settings for this address, and press again",
  NotFoundError: "there is none at this machine",
  NotReadableError: "it cannot be read: another program may use it",
  OverconstrainedError: "it has no picture of a size that can be sent",
  AbortError: "it failed to start",
};

let lk = null, sending = null, viewing = null;
/** What is on, by its name: the tracks, the preview, and how it is switched off. */
const on = new Map();

// ---- sources ----

const OPEN = {
  camera: async () => [[await picture(devices().getUserMedia({ video: CAMERA })), "Camera"]],
  microphone: async () => [[(await devices().getUserMedia({ audio: MICROPHONE })).getAudioTracks()[0], "Microphone"]],
  async screen() {
    const stream = await devices().getDisplayMedia({ video: true, audio: true });
    const sound = stream.getAudioTracks()[0];
    return [[stream.getVideoTracks()[0], "ScreenShare"], ...(sound ? [[sound, "ScreenShareAudio"]] : [])];
  },
  clip: playClip,
};

const picture = async (stream) => (await stream).getVideoTracks()[0];

function devices() {
  if (!navigator.mediaDevices) throw new Error("a browser gives camera and microphone to a page of https or of this machine (127.0.0.1) only");
  return navigator.mediaDevices;
}

/** The host's clip, for a machine without a camera: sent as camera and microphone, over and over. */
async function playClip() {
  const answer = await fetch("/broadcast-clip");
  if (!answer.ok) throw new Refused(answer.status, (await answer.json().catch(() => ({}))).detail ?? "the host has no clip");
  const address = URL.createObjectURL(await answer.blob());
  const video = Object.assign(document.createElement("video"), { src: address, loop: true, muted: true, playsInline: true });
  if (!video.captureStream && !video.mozCaptureStream) throw new Error("this browser cannot send a clip; Chromium and Firefox can");
  await new Promise((done, fail) => {
    video.oncanplay = done;
    video.onerror = () => fail(new Error(`this browser cannot play the clip: ${video.error?.message || "its format is not known"}`));
  });
  await video.play();
  const stream = video.captureStream?.() ?? video.mozCaptureStream();
  const [image] = stream.getVideoTracks(), [sound] = stream.getAudioTracks();
  if (!image) throw new Error("the clip has no picture");
  image.addEventListener("over", () => { video.pause(); URL.revokeObjectURL(address); });
  return [[image, "Camera"], ...(sound ? [[sound, "Microphone"]] : [])];
}

async function switchOn(name) {
  // The clip takes the places of camera and microphone.
  if (name === "clip") await Promise.all([switchOff("camera"), switchOff("microphone")]);
  if ((name === "camera" || name === "microphone") && on.has("clip")) await switchOff("clip");
  const tracks = (await OPEN[name]()).map(([track, source]) => ({ track, source: lk.Track.Source[source] }));
  const image = tracks.find(({ track }) => track.kind === "video");
  const preview = image && tile(NAMES[name], "raw");
  if (preview) {
    preview.video.srcObject = new MediaStream([image.track]);
    $("own").append(preview.figure);
  }
  on.set(name, { tracks, preview });
  for (const { track } of tracks) {
    track.addEventListener("ended", () => {
      if (!on.has(name)) return;
      switchOff(name);
      write($("media-fault"), `${NAMES[name]}: it ended`);
    });
  }
  if (sending?.room?.state === lk.ConnectionState.Connected) await publish(sending.room, name);
}

async function switchOff(name) {
  const source = on.get(name);
  if (!source) return;
  on.delete(name);
  source.preview?.figure.remove();
  for (const { track } of source.tracks) {
    track.stop();
    track.dispatchEvent(new Event("over"));
    // A room that is lost has unpublished it.
    await sending?.room?.localParticipant.unpublishTrack(track).catch(() => {});
  }
  showButtons();
}

async function publish(room, name) {
  for (const { track, source } of on.get(name)?.tracks ?? []) {
    if (room.localParticipant.getTrackPublications().some((sent) => sent.track?.mediaStreamTrack === track)) continue;
    const { width = 1280, height = 720, frameRate = 30 } = track.kind === "video" ? track.getSettings() : {};
    const videoEncoding = { maxBitrate: Math.max(300_000, Math.round(width * height * BITS_A_PIXEL)), maxFramerate: Math.ceil(frameRate) || 30 };
    // One layer: only the host sees it, and it takes the best.
    await room.localParticipant.publishTrack(track, { source, name, simulcast: false, videoCodec: "vp8", videoEncoding, dtx: false });
  }
}

function showButtons() {
  for (const name of Object.keys(OPEN)) $(name).setAttribute("aria-pressed", String(on.has(name)));
  $("nothing").hidden = [...on.values()].some(({ preview }) => preview);
}

async function press(name) {
  const button = $(name);
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  write($("media-fault"), "");
  try {
    await (on.has(name) ? switchOff(name) : switchOn(name));
  } catch (error) {
    // Without the device nothing is on; whatever came of it goes.
    await switchOff(name);
    write($("media-fault"), `${NAMES[name]}: ${FAULTS[error.name] ?? error.message}`);
  }
  button.removeAttribute("aria-busy");
  showButtons();
}

// ---- rooms ----

begin(async (library, name) => {
  lk = library;
  const pass = passes(name, "broadcaster");
  const { identity } = await pass.get();
  $("join-form").hidden = true;
  $("stage").hidden = false;
  showButtons();
  sending = keepJoined(lk, {
    // Tracks are the page's own: they outlive a room that is lost.
    options: { stopLocalTrackOnUnpublish: false, disconnectOnPageLeave: true },
    pass: pass.get,
    refused: pass.forget,
    prepare(room) {
      room.registerTextStreamHandler("scrim.chat", async (reader) => sayOutcome(JSON.parse(await reader.readAll())));
      room.on(lk.RoomEvent.ConnectionQualityChanged, (quality, who) => {
        if (who === room.localParticipant) showQuality(lk, $("quality"), quality);
      });
    },
    async joined(room) {
      try {
        for (const source of on.keys()) await publish(room, source);
      } catch (error) {
        write($("media-fault"), `not sent: ${error.message}`);
      }
    },
    tell(state, text, detail) {
      if (state === "over") return leave(text);
      showStatus(state, text ?? "on air", detail);
    },
  });
  viewing = keepJoined(lk, {
    options: { adaptiveStream: true },
    pass: async () => {
      const { url, view_token: token } = await pass.get();
      return { url, token };
    },
    refused: pass.forget,
    prepare(room) {
      // As the host calls the mirror of a broadcaster.
      const mine = ({ identity: theirs }) => theirs === `mirror~${identity}`;
      showRoom(lk, room, $("seen"), { mine, changed: (count) => { $("unseen").hidden = count > 0; } });
      offerSound(lk, room, $("sound"));
      hearChat(room);
    },
    tell(state, text) {
      if (state === "over") state = "gone";
      $("view").dataset.level = { live: "good", wait: "warn", gone: "bad" }[state];
      write($("view"), state === "live" ? "as viewers see it" : text);
    },
  });
});

offerChat(async (text) => {
  // The host hears it in this broadcaster's own room, and answers there.
  await sending.room.localParticipant.sendText(text, { topic: TOPIC });
});

async function leave(why) {
  const [over, view] = [sending, viewing];
  await Promise.all([...on.keys()].map(switchOff));
  [sending, viewing] = [null, null];
  await Promise.all([over?.leave(), view?.leave()]);
  write($("quality"), "");
  write($("media-fault"), "");
  ended(why);
}

for (const name of Object.keys(OPEN)) $(name).addEventListener("click", () => press(name));
$("leave").addEventListener("click", () => leave());
fetch("/page.json").then((answer) => answer.json()).then(({ clip }) => { $("clip").hidden = !clip; }, () => {});
