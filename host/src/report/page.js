"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const { frames, names, previews, events, decisions, summary, clip } = data;
// Places in a frame's row, a look's and a finding's.
const AT = 0, CHANGE = 1, CUT = 2, SHARE = 3, REASON = 4, MASKS = 5, LOOKS = 6;
const DETECTOR = 0, KIND = 1, FOUND = 2;
const LABEL = 0, CONFIDENCE = 1, THRESHOLD = 2, COUNTS = 3, AREA = 4;
const frameTime = 1e6 / (clip.rate || 25);
const end = Math.max(frames.length ? frames.at(-1)[AT] + frameTime : 0, ...events.slice(-1).map((e) => e.at), 1);
const $ = (id) => document.getElementById(id);
const reduced = (text, max) => (text.length > max ? text.slice(0, max - 1) + "…" : text);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}
const time = (us) => {
  const s = us / 1e6, m = Math.floor(s / 60);
  return `${m}:${(s - 60 * m).toFixed(2).padStart(5, "0")}`;
};
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
const count = (n) => n.toLocaleString("en");
const some = (n, one) => `${count(n)} ${one}${n === 1 ? "" : "s"}`;
/** Index of the last row at or before a time. */
function before(rows, at, of) {
  let low = 0, high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (of(rows[middle]) <= at) low = middle + 1; else high = middle;
  }
  return low - 1;
}

// Summary
$("facts-line").textContent = `${clip.width} × ${clip.height}, ${+clip.rate.toFixed(2)} frames/s, ${time(end)}, ${some(summary.frames, "frame")}`;
const isQuiet = summary.full === 0 && summary.faults === 0;
$("verdict").textContent = isQuiet ? "No full cover, no fault" : `${some(summary.full, "frame")} fully covered, ${some(summary.faults, "fault")}`;
$("verdict").classList.toggle("warn", summary.faults > 0);
const all = Math.max(summary.frames, 1);
for (const [value, name, note] of [
  [count(summary.frames), "frames", `${count(summary.clear)} in the clear`],
  [count(summary.masked), "frames with masks", percent(summary.masked / all)],
  [count(summary.full), "frames fully covered", percent(summary.full / all)],
  [percent(summary.covered_share), "of the picture covered", "mean over all frames"],
  [count(summary.looks), "looks", summary.looks_possible ? `${percent(1 - summary.looks / summary.looks_possible)} of inferences saved` : "no detector ran"],
  [count(summary.counted), "detections that counted", ""],
  [count(summary.swaps), summary.swaps === 1 ? "policy swap" : "policy swaps", some(summary.faults, "fault")],
]) $("cards").append(element("div", { class: "card" }, element("b", {}, value), element("span", {}, name), element("small", {}, note)));

// Tables
function table(into, heads, rows, empty) {
  if (!rows.length) return into.replaceChildren(element("p", { class: "muted" }, empty));
  const head = element("tr", {}, ...heads.map((h) => element("th", { scope: "col", ...(h.num ? { class: "num" } : {}) }, h.name ?? h)));
  into.replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
}
const cell = (content, kind) => element("td", kind ? { class: kind } : {}, content);
const link = (at) => cell(element("button", { type: "button", onclick: () => { seek(at); $("screens").scrollIntoView({ block: "nearest" }); } }, time(at)), "time");

const runs = [];
for (const frame of frames) {
  const last = runs.at(-1);
  if (frame[REASON] === null) { if (last) last.open = false; }
  else if (last?.open && last.reason === frame[REASON]) { last.to = frame[AT]; last.frames++; }
  else { if (last) last.open = false; runs.push({ from: frame[AT], to: frame[AT], frames: 1, reason: frame[REASON], open: true }); }
}
table($("full"), ["From", "To", { name: "Frames", num: 1 }, "Reason"],
  runs.map((r) => element("tr", {}, link(r.from), cell(time(r.to + frameTime), "time"), cell(count(r.frames), "num"), cell(names[r.reason]))),
  "No frame was covered whole.");
table($("events"), ["Time", "What", "Of", "Detail"],
  events.map((e) => element("tr", {}, link(e.at), cell(element("span", { class: `pill ${e.kind}` }, e.kind), "name"), cell(e.subject, "name"), cell(e.text))),
  "No policy was swapped and nothing failed.");
table($("facts"), ["Fact", "Value"], data.facts.map(([name, value]) => element("tr", {}, cell(name), cell(value))), "Nothing else was noted.");

