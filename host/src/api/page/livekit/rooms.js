// What both LiveKit pages share: the form that asks for one's name, the tokens, and a room that is joined again when it was lost.
//
// What always holds: livekit-client resumes by itself what it can; when it gives up, the room is joined anew, later each time, and the page
// says when; what can't get better by waiting (a refusal, a removal) is not tried again, and the page says what was said.

import { Refused, call, locked, sleep, whenLocked } from "/host.js";
import { $, write } from "/parts.js";

export const roomName = new URLSearchParams(location.search).get("room") ?? "demo";
export const inRoom = (rest = "") => `/v1/rooms/${encodeURIComponent(roomName)}${rest}`;

const RETRY_MS = [500, 1000, 2000, 4000, 8000, 15_000];
/** A connection that held for so long was a good one. */
const HELD_MS = 10_000;
/** A token with less than this left is not used to join. */
const TOKEN_LEFT_MS = 30_000;
const NAME = "scrim-name";
/** Why a room was lost, by LiveKit's number; others are "the connection was lost". */
const LOST = {
  3: "the LiveKit server is stopping", 5: "the room was closed", 9: "the LiveKit server does not answer", 10: "the room was closed",
  14: "the connection timed out", 15: "no media came through",
};
/** Why it is not joined again by itself. */
const FINAL = { 2: "this place was taken by another connection with the same token", 4: "the host removed you from the room" };

/** What can't get better by waiting. */
export class Final extends Error {}

/** `detail`: what the library said, for whoever wants to know. */
export function showStatus(state, text, detail = "") {
  $("status").dataset.state = state;
  $("status").title = detail;
  write($("status"), text);
}

/** livekit-client, as set-up has fetched it. */
export async function library() {
  if (!globalThis.LivekitClient) {
    await new Promise((done) => {
      const script = document.createElement("script");
      script.src = "/livekit-client.js";
      script.onload = script.onerror = done;
      document.head.append(script);
    });
  }
  if (globalThis.LivekitClient) return globalThis.LivekitClient;
  // The host says what is missing.
  const problem = await fetch("/livekit-client.js").then((answer) => answer.json()).catch(() => ({}));
  throw new Refused(problem.status ?? 0, problem.detail ?? "the host does not answer");
}

/** Asks for tokens of a role; one that still joins is used again, so that who comes back is who was there. */
export function passes(name, role) {
  let pass = null;
  return {
    async get() {
      if (!pass || pass.expires_at / 1000 < Date.now() + TOKEN_LEFT_MS) pass = await call("POST", inRoom("/tokens"), { name, role });
      return pass;
    },
    forget() { pass = null; },
  };
}

/** Whether trying again may help: nobody answered, or it was for now only. */
const mayPass = (error) => error.status === 0 || error.status === 429 || error.status >= 500;

/**
 * Keeps a room joined until it is left. `pass` answers with a url and a token, `prepare(room)` runs before each joining, `joined(room)` after
 * it and after each resumption, and `tell(state, text, detail)` hears how it stands: `wait`, `live`, `gone`, or
 * `over` for good.
 */
export function keepJoined(lk, { options, pass, refused = () => {}, prepare, joined = () => {}, tell }) {
  let left = false, room = null, wake = () => {};
  const kept = { get room() { return room; }, leave };
  addEventListener("online", () => wake());
  keep();
  return kept;

  async function leave() {
    left = true;
    wake();
    await room?.disconnect();
  }

  async function keep() {
    for (let tries = 0; !left;) {
      const since = performance.now();
      let detail = "";
      const why = await once(tries).catch((error) => {
        detail = error.cause?.message ?? "";
        if (error instanceof Final || (error instanceof Refused && !mayPass(error))) {
          left = true;
          tell("over", error.message);
        }
        return error.message;
      });
      if (left) return;
      tries = performance.now() - since > HELD_MS ? 0 : tries + 1;
      const wait = RETRY_MS[Math.min(tries, RETRY_MS.length - 1)] * (0.75 + Math.random() / 2);
      tell("gone", `${why}; trying again in ${(wait / 1000).toFixed(wait < 2000 ? 1 : 0)} s`, detail);
      await Promise.race([sleep(wait), new Promise((done) => { wake = done; })]);
    }
  }

  /** One connection, until it is over; answers with why. */
  async function once(tries) {
    tell("wait", tries ? "joining again" : "joining");
    const { url, token } = await pass();
    if (left) return "left";
    room = new lk.Room(options);
    const over = new Promise((done) => room.once(lk.RoomEvent.Disconnected, done));
    const live = () => {
      tell("live");
      return joined(room);
    };
    room.on(lk.RoomEvent.Reconnecting, () => tell("wait", "reconnecting"));
    room.on(lk.RoomEvent.SignalReconnecting, () => tell("wait", "reconnecting"));
    room.on(lk.RoomEvent.Reconnected, live);
    prepare(room);
    try {
      await room.connect(url, token);
    } catch (error) {
      if (error instanceof lk.ConnectionError && error.reason === lk.ConnectionErrorReason.NotAllowed) {
        refused();
        throw new Error("the LiveKit server refused the token", { cause: error });
      }
      throw new Error("the LiveKit server cannot be joined", { cause: error });
    }
    if (left) await room.disconnect();
    await live();
    const reason = await over;
    if (left) return "left";
    if (FINAL[reason]) throw new Final(FINAL[reason]);
    return LOST[reason] ?? "the connection was lost";
  }
}

/** The words of a connection's quality. */
export function showQuality(lk, chip, quality) {
  const { Excellent, Good, Poor, Lost } = lk.ConnectionQuality;
  const [level, text] = { [Excellent]: ["good", "excellent"], [Good]: ["good", "good"], [Poor]: ["warn", "poor"], [Lost]: ["bad", "lost"] }[quality] ?? ["", "…"];
  chip.dataset.level = level;
  write(chip, `connection ${text}`);
}

/** Shows the form, and calls `enter(name)` once the host has the room, and each time that somebody joins. */
export async function begin(enter) {
  document.title = `${document.title}: ${roomName}`;
  write($("room"), roomName);
  for (const link of document.querySelectorAll("a[data-page]")) link.href = `${link.dataset.page}?room=${encodeURIComponent(roomName)}`;
  const form = $("join-form"), button = $("join"), fault = $("join-fault");
  $("name").value = sessionStorage.getItem(NAME) ?? "";
  whenLocked(() => { form.hidden = true; showStatus("wait", "a key is needed"); });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.getAttribute("aria-busy") === "true") return;
    const name = $("name").value.trim();
    if (!name) return write(fault, "give a name that others see");
    sessionStorage.setItem(NAME, name);
    write(fault, "");
    button.setAttribute("aria-busy", "true");
    try {
      await enter(await library(), name);
    } catch (error) {
      ended(error.message);
    }
    button.removeAttribute("aria-busy");
  });
  for (let tries = 0; ; tries += 1) {
    try {
      await call("GET", inRoom());
      showStatus("wait", "not joined");
      form.hidden = false;
      if (!$("name").value) $("name").focus();
      return;
    } catch (error) {
      if (locked) return;
      showStatus("gone", mayPass(error) ? `${error.message}; trying again` : error.message);
      if (!mayPass(error)) return;
      await sleep(RETRY_MS[Math.min(tries, RETRY_MS.length - 1)]);
    }
  }
}

/** Back to the form, with why. */
export function ended(why = "") {
  if (locked) return;
  $("stage").hidden = true;
  $("join-form").hidden = false;
  write($("join-fault"), why);
  showStatus(why ? "gone" : "wait", "not joined");
}
