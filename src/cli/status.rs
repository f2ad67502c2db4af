//! `quorate status`: what a running node says of itself and its cluster, as a table for people or as JSON.
//!
//! Owns the table. Asks the HTTP door and knows only its JSON, so that it works across versions: a field that is not
//! there shows as `-`. Invariant: the answer is bounded in time and size, and nothing in it can move the terminal's cursor.

use std::time::Duration;

use serde_json::Value;

use super::Failure;
use super::arguments::Status;

const TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Gives the text that answers `quorate status`.
pub(crate) fn status(arguments: &Status) -> Result<String, Failure> {
    let text = ask(&arguments.http)?;
    let wrong = |error| Failure::Fatal(format!("{}/status is no JSON: {error}", arguments.http));
    let answer: Value = serde_json::from_str(&text).map_err(wrong)?;
    if arguments.json {
        return Ok(format!("{answer:#}\n"));
    }
    Ok(table(&answer))
}

fn ask(door: &str) -> Result<String, Failure> {
    let url = format!("{}/status", door.trim_end_matches('/'));
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).proxy(None).build().into();
    let failed = |error: ureq::Error| Failure::Fatal(format!("cannot ask {url}: {error}"));
    let mut response = agent.get(&url).call().map_err(failed)?;
    response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().map_err(failed)
}

/// Lays the answer out: a line for each fact of this node, then the members in columns.
fn table(answer: &Value) -> String {
    let at = |pointer: &str| shown(answer.pointer(pointer));
    let mut text = String::new();
    for (label, value) in [
        ("node", format!("{} ({}), {}", at("/node/id"), at("/node/name"), at("/node/state"))),
        ("cluster", format!("{}, epoch {}", at("/cluster/id"), at("/cluster/epoch"))),
        ("leader", format!("{}, term {}", at("/raft/leader"), at("/raft/term"))),
        ("applied", format!("{}, lag {}", at("/raft/applied"), at("/raft/lag"))),
        (
            "follows",
            format!(
                "{}, {} entries behind; feeds {}",
                at("/follow/source"),
                at("/follow/lag_entries"),
                at("/follow/feeds")
            ),
        ),
        ("voters", list(answer.pointer("/voters"))),
        ("sessions", format!("{}, with {} bound", at("/sessions"), at("/bound"))),
        ("manager", at("/manager/decision")),
    ] {
        text.push_str(&format!("{label:<9} {value}\n"));
    }
    let mut rows = vec![["ID", "NAME", "ADDRESS", "ROLE", "ALIVE", "BOUND"].map(str::to_owned)];
    for member in answer.pointer("/members").and_then(Value::as_array).into_iter().flatten() {
        rows.push(
            ["id", "name", "address", "role", "alive", "bound"].map(|key| shown(member.get(key))),
        );
    }
    text.push('\n');
    text.push_str(&columns(&rows));
    text
}

fn columns(rows: &[[String; 6]]) -> String {
    let mut widths = [0_usize; 6];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; 6]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn list(value: Option<&Value>) -> String {
    match value.and_then(Value::as_array) {
        Some(items) if !items.is_empty() => {
            items.iter().map(|item| shown(Some(item))).collect::<Vec<_>>().join(", ")
        }
        _ => "-".to_owned(),
    }
}

/// Shows one value on one line; characters that steer a terminal become `?`.
fn shown(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::Bool(yes)) => if *yes { "yes" } else { "no" }.to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items.len().to_string(),
        Some(other @ (Value::Number(_) | Value::Object(_))) => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_shows_members_voters_leader_and_lag() {
        let answer = serde_json::json!({
            "node": {"id": "00000000000a1", "name": "one", "state": "ready"},
            "cluster": {"id": "game", "epoch": 1},
            "raft": {"role": "leader", "leader": "00000000000a1", "term": 3, "applied": 12, "lag": 0},
            "voters": ["00000000000a1", "00000000000b2"],
            "sessions": 2,
            "bound": 3,
            "manager": {"decision": "rest: 3 of 3 vote", "at_ms": 1},
            "members": [
                {"id": "00000000000a1", "name": "one", "address": "127.0.0.1:1", "alive": true, "role": "leader", "bound": 2},
                {"id": "00000000000b2", "name": "t\u{1b}[2Jo", "address": "127.0.0.1:22222", "alive": false},
            ],
        });
        let expected = "\
node      00000000000a1 (one), ready
cluster   game, epoch 1
leader    00000000000a1, term 3
applied   12, lag 0
follows   -, - entries behind; feeds -
voters    00000000000a1, 00000000000b2
sessions  2, with 3 bound
manager   rest: 3 of 3 vote

ID             NAME    ADDRESS          ROLE    ALIVE  BOUND
00000000000a1  one     127.0.0.1:1      leader  yes    2
00000000000b2  t?[2Jo  127.0.0.1:22222  -       no     -
";
        assert_eq!(table(&answer), expected);
    }

    #[test]
    fn empty_answer_is_a_table_of_dashes() {
        assert!(table(&serde_json::json!([])).contains("leader    -, term -\n"));
    }
}