const labels = new Map(), detectors = [];
for (const frame of frames) for (const look of frame[LOOKS]) {
  if (!detectors.includes(look[DETECTOR])) detectors.push(look[DETECTOR]);
  for (const found of look[FOUND]) {
    const of = labels.get(found[LABEL]) ?? { all: 0, counted: 0, most: 0, threshold: 0 };
    of.all++; of.counted += found[COUNTS]; of.most = Math.max(of.most, found[CONFIDENCE]); of.threshold = found[THRESHOLD];
    labels.set(found[LABEL], of);
  }
}
const ranked = [...labels].sort((a, b) => b[1].counted - a[1].counted || b[1].all - a[1].all);
table($("labels"), ["Label", { name: "Seen", num: 1 }, { name: "Counted", num: 1 }, { name: "Highest", num: 1 }, { name: "Threshold", num: 1 }],
  ranked.map(([label, of]) => element("tr", {}, cell(names[label]), cell(count(of.all), "num"), cell(count(of.counted), "num"),
    cell(of.most.toFixed(2), "num"), cell(of.threshold.toFixed(2), "num"))), "Nothing was detected.");

const slots = [...new Set(decisions.map((d) => d.slot))];
const DECISIONS_MAX = 500;
function listDecisions() {
  const chosen = decisions.filter((d) => !$("slot").value || d.slot === $("slot").value);
  table($("decisions"), ["Time", "Slot", "Policy", "Decision"],
    chosen.slice(0, DECISIONS_MAX).map((d) => element("tr", {}, link(d.at), cell(d.slot), cell(d.policy), cell(d.text))), "No policy was asked.");
  if (chosen.length > DECISIONS_MAX) $("decisions").append(element("p", { class: "muted" }, `The first ${DECISIONS_MAX} of ${count(chosen.length)}.`));
}
$("slot").append(element("option", { value: "" }, "all"), ...slots.map((s) => element("option", { value: s }, s)));
$("slot").addEventListener("change", listDecisions);
listDecisions();

// Player
const hasRaw = previews.some((p) => p.raw);
if (!previews.length) { $("screens").remove(); $("strip-panel").remove(); }
else if (!hasRaw) { $("screens").firstElementChild.remove(); $("screens").classList.add("single"); }
if (previews.length > 1) $("play-note").textContent = `${previews.length} moments, one every ${((previews.at(-1).at - previews[0].at) / (previews.length - 1) / 1e6).toFixed(2)} s`;
if (hasRaw) $("warning").textContent = "It shows uncovered pictures: handle it as you would the raw clip.";
// Decoded ahead of time, so that scrubbing does not flicker.
for (const p of previews) p.images = [p.covered, p.raw].filter(Boolean).map((src) => Object.assign(new Image(), { src }));

let now = 0, playing = false, shown = -1, view = { from: 0, to: end };
$("scrub").max = Math.round(end / 1000);
const look = getComputedStyle(document.documentElement);
const colour = (name) => look.getPropertyValue(`--${name}`).trim();

function seek(at) {
  now = Math.min(Math.max(at, 0), end);
  $("scrub").value = Math.round(now / 1000);
  $("clock").textContent = `${time(now)} / ${time(end)}`;
  $("scrub").setAttribute("aria-valuetext", time(now));
  const index = Math.max(before(previews, now, (p) => p.at), 0);
  if (index !== shown && previews.length) {
    shown = index;
    $("covered").src = previews[index].covered;
    if (hasRaw && previews[index].raw) $("raw").src = previews[index].raw;
  }
  describe();
  drawBoxes();
  if (now < view.from || now > view.to) {
    const half = (view.to - view.from) / 2;
    setView(now - half, now + half);
  } else draw();
}

/** The frame that the picture shows, which may lie a little before `now`. */
const pictured = () => frames[Math.max(before(frames, previews.length ? previews[Math.max(shown, 0)].at : now, (f) => f[AT]), 0)];
function lastLook(index) {
  for (let i = index; i >= 0 && i > index - 60; i--) if (frames[i][LOOKS].some((l) => l[KIND] !== "skipped")) return frames[i];
}

function describe() {
  const index = before(frames, now, (f) => f[AT]), frame = frames[index];
  if (!frame) return;
  const cover = frame[REASON] !== null ? `covered whole: ${names[frame[REASON]]}`
    : frame[SHARE] > 0 ? `${some(frame[MASKS].length, "mask")}, ${percent(frame[SHARE])} covered` : "in the clear";
  const looked = lastLook(index);
  const what = looked ? looked[LOOKS].flatMap((l) => l[FOUND]).filter((f) => f[COUNTS]).map((f) => `${names[f[LABEL]]} ${f[CONFIDENCE].toFixed(2)}`) : [];
  const since = looked ? ` Last look ${((now - looked[AT]) / 1000).toFixed(0)} ms ago: ${what.length ? reduced(what.join(", "), 120) : "nothing that counts"}.` : "";
  $("now").textContent = `Frame ${count(index + 1)}: ${cover}.${since}`;
}

