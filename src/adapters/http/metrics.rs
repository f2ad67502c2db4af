//! The status as Prometheus text.
//!
//! Owns the names of the metrics, which dashboards read: they are added, never renamed. Gathers nothing. Invariant: a label
//! value is escaped, so that no name can forge a line.
//! Source: Prometheus text exposition format 0.0.4.

use std::fmt::Write as _;

use crate::node::status::{LaneStatus, Role, State, Status, SubscribersStatus};

/// Writes the metrics of one moment.
pub(super) fn text(status: &Status) -> String {
    let mut out = String::with_capacity(2_048);
    let Status { node, cluster, raft, .. } = status;
    let labels = [
        ("id", node.id.to_string()),
        ("name", node.name.clone()),
        ("cluster", cluster.id.to_string()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let labels: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    let info = format!("quorate_node_info{{{}}}", labels.join(","));
    gauge(&mut out, &info, "Who this node is; always 1.", 1);
    let is_ready = u64::from(node.state == State::Ready);
    gauge(&mut out, "quorate_ready", "Whether this node can serve.", is_ready);
    let is_leader = u64::from(raft.role == Role::Leader);
    gauge(&mut out, "quorate_raft_is_leader", "Whether this node leads.", is_leader);
    let has_leader = u64::from(raft.leader.is_some());
    gauge(&mut out, "quorate_raft_has_leader", "Whether this node knows a leader.", has_leader);
    gauge(&mut out, "quorate_raft_term", "The Raft term.", raft.term);
    counter(
        &mut out,
        "quorate_raft_applied_total",
        "Index of the last applied entry.",
        raft.applied,
    );
    gauge(&mut out, "quorate_raft_lag", "Entries of the log yet to be applied.", raft.lag);
    let entries = "Entries in the log in memory.";
    gauge(&mut out, "quorate_raft_log_entries", entries, raft.log_entries);
    gauge(&mut out, "quorate_raft_log_bytes", "Bytes of those entries.", raft.log_bytes);
    let follow = &status.follow;
    let entries = "Committed entries that the source has told of and this node has yet to apply.";
    gauge(&mut out, "quorate_follow_lag_entries", entries, follow.lag_entries);
    let delay = "Milliseconds from the leader's stamp to the application here, 99 of 100 entries.";
    gauge(&mut out, "quorate_follow_delay_p99_ms", delay, follow.delay_p99_ms);
    gauge(&mut out, "quorate_followers", "Nodes that this one feeds.", follow.feeds);
    gauge(&mut out, "quorate_voters", "Nodes that vote.", count(status.voters.len()));
    let alive = status.members.iter().filter(|member| member.alive).count();
    gauge(&mut out, "quorate_members_alive", "Nodes believed to be alive.", count(alive));
    gauge(&mut out, "quorate_members", "Nodes that are known.", count(status.members.len()));
    gauge(&mut out, "quorate_sessions", "Open sessions in the replicated state.", status.sessions);
    let bound = "Keys, fields, members and shares that go with their session.";
    gauge(&mut out, "quorate_bound", bound, status.bound);
    gauge(&mut out, "quorate_waiting", "Clients that wait for a list element.", status.waiting);
    gauge(&mut out, "quorate_cluster_epoch", "The epoch of the cluster.", cluster.epoch);
    lanes(&mut out, &status.lanes);
    subscribers(&mut out, &status.subscribers);
    out
}

/// What is told of each lane: kind, name, help and where the number is.
type Column = (&'static str, &'static str, &'static str, fn(&LaneStatus) -> u64);

const LANES: [Column; 17] = [
    ("gauge", "quorate_lane_up", "Whether messages go to the peer at once.", |lane| {
        u64::from(lane.up)
    }),
    ("gauge", "quorate_lane_queued_bytes", "Bytes of messages that wait for the peer.", |lane| {
        lane.queued_bytes
    }),
    ("counter", "quorate_lane_dropped_total", "Messages to the peer that were dropped.", |lane| {
        lane.dropped
    }),
    ("counter", "quorate_lane_sent_total", "Messages sent to the peer.", |lane| lane.sent),
    ("counter", "quorate_lane_sent_bytes_total", "Bytes of those messages.", |lane| {
        lane.sent_bytes
    }),
    ("counter", "quorate_lane_withheld_total", "Messages nobody at the peer listens to.", |lane| {
        lane.withheld
    }),
    ("gauge", "quorate_lane_prunes_held", "Channels nobody at the peer listens to.", |lane| {
        lane.prunes_held
    }),
    ("gauge", "quorate_lane_prunes_made", "Channels the peer does not send here.", |lane| {
        lane.prunes_made
    }),
    ("counter", "quorate_lane_grafts_total", "Requests to send such channels again.", |lane| {
        lane.grafts
    }),
    ("counter", "quorate_lane_reconnects_total", "Times the lane was opened again.", |lane| {
        lane.reconnects
    }),
    ("counter", "quorate_lane_received_total", "Messages that came from the peer.", |lane| {
        lane.received
    }),
    ("counter", "quorate_lane_missed_total", "Messages from the peer that are missing.", |lane| {
        lane.missed
    }),
    ("counter", "quorate_unreliable_sent_total", "Unreliable messages sent to the peer.", |lane| {
        lane.unreliable_sent
    }),
    ("counter", "quorate_unreliable_unsent_total", "Those that were not sent.", |lane| {
        lane.unreliable_unsent
    }),
    ("counter", "quorate_unreliable_received_total", "New ones that came from the peer.", |lane| {
        lane.unreliable_received
    }),
    ("gauge", "quorate_unreliable_missing", "Those from the peer that have not come.", |lane| {
        lane.unreliable_missing
    }),
    ("counter", "quorate_unreliable_stale_total", "Those dropped behind a newer one.", |lane| {
        lane.unreliable_stale
    }),
];

/// Writes one sample for each lane under the name of each metric.
fn lanes(out: &mut String, lanes: &[LaneStatus]) {
    for (kind, name, help, value) in LANES {
        head(out, kind, name, help);
        for lane in lanes {
            sample(out, &format!("{name}{{peer=\"{}\"}}", lane.peer), value(lane));
        }
    }
}

/// Writes what waits for subscribers and what they lost, by cause.
fn subscribers(out: &mut String, own: &SubscribersStatus) {
    gauge(out, "quorate_subscribers", "Subscribers of this node.", own.count);
    gauge(out, "quorate_subscriptions", "Subscriptions they have.", own.subscriptions);
    gauge(out, "quorate_subscribers_queued", "Messages that wait for them.", own.queued);
    let bytes = "Bytes of those messages, with bookkeeping.";
    gauge(out, "quorate_subscribers_queued_bytes", bytes, own.queued_bytes);
    let name = "quorate_subscribers_lost_total";
    head(out, "counter", name, "Messages that subscribers were told they had lost.");
    sample(out, &format!("{name}{{cause=\"slow\"}}"), own.lost_slow);
    sample(out, &format!("{name}{{cause=\"link\"}}"), own.lost_link);
    let uncounted = "Times that subscribers lost messages that nobody could count.";
    counter(out, "quorate_subscribers_lost_uncounted_total", uncounted, own.lost_uncounted);
    let replaced = "Messages that a later one has replaced.";
    counter(out, "quorate_subscribers_replaced_total", replaced, own.replaced);
    counter(out, "quorate_subscribers_cut_total", "Subscribers cut off as too slow.", own.cut);
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn gauge(out: &mut String, name: &str, help: &str, value: u64) {
    metric(out, "gauge", name, help, value);
}

fn counter(out: &mut String, name: &str, help: &str, value: u64) {
    metric(out, "counter", name, help, value);
}

fn metric(out: &mut String, kind: &str, name: &str, help: &str, value: u64) {
    head(out, kind, name.split('{').next().unwrap_or(name), help);
    sample(out, name, value);
}

fn head(out: &mut String, kind: &str, family: &str, help: &str) {
    writeln!(out, "# HELP {family} {help}\n# TYPE {family} {kind}")
        .expect("writing to a string cannot fail");
}

fn sample(out: &mut String, name: &str, value: u64) {
    writeln!(out, "{name} {value}").expect("writing to a string cannot fail");
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
