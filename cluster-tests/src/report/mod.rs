//! Reports that people can look at: pages with plots, each one file that needs nothing else.
//!
//! Owns: how runs are shown. Does not own: histories, verdicts. Invariant: a page holds no address to fetch anything from,
//! and text that came from outside is text in it, whatever it says.

mod about;
mod bins;
mod collect;
mod held;
mod latency;
mod nodes;
mod page;
pub mod plot;
mod timeline;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

pub use self::about::{About, Judgement, Shown};
use self::collect::Collected;
use crate::failure::{Failure, Outcome};
use crate::{check, history};

/// The command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Line {
    /// The history, as `sim` and `jepsen` write it
    #[arg(value_name = "HISTORY.jsonl")]
    history: PathBuf,
    /// Where to write the page
    #[arg(short, long, default_value = "report.html", value_name = "FILE")]
    output: PathBuf,
    /// The title of the page; the name of the history without one
    #[arg(long)]
    title: Option<String>,
    /// The command that repeats the run, to be shown
    #[arg(long, default_value = "")]
    command: String,
    /// Judge it, too, by the rules of default settings; the whole history must fit into memory for that
    #[arg(long)]
    check: bool,
}

/// Writes the report of a history that lies in a file.
///
/// # Errors
/// When the history cannot be read or the report not be written.
#[expect(clippy::print_stdout, reason = "a tool for a terminal")]
pub fn run(line: &Line) -> Outcome {
    let title = line.title.clone().unwrap_or_else(|| line.history.display().to_string());
    let mut about = About { title, command: line.command.clone(), ..About::default() };
    if line.check {
        let verdict = check::check(&history::read(&line.history)?, &check::Rules::default());
        about = about.judged(&verdict);
    }
    write_of_file(&line.output, &line.history, &about)?;
    println!("{} shows {}", line.output.display(), line.history.display());
    Ok(())
}

/// Writes the report of a run whose history lies in a file, without having all of it in memory.
///
/// # Errors
/// When the history cannot be read or the report not be written.
pub fn write_of_file(path: &Path, source: &Path, about: &About) -> Outcome {
    let named = |failure: Failure| failure.during(source.display());
    let file = std::fs::File::open(source).map_err(|error| named(error.into()))?;
    let mut run = Collected::default();
    for text in BufReader::new(file).lines() {
        history::parse(&text?).map_err(named)?.iter().for_each(|line| run.add(line));
    }
    run.sort();
    Ok(std::fs::write(path, page::write(&run, about))?)
}

/// Writes the report of a run to a file.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, history: &[history::Line], about: &About) -> Outcome {
    Ok(std::fs::write(path, html(history, about))?)
}

/// Writes the report of a run as one page.
#[must_use]
pub fn html(history: &[history::Line], about: &About) -> String {
    let mut run = Collected::of(history);
    run.sort();
    page::write(&run, about)
}

/// Writes a page with a title and parts that are HTML or SVG.
#[must_use]
pub fn page(title: &str, parts: &[String]) -> String {
    let title = plot::escape(title);
    let parts = parts.join("\n");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width\"/>\n<title>{title}</title>\n<style>{PAGE_STYLE}</style>\n\
         </head>\n<body>\n<h1>{title}</h1>\n{parts}\n</body>\n</html>\n"
    )
}

const PAGE_STYLE: &str = "
:root{color-scheme:light dark;--ink:#1f2430;--soft:#5d6472;--grid:#e3e6ec;--page:#fff;--bad:#b3263e;--good:#178a63}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9f0;--soft:#a0a8b8;--grid:#2d3340;--page:#14171d;--bad:#f0738a;--good:#5cc9a0}}
body{font:14px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:1100px;margin:24px auto;padding:0 16px}
h1{font-size:20px}h2{font-size:16px;margin-top:28px}code,pre{font:12px/1.5 ui-monospace,monospace}
pre{white-space:pre-wrap;border:1px solid var(--grid);padding:8px;border-radius:4px}
table{border-collapse:collapse}td,th{text-align:left;padding:3px 12px 3px 0;border-bottom:1px solid var(--grid);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.soft{color:var(--soft)}.bad{color:var(--bad)}.good{color:var(--good)}
svg{display:block;margin:8px 0}.scroll{max-height:420px;overflow:auto}
";

#[cfg(test)]
mod tests;
