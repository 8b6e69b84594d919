// node pages.mjs URL KEY: the pages of LiveKit's rooms on a host with keys, where no LiveKit server is. They ask for the key, say that there is
// no such room, and, when somebody would join, what the host lacks.

import { browse, check, main, text, until } from "./browser.mjs";

await main(async (url, key) => {
  for (const path of ["broadcast", "watch"]) {
    await browse(`${url}${path}?room=studio`, async (page, faults) => {
      faults.expect(/401 \(Unauthorized\)/);
      await page.waitForSelector("#key-form", { state: "visible" });
      check((await text(page, "#status")) === "a key is needed", await text(page, "#status"));
      check(await page.isHidden("#join-form"), "it asks for a name before it may");
      await page.fill("#key", "scrim_0123");
      await page.press("#key", "Enter");
      await until("it says that nobody has this key", async () => (await text(page, "#key-fault")).includes("nobody has this key"));
      await page.fill("#key", key);
      await page.press("#key", "Enter");
      await page.waitForSelector("#join-form", { state: "visible" });
      check((await text(page, "#room")) === "studio", await text(page, "#room"));
      check((await page.title()).endsWith(": studio"), await page.title());

      await page.fill("#name", "  ");
      await page.click("#join");
      await until("it asks for a name", async () => (await text(page, "#join-fault")) === "give a name that others see");
      faults.expect(/503 \(Service Unavailable\).*\/v1\/rooms\/studio\/tokens/);
      await page.fill("#name", "Ann");
      await page.press("#name", "Enter");
      await until("it says what the host lacks", async () => (await text(page, "#join-fault")).includes("LIVEKIT_"));
      console.log(`${path}: ${await text(page, "#join-fault")}`);
      check((await text(page, "#status")) === "not joined", await text(page, "#status"));
      check(await page.isHidden("#stage"), "it shows a room that it is not in");

      // The name stays for the other page and for a room that is not there.
      faults.expect(/404 \(Not Found\).*\/v1\/rooms\/nowhere/);
      await page.goto(`${url}${path}?room=nowhere`);
      await until("it says that there is no such room", async () => (await text(page, "#status")).includes("nowhere"));
      check(await page.isHidden("#join-form"), "a room that is not there can be joined");
      check((await page.inputValue("#name")) === "Ann", "the name is forgotten");
    });
  }
  console.log("the pages without a LiveKit server do what they say");
});
