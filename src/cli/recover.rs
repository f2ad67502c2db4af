//! `quorate recover`: has the cluster formed anew from one node, when the majority is gone for good.
//!
//! Owns the text that says what was done and what may be lost. Asks the HTTP door. Invariant: a refusal is shown in the node's
//! own words, and nothing in an answer can move the terminal's cursor.

use std::time::Duration;

use serde_json::Value;

use super::Failure;
use super::arguments::Recover;

const TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Gives the text that answers `quorate recover`.
pub(crate) fn recover(arguments: &Recover) -> Result<String, Failure> {
    let url = format!("{}/recover", arguments.http.trim_end_matches('/'));
    let agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).proxy(None);
    let agent: ureq::Agent = agent.http_status_as_error(false).build().into();
    let failed = |error: ureq::Error| Failure::Fatal(format!("cannot ask {url}: {error}"));
    let asked = agent.post(&url).header("quorate-recover", "yes").send_empty();
    let mut response = asked.map_err(failed)?;
    let limited = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    let text = limited.read_to_string().map_err(failed)?;
    if response.status().as_u16() != 200 {
        return Err(Failure::Fatal(plain(text.trim())));
    }
    let wrong = |error| Failure::Fatal(format!("{url} is no JSON: {error}"));
    Ok(told(&serde_json::from_str(&text).map_err(wrong)?))
}

fn told(answer: &Value) -> String {
    let at = |key: &str| match answer.get(key) {
        Some(Value::String(text)) => plain(text),
        Some(other) => plain(&other.to_string()),
        None => "-".to_owned(),
    };
    format!(
        "formed anew: epoch {}, from the state of this node up to log entry {}; it is the only voter for now ({} before)\n\
         May be lost: writes that the others had acknowledged and this node had not heard of.\n\
         Nodes of the epoch before drop what they have when they come back, and follow this one. One that keeps its data\n\
         on disk stops and says so.\n",
        at("epoch"),
        at("last"),
        at("voters"),
    )
}

/// Takes out characters that steer a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_says_what_was_done_and_what_may_be_lost() {
        let answer = serde_json::json!({"epoch": 2, "last": 17, "voters": 3, "formation": "x"});
        let text = told(&answer);
        assert!(text.contains("epoch 2") && text.contains("entry 17") && text.contains("3 before"));
        assert!(text.contains("May be lost"));
        assert!(told(&serde_json::json!([])).contains("epoch -"));
        assert_eq!(plain("a\u{1b}[2Jb"), "a?[2Jb");
    }
}