function drawBoxes() {
  const canvas = $("boxes"), picture = $("raw"), frame = pictured();
  if (!canvas || !hasRaw || !frame) return;
  const { clientWidth: w, clientHeight: h } = canvas, ratio = devicePixelRatio || 1;
  canvas.width = w * ratio; canvas.height = h * ratio;
  const c = canvas.getContext("2d");
  c.scale(ratio, ratio);
  const scale = Math.min(w / clip.width, h / clip.height), pw = clip.width * scale, ph = clip.height * scale;
  const box = ([x, y, bw, bh], stroke, dash, label) => {
    c.strokeStyle = c.fillStyle = stroke; c.lineWidth = 2; c.setLineDash(dash);
    const [left, top] = [(w - pw) / 2 + x * pw, (h - ph) / 2 + y * ph];
    c.strokeRect(left, top, bw * pw, bh * ph);
    if (!label) return;
    c.font = "600 12px system-ui, sans-serif";
    const wide = c.measureText(label).width + 8, up = Math.max(top - 17, 0);
    c.fillRect(left - 1, up, wide, 17); c.fillStyle = "#fff"; c.fillText(label, left + 3, up + 12.5);
  };
  for (const mask of frame[MASKS]) box(mask, "#e5a93d", []);
  const looked = lastLook(frames.indexOf(frame));
  if (looked && frame[AT] - looked[AT] < 400000)
    for (const l of looked[LOOKS]) for (const f of l[FOUND]) if (f[AREA])
      box(f[AREA], f[COUNTS] ? "#d83a46" : "#8d99a6", f[COUNTS] ? [] : [5, 4], f[COUNTS] ? `${names[f[LABEL]]} ${f[CONFIDENCE].toFixed(2)}` : "");
}

let drawn = 0;
function step(stamp) {
  if (!playing) return;
  const passed = drawn ? (stamp - drawn) * 1000 * +$("speed").value : 0;
  drawn = stamp;
  seek(now + passed);
  if (now >= end) return toggle(false);
  requestAnimationFrame(step);
}
function toggle(on) {
  playing = on; drawn = 0;
  $("play").textContent = on ? "Pause" : "Play";
  $("play").setAttribute("aria-pressed", on);
  if (on) { if (now >= end) seek(0); requestAnimationFrame(step); }
}
$("play").addEventListener("click", () => toggle(!playing));
$("scrub").addEventListener("input", (e) => seek(+e.target.value * 1000));
document.addEventListener("keydown", (e) => {
  if (e.target.closest("button, input, select, a")) return;
  if (e.key === " ") { e.preventDefault(); toggle(!playing); }
  if (e.key === "ArrowRight") seek(now + frameTime * (e.shiftKey ? 10 : 1));
  if (e.key === "ArrowLeft") seek(now - frameTime * (e.shiftKey ? 10 : 1));
});

// Strip
const covered = previews.filter((p) => { const f = frames[before(frames, p.at, (f) => f[AT])]; return f && f[SHARE] > 0; });
const STRIP_MAX = 16;
const every = Math.max(1, covered.length / STRIP_MAX);
for (let i = 0; i < covered.length && $("strip"); i += every) {
  const p = covered[Math.floor(i)], f = frames[before(frames, p.at, (f) => f[AT])];
  $("strip").append(element("button", { type: "button", onclick: () => seek(p.at) },
    element("img", { src: p.covered, alt: `Covered frame at ${time(p.at)}`, loading: "lazy" }),
    element("span", {}, `${time(p.at)} · ${f[REASON] !== null ? "whole" : percent(f[SHARE], 0)}`)));
}
if (!covered.length && $("strip")) $("strip").append(element("p", { class: "muted" }, "No frame was covered."));

// Timeline
const LABELS_MAX = 8;
const lanes = [
  { name: "Cover", height: 46, draw: drawCover },
  { name: "Change", height: 34, draw: drawChange },
  ...detectors.map((d) => ({ name: `Looks: ${names[d]}`, height: 22, draw: (c, g) => drawLooks(c, g, d) })),
  ...ranked.slice(0, LABELS_MAX).map(([label]) => ({ name: names[label], height: 24, draw: (c, g) => drawLabel(c, g, label) })),
  ...slots.map((slot) => ({ name: `Policy: ${slot}`, height: 26, draw: (c, g) => drawSlot(c, g, slot) })),
  ...(events.length ? [{ name: "Events", height: 26, draw: drawEvents }] : []),
];
const GUTTER = 148, AXIS = 24, GAP = 5;
const canvas = $("timeline");
const xOf = (at, width) => GUTTER + ((at - view.from) / (view.to - view.from)) * (width - GUTTER);

