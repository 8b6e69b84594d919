// What the tests of the page share: a headless Chromium that takes no fault, and checks.

import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { chromium } from "playwright-core";

const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

function onPath(program) {
  const found = process.env.PATH.split(delimiter).map((folder) => join(folder, program)).find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  if (!found) throw new Error(`${program} is not on the path: install Debian's ${program}, as \`cargo xtask test\` does`);
  return found;
}

export function check(holds, what) {
  if (!holds) throw new Error(what);
}

/** Asks again until it holds; answers with what it was told. */
export async function until(what, holds, within = 30_000) {
  const end = Date.now() + within;
  for (;;) {
    const told = await holds();
    if (told) return told;
    check(Date.now() < end, `not within ${within / 1000} s: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** A headless Chromium with further flags, for as long as `use` takes. */
export async function withBrowser(flags, use) {
  const browser = await chromium.launch({ executablePath: onPath("chromium"), args: [...FLAGS, ...flags] });
  try {
    return await use(browser);
  } finally {
    await browser.close();
  }
}

/**
 * Opens the page and runs the steps on it. Every error that the page logs or throws fails the test, but for those that a step expects
 * (`faults.expect(pattern)`), which have to come, and those that it allows (`faults.allow(pattern)`), which may.
 */
export async function visit(browser, url, steps, { viewport = { width: 1280, height: 820 }, before = () => {}, ...more } = {}) {
  const page = await browser.newPage({ viewport, colorScheme: "light", ...more });
  const unexpected = [], expected = [];
  const told = (text) => {
    const known = expected.find(({ pattern }) => pattern.test(text));
    if (known) known.came += 1;
    else unexpected.push(text);
  };
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) told(`${message.text()} (${message.location().url})`);
  });
  page.on("pageerror", (error) => told(`${error.stack ?? error}`));
  const faults = {
    expect: (pattern) => expected.push({ pattern, came: 0 }),
    allow: (pattern) => expected.push({ pattern, came: 1 }),
  };
  try {
    await before(page);
    await page.goto(url);
    await steps(page, faults);
  } finally {
    unexpected.forEach((text) => console.error(`the page: ${text}`));
  }
  check(!unexpected.length, `the page had ${unexpected.length} error(s)`);
  for (const { pattern, came } of expected) check(came, `no error of the page was like ${pattern}`);
  await page.close();
}

/** One page in a browser of its own. */
export const browse = (url, steps) => withBrowser([], (browser) => visit(browser, url, steps));

/** The text of an element. */
export const text = async (page, selector) => (await page.textContent(selector)).trim();

/** Runs a test: its steps on standard output, its fault with exit code 1. */
export async function main(run) {
  try {
    await run(...process.argv.slice(2));
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  }
}
