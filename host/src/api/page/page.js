// The live page of `scrim serve`.
//
//   /v1/demo/raw ──────────────► raw pictures, kept by their number ─┐
//   /v1/rooms/ROOM/stream ─────► covered pictures and verdicts ──────┴─► both canvases in one step
//   /v1/rooms/ROOM, …/policy ──► counts and policies, each second        /v1/rooms/ROOM/events ──► events, as they come
//
// What always holds: both pictures are of one frame (`pictures.js`); what is kept has a bound; a connection that is lost is tried again,
// later each time, and the page says so; every button says what came of it, by what the host answered.

import { Refused, ask, call, key, locked, sleep, whenLocked } from "/host.js";
import { $, describe, made, number, seen, words, write } from "/parts.js";
import { keepRaw, parse, showFrame, showRate } from "/pictures.js";

const EVENTS_MAX = 30;
const POLL_EVERY_MS = 1000;
const RETRY_MS = [500, 1000, 2000, 4000, 8000];
/** A connection that held for so long was a good one. */
const HELD_MS = 5000;
/** How long a killed plugin may take to start again before the page gives up watching it. */
const RESTART_MAX_MS = 8000;

const COUNTS = {
  received: "received", shown: "shown", covered: "covered", looks: "looks", skipped: "skipped", dropped: "dropped",
  late: "late", passed_unjudged: "unjudged", audited: "audited", exposed: "exposed",
};
const SLOTS = ["cascade", "text", "threshold"];

let room = "", isDemo = false;
/** The newest detection that was told, to be reported. */
let detection = null;
/** The catalog's, as last read. */
let cascades = [];

// ---- the host ----

const inRoom = (rest = "") => `/v1/rooms/${encodeURIComponent(room)}${rest}`;
const clock = (time = new Date()) => time.toLocaleTimeString("en-GB");

// ---- connections ----

const links = { host: true };
let isLive = false;

function showStatus() {
  const lost = Object.keys(links).filter((name) => !links[name]);
  const [state, text] = locked ? ["wait", "a key is needed"]
    : !links.host ? ["gone", "the host does not answer; trying again"]
    : lost.length ? ["wait", `connecting: ${lost.join(", ")}`]
    : isLive ? ["live", "live"] : ["wait", "waiting for a publisher"];
  $("status").dataset.state = state;
  write($("status"), text);
}

/** Keeps a connection: `open` returns when it is over. */
async function keep(name, open) {
  links[name] = false;
  for (let tries = 0; !locked;) {
    const since = performance.now();
    const is = (up) => { links[name] = up; showStatus(); };
    await open(() => is(true)).catch((error) => {
      if (!(error instanceof Refused)) console.error(error);
    });
    is(false);
    tries = performance.now() - since > HELD_MS ? 0 : tries + 1;
    await sleep(RETRY_MS[Math.min(tries, RETRY_MS.length - 1)] * (0.75 + Math.random() / 2));
  }
}

