// What a room shows: one tile a picture, its participant's name, how it stands, and the sounds.
//
// What always holds: there is a tile for each picture that is published, and none else; a picture that stands still says so.

import { made, write } from "/parts.js";
import { showQuality } from "/livekit/rooms.js";

/** A picture without a new frame for so long is interrupted. */
const STILL_MS = 2500;

/** A tile; `video` shows the picture, `say` lays words over it. */
export function tile(name, what) {
  const video = made("video", { muted: true, autoplay: true, playsInline: true });
  // As wide as it is: not every picture has the shape of the first.
  video.addEventListener("resize", () => { screen.style.aspectRatio = `${video.videoWidth} / ${video.videoHeight}`; });
  const over = made("p", { className: "over", hidden: true });
  const quality = made("span", { className: "chip" });
  const caption = made("figcaption", {}, made("b", { textContent: name }), made("span", { className: "muted", textContent: what }), quality);
  const screen = made("div", { className: "screen" }, video, over);
  const figure = made("figure", { className: "tile" }, screen, caption);
  video.setAttribute("aria-label", `${name}, ${what}`);
  quality.hidden = true;
  const say = (text) => { over.hidden = !text; write(over, text); };
  return { figure, video, quality, say };
}

/**
 * Shows what is published in a room into `grid`. `mine(participant)`: the page's own, whose sound is not played back. `changed(pictures)` hears
 * how many pictures there are, and whose sound.
 */
export function showRoom(lk, room, grid, { mine = () => false, changed }) {
  const shown = new Map(), sounds = new Map();
  const { RoomEvent, Track } = lk;
  const tell = () => changed(shown.size, [...new Set([...sounds.values()].map(({ dataset }) => dataset.name))]);
  const words = { [Track.Source.ScreenShare]: "screen" };

  const drop = (track) => {
    const gone = shown.get(track.sid) ?? sounds.get(track.sid);
    track.detach();
    gone?.figure?.remove();
    gone?.remove?.();
    shown.delete(track.sid);
    sounds.delete(track.sid);
    tell();
  };
  room.on(RoomEvent.TrackSubscribed, (track, publication, participant) => {
    if (track.kind === Track.Kind.Audio) {
      if (mine(participant)) return publication.setEnabled(false);
      const sound = track.attach();
      sound.dataset.name = participant.name || participant.identity;
      sounds.set(track.sid, sound);
      grid.append(sound);
      return tell();
    }
    const made = tile(participant.name || participant.identity, words[publication.source] ?? "camera");
    made.figure.dataset.identity = participant.identity;
    made.figure.dataset.source = publication.source;
    track.attach(made.video);
    // The page's own comes first.
    if (mine(participant)) grid.prepend(made.figure);
    else grid.append(made.figure);
    shown.set(track.sid, { ...made, track, publication, frames: 0, since: performance.now() });
    if (publication.isMuted) made.say("paused by the broadcaster");
    level(participant, participant.connectionQuality);
    tell();
  });
  room.on(RoomEvent.TrackUnsubscribed, drop);
  const level = (participant, quality) => {
    for (const { figure, quality: chip } of shown.values()) {
      if (figure.dataset.identity !== participant.identity) continue;
      chip.hidden = false;
      showQuality(lk, chip, quality);
    }
  };
  room.on(RoomEvent.ConnectionQualityChanged, (quality, participant) => level(participant, quality));
  room.on(RoomEvent.ParticipantNameChanged, (name, participant) => {
    for (const { figure } of shown.values()) {
      if (figure.dataset.identity === participant.identity) write(figure.querySelector("b"), name || participant.identity);
    }
  });
  const watch = setInterval(() => {
    const now = performance.now();
    for (const one of shown.values()) {
      const frames = one.video.getVideoPlaybackQuality().totalVideoFrames;
      if (frames !== one.frames) Object.assign(one, { frames, since: now });
      const still = now - one.since > STILL_MS && document.visibilityState === "visible";
      one.say(one.publication.isMuted ? "paused by the broadcaster" : still ? (one.frames ? "the stream is interrupted" : "no picture yet") : "");
    }
  }, 500);
  room.once(RoomEvent.Disconnected, () => {
    clearInterval(watch);
    for (const { figure } of shown.values()) figure.remove();
    for (const sound of sounds.values()) sound.remove();
    shown.clear();
    sounds.clear();
    tell();
  });
}

/** A button that appears where the browser plays no sound unasked. */
export function offerSound(lk, room, button) {
  const show = () => { button.hidden = room.canPlaybackAudio; };
  room.on(lk.RoomEvent.AudioPlaybackStatusChanged, show);
  button.onclick = () => room.startAudio().then(show, (error) => write(button, `The sound can't be turned on: ${error.message}`));
  show();
}
