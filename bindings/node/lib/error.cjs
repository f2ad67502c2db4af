// The one error of this package.
// Owns: its shape. Does not own: the codes, which come from the addon. Invariant: what a program decides by stands in `code`.
"use strict";

/** Why a call failed; `code` tells what can be done about it. */
class QuorateError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "QuorateError";
    this.code = code;
  }
}

module.exports = { QuorateError };
