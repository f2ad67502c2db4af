//! Refusals of the configuration: each names what is wrong.

use super::Config;
use crate::node::bind::{Bind, BindTo};

fn refusal(text: &str) -> String {
    Config::from_toml(text).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn nothing_at_all_is_the_default() {
    assert_eq!(Config::from_toml("").unwrap(), Config::default());
    assert!(Config::from_toml("[resp]\nanything = 1\n").is_ok());
}

#[test]
fn unknown_key_is_refused_with_its_name_and_line() {
    let text = refusal("[cluster]\nid = \"a\"\nheartbeet = \"1s\"\n");
    assert!(text.starts_with("line 3: unknown field `heartbeet`"), "{text}");
    assert!(refusal("[clutser]\n").contains("unknown field `clutser`"));
    assert!(refusal("[cluster]\nid = \"A b\"").contains("'A b'"));
    assert!(refusal("[cluster]\nheartbeat_interval = 50").starts_with("line 2: "));
}

#[test]
fn patterns_name_keys_and_with_what_they_go() {
    let config = Config::from_toml(
        "[[bind]]\nkey = \"roomcaches\"\n[[bind]]\nkey = \"p:*\"\nto = \"node\"\n",
    );
    let rule = |key: &str, to| Bind { key: key.to_owned(), to };
    let expected = [rule("roomcaches", BindTo::Connection), rule("p:*", BindTo::Node)];
    assert_eq!(config.unwrap().bind, expected);
    assert!(refusal("[[bind]]\n").contains("missing field `key`"));
    assert!(refusal("[[bind]]\nkey = \"a\"\nfor = 1").contains("unknown field `for`"));
    assert!(refusal("node = { notify_keyspace_events = \"KQ\" }").contains("'KQ' has letters"));
}

#[test]
fn broken_relation_names_both_keys_and_both_values() {
    for (toml, expected) in [
        (
            "cluster = { heartbeat_interval = \"150ms\" }",
            "cluster.heartbeat_interval of 150ms must be at most half of \
             cluster.election_timeout_min of 200ms",
        ),
        (
            "cluster = { election_timeout_max = \"200ms\" }",
            "cluster.election_timeout_min of 200ms must be less than \
             cluster.election_timeout_max of 200ms",
        ),
        ("cluster = { voters_target = 2 }", "cluster.voters_target of 2 is not 1, 3 or 5"),
        (
            "cluster = { voter_replace_after = \"1s\" }",
            "cluster.voter_replace_after of 1s must be at least cluster.session_timeout of 2s",
        ),
        (
            "node = { zone = \"a\\n\" }",
            "node.zone of a\\n is not at most 255 bytes without control characters",
        ),
        (
            "cluster = { bootstrap_expect = 0 }",
            "cluster.bootstrap_expect of 0 is not a number from 1 to 128",
        ),
        (
            "cluster = { bootstrap_expect = 3 }",
            "cluster.bootstrap_expect needs cluster.secret_file too",
        ),
        ("node = { seeds = [\"a:1\"] }", "node.seeds needs cluster.secret_file too"),
        ("node = { key_file = \"k\" }", "node.key_file needs node.certificate_file too"),
        (
            "cluster = { secret_file = \"s\" }\nnode = { seeds = [\"a\"] }",
            "node.seeds of a is not host:port",
        ),
        (
            "node = { listen = \"0.0.0.0:1\" }",
            "node.listen on every address needs node.advertise too",
        ),
        (
            "cluster = { value_max = \"40MiB\" }",
            "transport.frame_max.append of 32.0 MiB (33554432 bytes) must be at least 1 MiB above \
             cluster.value_max of 40.0 MiB (41943040 bytes)",
        ),
        (
            "transport = { keep_alive = \"2s\" }",
            "transport: keep_alive of 2s is not below idle_timeout of 1.5s",
        ),
        (
            "membership = { gossip_interval = \"1ms\" }",
            "membership: gossip_interval of 1ms is below the least, 10ms",
        ),
        (
            "node = { advertise = \"10.0.0.1:0\" }",
            "node.advertise of 10.0.0.1:0 is not an address others can reach",
        ),
        (
            "bind = [{ key = \"a\" }, { key = \"b[\" }]",
            "bind.key of 'b[' is not a pattern, because its '[' is not closed",
        ),
    ] {
        assert_eq!(refusal(toml), expected, "{toml}");
    }
}
