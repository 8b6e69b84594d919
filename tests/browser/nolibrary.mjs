// node nolibrary.mjs URL: a host without LiveKit's browser client. The page says which command brings it.

import { browse, main, text, until } from "./browser.mjs";

await main(async (url) => {
  await browse(`${url}watch?room=studio`, async (page, faults) => {
    faults.expect(/503 \(Service Unavailable\).*\/livekit-client\.js/);
    await page.waitForSelector("#join-form", { state: "visible" });
    await page.fill("#name", "Ann");
    await page.press("#name", "Enter");
    await until("it says what brings it", async () => (await text(page, "#join-fault")).includes("`cargo xtask fetch --livekit`"));
  });
  console.log("the page without the client says so");
});
