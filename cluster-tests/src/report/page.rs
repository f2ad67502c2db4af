//! The page of one run.
//!
//! Owns: what stands where. Does not own: the pictures. Invariant: everything that is text is escaped where it is written down.

use super::about::{About, Judgement, Shown};
use super::bins::{OUTCOMES, quantile, seconds};
use super::collect::Collected;
use super::plot::{Unit, escape};
use super::{held, latency, nodes, timeline};
use crate::history::Installation;

/// How many rows a table shows; the rest is counted.
const ROWS_MAX: usize = 3000;
const FINDINGS_MAX: usize = 50;
const LINES_MAX: usize = 60;

/// Writes the page.
pub(super) fn write(run: &Collected, about: &About) -> String {
    let mut parts = vec![top(run, about)];
    parts.push(timeline::draw(run, &marks(about)));
    parts.push(latency::draw(&run.bins));
    parts.extend(held::draw(run));
    parts.extend(findings(about));
    parts.push(figures(run, about));
    parts.push(calls(run));
    parts.extend(faults(run));
    parts.extend(events(run));
    super::page(&about.title, &parts)
}

fn top(run: &Collected, about: &About) -> String {
    let (class, verdict) = match about.judgement {
        Judgement::None => ("soft", "not judged"),
        Judgement::Passed => ("good", "passed: every promise was kept"),
        Judgement::Broken => ("bad", "broken"),
        Judgement::Unknown => ("bad", "unknown: not everything could be decided"),
    };
    let mut text = format!("<p>Verdict: <strong class=\"{class}\">{verdict}</strong></p>\n<p>");
    if let Some(head) = &run.head {
        let (workload, faults) = (escape(&head.workload), escape(&head.faults));
        text += &format!("Seed {}, {} nodes, workload {workload}, ", head.rng_seed, head.nodes);
        text += &format!("faults: {faults}, {:.1} s", run.end);
        if !head.started.is_empty() {
            text += &format!(", began {}", escape(&head.started));
        }
    }
    text += "</p>\n";
    if run.overflow > 0 {
        let lines = run.overflow;
        text += &format!("<p class=\"bad\">{lines} lines of the history were not kept.</p>\n");
    }
    if !about.command.is_empty() {
        text += &format!("<p>To repeat it:</p>\n<pre>{}</pre>\n", escape(&about.command));
    }
    text
}

/// Gives where operations of findings were under way.
fn marks(about: &About) -> Vec<(f64, String)> {
    let mut marks = Vec::new();
    for (number, finding) in about.findings.iter().take(FINDINGS_MAX).enumerate() {
        for line in finding.lines.iter().take(LINES_MAX) {
            marks.push((seconds(line.at()), format!("finding {}: {}", number + 1, finding.text)));
        }
    }
    marks
}

fn findings(about: &About) -> Option<String> {
    let mut text = String::new();
    for (number, Shown { text: found, lines, words }) in about.findings.iter().enumerate() {
        if number == FINDINGS_MAX {
            text += &format!("<p>And {} more.</p>\n", about.findings.len() - FINDINGS_MAX);
            break;
        }
        let found = escape(found);
        text += &format!("<h3 class=\"bad\">{}. {found}</h3>\n<pre>", number + 1);
        for line in lines.iter().take(LINES_MAX) {
            text += &escape(&line.to_string());
            text += "\n";
        }
        for word in words.iter().take(LINES_MAX) {
            text += &escape(word);
            text += "\n";
        }
        if lines.len() > LINES_MAX {
            text += &format!("and {} more\n", lines.len() - LINES_MAX);
        }
        text += "</pre>\n";
    }
    for remark in &about.remarks {
        text += &format!("<p>{}</p>\n", escape(remark));
    }
    (!text.is_empty()).then(|| format!("<h2>What the checkers say</h2>\n{text}"))
}

