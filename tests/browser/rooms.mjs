// node rooms.mjs URL KEY: a host with keys and without a demo. The page asks for the key, says when it is none, lists the rooms, and lets
// one be watched.

import { browse, check, main, text, until } from "./browser.mjs";

await main(async (url, key) => {
  await browse(url, async (page, faults) => {
    faults.expect(/401 \(Unauthorized\)/);
    const enter = async (given) => {
      await page.fill("#key", given);
      await page.press("#key", "Enter");
    };
    await page.waitForSelector("#key-form", { state: "visible" });
    check((await text(page, "#status")) === "a key is needed", await text(page, "#status"));
    await enter("not a key");
    await until("it says that this is no key", async () => (await text(page, "#key-fault")).includes("that is no key"));
    await enter("scrim_0123");
    await until("it says that nobody has this key", async () => (await text(page, "#key-fault")).includes("nobody has this key"));
    await enter(key);
    await page.waitForSelector("#rooms", { state: "visible" });
    check(await page.isHidden("#stage"), "a room is shown that nobody chose");
    check((await text(page, "#rooms-title")) === "This host shows no demo", await text(page, "#rooms-title"));
    check((await text(page, "#room-list")) === "studio (idle)", await text(page, "#room-list"));
    await page.click("#room-list a");
    await page.waitForSelector("#stage", { state: "visible" });
    check(await page.isHidden("#raw-figure"), "raw pictures of a room that is no demo");
    // Only once the socket, with the key as its subprotocol, and the events are open.
    await until("it waits for a publisher", async () => (await text(page, "#status")) === "waiting for a publisher");
    check(await page.isVisible("#idle"), "it does not say that there is no stream");
    check((await text(page, "#policy-cascade .v-plugin")).startsWith("skin-cascade@2.0.0"), await text(page, "#policy-cascade .v-plugin"));
    await page.click("#kill");
    await until("the kill's outcome", async () => (await text(page, "#kill-outcome")).includes("started again"));
    await until("the kill's event", async () => (await text(page, "#events")).includes("killed by hand"));
  });
  console.log("the page without a demo does what it says");
});