/** Calls with each column of pixels and the frames that fall into it. */
function columns(g, visit) {
  let i = Math.max(before(frames, view.from, (f) => f[AT]), 0);
  while (i < frames.length && frames[i][AT] <= view.to) {
    const x = Math.max(GUTTER, Math.floor(xOf(frames[i][AT], g.width))), first = i;
    do i++; while (i < frames.length && Math.floor(xOf(frames[i][AT], g.width)) <= x);
    const next = Math.min(g.width, xOf(i < frames.length ? frames[i][AT] : frames[i - 1][AT] + frameTime, g.width));
    visit(x, Math.max(next - x, 1), frames.slice(first, i));
  }
}
function drawCover(c, g) {
  columns(g, (x, w, part) => {
    const share = Math.max(...part.map((f) => f[SHARE])), isFull = part.some((f) => f[REASON] !== null);
    c.fillStyle = colour(isFull ? "full" : share > 0 ? "masked" : "clear");
    c.globalAlpha = share > 0 ? 1 : 0.75;
    const high = isFull ? g.height : share > 0 ? 6 + Math.sqrt(share) * (g.height - 6) : 4;
    c.fillRect(x, g.top + g.height - high, w + 0.4, high);
  });
  c.globalAlpha = 1;
}
function drawChange(c, g) {
  c.fillStyle = colour("change");
  columns(g, (x, w, part) => {
    const high = Math.max(...part.map((f) => f[CHANGE])) * g.height;
    c.fillRect(x, g.top + g.height - high, w + 0.4, high);
  });
  c.fillStyle = colour("full");
  columns(g, (x, _, part) => { if (part.some((f) => f[CUT])) c.fillRect(x, g.top, 1.5, g.height); });
}
function drawLooks(c, g, detector) {
  columns(g, (x, w, part) => {
    const kinds = part.flatMap((f) => f[LOOKS]).filter((l) => l[DETECTOR] === detector).map((l) => l[KIND]);
    const width = Math.min(Math.max(w * 0.5, 1), 5);
    const mark = (name, top, high) => { c.fillStyle = colour(name); c.fillRect(x, top, width, high); };
    if (kinds.includes("required")) mark("look", g.top, g.height);
    else if (kinds.includes("asked")) mark("b", g.top + 4, g.height - 4);
    else if (kinds.includes("skipped")) mark("skip", g.top + g.height - 6, 6);
  });
}
function drawLabel(c, g, label) {
  columns(g, (x, w, part) => {
    const found = part.flatMap((f) => f[LOOKS].flatMap((l) => l[FOUND])).filter((f) => f[LABEL] === label);
    if (!found.length) return;
    const best = found.reduce((a, b) => (b[COUNTS] - a[COUNTS] || b[CONFIDENCE] - a[CONFIDENCE]) > 0 ? b : a);
    const high = Math.max(best[CONFIDENCE] * g.height, 2), width = Math.min(Math.max(w * 0.6, 1.5), 6);
    c.fillStyle = colour(best[COUNTS] ? "full" : "skip");
    c.fillRect(x, g.top + g.height - high, width, high);
  });
}
function drawSlot(c, g, slot) {
  const own = decisions.filter((d) => d.slot === slot);
  const spans = [];
  for (const d of own) {
    if (spans.at(-1)?.policy !== d.policy) spans.push({ policy: d.policy, from: spans.length ? d.at : 0 });
  }
  const policies = [...new Set(spans.map((s) => s.policy))];
  spans.forEach((span, i) => {
    const [left, right] = [span.from, spans[i + 1]?.from ?? end].map((at) => Math.min(Math.max(xOf(at, g.width), GUTTER), g.width));
    if (right - left < 0.5) return;
    c.fillStyle = colour(policies.indexOf(span.policy) % 2 ? "b" : "a");
    c.globalAlpha = 0.22; c.fillRect(left, g.top, right - left, g.height); c.globalAlpha = 1;
    c.save();
    c.beginPath(); c.rect(left, g.top, right - left, g.height); c.clip();
    c.fillStyle = colour("text"); c.font = "12px system-ui, sans-serif"; c.fillText(span.policy, left + 6, g.top + 12);
    c.restore();
  });
  for (const d of own) {
    if (d.at < view.from || d.at > view.to) continue;
    c.fillStyle = colour(policies.indexOf(d.policy) % 2 ? "b" : "a");
    c.fillRect(xOf(d.at, g.width), g.top + g.height - 8, 1.2, 8);
  }
}
function drawEvents(c, g) {
  const middle = g.top + g.height / 2;
  for (const e of events) {
    if (e.at < view.from || e.at > view.to) continue;
    const x = Math.min(Math.max(xOf(e.at, g.width), GUTTER + 7), g.width - 7), isBad = ["fault", "refused"].includes(e.kind);
    c.fillStyle = colour(isBad ? "full" : e.kind === "rollback" ? "masked" : "swap");
    c.beginPath();
    if (isBad) { c.moveTo(x, middle - 7); c.lineTo(x + 7, middle + 6); c.lineTo(x - 7, middle + 6); }
    else { c.moveTo(x, middle - 7); c.lineTo(x + 7, middle); c.lineTo(x, middle + 7); c.lineTo(x - 7, middle); }
    c.fill();
  }
}
function drawAxis(c, width, height) {
  const steps = [0.04, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600].map((s) => s * 1e6);
  const step = steps.find((s) => (s / (view.to - view.from)) * (width - GUTTER) >= 80) ?? steps.at(-1);
  c.font = "12px system-ui, sans-serif";
  for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) {
    const x = xOf(at, width);
    c.fillStyle = colour("grid"); c.fillRect(x, AXIS, 1, height - AXIS);
    const text = time(at), wide = c.measureText(text).width;
    c.fillStyle = colour("muted"); c.fillText(text, Math.min(Math.max(x - wide / 2, GUTTER), width - wide), 14);
  }
}
function draw() {
  const width = canvas.clientWidth, height = AXIS + lanes.reduce((sum, lane) => sum + lane.height + GAP, 0);
  const ratio = devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  canvas.width = width * ratio; canvas.height = height * ratio;
  const c = canvas.getContext("2d");
  c.scale(ratio, ratio);
  drawAxis(c, width, height);
  let top = AXIS;
  for (const lane of lanes) {
    c.fillStyle = colour("muted"); c.font = "12.5px system-ui, sans-serif"; c.textBaseline = "middle";
    c.fillText(reduced(lane.name, 22), 0, top + lane.height / 2);
    c.textBaseline = "alphabetic";
    c.fillStyle = colour("dim"); c.globalAlpha = 0.55; c.fillRect(GUTTER, top, width - GUTTER, lane.height); c.globalAlpha = 1;
    lane.draw(c, { top, height: lane.height, width });
    top += lane.height + GAP;
  }
  if (now >= view.from && now <= view.to) {
    const x = Math.min(xOf(now, width), width - 4);
    c.fillStyle = colour("text"); c.fillRect(x - 0.75, AXIS - 6, 1.5, height);
    c.beginPath(); c.arc(x, AXIS - 5, 4, 0, 7); c.fill();
  }
}
function setView(from, to) {
  const length = Math.min(Math.max(to - from, Math.min(200000, end)), end);
  const start = Math.min(Math.max((from + to - length) / 2, 0), end - length);
  view = { from: start, to: start + length };
  draw();
}
function zoom(factor, about = now) {
  setView(about - (about - view.from) * factor, about + (view.to - about) * factor);
}
const timeAt = (e) => view.from + Math.max(e.offsetX - GUTTER, 0) / (canvas.clientWidth - GUTTER) * (view.to - view.from);
canvas.addEventListener("pointerdown", (e) => { canvas.setPointerCapture(e.pointerId); seek(timeAt(e)); });
canvas.addEventListener("pointermove", (e) => { if (e.buttons) seek(timeAt(e)); });
canvas.addEventListener("wheel", (e) => { e.preventDefault(); zoom(e.deltaY > 0 ? 1.25 : 0.8, timeAt(e)); }, { passive: false });
$("zoom-in").addEventListener("click", () => zoom(0.5));
$("zoom-out").addEventListener("click", () => zoom(2));
$("zoom-all").addEventListener("click", () => setView(0, end));
$("legend").append(...[["clear", "in the clear"], ["masked", "masked (height: share covered)"], ["full", "covered whole, cut, or counted detection"], ["look", "look that the host required"],
  ["b", "look that the cascade asked for"], ["skip", "skipped, or detection below its threshold"], ["swap", "◆ swap  ▲ fault"]].map(([name, text]) => {
  const mark = element("i"); mark.style.background = `var(--${name})`;
  return element("span", {}, mark, text);
}));
addEventListener("resize", () => { draw(); drawBoxes(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
if (hasRaw) $("raw").addEventListener("load", drawBoxes);
seek(Math.min((+location.hash.slice(3) || 0) * 1e6, end));