function listen(path, hear) {
  return (up) => new Promise((over) => {
    const address = new URL(path, location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    // A browser's WebSocket sends no header: the key goes as a subprotocol.
    const socket = new WebSocket(address, key ? ["scrim", `bearer.${key}`] : ["scrim"]);
    socket.binaryType = "arraybuffer";
    socket.onopen = up;
    socket.onmessage = (message) => { if (typeof message.data !== "string") hear(parse(message.data)); };
    socket.onclose = over;
  });
}

whenLocked(showStatus);

// ---- counts and policies ----

const countCells = Object.fromEntries(Object.entries(COUNTS).map(([name, label]) => {
  const value = made("dd", { id: `count-${name}` });
  $("counts").append(made("div", {}, made("dt", { textContent: label }), value));
  return [name, value];
}));
const fullCell = made("dd", { id: "full-covers", tabIndex: 0 });
$("counts").append(made("div", { className: "wide" }, made("dt", { textContent: "covered whole, by reason" }), fullCell));

function showCounts({ live: [live], effective }) {
  isLive = live !== undefined;
  $("idle").hidden = isLive;
  for (const name of Object.keys(COUNTS)) write(countCells[name], live ? number(live[name]) : "–");
  countCells.exposed.className = live?.exposed ? "bad" : "";
  const full = Object.entries(live?.full_covers ?? {}).map(([reason, count]) => `${words(reason)} ${number(count)}`);
  write(fullCell, full.join(" · ") || "none");
  if (!isDemo) write($("latency"), `${effective.delay_ms} ms`);
}

const rows = Object.fromEntries(SLOTS.map((slot) => {
  const names = ["plugin", "generation", "calls", "faults", "cpu", "memory", "previous", "shadow", "last"];
  const cells = Object.fromEntries(names.map((name) => [name, [made("span"), made("small")]]));
  const row = made("tr", { id: `policy-${slot}` }, made("td", {}, made("b", { textContent: slot })));
  for (const name of names) row.append(made("td", { className: `v-${name}` }, ...cells[name]));
  $("policy-rows").append(row);
  return [slot, cells];
}));

function showPolicy(policy) {
  const now = policy.in_force, cells = rows[policy.slot];
  if (!cells) return;
  const set = (name, text, small = "") => {
    write(cells[name][0], text);
    write(cells[name][1], small);
    cells[name][0].title = text.length > 20 ? text : "";
    cells[name][1].title = small;
  };
  const plugin = now?.plugin ?? policy.plugin;
  const where = { room: "the room's choice", global: "the global choice", file: "from scrim.toml", default: "the host's default" }[policy.origin];
  set("plugin", plugin ?? "none", !now ? "idle" : now.serving || !now.plugin ? where : "starting again");
  set("generation", String(now?.generation ?? "–"));
  set("calls", number(now?.calls ?? 0));
  set("faults", number(now?.faults ?? 0), now?.restarts ? `${number(now.restarts)} ${now.restarts === 1 ? "restart" : "restarts"}` : "");
  cells.faults[0].parentElement.classList.toggle("bad", Boolean(now?.faults));
  set("cpu", now?.calls ? `${(now.cpu_last_us / 1000).toFixed(2)} ms` : "–");
  set("memory", now?.memory ? `${(now.memory / 1048576).toFixed(1)} MiB` : "–");
  set("previous", now?.previous ?? "–");
  const dark = now?.shadow;
  set("shadow", dark?.plugin ?? "–", dark ? `${number(dark.agreed)} agreed · ${number(dark.differed)} differed` : "");
  if (dark) cells.shadow[1].title += ` · ${number(dark.faulted)} faulted · ${number(dark.shed)} shed · ${(dark.cpu_us / 1000).toFixed(0)} ms of CPU`;
  const last = now?.last;
  set("last", last ? last.fault ? `${last.summary}: ${last.fault}` : last.summary || "nothing found" : "none yet");
}

async function poll(up) {
  for (;;) {
    await refresh();
    up();
    await sleep(POLL_EVERY_MS);
  }
}

async function refresh() {
  const [about, policies] = await Promise.all([call("GET", inRoom()), call("GET", inRoom("/policy"))]);
  showCounts(about);
  policies.forEach(showPolicy);
  nameButtons(policies.find(({ slot }) => slot === "cascade"));
  showStatus();
}

// ---- events ----

let lastEvent = 0;

async function events(up) {
  const accept = { accept: "text/event-stream" };
  if (lastEvent) accept["last-event-id"] = String(lastEvent);
  const response = await ask("GET", inRoom("/events"), { accept });
  up();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const closed = () => { throw new Refused(0, "the events ended"); };
  for (let text = "";;) {
    const { value, done } = await reader.read().catch(closed);
    if (done) return;
    const told = (text + value).split(/\r?\n\r?\n/);
    text = told.pop();
    for (const block of told) {
      const data = block.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5));
      if (data.length) showEvent(JSON.parse(data.join("\n")));
    }
  }
}

function showEvent(event) {
  lastEvent = event.seq;
  if (event.kind === "detection") detection = event;
  const text = describe(event);
  const parts = [clock(new Date(event.at / 1000)), words(event.kind), text].map((part) => made("span", { textContent: part }));
  parts[2].title = text;
  const line = made("li", {}, ...parts);
  line.dataset.kind = event.kind;
  $("events").prepend(line);
  while ($("events").childElementCount > EVENTS_MAX) $("events").lastElementChild.remove();
}

// ---- what can be done ----

const cascade = () => call("GET", inRoom("/policy/cascade"));
const order = (word) => call("POST", inRoom(`/policy/cascade/${word}`));

async function readCatalog() {
  cascades = (await call("GET", "/v1/plugins")).filter((plugin) => plugin.slot === "cascade").map((plugin) => plugin.plugin);
}

/** The cascade that is not in force: of the same name if there is one. */
function otherCascade(now) {
  const own = now.in_force?.plugin ?? now.plugin ?? "";
  const others = cascades.filter((plugin) => plugin !== own);
  return others.find((plugin) => plugin.split("@")[0] === own.split("@")[0]) ?? others[0];
}

/** As an order holds it. */
async function other(now) {
  await readCatalog();
  const plugin = otherCascade(now);
  if (!plugin) throw new Refused(0, "the catalog has no other cascade: `scrim plugin add`");
  return { plugin, config: {} };
}

function nameButtons(now) {
  const plugin = otherCascade(now) ?? "another cascade";
  write($("swap"), `Swap to ${plugin}`);
  write($("shadow"), `Shadow ${plugin}`);
}

