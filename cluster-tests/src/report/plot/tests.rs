//! What must hold for every picture, whatever is drawn: it is well-formed, everything handed in is there, and hostile text is
//! only text.

use super::*;

/// Fails unless `text` is a well-formed piece of XML: tags nest, attributes are quoted, `&` and `<` stand only where they may.
pub(crate) fn assert_well_formed(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        assert_references(&rest[..start]);
        let end = start + rest[start..].find('>').expect("a tag ends");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "</{name}> closes what was opened last");
            continue;
        }
        if tag.starts_with('!') {
            continue;
        }
        let name = tag.split([' ', '/']).next().expect("a tag has a name");
        assert!(name.chars().all(|letter| letter.is_ascii_alphanumeric()), "<{tag}>");
        assert_attributes(tag[name.len()..].trim_end_matches('/').trim());
        if !tag.ends_with('/') {
            open.push(name);
        }
        if name == "style" {
            rest = &rest[rest.find("</style>").expect("a style ends")..];
        }
    }
    assert_references(rest);
    assert!(open.is_empty(), "left open: {open:?}");
}

fn assert_attributes(mut text: &str) {
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").expect("an attribute has a quoted value");
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || "-:".contains(letter);
        assert!(!name.is_empty() && name.chars().all(is_name), "{name:?} in {text:?}");
        let (value, rest) = rest.split_once('"').expect("a value ends");
        assert_references(value);
        text = rest.trim_start();
    }
}

fn assert_references(text: &str) {
    for (at, _) in text.match_indices('&') {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
        assert!(known.iter().any(|name| text[at..].starts_with(name)), "{}", &text[at..]);
    }
    let is_allowed = |letter: char| !letter.is_control() || letter == '\n';
    assert!(text.chars().all(is_allowed), "{text:?}");
}

const HOSTILE: &str = "</title><script>alert(1)</script>\"' onload='x' & \u{0}\u{1b}]0;\n &#x3c;";

#[test]
fn hostile_text_stays_text() {
    let mut svg = Svg::new(10.0, 10.0);
    svg.text([0.0, 0.0], "start", "title", HOSTILE);
    svg.rect([0.0; 2], [1.0; 2], "band", HOSTILE);
    svg.path("M0 0", "line", HOSTILE);
    let drawn = svg.finish(HOSTILE);
    assert_well_formed(&drawn);
    assert_eq!(drawn.matches("<script").count(), 0);
    assert_eq!(drawn.matches("&lt;script&gt;").count(), 4);
}

#[test]
fn every_line_and_band_is_drawn_and_named() {
    let series = |name: &str| Series {
        name: name.into(),
        points: vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 5e9), (f64::INFINITY, -4.0)],
    };
    let band = |from| Band { from, to: from + 0.5, colour: 9, words: format!("fault {from}") };
    for is_log in [false, true] {
        let plot = LinePlot {
            title: HOSTILE.into(),
            unit: Unit::Bytes,
            end: 60.0,
            is_log,
            series: vec![series("n1"), series(HOSTILE)],
            bands: (0..100_u8).map(|at| band(f64::from(at))).collect(),
        };
        let drawn = plot.draw();
        assert_well_formed(&drawn);
        assert_eq!(drawn.matches("class=\"band k1\"").count(), 100);
        assert_eq!(drawn.matches("class=\"line stroke").count(), 2);
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
    }
    let plot = LinePlot { series: Vec::new(), bands: Vec::new(), ..empty() };
    assert_well_formed(&plot.draw());
}

fn empty() -> LinePlot {
    let (series, bands) = Default::default();
    LinePlot { title: String::new(), unit: Unit::Count, end: 0.0, is_log: true, series, bands }
}

#[test]
fn a_distribution_counts_every_number() {
    let values: Vec<f64> = (1..=100_u8).map(|value| f64::from(value) / 100.0).collect();
    let samples = [
        Sample { name: "one".into(), values },
        Sample { name: "two & more".into(), values: vec![1.0] },
        Sample::default(),
    ];
    let drawn = histogram("gaps", Unit::Seconds, &samples);
    assert_well_formed(&drawn);
    let counts: u32 = drawn
        .split("<title>one: ")
        .skip(1)
        .map(|rest| {
            rest.split(' ').next().and_then(|count| count.parse::<u32>().ok()).expect("a count")
        })
        .sum();
    assert_eq!(counts, 100);
    let drawn = ecdf("gaps", Unit::Seconds, &samples);
    assert_well_formed(&drawn);
    let first = drawn.split("class=\"line stroke k0\"").next().unwrap_or_default();
    assert_eq!(first.rsplit("<path").next().unwrap_or_default().matches('V').count(), 100);
    assert_well_formed(&ecdf("none", Unit::Count, &[]));
    assert_well_formed(&histogram("none", Unit::Count, &[]));
}

#[test]
fn axes_keep_to_their_pixels_and_ticks_to_the_axis() {
    let scale = Scale::log(1e-3, 10.0, [0.0, 400.0]);
    assert!((scale.at(0.1) - 200.0).abs() < 1e-6);
    assert!(scale.at(0.0).abs() < 1e-9 && (scale.at(1e9) - 400.0).abs() < 1e-6);
    assert_eq!(scale.ticks(5.0, Unit::Seconds).len(), 5);
    let scale = Scale::linear(0.0, 63.0, [0.0, 100.0]);
    assert_eq!(scale.ticks(6.0, Unit::Count), [0.0, 20.0, 40.0, 60.0]);
    let names = [0.000_25, 0.0125, 1.5, 60.0].map(|value| Unit::Seconds.text(value));
    assert_eq!(names, ["250 µs", "12.5 ms", "1.5 s", "60 s"]);
    assert_eq!(Unit::Bytes.text(3.0 * 1024.0 * 1024.0), "3 MiB");
}
