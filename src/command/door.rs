//! The rows of the commands that a door answers by itself: connection, server, pub/sub, transactions.
//!
//! Owns only what the table says of them. What they do stands in the door (`adapters/resp`). A row `config|get` is a
//! subcommand of the row `config`. Source of arity and flags: Redis 7.2, `COMMAND INFO`.

use super::table::Spec;

const fn row(
    name: &'static str,
    arity: i8,
    flags: &'static str,
    group: &'static str,
    summary: &'static str,
) -> Spec {
    Spec { name, arity, flags, keys: (0, 0, 0), group, summary, parse: None }
}

const fn keyed(row: Spec, keys: (i8, i8, i8)) -> Spec {
    Spec { keys, ..row }
}

const ALWAYS: &str = "noscript loading stale fast no_auth allow_busy";
const FAST: &str = "loading stale fast";
const LOADING: &str = "loading stale";
const OWN: &str = "noscript loading stale";
const ADMIN: &str = "admin noscript loading stale";
const PUBSUB: &str = "pubsub noscript loading stale";
const HELP: &str = "Explains the subcommands.";

pub(super) const CONNECTION: &[Spec] = &[
    row("ping", -1, "fast", "connection", "Answers PONG, or the given message."),
    row("echo", 2, FAST, "connection", "Answers the given message."),
    row("hello", -1, ALWAYS, "connection", "Greets, and chooses the protocol version."),
    row("auth", -2, ALWAYS, "connection", "Shows a password."),
    row("select", 2, FAST, "connection", "Chooses the database of the connection."),
    row("quorate.bind", -2, OWN, "connection", "Makes writes go with their writer."),
    row("quit", -1, ALWAYS, "connection", "Ends the connection."),
    row("reset", 1, ALWAYS, "connection", "Makes the connection as new."),
    row("readonly", 1, FAST, "cluster", "Belongs to Redis Cluster, which this is not."),
    row("readwrite", 1, FAST, "cluster", "Belongs to Redis Cluster, which this is not."),
    row("client", -2, "", "connection", "Tells of connections and changes them."),
    row("client|id", 2, OWN, "connection", "Gives the id of the connection."),
    row("client|getname", 2, OWN, "connection", "Gives the name of the connection."),
    row("client|setname", 3, OWN, "connection", "Names the connection."),
    row("client|setinfo", 4, OWN, "connection", "Notes the library of the client."),
    row("client|list", -2, ADMIN, "connection", "Lists the connections of this node."),
    row("client|info", 2, OWN, "connection", "Tells of the connection."),
    row("client|kill", -3, ADMIN, "connection", "Ends connections of this node."),
    row("client|no-evict", 3, ADMIN, "connection", "Is accepted; nothing is evicted here."),
    row("client|no-touch", 3, OWN, "connection", "Is accepted; use of keys is not recorded."),
    row("client|reply", 3, OWN, "connection", "Turns the replies of the connection off and on."),
    row("client|tracking", -3, OWN, "connection", "Is refused: keys are not tracked."),
    row("client|unblock", -3, ADMIN, "connection", "Ends the waiting of a blocked client."),
    row("client|caching", 3, OWN, "connection", "Is refused: keys are not tracked."),
    row("client|trackinginfo", 2, OWN, "connection", "Tells that keys are not tracked."),
    row("client|getredir", 2, OWN, "connection", "Tells that keys are not tracked."),
    row("client|help", 2, LOADING, "connection", HELP),
];

