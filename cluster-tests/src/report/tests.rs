//! What must hold for the page of any run.

use super::plot::tests::assert_well_formed;
use super::*;
use crate::history::{
    Answer, Call, Happening, Head, Installation, Line, Operation, Outcome as Known,
};

const HOSTILE: &str = "</title></pre><script>alert('x')</script>\"& \u{0}";

fn ms(count: u64) -> u64 {
    count * 1_000_000
}

fn operation(number: u64) -> Operation {
    let outcome = match number % 10 {
        0 => Known::Unknown(format!("{HOSTILE} {number}")),
        1 => Known::Failed("no leader".into()),
        _ => Known::Ok(Answer::Value(Some(number))),
    };
    Operation {
        client: 1,
        node: 2,
        key: HOSTILE.into(),
        call: if number.is_multiple_of(2) { Call::Read } else { Call::Write(number) },
        invoked: ms(number),
        returned: ms(number + number % 700),
        outcome,
        index: None,
    }
}

fn fault(at: u64, until: Option<u64>, family: &str, outcome: Installation) -> Line {
    let (family, text) = (family.to_owned(), format!("cut {at} {HOSTILE}"));
    Line::Fault { at: ms(at), until: until.map(ms), family, text, outcome }
}

fn history(operations: u64) -> Vec<Line> {
    let head = Head {
        rng_seed: 4711,
        nodes: 3,
        workload: HOSTILE.into(),
        faults: "mixed".into(),
        started: HOSTILE.into(),
    };
    let mut lines = vec![Line::Head(head)];
    lines.extend((0..operations).map(|number| Line::Operation(operation(number))));
    for (number, family) in ["kill", "pause", "clock", HOSTILE].into_iter().enumerate() {
        let at = 100 * (number as u64 + 1);
        lines.push(fault(at, None, family, Installation::Installed));
        lines.push(fault(at, Some(at + 50), family, Installation::Installed));
    }
    lines.push(fault(900, None, "halves", Installation::Skipped));
    lines.push(fault(950, None, "halves", Installation::Indeterminate));
    lines.push(Line::Process { at: ms(10), node: 3, what: Happening::Killed });
    lines.push(Line::Process { at: ms(500), node: 3, what: Happening::Started });
    lines.push(Line::Leader { at: ms(5), node: Some(3), term: 17 });
    lines.push(Line::Leader { at: ms(700), node: Some(1), term: 18 });
    lines.push(Line::Note { at: ms(5), text: HOSTILE.into() });
    for at in 0..20 {
        let (resident, processor_ms, log) = (50 << 20, at * 30, Some(1 << 20));
        lines.push(Line::Sample {
            at: ms(at * 50),
            node: 1,
            resident,
            processor_ms,
            log,
            data: None,
        });
    }
    lines
}

fn about() -> About {
    About {
        title: HOSTILE.into(),
        command: format!("cluster-tests replay 4711 {HOSTILE}"),
        judgement: Judgement::Broken,
        findings: vec![Shown {
            text: format!("a stale read {HOSTILE}"),
            lines: vec![Line::Operation(operation(7)), Line::Operation(operation(8))],
            words: vec![format!("more {HOSTILE}")],
        }],
        remarks: vec!["register: 9 operations".into()],
        figures: vec![("write gap".into(), HOSTILE.into())],
    }
}

#[test]
fn every_fault_leader_event_and_finding_is_on_the_page() {
    let page = html(&history(1000), &about());
    for family in ["kill", "pause", "clock", "halves (skipped)", "halves (indeterminate)"] {
        assert!(page.contains(&format!("<title>{family}, ")), "{family}");
        assert!(page.contains(&format!("<li>{family}, ")), "{family}");
    }
    assert!(page.contains("<summary>6 faults</summary>"), "a fault and its end are one");
    assert!(page.contains("n3 leads in term 17, 0.005 s to 0.010 s"), "it ends with its death");
    assert!(page.contains("n1 leads in term 18"));
    assert!(page.contains("n3: killed, 0.010 s") && page.contains("n3: started, 0.500 s"));
    assert!(page.contains("Seed 4711, 3 nodes") && page.contains("cluster-tests replay 4711"));
    assert!(page.contains("finding 1: a stale read") && page.contains("client 1 at n2"));
    assert!(page.contains("class=\"bad\">broken<") && page.contains("register: 9 operations"));
    assert!(page.contains("Memory that is resident") && page.contains(">Log<"));
    assert!(!page.contains("Folder on disk"), "there are no samples of it");
    for count in ["<td class=\"n\">800</td>", "<td class=\"n\">100</td>"] {
        assert!(page.contains(count), "{count}");
    }
}

#[test]
fn hostile_text_stays_text_and_nothing_is_fetched() {
    let page = html(&history(300), &about());
    assert!(!page.contains("<script"));
    assert!(!page.contains("</pre><"));
    let outside = page.replace("http://www.w3.org/2000/svg", "");
    for word in ["http:", "https:", "src=", "href=", "@import", "url("] {
        assert!(!outside.contains(word), "{word}");
    }
    // What is not written in the way of XML is only the document type and two elements that hold no text.
    assert_well_formed(page.trim_start_matches("<!doctype html>"));
}

#[test]
fn a_run_without_anything_has_a_page() {
    let page = html(&[], &About::default());
    assert_well_formed(page.trim_start_matches("<!doctype html>"));
    assert!(page.contains("not judged"));
    assert!(!page.contains("NaN") && !page.contains("inf\""));
}

#[test]
fn a_page_stays_small_however_long_the_run_was() {
    let mut run = Collected::default();
    let mut random = crate::chance::Chance::new(Some(3));
    for number in 0..400_000 {
        let mut operation = operation(number);
        operation.invoked = ms(number);
        operation.returned = operation.invoked + (random.next() % 24).pow(7);
        run.add(&Line::Operation(operation));
    }
    for number in 0..20_000 {
        run.add(&fault(number * 20, Some(number * 20 + 5), "flapping", Installation::Installed));
    }
    run.sort();
    let page = page::write(&run, &about());
    assert!(page.len() < 5_000_000, "{} bytes", page.len());
    assert!(page.contains("20000 faults") && page.contains("close together"));
    assert!(page.contains("And 17000 more"));
}

#[test]
fn a_history_in_a_file_is_shown() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("history.jsonl");
    history::write(&path, &history(50))?;
    let output = folder.path().join("report.html");
    let line = |is_checked| super::Line {
        history: path.clone(),
        output: output.clone(),
        title: Some("title".into()),
        command: "again".into(),
        check: is_checked,
    };
    run(&line(false))?;
    let page = std::fs::read_to_string(&output)?;
    assert!(page.contains("<h1>title</h1>") && page.contains("not judged"));
    run(&line(true))?;
    let page = std::fs::read_to_string(&output)?;
    // Values are read that nobody has written.
    assert!(page.contains("class=\"bad\">broken<") && page.contains("finding 1: "), "{page}");
    std::fs::write(&path, "{\n")?;
    assert!(run(&line(false)).is_err());
    Ok(())
}
