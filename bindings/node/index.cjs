// What the package gives, for CommonJS.
// Owns: the list of names, which `index.mjs` and `index.d.ts` repeat. Does not own: anything behind them.
"use strict";

const { ClusterDriver } = require("./lib/driver.cjs");
const { ClusterPresence } = require("./lib/presence.cjs");
const { Node } = require("./lib/node.cjs");
const { QuorateError } = require("./lib/error.cjs");

module.exports = { ClusterDriver, ClusterPresence, Node, QuorateError };