pub(super) const SERVER: &[Spec] = &[
    row("info", -1, LOADING, "server", "Tells of this node."),
    row("time", 1, FAST, "server", "Tells the time."),
    row("role", 1, OWN, "server", "Tells the part of this node as Redis names it."),
    row("wait", 3, "noscript", "generic", "Tells how many other voters hold earlier writes."),
    row("lastsave", 1, FAST, "server", "Tells when the data were last kept."),
    row("command", -1, LOADING, "server", "Tells of all commands."),
    row("command|count", 2, LOADING, "server", "Counts the commands."),
    row("command|info", -2, LOADING, "server", "Tells of some commands."),
    row("command|docs", -2, LOADING, "server", "Gives the documentation of commands."),
    row("command|getkeys", -4, LOADING, "server", "Finds the keys in a request."),
    row("command|list", -2, LOADING, "server", "Lists the names of commands."),
    row("command|help", 2, LOADING, "server", HELP),
    row("config", -2, "", "server", "Tells of settings and changes them."),
    row("config|get", -3, ADMIN, "server", "Gives settings."),
    row("config|set", -4, ADMIN, "server", "Changes settings."),
    row("config|resetstat", 2, ADMIN, "server", "Sets statistics back to zero."),
    row("config|help", 2, LOADING, "server", HELP),
    row("module", -2, "", "server", "Tells of modules."),
    row("module|list", 2, "admin noscript", "server", "Lists the modules; there are none."),
    row("acl", -2, "", "server", "Tells of users."),
    row("acl|whoami", 2, OWN, "server", "Gives the user of the connection."),
    row("acl|cat", -2, OWN, "server", "Lists the groups of commands."),
    row("acl|users", 2, ADMIN, "server", "Lists the users."),
    row("latency", -2, "", "server", "Tells of slow events."),
    row("latency|latest", 2, ADMIN, "server", "Lists slow events; none is recorded."),
    row("latency|help", 2, LOADING, "server", HELP),
    row("cluster", -2, "", "cluster", "Belongs to Redis Cluster, which this is not."),
    row("cluster|info", 2, "stale", "cluster", "Belongs to Redis Cluster, which this is not."),
    row("cluster|nodes", 2, "stale", "cluster", "Belongs to Redis Cluster, which this is not."),
    row("cluster|slots", 2, "stale", "cluster", "Belongs to Redis Cluster, which this is not."),
    row("cluster|shards", 2, "stale", "cluster", "Belongs to Redis Cluster, which this is not."),
    row("cluster|myid", 2, "stale", "cluster", "Belongs to Redis Cluster, which this is not."),
    row("cluster|links", 2, "stale", "cluster", "Belongs to Redis Cluster, which this is not."),
    row("cluster|keyslot", 3, "stale", "cluster", "Belongs to Redis Cluster, which this is not."),
    row(
        "cluster|countkeysinslot",
        3,
        "stale",
        "cluster",
        "Belongs to Redis Cluster, which this is not.",
    ),
    row(
        "cluster|getkeysinslot",
        4,
        "stale",
        "cluster",
        "Belongs to Redis Cluster, which this is not.",
    ),
    row(
        "cluster|reset",
        -2,
        "admin stale",
        "cluster",
        "Belongs to Redis Cluster, which this is not.",
    ),
    row("cluster|help", 2, LOADING, "cluster", HELP),
];

pub(super) const PUBSUB_AND_TRANSACTIONS: &[Spec] = &[
    row("subscribe", -2, PUBSUB, "pubsub", "Listens to channels."),
    row("unsubscribe", -1, PUBSUB, "pubsub", "Stops listening to channels."),
    row("psubscribe", -2, PUBSUB, "pubsub", "Listens to all channels that match patterns."),
    row("punsubscribe", -1, PUBSUB, "pubsub", "Stops listening to patterns."),
    row("publish", 3, "pubsub loading stale fast", "pubsub", "Sends a message to a channel."),
    keyed(row("ssubscribe", -2, PUBSUB, "pubsub", "Listens to shard channels."), (1, -1, 1)),
    keyed(row("sunsubscribe", -1, PUBSUB, "pubsub", "Stops listening to them."), (1, -1, 1)),
    keyed(
        row("spublish", 3, "pubsub loading stale fast", "pubsub", "Sends to a shard channel."),
        (1, 1, 1),
    ),
    row("quorate.subscriber", -1, OWN, "pubsub", "Chooses what a slow subscriber loses."),
    row("quorate.request", 4, "pubsub noscript blocking", "pubsub", "Asks one responder."),
    row("pubsub", -2, "", "pubsub", "Tells of channels and their subscribers."),
    row("pubsub|channels", -2, "pubsub loading stale", "pubsub", "Lists channels."),
    row("pubsub|numsub", -2, "pubsub loading stale", "pubsub", "Counts subscribers."),
    row("pubsub|numpat", 2, "pubsub loading stale", "pubsub", "Counts patterns."),
    row("pubsub|shardchannels", -2, "pubsub loading stale", "pubsub", "Lists shard channels."),
    row("pubsub|shardnumsub", -2, "pubsub loading stale", "pubsub", "Counts their subscribers."),
    row("pubsub|help", 2, LOADING, "pubsub", HELP),
    row("multi", 1, "noscript loading stale fast allow_busy", "transactions", "Begins to queue."),
    row("exec", 1, "noscript loading stale skip_slowlog", "transactions", "Does what is queued."),
    row("discard", 1, "noscript loading stale fast allow_busy", "transactions", "Drops it."),
    keyed(
        row(
            "watch",
            -2,
            "noscript loading stale fast allow_busy",
            "transactions",
            "Makes EXEC wary of changed keys.",
        ),
        (1, -1, 1),
    ),
    row("unwatch", 1, "noscript loading stale fast allow_busy", "transactions", "Forgets them."),
];
