// Player
const hasRaw = previews.some((p) => p.raw);
if (!previews.length) { $("screens").remove(); $("strip-panel").remove(); }
else if (!hasRaw) { $("screens").firstElementChild.remove(); $("screens").classList.add("single"); }
if (previews.length > 1) $("play-note").textContent = `${previews.length} moments, one every ${((previews.at(-1).at - previews[0].at) / (previews.length - 1) / 1e6).toFixed(2)} s`;
if (hasRaw || data.sound?.raw) $("warning").textContent = "It holds uncovered pictures or sound: handle it as you would the raw clip.";
// Decoded ahead of time, so that scrubbing does not flicker.
for (const p of previews) p.images = [p.covered, p.raw].filter(Boolean).map((src) => Object.assign(new Image(), { src }));

let now = 0, playing = false, shown = -1, view = { from: 0, to: end };
$("scrub").max = Math.round(end / 1000);
const look = getComputedStyle(document.documentElement);
const colour = (name) => look.getPropertyValue(`--${name}`).trim();

/** Goes to a time. The sound follows, unless it was the sound that said so. */
function seek(at, bySound = false) {
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
  if (!bySound) sound.seek(now);
  describe();
  sayNow();
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
  // What is heard is the clock, as long as something is.
  const heard = sound.now();
  seek(heard ?? now + passed, heard !== undefined);
  if (now >= end) return toggle(false);
  requestAnimationFrame(step);
}
function toggle(on) {
  if (on && now >= end) seek(0);
  playing = on; drawn = 0;
  sound.toggle(on);
  $("play").textContent = on ? "Pause" : "Play";
  $("play").setAttribute("aria-pressed", on);
  if (on) requestAnimationFrame(step);
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

