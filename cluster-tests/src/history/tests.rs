//! Tests of histories: what is written is read back, and nothing that was begun is forgotten.
//!
//! Owns: one line of each kind. Does not own: verdicts. Invariant: each line of the form stands in [`one_of_each`].

use super::*;

fn operation(call: Call, outcome: Outcome) -> Line {
    let key = "k".to_owned();
    let (client, node, invoked, returned, index) = (1, 2, 3, u64::MAX, Some(9));
    Line::Operation(Operation { client, node, key, call, invoked, returned, outcome, index })
}

fn one_of_each() -> Vec<Line> {
    let (at, node, subscriber, channel) = (7, 1, 4, "c".to_owned());
    let mut lines = vec![
        Line::Head(Head { rng_seed: u64::MAX, nodes: 3, ..Head::default() }),
        Line::Heard { at, node, subscriber, channel: channel.clone(), publisher: 2, number: 5 },
        Line::Subscribed { invoked: 1, at, node, subscriber, channel: channel.clone() },
        Line::Unsubscribed { invoked: 1, at, node, subscriber, channel },
        Line::Lost { at, node, subscriber, cause: LossCause::Link(2), count: None },
        Line::Lost { at, node, subscriber, cause: LossCause::Slow, count: Some(4) },
        Line::Fault {
            at,
            until: Some(8),
            family: "halves".into(),
            text: String::new(),
            outcome: Installation::Installed,
        },
        Line::Process { at, node, what: Happening::SessionEnded },
        Line::Leader { at, node: None, term: 4 },
        Line::Sample { at, node: 3, resident: 1, processor_ms: 2, log: Some(3), data: None },
        Line::Note { at, text: "x".to_owned() },
        Line::Overflow { lines: 1 },
        operation(Call::Increment(-4), Outcome::Failed("no".to_owned())),
        operation(Call::WriteFor { value: 1, ttl_ms: 5 }, Outcome::Unknown("?".to_owned())),
    ];
    let calls = [
        Call::Read,
        Call::Write(u64::MAX),
        Call::Cas { from: None, to: 2 },
        Call::Delete,
        Call::Add(1),
        Call::Remove(1),
        Call::Contains(1),
        Call::Members,
        Call::FieldSet { field: 1, value: 2 },
        Call::FieldGet(1),
        Call::FieldDelete(1),
        Call::Fields,
        Call::Count,
        Call::Append(1),
        Call::Range,
        Call::Persist,
        Call::Bind { field: 1, value: 2 },
        Call::BoundFields,
        Call::Publish { number: 1 },
    ];
    let answers = [
        Answer::None,
        Answer::Value(None),
        Answer::Value(Some(u64::MAX)),
        Answer::Yes(true),
        Answer::Number(i64::MIN),
        Answer::Values(vec![1, 2]),
        Answer::Pairs(vec![(1, 2)]),
    ];
    lines.extend(
        calls
            .into_iter()
            .zip(answers.into_iter().cycle())
            .map(|(call, answer)| operation(call, Outcome::Ok(answer))),
    );
    lines
}

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("h.jsonl");
    let lines = one_of_each();
    write(&path, &lines).expect("written");
    assert_eq!(read(&path).expect("read"), lines);
    let text = std::fs::read_to_string(&path).expect("text");
    assert_eq!(parse(&format!("# a remark\n\n{text}")).expect("parsed"), lines);
    assert!(text.contains(r#"{"type":"operation","client":1,"node":2,"key":"k","call":"read","#));
}

#[test]
fn a_line_that_is_none_is_named() {
    let failure = parse("# a\n{\"type\":\"heard\"}").expect_err("refused").to_string();
    assert!(failure.starts_with("line 2: missing field"), "{failure}");
}

#[test]
fn an_operation_whose_client_is_dropped_is_unknown() {
    let recorder = Recorder::new();
    let pending = recorder.invoke(1, 0, "a", Call::Write(1), 10);
    let other = recorder.clone().invoke(2, 0, "a", Call::Read, 20);
    other.complete(Outcome::Ok(Answer::Value(None)), Some(3), 30);
    recorder.advance(45);
    drop(pending);
    let lines = recorder.lines();
    let [Line::Operation(read), Line::Operation(write)] = &lines[..] else { panic!("{lines:?}") };
    assert!(read.is_ok() && (read.invoked, read.returned, read.index) == (20, 30, Some(3)));
    assert!(matches!(write.outcome, Outcome::Unknown(_)));
    assert_eq!((write.invoked, write.returned), (10, 45));
}

#[test]
fn memory_is_bounded_and_the_file_has_all() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("h.jsonl");
    let recorder = Recorder::with_limit(2);
    recorder.record(Line::Note { at: 0, text: "0".to_owned() });
    recorder.to_file(&path).expect("file");
    for at in 1..5 {
        recorder.record(Line::Note { at, text: at.to_string() });
    }
    recorder.flush().expect("written");
    assert_eq!(recorder.lines().last(), Some(&Line::Overflow { lines: 3 }));
    assert_eq!(read(&path).expect("read").len(), 5);
    assert_eq!(recorder.take().len(), 3);
    assert!(recorder.is_empty());
}
