// Finds the addon: built here, or in the package of this platform.
// Owns: the names of both, which are those of @napi-rs/cli. Does not own: the building. Invariant: what cannot be loaded says
// what was tried and why it failed.
"use strict";

const { existsSync } = require("node:fs");
const { join } = require("node:path");
const { platform } = require("./platform.cjs");

function load() {
  const forced = process.env.NAPI_RS_NATIVE_LIBRARY_PATH;
  if (forced) return require(forced);
  const built = join(__dirname, "..", `quorate.${platform}.node`);
  if (existsSync(built)) return require(built);
  try {
    return require(`quorate-${platform}`);
  } catch (cause) {
    const text = `quorate has no addon for ${platform}: neither ${built} nor the package quorate-${platform} can be loaded`;
    throw new Error(text, { cause });
  }
}

module.exports = load();
