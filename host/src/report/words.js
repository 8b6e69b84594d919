// Words and sound
const MEDIUM = 0, FROM = 1, TO = 2, WORDS = 3, FAULT = 4;
const TEXT = 0, STATE = 1, WHEN = 2;
/** By a word's state: its class, and what it means. */
const STATES = [null, ["found", "found, and covered"], ["passed", "found, but it does not count"], ["unjudged", "not judged"]];
const said = data.said ?? [], mutes = data.mutes ?? [];
for (const s of said) s[TO] = Math.max(s[TO] ?? end, s[FROM]);
const spoken = said.filter((s) => s[MEDIUM] === "speech");
const sentence = (s) => s[WORDS].map((w) => w[TEXT]).join(" ");

// Transcript
const how = (s) => (s[MEDIUM] === "speech" ? "said" : "shown");
const SAID_MAX = 1000;
function wordsOf(s) {
  const words = cell("", "words");
  for (const [text, state, at] of s[WORDS]) {
    const [kind, title] = STATES[state] ?? [];
    const timed = at === null ? {} : { onclick: () => seek(at) };
    words.append(element("span", { ...timed, class: [kind, at !== null && "timed"].filter(Boolean).join(" "), ...(title && { title }) }, text), " ");
  }
  if (s[FAULT]) words.append(element("span", { class: "muted" }, `Not judged: ${s[FAULT]}`));
  return words;
}
const saidRows = said.slice(0, SAID_MAX).map((s) =>
  element("tr", {}, link(s[FROM]), cell(element("span", { class: `pill ${how(s)}` }, how(s)), "name"), wordsOf(s)));
if (!data.said) $("said-panel").remove();
else {
  table($("said"), ["Time", "How", "Words"], saidRows, "Nothing was read or heard.");
  if (said.length > SAID_MAX || data.said_cut) $("said").append(element("p", { class: "muted" }, "There was more than is listed here."));
}
if (!data.mutes) $("mutes-panel").remove();
else table($("mutes"), ["From", { name: "Length", num: 1 }, "Category", { name: "Severity", num: 1 }, "Policy", "Why"],
  mutes.flatMap((m) => (m.why.length ? m.why : [null]).map((why, i) => element("tr", {}, i ? cell("") : link(m.from),
    cell(i ? "" : `${((m.to - m.from) / 1e6).toFixed(2)} s`, "num"), cell(why?.category ?? "", "name"),
    cell(why?.severity != null ? why.severity.toFixed(2) : "", "num"), cell(why?.policy ?? "the host", "name"),
    cell(why?.text ?? "What was said here could not be judged.")))), "Nothing was muted.");

if (!spoken.length) $("saying").hidden = true;
/** What is being said, under the pictures, and its row in the transcript. */
function sayNow() {
  const last = spoken[before(spoken, now, (s) => s[FROM])];
  $("saying").textContent = last && now < last[TO] ? `“${sentence(last)}”` : "";
  saidRows.forEach((row, i) => row.classList.toggle("current", said[i][FROM] <= now && now < said[i][TO]));
}

// Sound: as it came and as it left, of which one is heard
const sound = (() => {
  const { raw, covered, silent } = data.sound ?? {};
  const played = {};
  for (const [name, source] of Object.entries({ covered, raw })) if (source) played[name] = Object.assign(new Audio(source), { preload: "auto" });
  const choice = $("sound");
  const choices = covered ? [["covered", "as it left"], ["raw", "as it came"]] : [["raw", "as it came and left"]];
  choice.append(...choices.map(([value, name]) => element("option", { value }, name)), element("option", { value: "" }, "off"));
  if (!raw) $("sound-label").remove();
  if (silent) $("play-note").append(`. The sound can't be played here: ${silent}.`);
  const chosen = () => played[choice.value];
  function toggle(on) {
    for (const each of Object.values(played)) if (!on || each !== chosen()) each.pause();
    const one = chosen();
    if (!on || !one) return;
    one.currentTime = now / 1e6;
    one.playbackRate = +$("speed").value;
    // A browser that wants no sound yet goes on by the clock.
    one.play().catch(() => {});
  }
  choice.addEventListener("change", () => toggle(playing));
  $("speed").addEventListener("change", () => toggle(playing));
  return {
    played,
    toggle,
    seek(at) { if (chosen()) chosen().currentTime = at / 1e6; },
    /** None when nothing is heard: it is over, or off. */
    now() {
      const one = chosen();
      return one && !one.paused && !one.ended && one.readyState > 1 ? one.currentTime * 1e6 : undefined;
    },
  };
})();

