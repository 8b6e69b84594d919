// The page of `scrim censor --report` in a real browser: `report.mjs PAGE.html EXPECTED.json [PICTURE.png]`.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { check, main, text, until, visit, withBrowser } from "./browser.mjs";

const [, , file, expected, picture] = process.argv;
const { said, mutes, seconds, words, hostile } = JSON.parse(readFileSync(expected, "utf8"));

/** Of the page's script; times in seconds. */
const state = (page) => page.evaluate(() => ({ now: now / 1e6, heard: (sound.now() ?? NaN) / 1e6, lanes: lanes.map((lane) => lane.name) }));
const rows = (page, table) => page.locator(`#${table} tbody tr`).count();

async function wordsAndSound(page) {
  check((await rows(page, "said")) === said, `${await rows(page, "said")} rows of the transcript, not ${said}`);
  check((await rows(page, "mutes")) >= mutes, `${await rows(page, "mutes")} rows of mutes, not ${mutes}`);
  const { lanes } = await state(page);
  for (const lane of ["Shown", "Said", "Mutes", "Sound as it came", "Sound as it left"]) check(lanes.includes(lane), `no lane ${lane} in ${lanes}`);
  const transcript = await text(page, "#said");
  for (const word of words) check(transcript.includes(word), `no ${word} in ${transcript}`);
  check(/\*{7}/.test(transcript), `nothing is masked in ${transcript}`);

  // Both sounds load, as long as the clip.
  for (const name of ["raw", "covered"]) {
    const length = await until(`the sound ${name} loads`, () => page.evaluate((name) => sound.played[name].duration || 0, name));
    check(Math.abs(length - seconds) < 0.3, `${name} is ${length} s long, the clip ${seconds} s`);
  }
  // A word of the transcript seeks, and the sound goes with it.
  await page.locator("#said .found.timed").first().click();
  const at = await page.evaluate(() => spoken.flatMap((s) => s[WORDS]).find((w) => w[STATE] === 1)[WHEN] / 1e6);
  check(Math.abs((await state(page)).now - at) < 0.01, `the word at ${at} s leads to ${(await state(page)).now}`);
  check((await text(page, "#saying")).includes("*****"), "what is being said is not under the pictures");
  if (picture) await page.screenshot({ path: picture });
  // What is heard leads the play-through, whichever it is.
  await page.locator("#scrub").fill("0");
  await page.locator("#play").click();
  await until("it plays", async () => (await state(page)).now > 0.5);
  let { now, heard } = await state(page);
  check(Math.abs(now - heard) < 0.3, `the sound is at ${heard} s, the pictures at ${now} s`);
  await page.locator("#sound").selectOption("raw");
  await until("the other sound plays on", async () => (await state(page)).heard > now);
  ({ now, heard } = await state(page));
  check(Math.abs(now - heard) < 0.3, `the other sound is at ${heard} s, the pictures at ${now} s`);
  await page.locator("#sound").selectOption("");
  const off = (await state(page)).now;
  await until("it plays on without sound", async () => (await state(page)).now > off + 0.2);
  check(Number.isNaN((await state(page)).heard), "a sound that is off is heard");
}

async function noWords(page) {
  const { lanes } = await state(page);
  check(!lanes.some((lane) => /Said|Shown|Mutes|Sound/.test(lane)), `lanes of words in ${lanes}`);
  for (const part of ["said-panel", "mutes-panel", "sound-label"]) check((await page.locator(`#${part}`).count()) === 0, `${part} is there`);
}

async function hostileWords(page) {
  check((await text(page, "#said")).includes(hostile), "the words are not there as they were said");
  check((await page.locator("img[src='x']").count()) === 0, "words became markup");
  check(await page.evaluate(() => window.hacked === undefined), "words were run");
}

await main(() =>
  withBrowser(["--autoplay-policy=no-user-gesture-required"], (browser) => {
    const viewport = { width: 1280, height: 1850 };
    return visit(browser, pathToFileURL(file).href, hostile ? hostileWords : words ? wordsAndSound : noWords, { viewport });
  }));