fn figures(run: &Collected, about: &About) -> String {
    let whole = run.bins.whole();
    let mut rows: Vec<(String, String)> = Vec::new();
    for (outcome, total) in OUTCOMES.iter().zip(run.bins.totals) {
        rows.push((format!("operations {outcome}"), total.to_string()));
    }
    let total: u64 = run.bins.totals.iter().sum();
    if run.end > 0.0 {
        rows.push(("operations a second".into(), format!("{:.0}", total as f64 / run.end)));
    }
    for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)]
    {
        if let Some(value) = whole.begun.first().and_then(|counts| quantile(counts, share)) {
            rows.push((format!("latency {name} of what went well"), Unit::Seconds.text(value)));
        }
    }
    for family in run.families() {
        let of = |outcome| {
            let is_it =
                |fault: &&super::collect::Fault| fault.family == family && fault.outcome == outcome;
            run.faults.iter().filter(is_it).count()
        };
        let [there, skipped, nobody] =
            [Installation::Installed, Installation::Skipped, Installation::Indeterminate].map(of);
        let mut text = format!("{there} installed");
        if skipped + nobody > 0 {
            text += &format!(", {skipped} skipped, {nobody} indeterminate");
        }
        rows.push((format!("faults: {family}"), text));
    }
    if run.heard + run.losses > 0 {
        rows.push(("messages heard".into(), run.heard.to_string()));
        rows.push(("losses told to subscribers".into(), run.losses.to_string()));
    }
    rows.extend(about.figures.iter().cloned());
    let row = |(name, value): &(String, String)| {
        format!("<tr><td>{}</td><td class=\"n\">{}</td></tr>\n", escape(name), escape(value))
    };
    let rows: String = rows.iter().map(row).collect();
    format!("<h2>Figures</h2>\n<table>\n{rows}</table>\n")
}

fn calls(run: &Collected) -> String {
    let mut text = "<h2>Operations by kind</h2>\n<table>\n<tr><th>call</th><th class=\"n\">ok</th>\
         <th class=\"n\">failed</th><th class=\"n\">unknown</th></tr>\n"
        .to_owned();
    for (name, [ok, failed, unknown]) in &run.calls {
        let cells = [ok, failed, unknown].map(|count| format!("<td class=\"n\">{count}</td>"));
        text += &format!("<tr><td>{name}</td>{}</tr>\n", cells.concat());
    }
    text += "</table>\n";
    if !run.reasons.is_empty() {
        text += "<table>\n<tr><th>why</th><th></th><th class=\"n\">how often</th></tr>\n";
        for ((outcome, reason), count) in &run.reasons {
            let reason = escape(reason);
            text += &format!(
                "<tr><td>{outcome}</td><td>{reason}</td><td class=\"n\">{count}</td></tr>\n"
            );
        }
        text += "</table>\n";
    }
    text
}

fn faults(run: &Collected) -> Option<String> {
    let row = |fault| format!("<li>{}</li>\n", escape(&timeline::words(fault)));
    let rows: String = run.faults.iter().take(ROWS_MAX).map(row).collect();
    details(&format!("{} faults", run.faults.len()), &rows, run.faults.len())
}

fn events(run: &Collected) -> Option<String> {
    let mut events: Vec<(f64, String)> = Vec::new();
    for (at, node, what) in &run.happenings {
        events.push((*at, format!("n{node}: {}", nodes::word(*what))));
    }
    for (at, node, term) in &run.leaders {
        let who = node.map_or_else(|| "nobody leads".to_owned(), |node| format!("n{node} leads"));
        events.push((*at, format!("{who} in term {term}")));
    }
    events.extend(run.notes.iter().cloned());
    events.sort_by(|one, other| one.0.total_cmp(&other.0));
    let row = |(at, text): &(f64, String)| format!("<li>{at:.3} s: {}</li>\n", escape(text));
    let rows: String = events.iter().take(ROWS_MAX).map(row).collect();
    details(&format!("{} events", events.len()), &rows, events.len())
}

fn details(title: &str, rows: &str, count: usize) -> Option<String> {
    let more = count.saturating_sub(ROWS_MAX);
    let more = if more > 0 { format!("<p>And {more} more.</p>\n") } else { String::new() };
    (count > 0).then(|| {
        format!(
            "<details><summary>{title}</summary>\n<div class=\"scroll\"><ul>\n{rows}</ul>\n{more}</div></details>\n"
        )
    })
}
