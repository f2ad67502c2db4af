//! INFO: what the server says of itself.
//!
//! Owns the sections and fields that clients and tools read; what has no meaning here is told as zero or left out. Does not
//! gather figures. Invariant: it answers at once, also without a leader, because clients ask it before anything else.
//! Source: <https://redis.io/commands/info>, Redis 7.2.

use std::fmt::Display;

use bytes::Bytes;

use super::super::connection::Connection;
use super::super::server::REDIS_VERSION;
use super::{Row, is};
use crate::pubsub::QueueReport;

pub(super) const ROWS: &[Row] = &[Row::now("info", 0, info)];

/// A section: its name, and what writes its fields.
type Section = (&'static str, fn(&Connection, &mut Fields));

const SECTIONS: &[Section] = &[
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Pubsub", pubsub),
    ("Replication", replication),
    ("CPU", cpu),
    ("Errorstats", nothing),
    ("Cluster", cluster),
    ("Keyspace", nothing),
    ("Quorate", quorate),
];

/// The text of a section as it grows.
struct Fields(String);

impl Fields {
    fn add(&mut self, name: &str, value: impl Display) {
        self.0.push_str(&format!("{name}:{value}\r\n"));
    }
}

/// ```text
/// INFO [section …]
/// ```
fn info(connection: &mut Connection, words: &[Bytes]) {
    let asked = words.get(1..).unwrap_or_default();
    let is_asked = |name: &str| {
        asked.is_empty()
            || asked.iter().any(|word| {
                is(word, name) || ["default", "all", "everything"].iter().any(|all| is(word, all))
            })
    };
    let mut fields = Fields(String::with_capacity(4_096));
    for (name, write) in SECTIONS.iter().filter(|(name, _)| is_asked(name)) {
        if !fields.0.is_empty() {
            fields.0.push_str("\r\n");
        }
        fields.0.push_str(&format!("# {name}\r\n"));
        write(connection, &mut fields);
    }
    connection.reply().verbatim(fields.0.as_bytes());
}

const fn nothing(_: &Connection, _: &mut Fields) {}

fn server(connection: &Connection, fields: &mut Fields) {
    let shared = &connection.shared;
    let uptime = shared.started.elapsed().as_secs();
    let millis = shared.clock.now().as_millis();
    fields.add("redis_version", REDIS_VERSION);
    fields.add("redis_git_sha1", "00000000");
    fields.add("redis_git_dirty", 0);
    fields.add("redis_build_id", "0");
    fields.add("redis_mode", "standalone");
    fields.add("quorate_version", env!("CARGO_PKG_VERSION"));
    fields.add("os", std::env::consts::OS);
    fields.add("arch_bits", usize::BITS);
    fields.add("process_id", std::process::id());
    // 40 hexadecimal digits, as Redis has it: the node's id is new with every start.
    fields.add("run_id", format_args!("{:0>40}", shared.backend.facts().node_id));
    fields.add("tcp_port", shared.address.port());
    fields.add("server_time_usec", millis.saturating_mul(1_000));
    fields.add("uptime_in_seconds", uptime);
    fields.add("uptime_in_days", uptime / 86_400);
    fields.add("hz", 10);
    fields.add("configured_hz", 10);
    fields.add("executable", "quorate");
    fields.add("config_file", "");
}

fn clients(connection: &Connection, fields: &mut Fields) {
    let shared = &connection.shared;
    let all = shared.registry.all();
    let blocked = all.iter().filter(|card| card.is_blocked()).count();
    fields.add("connected_clients", all.len());
    fields.add("cluster_connections", 0);
    fields.add("maxclients", shared.config.clients_max);
    fields.add("client_recent_max_input_buffer", 0);
    fields.add("client_recent_max_output_buffer", 0);
    fields.add("blocked_clients", blocked);
    fields.add("tracking_clients", 0);
    fields.add("clients_in_timeout_table", 0);
}

/// How much memory the process has, and from which allocator, is not known here; no limit stands on it.
fn memory(_: &Connection, fields: &mut Fields) {
    for name in ["used_memory", "used_memory_rss", "used_memory_peak", "used_memory_dataset"] {
        fields.add(name, 0);
        fields.add(&format!("{name}_human"), "0B");
    }
    fields.add("total_system_memory", 0);
    fields.add("maxmemory", 0);
    fields.add("maxmemory_human", "0B");
    fields.add("maxmemory_policy", "noeviction");
    fields.add("mem_fragmentation_ratio", "1.00");
    fields.add("mem_allocator", "unknown");
}

fn persistence(connection: &Connection, fields: &mut Fields) {
    let is_loading = connection.shared.backend.facts().is_loading;
    fields.add("loading", u8::from(is_loading));
    if is_loading {
        fields.add("loading_start_time", 0);
        fields.add("loading_eta_seconds", 1);
    }
    fields.add("async_loading", 0);
    fields.add("rdb_changes_since_last_save", 0);
    fields.add("rdb_bgsave_in_progress", 0);
    fields.add("rdb_last_save_time", 0);
    fields.add("rdb_last_bgsave_status", "ok");
    fields.add("bgsave_in_progress", 0);
    fields.add("aof_enabled", 0);
    fields.add("aof_rewrite_in_progress", 0);
    fields.add("aof_last_bgrewrite_status", "ok");
    fields.add("aof_last_write_status", "ok");
}

fn stats(connection: &Connection, fields: &mut Fields) {
    let stats = &connection.shared.stats;
    fields.add("total_connections_received", stats.connections());
    fields.add("total_commands_processed", stats.commands());
    fields.add("instantaneous_ops_per_sec", 0);
    fields.add("rejected_connections", stats.rejected());
    fields.add("expired_keys", 0);
    fields.add("evicted_keys", 0);
    fields.add("keyspace_hits", 0);
    fields.add("keyspace_misses", 0);
    let subscribers = connection.shared.backend.subscribers();
    fields.add("pubsub_channels", subscribers.channels);
    fields.add("pubsub_patterns", subscribers.patterns);
    fields.add("pubsubshard_channels", subscribers.sharded);
    fields.add("client_output_buffer_limit_disconnections", subscribers.queues.counters.overflows);
    fields.add("total_forks", 0);
    fields.add("tracking_clients", 0);
}

/// What Redis does not have: what waits for this node's subscribers, of doors and of programs, and what they lost.
fn pubsub(connection: &Connection, fields: &mut Fields) {
    let report = connection.shared.backend.subscribers();
    let QueueReport { queued, queued_bytes, counters } = report.queues;
    fields.add("pubsub_subscribers", report.subscribers);
    fields.add("pubsub_subscriptions", report.subscriptions);
    fields.add("pubsub_queued", queued);
    fields.add("pubsub_queued_bytes", queued_bytes);
    fields.add("pubsub_lost_slow", counters.lost_slow);
    fields.add("pubsub_lost_link", counters.lost_link);
    fields.add("pubsub_lost_uncounted", counters.lost_uncounted);
    fields.add("pubsub_replaced", counters.replaced);
}

/// Every node takes writes, so every node says that it is a master.
fn replication(connection: &Connection, fields: &mut Fields) {
    let facts = connection.shared.backend.facts();
    fields.add("role", "master");
    fields.add("connected_slaves", 0);
    fields.add("master_failover_state", "no-failover");
    fields.add("master_replid", format_args!("{:0>40}", facts.node_id));
    fields.add("master_replid2", "0".repeat(40));
    fields.add("master_repl_offset", facts.applied);
    fields.add("second_repl_offset", -1);
    fields.add("repl_backlog_active", 0);
}

fn cpu(_: &Connection, fields: &mut Fields) {
    fields.add("used_cpu_sys", "0.000000");
    fields.add("used_cpu_user", "0.000000");
}

fn cluster(_: &Connection, fields: &mut Fields) {
    fields.add("cluster_enabled", 0);
}

/// What Redis does not have: the cluster behind the door.
fn quorate(connection: &Connection, fields: &mut Fields) {
    let facts = connection.shared.backend.facts();
    fields.add("quorate_node_id", facts.node_id);
    fields.add("quorate_node_name", facts.node_name);
    fields.add("quorate_state", facts.state);
    fields.add("quorate_cluster", facts.cluster);
    fields.add("quorate_role", facts.role);
    fields.add("quorate_term", facts.term);
    fields.add("quorate_applied", facts.applied);
    fields.add("quorate_voters", facts.voters);
    fields.add("quorate_members", facts.members);
}
