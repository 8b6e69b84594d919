// Timeline
const LABELS_MAX = 8;
const lanes = [
  { name: "Cover", height: 46, draw: drawCover },
  { name: "Change", height: 34, draw: drawChange },
  ...detectors.map((d) => ({ name: `Looks: ${names[d]}`, height: 22, draw: (c, g) => drawLooks(c, g, d) })),
  ...ranked.slice(0, LABELS_MAX).map(([label]) => ({ name: names[label], height: 24, draw: (c, g) => drawLabel(c, g, label) })),
  ...slots.map((slot) => ({ name: `Policy: ${slot}`, height: 26, draw: (c, g) => drawSlot(c, g, slot) })),
  ...wordLanes,
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
  ["b", "look that the cascade asked for"], ["skip", "skipped, or detection below its threshold"], ["swap", "◆ swap  ▲ fault"],
  ...(data.said ? [["found", "word that something was found in"]] : []), ...(data.mutes ? [["mute", "muted"]] : [])].map(([name, text]) => {
  const mark = element("i"); mark.style.background = `var(--${name})`;
  return element("span", {}, mark, text);
}));
addEventListener("resize", () => { draw(); drawBoxes(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
if (hasRaw) $("raw").addEventListener("load", drawBoxes);
seek(Math.min((+location.hash.slice(3) || 0) * 1e6, end));
