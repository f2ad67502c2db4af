//! SVG elements as text.
//!
//! Owns: escaping, the elements that plots are made of, colours. Does not own: where things are drawn. Invariant: text from
//! outside reaches the output only through [`escape`].

/// The colours and fonts of all plots. Series, faults and outcomes are told apart by colours that differ in lightness, too.
pub const STYLE: &str = "
svg.plot{--ink:#1f2430;--soft:#5d6472;--grid:#e3e6ec;--page:#ffffff;
--c0:#1f6fb5;--c1:#c8590b;--c2:#178a63;--c3:#a8397e;--c4:#8a6d00;--c5:#5b4bb8;--c6:#4d7d8f;--c7:#8c4a3a;
--ok:#2f7fbf;--failed:#c9860a;--unknown:#b3263e;
font:12px system-ui,sans-serif;background:var(--page);max-width:100%;height:auto}
@media(prefers-color-scheme:dark){svg.plot{--ink:#e6e9f0;--soft:#a0a8b8;--grid:#2d3340;--page:#14171d;
--c0:#6db1ec;--c1:#f0995a;--c2:#5cc9a0;--c3:#e58cc4;--c4:#d6b84a;--c5:#a99cf2;--c6:#8fc0d2;--c7:#d99a8a;
--ok:#63b0ea;--failed:#eab54e;--unknown:#f0738a}}
.plot text{fill:var(--ink)}.plot .soft{fill:var(--soft)}.plot .title{font-weight:600;font-size:13px}
.plot .grid{stroke:var(--grid);stroke-width:1}.plot .axis{stroke:var(--soft);stroke-width:1}
.plot .line{fill:none;stroke-width:1.6;stroke-linejoin:round}
.plot .k0{--k:var(--c0)}.plot .k1{--k:var(--c1)}.plot .k2{--k:var(--c2)}.plot .k3{--k:var(--c3)}
.plot .k4{--k:var(--c4)}.plot .k5{--k:var(--c5)}.plot .k6{--k:var(--c6)}.plot .k7{--k:var(--c7)}
.plot .ok{--k:var(--ok)}.plot .failed{--k:var(--failed)}.plot .unknown{--k:var(--unknown)}.plot .plain{--k:var(--soft)}
.plot .fill{fill:var(--k)}.plot .stroke{stroke:var(--k)}.plot .band{fill:var(--k);fill-opacity:.13}
.plot .bar{fill:var(--k);fill-opacity:.75}.plot .bar:hover{fill-opacity:1}.plot .half{fill:var(--k);fill-opacity:.4}
.plot .dashed{stroke-dasharray:4 3}.plot .hollow{fill:var(--page)}
";

/// An SVG element under way.
#[derive(Debug)]
pub struct Svg {
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    /// Begins with an empty picture of this size in pixels.
    #[must_use]
    pub const fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    fn push(&mut self, arguments: std::fmt::Arguments<'_>) {
        self.body.push_str(&arguments.to_string());
    }

    /// Writes `text`; `anchor` is `start`, `middle` or `end`.
    pub fn text(&mut self, [x, y]: [f64; 2], anchor: &str, class: &str, text: &str) {
        let text = escape(text);
        self.push(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{text}</text>\n"
        ));
    }

    /// Draws a straight line.
    pub fn line(&mut self, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], class: &str) {
        self.push(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>\n"
        ));
    }

    /// Draws a rectangle, with words that are shown when the pointer rests on it.
    pub fn rect(&mut self, [x, y]: [f64; 2], [width, height]: [f64; 2], class: &str, words: &str) {
        let (width, height) = (width.max(0.0), height.max(0.0));
        self.push(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" class=\"{class}\""
        ));
        self.close("rect", words);
    }

    /// Draws a circle, with words that are shown when the pointer rests on it.
    pub fn dot(&mut self, [x, y]: [f64; 2], radius: f64, class: &str, words: &str) {
        self.push(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" class=\"{class}\""
        ));
        self.close("circle", words);
    }

    /// Draws a path.
    pub fn path(&mut self, data: &str, class: &str, words: &str) {
        self.push(format_args!("<path d=\"{data}\" class=\"{class}\""));
        self.close("path", words);
    }

    /// Draws many small boxes of one look as one path: much shorter than so many rectangles.
    pub fn boxes(&mut self, boxes: &[[f64; 4]], class: &str, opacity: f64) {
        if boxes.is_empty() {
            return;
        }
        self.push(format_args!("<path class=\"{class}\" fill-opacity=\"{opacity:.2}\" d=\""));
        for [x, y, width, height] in boxes {
            self.push(format_args!("M{x:.1} {y:.1}h{width:.1}v{height:.1}h-{width:.1}z"));
        }
        self.push(format_args!("\"/>\n"));
    }

    fn close(&mut self, element: &str, words: &str) {
        if words.is_empty() {
            self.push(format_args!("/>\n"));
        } else {
            let words = escape(words);
            self.push(format_args!("><title>{words}</title></{element}>\n"));
        }
    }

    /// Ends the picture; `label` says to those who cannot see it what it shows.
    #[must_use]
    pub fn finish(self, label: &str) -> String {
        let Self { width, height, body } = self;
        let label = escape(label);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" role=\"img\" aria-label=\"{label}\" \
             width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\">\n\
             <style>{STYLE}</style>\n\
             <rect width=\"100%\" height=\"100%\" style=\"fill:var(--page)\"/>\n{body}</svg>\n"
        )
    }
}

/// Writes text so that it is nothing but text in XML and HTML, also within quotes.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(' '),
            // XML has no way to write the others.
            other if other.is_control() || matches!(other, '\u{fffe}' | '\u{ffff}') => {
                escaped.push('\u{fffd}');
            }
            other => escaped.push(other),
        }
    }
    escaped
}
