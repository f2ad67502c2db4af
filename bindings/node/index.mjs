// What the package gives, for ESM. It is what CommonJS gets, so that both share one node.
// Owns: the list of names. Does not own: anything behind them.
import quorate from "./index.cjs";

export const { ClusterDriver, ClusterPresence, Node, QuorateError } = quorate;
export default quorate;