const inForce = (before, after) =>
  `${after.in_force.plugin} is in force: generation ${before.in_force?.generation ?? "–"} → ${after.in_force.generation}`;

const ACTIONS = {
  async swap() {
    const before = await cascade();
    return inForce(before, await call("PUT", inRoom("/policy/cascade"), await other(before)));
  },
  async shadow() {
    const after = await call("POST", inRoom("/policy/cascade/shadow"), await other(await cascade()));
    return `${after.in_force.shadow.plugin} sees what ${after.in_force.plugin} sees`;
  },
  async promote() {
    const before = await cascade();
    return inForce(before, await order("promote"));
  },
  async discard() {
    const { shadow } = (await cascade()).in_force ?? {};
    const after = await order("discard");
    return `${shadow?.plugin} left the shadow, ${after.in_force.plugin} stays; ${number(shadow?.agreed ?? 0)} agreed, ${number(shadow?.differed ?? 0)} differed`;
  },
  async rollback() {
    const before = await cascade();
    return inForce(before, await order("rollback"));
  },
  async kill() {
    const before = (await cascade()).in_force ?? { faults: 0, restarts: 0 };
    await order("kill");
    const since = performance.now();
    for (;;) {
      const now = (await cascade()).in_force;
      const took = Math.round(performance.now() - since);
      const faults = `faults ${number(before.faults)} → ${number(now.faults)}`;
      if (now.restarts > before.restarts && now.serving) return `${faults}; ${now.plugin} was started again within ${number(took)} ms`;
      if (took > RESTART_MAX_MS) throw new Refused(0, `${faults}; it has not started again after ${number(took)} ms`);
      await sleep(50);
    }
  },
  async report() {
    if (!detection) throw new Refused(0, "no detection was told yet: wait for one among the events");
    const { id, body } = detection;
    const { counted, changed, pending } = await call("POST", inRoom("/feedback"), { event_id: id, correct: false });
    if (!counted) return `${seen(body)} was reported before, and counts once`;
    const learned = changed.map(({ label, threshold }) => `${label} now counts from ${threshold.toFixed(3)}`).join(", ");
    return `${seen(body)} reported as wrong; ${pending ? `kept, the policy hears of it later: ${pending}` : learned || "no threshold moved"}`;
  },
};

async function press(name, act) {
  const button = $(name), outcome = $(`${name}-outcome`);
  if (button.getAttribute("aria-busy") === "true") return;
  const say = (state, text) => { [outcome.dataset.state, outcome.textContent, outcome.title] = [state, text, text]; };
  button.setAttribute("aria-busy", "true");
  say("busy", "…");
  try {
    say("done", `${clock()} ${await act()}`);
  } catch (error) {
    say("failed", `${clock()} ${error.message}`);
  }
  button.removeAttribute("aria-busy");
  // The next round shows what this one could not.
  await refresh().catch(() => {});
}

// ---- start ----

async function listRooms() {
  const rooms = await call("GET", "/v1/rooms");
  const links = rooms.map(({ name, live }) => made("li", {}, made("a", { href: `/?room=${encodeURIComponent(name)}`, textContent: name }), live.length ? " (live)" : " (idle)"));
  $("room-list").replaceChildren(...(links.length ? links : [made("li", { textContent: "no room yet: POST /v1/rooms makes one" })]));
  $("rooms").hidden = false;
}

async function start() {
  const about = await call("GET", "/page.json");
  write($("version"), about.version);
  room = new URLSearchParams(location.search).get("room") ?? about.demo_room ?? "";
  isDemo = room !== "" && room === about.demo_room;
  write($("room"), room || "none");
  // The first call under /v1 says whether a key is needed.
  if (!about.demo_room) await listRooms();
  if (!room) return [$("status").dataset.state, $("status").textContent] = ["live", "the host is up"];
  await readCatalog();
  await refresh();
  $("stage").hidden = false;
  document.querySelector(".top").classList.toggle("single", !isDemo);
  write($("latency-name"), isDemo ? "raw to covered" : "the room's delay");
  for (const [name, act] of Object.entries(ACTIONS)) $(name).addEventListener("click", () => press(name, act));
  setInterval(showRate, 500);
  keep("host", poll);
  keep("events", events);
  keep("pictures", listen(inRoom("/stream?watch=true"), showFrame));
  if (isDemo) keep("raw", listen("/v1/demo/raw", keepRaw));
}

/** Begins, and begins again while the host is not there. */
async function begin() {
  for (let tries = 0; ; tries += 1) {
    try {
      return await start();
    } catch (error) {
      if (locked) return;
      $("status").dataset.state = "gone";
      write($("status"), error instanceof Refused ? error.message : String(error));
      if (error.status >= 400 && error.status < 500) return;
      await sleep(RETRY_MS[Math.min(tries, RETRY_MS.length - 1)]);
    }
  }
}

begin();
