// node page.mjs URL OUT.png: the demo's page. Both pictures show the same frame, covered where the verdict says and nowhere else; every
// button does what it says it did, by the page and by the API.

import { browse, check, main, text, until } from "./browser.mjs";

/** Pixels beside a mask's edge that are compared with neither side: JPEG blocks of 16 straddle it. */
const EDGE = 18;
/** Greatest mean difference of pixels that are not covered: both sides are JPEGs of one picture. */
const ALIKE_MAX = 3;
/** Brightest mean of pixels under the black cover, and least mean difference to what is there in the raw picture. */
const BLACK_MAX = 12, UNLIKE_MIN = 25;
const PAIRS = 6;
/** Least time between both pictures of a frame, ms, in a room that delays by 400: a raw picture may be late on a busy machine. */
const DELAY_SEEN_MIN = 200;
/** Share of the picture under masks from which a face is a near one. */
const NEAR = 0.04;

/** In the page, in one step: what both canvases show. None unless they show one frame, with masks. */
function pair(edge) {
  const [raw, moderated] = ["raw", "moderated"].map((id) => document.getElementById(id));
  const { sequence, cover, masks } = moderated.dataset;
  if (!sequence || raw.dataset.sequence !== sequence || cover !== "masked") return null;
  const { width, height } = moderated;
  if (raw.width !== width || raw.height !== height) return { fault: `${raw.width}×${raw.height} beside ${width}×${height}` };
  // Read from copies: the page's own canvases are not made to be read.
  const pixels = (canvas) => {
    const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    return copy.getImageData(0, 0, width, height).data;
  };
  const [before, after] = [pixels(raw), pixels(moderated)];
  const boxes = JSON.parse(masks).map((m) => [m.x * width, m.y * height, (m.x + m.width) * width, (m.y + m.height) * height]);
  const within = (x, y, by) => boxes.some(([l, t, r, b]) => x >= l - by && x < r + by && y >= t - by && y < b + by);
  const sums = { under: 0, bright: 0, changed: 0, beside: 0, unlike: 0 };
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const at = 4 * (y * width + x);
      let difference = 0, light = 0;
      for (let channel = 0; channel < 3; channel += 1) {
        difference += Math.abs(before[at + channel] - after[at + channel]) / 3;
        light += after[at + channel] / 3;
      }
      if (within(x, y, -4)) {
        sums.under += 1;
        sums.bright += light;
        sums.changed += difference;
      } else if (!within(x, y, edge)) {
        sums.beside += 1;
        sums.unlike += difference;
      }
    }
  }
  const { under, bright, changed, beside, unlike } = sums;
  return { sequence, masks: boxes.length, under, beside, bright: bright / under, changed: changed / under, unlike: unlike / beside };
}

async function comparePictures(page) {
  const seen = new Set();
  await until(`${PAIRS} frames with masks on both canvases`, async () => {
    const both = await page.evaluate(pair, EDGE);
    if (!both || seen.has(both.sequence)) return false;
    check(!both.fault, both.fault);
    // A face near the edge may leave too few pixels to say anything of.
    if (both.under < 400 || both.beside < 400) return false;
    const told = JSON.stringify(both);
    check(both.bright <= BLACK_MAX, `what is under a mask is not covered: ${told}`);
    check(both.changed >= UNLIKE_MIN, `the raw picture is covered too: ${told}`);
    check(both.unlike <= ALIKE_MAX, `what is beside the masks differs: ${told}`);
    seen.add(both.sequence);
    if (seen.size === 1) console.log(`a pair of pictures: ${told}`);
    return seen.size >= PAIRS;
  }, 60_000);
}

async function api(url, path) {
  const response = await fetch(new URL(path, url));
  check(response.ok, `${path} answered ${response.status}`);
  return response.json();
}

