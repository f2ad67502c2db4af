//! Reports that people can look at: pages with plots, each one file that needs nothing else.
//!
//! Owns: how runs are shown. Does not own: histories, verdicts. Invariant: a page holds no address to fetch anything from,
//! and text that came from outside is text in it, whatever it says.

pub mod plot;

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