// Lanes
const peaks = (row) => row && { step: row[0], columns: Uint8Array.from(atob(row[1]), (c) => c.charCodeAt(0)) };
const [cameIn, wentOut] = [peaks(data.sound?.before), peaks(data.sound?.after)];
const loudest = Math.max(...[cameIn, wentOut].filter(Boolean).map((p) => p.columns.reduce((a, b) => Math.max(a, b), 1)), 1);
const wordLanes = [
  ...(said.some((s) => s[MEDIUM] === "screen") ? [{ name: "Shown", height: 24, draw: (c, g) => drawSaid(c, g, "screen") }] : []),
  ...(spoken.length ? [{ name: "Said", height: 24, draw: (c, g) => drawSaid(c, g, "speech") }] : []),
  ...(data.mutes ? [{ name: "Mutes", height: 22, draw: drawMutes }] : []),
  ...(cameIn ? [{ name: wentOut ? "Sound as it came" : "Sound", height: 42, draw: (c, g) => drawWave(c, g, cameIn, "change") }] : []),
  ...(wentOut ? [{ name: "Sound as it left", height: 42, draw: (c, g) => drawWave(c, g, wentOut, "clear") }] : []),
];
/** Left and right of a span in the view; none when it is out of it. */
function across(from, to, g, least = 1) {
  if (to < view.from || from > view.to) return;
  const left = Math.max(xOf(from, g.width), GUTTER), right = Math.min(xOf(to, g.width), g.width);
  return [left, Math.max(right, left + least)];
}
function clipped(c, text, left, right, base) {
  if (right - left < 12) return;
  c.save();
  c.beginPath(); c.rect(left, 0, right - left - 2, canvas.clientHeight); c.clip();
  c.font = "12px system-ui, sans-serif"; c.fillText(reduced(text, 400), left + 5, base);
  c.restore();
}
function drawSaid(c, g, medium) {
  for (const s of said) {
    const place = s[MEDIUM] === medium && across(s[FROM], s[TO], g, 2);
    if (!place) continue;
    const [left, right] = place;
    c.fillStyle = colour(medium === "speech" ? "a" : "b");
    c.globalAlpha = 0.22; c.fillRect(left, g.top, Math.max(right - left - 1, 1), g.height); c.globalAlpha = 1;
    c.fillStyle = colour("found");
    if (s[WORDS].some((w) => w[STATE] === 1 && w[WHEN] === null)) c.fillRect(left, g.top + g.height - 3, Math.max(right - left - 1, 1), 3);
    s[WORDS].forEach((w, i) => {
      const word = w[STATE] === 1 && w[WHEN] !== null && across(w[WHEN], s[WORDS][i + 1]?.[WHEN] ?? s[TO], g, 2);
      if (word) c.fillRect(word[0], g.top + g.height - 3, word[1] - word[0], 3);
    });
    c.fillStyle = colour("text");
    clipped(c, sentence(s), left, right, g.top + 14);
  }
}
function drawMutes(c, g) {
  for (const m of mutes) {
    const place = across(m.from, m.to, g, 2);
    if (!place) continue;
    c.fillStyle = colour("mute"); c.fillRect(place[0], g.top, place[1] - place[0], g.height);
    c.fillStyle = colour("panel");
    clipped(c, [...new Set(m.why.map((why) => why.category))].join(", ") || "not judged", ...place, g.top + 15);
  }
}
function drawWave(c, g, { step, columns }, tint) {
  c.fillStyle = colour("mute"); c.globalAlpha = 0.18;
  for (const m of mutes) {
    const place = across(m.from, m.to, g);
    if (place) c.fillRect(place[0], g.top, place[1] - place[0], g.height);
  }
  c.globalAlpha = 1; c.fillStyle = colour(tint);
  const pixel = (view.to - view.from) / (g.width - GUTTER);
  for (let x = GUTTER; x < g.width; x++) {
    const at = view.from + (x - GUTTER) * pixel;
    let peak = -1;
    for (let i = Math.floor(at / step); i * step < at + pixel && i < columns.length; i++) peak = Math.max(peak, columns[i]);
    if (peak < 0) break;
    const high = Math.max(peak / loudest * (g.height - 2), 1);
    c.fillRect(x, g.top + (g.height - high) / 2, 1, high);
  }
}

