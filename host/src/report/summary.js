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
  ...(data.mutes ? [[count(data.mutes.length), data.mutes.length === 1 ? "mute" : "mutes", `${(data.mutes.reduce((sum, m) => sum + m.to - m.from, 0) / 1e6).toFixed(1)} s of sound`]] : []),
  [count(summary.swaps), summary.swaps === 1 ? "policy swap" : "policy swaps", some(summary.faults, "fault")],
]) $("cards").append(element("div", { class: "card" }, element("b", {}, value), element("span", {}, name), element("small", {}, note)));

// Tables
function table(into, heads, rows, empty) {
  if (!rows.length) return into.replaceChildren(element("p", { class: "muted" }, empty));
  const head = element("tr", {}, ...heads.map((h) => element("th", { scope: "col", ...(h.num ? { class: "num" } : {}) }, h.name ?? h)));
  into.replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
}
const cell = (content, kind) => element("td", kind ? { class: kind } : {}, content);
const link = (at) => cell(element("button", { type: "button", onclick: () => { seek(at); $("screens")?.scrollIntoView({ block: "nearest" }); } }, time(at)), "time");

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

