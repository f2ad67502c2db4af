// A Node.js process that holds a presence and a driver and is asked for nothing: `node idler.mjs <place>`.
// Owns: nothing. Does not own: measuring it. Invariant: the same packages are loaded as in a game process, without the game.
import { services } from "./place.mjs";

const { presence, driver } = await services(JSON.parse(process.argv[2]));
await presence?.set("idle", "1");
await driver?.boot?.();
await driver?.has("nothing");
setInterval(() => {}, 2 ** 30);
process.on("disconnect", () => process.exit(0));
process.send("ready");