async function pressAll(url, page, faults) {
  const cascade = async () => (await api(url, "/v1/rooms/demo/policy/cascade")).in_force;
  const press = async (id, state = "done", how = (button) => button.click()) => {
    await how(page.locator(`#${id}`));
    await until(`an outcome of "${id}"`, async () => ["done", "failed"].includes(await page.getAttribute(`#${id}-outcome`, "data-state")));
    const outcome = await text(page, `#${id}-outcome`);
    console.log(`${id}: ${outcome}`);
    check((await page.getAttribute(`#${id}-outcome`, "data-state")) === state, `"${id}" did not end ${state}: ${outcome}`);
    return outcome;
  };
  const cell = (name) => text(page, `#policy-cascade .v-${name} span`);
  const shows = (name, value) => until(`the table's ${name} is ${value}`, async () => (await cell(name)) === String(value), 10_000);
  const tells = (outcome, ...parts) => parts.forEach((part) => check(outcome.includes(part), `"${outcome}" does not say ${part}`));

  let before = await cascade();
  check(before.plugin === "skin-cascade@2.0.0", `it begins with ${before.plugin}`);
  const generationUp = async (outcome, plugin) => {
    const now = await cascade();
    check(now.plugin === plugin, `${now.plugin} is in force, not ${plugin}`);
    check(now.generation === before.generation + 1, `generation ${before.generation} became ${now.generation}`);
    check(now.previous === before.plugin, `before it was ${now.previous}, not ${before.plugin}`);
    tells(outcome, plugin, `${before.generation} → ${now.generation}`);
    await shows("plugin", plugin);
    await shows("generation", now.generation);
    await shows("previous", before.plugin);
    before = now;
  };

  await generationUp(await press("swap"), "skin-cascade@1.0.0");
  // The button names what it would do now.
  tells(await text(page, "#swap"), "skin-cascade@2.0.0");

  const counted = ({ agreed, differed, faulted, shed }) => agreed + differed + faulted + shed;
  const shadowed = async () => {
    // By the keyboard as well as by the mouse.
    tells(await press("shadow", "done", (button) => button.press("Enter")), "skin-cascade@2.0.0");
    check((await cascade()).shadow?.plugin === "skin-cascade@2.0.0", "no shadow");
    await until("the shadow sees something", async () => counted((await cascade()).shadow) > 0);
    await shows("shadow", "skin-cascade@2.0.0");
    await until("the page counts it", async () => /[1-9]/.test(await text(page, "#policy-cascade .v-shadow small")), 10_000);
  };
  await shadowed();
  tells(await press("discard"), "left the shadow");
  check((await cascade()).shadow === null, "the shadow is still there");
  await shows("shadow", "–");
  // What can't be done is said in the host's words.
  faults.expect(/409 \(Conflict\).*\/policy\/cascade\/discard/);
  tells(await press("discard", "failed"), "no candidate");

  await shadowed();
  await generationUp(await press("promote"), "skin-cascade@2.0.0");
  check(before.shadow === null, "what was promoted is still in the shadow");
  await generationUp(await press("rollback"), "skin-cascade@1.0.0");

  tells(await press("kill"), `faults ${before.faults} → ${before.faults + 1}`, "started again");
  const killed = await cascade();
  check(killed.faults === before.faults + 1, `faults ${before.faults} became ${killed.faults}`);
  check(killed.restarts === before.restarts + 1, `restarts ${before.restarts} became ${killed.restarts}`);
  check(killed.serving && killed.plugin === before.plugin, `after the kill: ${JSON.stringify(killed)}`);
  await shows("faults", killed.faults);

  await until("a detection among the events", async () => (await page.locator("#events li[data-kind=detection]").count()) > 0);
  tells(await press("report"), "reported as wrong", "now counts from");
  await until("the report among the events", async () => (await page.locator("#events li[data-kind=feedback]").count()) === 1, 10_000);
  for (const kind of ["committed", "shadow_started", "shadow_ended", "rolled_back", "faulted", "restarted"]) {
    const told = (await api(url, "/v1/rooms/demo/events?limit=1000")).events.some(({ body }) => body.event === kind);
    check(told, `no event tells of ${kind}`);
  }
  await shadowed();
}

async function readFigures(url, page) {
  const { live: [live] } = await api(url, "/v1/rooms/demo");
  for (const name of ["received", "shown", "covered", "looks"]) {
    const shown = Number((await text(page, `#count-${name}`)).replaceAll(",", ""));
    check(shown > 0 && shown <= live[name], `${name} is ${shown} on the page and ${live[name]} by the API`);
  }
  // Far below what a machine that does nothing else shows.
  check(Number(await text(page, "#rate")) > 3, `${await text(page, "#rate")} frames/s`);
  check(parseInt(await text(page, "#latency"), 10) >= DELAY_SEEN_MIN, `${await text(page, "#latency")} from raw to covered, in a room that delays by 400 ms`);
  const events = await page.locator("#events li").count();
  check(events > 0 && events <= 30, `${events} events`);
  check((await text(page, "#policy-threshold .v-last")).includes("FACE"), "the threshold policy's last decision is not shown");
}

/** Nothing may move when counts grow and outcomes come. */
const places = (page) => page.evaluate(() => [...document.querySelectorAll("h2, canvas, button, table, #events")].map((element) => {
  const { x, y, width, height } = element.getBoundingClientRect();
  return `${element.id || element.textContent} ${[x, y + scrollY, width, height].map(Math.round)}`;
}).join("\n"));

async function loseAndFindTheHost(page, faults) {
  faults.expect(/ERR_INTERNET_DISCONNECTED/);
  await page.context().setOffline(true);
  await until("the page says that the host is gone", async () => (await text(page, "#status")).includes("does not answer"));
  await page.context().setOffline(false);
  await until("the page is live again", async () => (await text(page, "#status")) === "live");
}

await main(async (url, out) => {
  await browse(url, async (page, faults) => {
    await until("both canvases show a picture", () => page.evaluate(() => ["raw", "moderated"].every((id) => document.getElementById(id).dataset.sequence)));
    await until("the page is live", async () => (await text(page, "#status")) === "live");
    const before = await places(page);
    await comparePictures(page);
    await pressAll(url, page, faults);
    await readFigures(url, page);
    const after = await places(page);
    const names = (all) => all.replaceAll(/skin-cascade@\d\.0\.0/g, "");
    check(names(before) === names(after), `the page moved: ${before}\n---\n${after}`);
    await page.evaluate(() => { document.activeElement.blur(); scrollTo(0, 0); });
    await page.mouse.move(0, 0);
    const nearFace = () => page.evaluate((near) => {
      const { cover, masks } = document.getElementById("moderated").dataset;
      return cover === "masked" && JSON.parse(masks).reduce((sum, mask) => sum + mask.width * mask.height, 0) > near;
    }, NEAR);
    // The stream goes on while the picture is taken: there is to be one before and after it.
    await until("a picture of a near face under a mask", async () => {
      if (!(await nearFace())) return false;
      await page.screenshot({ path: out });
      return nearFace();
    });
    await loseAndFindTheHost(page, faults);
  });
  console.log("the page does what it says");
});
