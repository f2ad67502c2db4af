//! Holds the house: floors, engine owners, sizes, file headers, names, and the map in ARCHITECTURE.md.
//!
//! Owns the tables below and the reader of Rust tokens that checks them. Does not judge what rustfmt and clippy judge.
//! Invariant: it names `file:line` and what to do, and each rule has a planted violation that it must find.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fmt, fs};

/// Each room and its floor. A room names only rooms of lower floors; rooms of one floor are strangers.
const FLOORS: &[(&str, u8)] = &[
    ("ids", 0),
    ("time", 0),
    ("codec", 0),
    ("command", 1),
    ("resp", 1),
    ("keyspace", 2),
    ("storage", 3),
    ("transport", 3),
    ("membership", 3),
    ("host", 3),
    ("consensus", 4),
    ("pubsub", 4),
    ("node", 5),
    ("rendezvous", 6),
    ("presence", 6),
    ("adapters", 6),
    ("adapters/resp", 6),
    ("adapters/http", 6),
    ("cli", 7),
    ("main", 7),
    ("tidy", 7),
];

/// Each outside engine, or part of the standard library, and the only rooms that may name it.
const OWNERS: &[(&str, &[&str])] = &[
    ("quinn", &["transport"]),
    ("quinn_proto", &["transport"]),
    ("rustls", &["transport"]),
    ("rcgen", &["transport"]),
    ("ring", &["transport"]),
    ("chitchat", &["membership"]),
    ("openraft", &["consensus"]),
    ("openraft_rt_tokio", &["consensus"]),
    ("bincode", &["codec"]),
    ("humantime", &["time"]),
    ("toml", &["node"]),
    ("redis", &["presence"]),
    ("napi", &["bindings/node"]),
    ("axum", &["adapters/http"]),
    ("clap", &["main", "cli"]),
    ("tracing_subscriber", &["main", "cli"]),
    ("ureq", &["main", "cli"]),
    ("std::time::SystemTime", &["time"]),
    ("std::time::UNIX_EPOCH", &["time"]),
    ("std::time::Instant", &[]),
    ("std::time::*", &[]),
    ("std::thread::sleep", &[]),
    ("thread::sleep", &[]),
    ("tokio::sync::mpsc::unbounded_channel", &[]),
    ("mpsc::unbounded_channel", &[]),
];

/// Names that become drawers for everything without a place.
const DRAWERS: &[&str] = &["types", "util", "utils", "helpers", "common", "misc"];

/// Files of the root through which import cycles come in.
const ROOT_DOORS: &[&str] = &["src/error.rs", "src/config.rs", "src/error", "src/config"];

/// Macros that leave something undone.
const UNDONE: &[&str] = &["todo", "unimplemented"];

/// Starts of paths of one machine, cut in two so that this file does not hold them.
const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/tmp", "/q/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// What the first line of a file begins with, by the end of its name; a `#!` line before it is passed over.
const HEADERS: &[(&str, &[&str])] = &[
    (".rs", &["//!"]),
    (".js", &["//", "/*"]),
    (".mjs", &["//", "/*"]),
    (".cjs", &["//", "/*"]),
    (".ts", &["//", "/*"]),
    (".py", &["#", "\"\"\""]),
    (".sh", &["#"]),
    (".txt", &["#"]),
];

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// Where files are looked for; the rest of the tree is made by tools.
const ROOTS: &[&str] =
    &["src", "cluster-tests", "benches", "bindings", "config", "examples", ".ci", ""];
const LEFT_OUT: &[&str] = &["target", "node_modules", ".git", "Cargo.lock", "package-lock.json"];

/// One file: its path from the root of the tree, with `/`, and its text.
struct Source {
    path: String,
    text: String,
}

/// One broken rule: where, and what to do.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    line: usize,
    advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.advice)
    }
}

/// Checks all rules over the given files, of which one may be ARCHITECTURE.md.
fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = BTreeSet::new();
    for source in sources {
        let mut report = |line: usize, advice: String| {
            findings.insert(Finding { path: source.path.clone(), line, advice });
        };
        check_text(source, &mut report);
        if source.path.ends_with(".rs") {
            let tokens = tokens(&source.text);
            check_sizes(source, &tokens, &mut report);
            check_left_undone(&tokens, &mut report);
            if source.path.starts_with("src/") {
                check_paths(source, &tokens, &mut report);
            }
        }
    }
    findings.extend(check_map(sources));
    findings.into_iter().collect()
}

fn check_text(source: &Source, report: &mut impl FnMut(usize, String)) {
    let path = source.path.as_str();
    let roots = ["src/", "cluster-tests/", "benches/", "bindings/", "examples/"];
    let has_header_rule = roots.iter().any(|root| path.starts_with(root));
    let starts = HEADERS.iter().find(|(end, _)| path.ends_with(end)).map(|(_, starts)| *starts);
    if let (true, Some(starts)) = (has_header_rule, starts) {
        let first = source.text.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
        if !starts.iter().any(|start| first.starts_with(start)) {
            let starts = starts.join("' or '");
            report(1, format!("begin with a header ('{starts}'): owns, owns not, invariant"));
        }
    }
    for name in path.split('/').map(|part| part.trim_end_matches(".rs")) {
        if path.ends_with(".rs") && DRAWERS.contains(&name) {
            report(1, format!("'{name}' is a drawer; name the file after the one thing it owns"));
        }
    }
    if ROOT_DOORS.iter().any(|door| path == *door || path.starts_with(&format!("{door}/"))) {
        report(1, "a shared error or config invites cycles; give each room its own".to_owned());
    }
    for (index, line) in source.text.lines().enumerate() {
        if MACHINE_PATHS.iter().any(|start| line.contains(start)) {
            report(index + 1, "a path of one machine; use a relative one".to_owned());
        }
    }
}

fn check_sizes(source: &Source, tokens: &[Token<'_>], report: &mut impl FnMut(usize, String)) {
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        report(
            FILE_LINES_MAX + 1,
            format!("{lines} lines exceed {FILE_LINES_MAX}; split by what each part knows"),
        );
    }
    for (index, pair) in tokens.windows(2).enumerate() {
        let [keyword, name] = pair else { continue };
        if keyword.text != "fn" || !is_word(name.text) {
            continue;
        }
        let length = (function_end(tokens, index) + 1).saturating_sub(keyword.line);
        if length > FUNCTION_LINES_MAX {
            report(
                keyword.line,
                format!(
                    "function '{}' of {length} lines exceeds {FUNCTION_LINES_MAX}; give its steps names",
                    name.text
                ),
            );
        }
    }
}

/// Gives the line on which the function that begins at `start` ends.
fn function_end(tokens: &[Token<'_>], start: usize) -> usize {
    let mut braces = 0_usize;
    let mut brackets = 0_usize;
    for token in &tokens[start..] {
        match token.text {
            "(" | "[" => brackets += 1,
            ")" | "]" => brackets = brackets.saturating_sub(1),
            ";" if braces == 0 && brackets == 0 => return token.line,
            "{" => braces += 1,
            "}" if braces <= 1 => return token.line,
            "}" => braces -= 1,
            _ => {}
        }
    }
    tokens.last().map_or(0, |token| token.line)
}

fn check_left_undone(tokens: &[Token<'_>], report: &mut impl FnMut(usize, String)) {
    for three in tokens.windows(3) {
        match [three[0].text, three[1].text, three[2].text] {
            ["#", "[", "ignore"] => {
                report(
                    three[0].line,
                    "a test that is left out proves nothing; mend or remove it".to_owned(),
                );
            }
            ["mod", name, "{"] if DRAWERS.contains(&name) => {
                report(three[0].line, format!("'{name}' is a drawer; name it after what it owns"));
            }
            [name, "!", _] if UNDONE.contains(&name) => {
                report(three[0].line, format!("'{name}!' left behind; build it or leave it out"));
            }
            _ => {}
        }
    }
}

fn check_paths(source: &Source, tokens: &[Token<'_>], report: &mut impl FnMut(usize, String)) {
    let home = module_of(&source.path);
    let room = room_of(&home).unwrap_or("main");
    let is_root = ["src/lib.rs", "src/main.rs"].contains(&source.path.as_str());
    if !is_root && room_of(&home).is_none() {
        report(
            1,
            format!("'{}' stands on no floor; add it to FLOORS in src/tidy.rs", home.join("::")),
        );
        return;
    }
    for path in paths(tokens) {
        match resolve(&home, &path) {
            Some(target) if !is_root => {
                if let Some(advice) = floor_advice(room, &target) {
                    report(path.line, advice);
                }
            }
            Some(_) => {}
            None => {
                if let Some(advice) = owner_advice(room, &path.parts) {
                    report(path.line, advice);
                }
            }
        }
    }
}

fn floor_advice(room: &str, target: &[&str]) -> Option<String> {
    let Some(named) = room_of(target) else {
        let text = target.join("::");
        return Some(format!("'crate::{text}' goes through the root; name the room that owns it"));
    };
    let floor = |name: &str| FLOORS.iter().find(|row| row.0 == name).map_or(u8::MAX, |row| row.1);
    let inside = named == room || named.starts_with(&format!("{room}/"));
    (!inside && floor(named) >= floor(room)).then(|| {
        format!(
            "'{room}' (floor {}) names '{named}' (floor {}); hand it in from above or move it down",
            floor(room),
            floor(named)
        )
    })
}

fn owner_advice(room: &str, parts: &[&str]) -> Option<String> {
    let path = parts.join("::");
    let (engine, owners) = OWNERS.iter().find(|(engine, _)| {
        path == *engine || path.strip_prefix(engine).is_some_and(|rest| rest.starts_with("::"))
    })?;
    if owners.contains(&room) {
        return None;
    }
    Some(match *owners {
        [] => format!("nobody names '{engine}' here; clippy.toml says what to use instead"),
        _ => format!("'{engine}' belongs to '{}' alone; ask that room", owners.join("' and '")),
    })
}

/// Holds the map and the tree equal: each folder of `src` is in it, and each path in it exists.
fn check_map(sources: &[Source]) -> Vec<Finding> {
    let Some(map) = sources.iter().find(|source| source.path == "ARCHITECTURE.md") else {
        let advice = "write it: the map of the house".to_owned();
        return vec![Finding { path: "ARCHITECTURE.md".to_owned(), line: 1, advice }];
    };
    let folders: BTreeSet<&str> = sources
        .iter()
        .filter_map(|source| source.path.rsplit_once('/'))
        .map(|(folder, _)| folder)
        .filter(|folder| folder.starts_with("src/") && !folder.ends_with("/tests"))
        .collect();
    let named: BTreeSet<&str> =
        map.text.split('`').filter(|word| word.starts_with("src/")).collect();
    let exists = |path: &&str| {
        sources.iter().any(|s| s.path == *path || s.path.starts_with(&format!("{path}/")))
    };
    let missing = folders.difference(&named).map(|folder| format!("name the folder `{folder}`"));
    let gone = named.iter().filter(|path| !exists(path)).map(|path| format!("`{path}` is gone"));
    let finding = |advice| Finding { path: map.path.clone(), line: 1, advice };
    missing.chain(gone).map(finding).collect()
}

/// Gives the module path of a file: `src/a/b.rs` and `src/a/b/mod.rs` are `a::b`, the root is empty.
fn module_of(path: &str) -> Vec<&str> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut parts: Vec<&str> = inner.split('/').collect();
    if matches!(parts.last(), Some(&("mod" | "lib" | "main"))) {
        parts.pop();
    }
    parts
}

fn room_of(module: &[&str]) -> Option<&'static str> {
    let known = |name: &str| FLOORS.iter().map(|row| row.0).find(|room| *room == name);
    let sub_room = module.get(..2).and_then(|two| known(&two.join("/")));
    sub_room.or_else(|| module.first().and_then(|first| known(first)))
}

/// Gives the module that a path of this crate names, counted from the root; nothing for a path that begins elsewhere.
fn resolve<'a>(home: &[&'a str], path: &PathUse<'a>) -> Option<Vec<&'a str>> {
    let mut at: Vec<&str> = home.to_vec();
    at.extend(std::iter::repeat_n("inline", path.inline_depth));
    let mut rest = path.parts.as_slice();
    let (first, tail) = rest.split_first()?;
    match *first {
        "crate" => {
            at.clear();
            rest = tail;
        }
        "self" => rest = tail,
        "super" => {}
        _ => return None,
    }
    while let Some((&"super", tail)) = rest.split_first() {
        at.pop();
        rest = tail;
    }
    at.extend(rest);
    Some(at)
}

/// One path as it is written, with the groups of a `use` taken apart.
struct PathUse<'a> {
    line: usize,
    parts: Vec<&'a str>,
    /// How many `mod name { … }` of this file it stands in.
    inline_depth: usize,
}

fn paths<'a>(tokens: &[Token<'a>]) -> Vec<PathUse<'a>> {
    let mut found = Vec::new();
    let mut braces: Vec<bool> = Vec::new();
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        let before = |back: usize| index.checked_sub(back).map_or("", |at| tokens[at].text);
        match token.text {
            "{" => braces.push(before(2) == "mod"),
            "}" => {
                braces.pop();
            }
            _ => {}
        }
        let next_is_path = tokens.get(index + 1).is_some_and(|next| next.text == "::");
        let after_path = before(1) == "::" && is_word(before(2)) && before(2) != "use";
        let is_head = !after_path && before(1) != "." && (next_is_path || before(1) == "use");
        if is_word(token.text) && is_head || token.text == "{" && before(1) == "use" {
            let inline_depth = braces.iter().filter(|is_mod| **is_mod).count();
            index = read_path(tokens, index, &[], &mut |line, parts| {
                found.push(PathUse { line, parts, inline_depth });
            });
        } else {
            index += 1;
        }
    }
    found
}

/// Reads one path or group from `index` on, reports each whole path, and gives the index behind it.
fn read_path<'a>(
    tokens: &[Token<'a>],
    mut index: usize,
    prefix: &[&'a str],
    report: &mut dyn FnMut(usize, Vec<&'a str>),
) -> usize {
    let mut parts = prefix.to_vec();
    while let Some(token) = tokens.get(index) {
        if token.text == "{" {
            index += 1;
            while let Some(inner) = tokens.get(index) {
                match inner.text {
                    "}" => return index + 1,
                    text if is_word(text) || text == "{" || text == "*" => {
                        index = read_path(tokens, index, &parts, report);
                    }
                    _ => index += 1,
                }
            }
            return index;
        }
        if !is_word(token.text) && token.text != "*" {
            break;
        }
        parts.push(token.text);
        index += 1;
        let goes_on = tokens.get(index).is_some_and(|next| next.text == "::")
            && tokens.get(index + 1).is_some_and(|next| next.text != "<");
        if !goes_on {
            report(token.line, parts);
            if tokens.get(index).is_some_and(|next| next.text == "as") {
                index += 2;
            }
            return index;
        }
        index += 1;
    }
    index.max(1)
}

/// A word or a sign of Rust, outside of comments and literals.
#[derive(Clone, Copy)]
struct Token<'a> {
    text: &'a str,
    line: usize,
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (length, is_token) = match literal_length(rest) {
            Some(length) => (length, false),
            None if word > 0 => (word, true),
            None if rest.starts_with("::") => (2, true),
            None => (first.len_utf8(), !first.is_whitespace()),
        };
        let (token, tail) = rest.split_at(length);
        if is_token {
            found.push(Token { text: token, line });
        }
        line += token.matches('\n').count();
        rest = tail;
    }
    found
}

/// Gives the length of the comment, string, character or lifetime mark that `rest` begins with.
fn literal_length(rest: &str) -> Option<usize> {
    let until = |start: usize, end: &str| {
        rest[start..].find(end).map_or(rest.len(), |at| start + at + end.len())
    };
    if rest.starts_with("//") {
        return Some(until(2, "\n"));
    }
    if rest.starts_with("/*") {
        return Some(until(2, "*/"));
    }
    let quoted = rest.trim_start_matches(['b', 'c']);
    let prefix = rest.len() - quoted.len();
    if let Some(raw) = quoted.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", &raw[..hashes]);
            return Some(until(prefix + 1 + hashes + 1, &end));
        }
    }
    match quoted.chars().next()? {
        '"' => Some(prefix + escaped_length(quoted, '"')),
        '\'' if quoted[1..].starts_with('\\') => Some(prefix + escaped_length(quoted, '\'')),
        '\'' => {
            let inner = quoted[1..].chars().next().map_or(0, char::len_utf8);
            let closed = quoted[1 + inner..].starts_with('\'');
            Some(prefix + if closed { inner + 2 } else { 1 })
        }
        _ => None,
    }
}

fn escaped_length(quoted: &str, end: char) -> usize {
    let mut chars = quoted.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == end {
            return at + 1;
        }
    }
    quoted.len()
}

fn read_tree(root: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    for start in ROOTS {
        read_folder(root, start, &mut found);
    }
    found
}

fn read_folder(root: &Path, folder: &str, found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if LEFT_OUT.contains(&name.as_str()) || entry.path().is_symlink() {
            continue;
        }
        if entry.path().is_dir() {
            if !folder.is_empty() {
                read_folder(root, &path, found);
            }
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            found.push(Source { path, text });
        }
    }
}

#[test]
fn the_house_is_tidy() {
    let sources = read_tree(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(sources.iter().any(|source| source.path == "src/tidy.rs"), "the tree was not found");
    let findings: Vec<String> = check(&sources).iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{} to mend:\n{}", findings.len(), findings.join("\n"));
}

/// Gives the findings of one planted file, beside a map that names `src/keyspace` only.
fn plant(path: &str, text: &str) -> String {
    let map = Source { path: "ARCHITECTURE.md".to_owned(), text: "`src/keyspace`".to_owned() };
    let other = Source { path: "src/keyspace/b.rs".to_owned(), text: "//! h\n".to_owned() };
    let planted = Source { path: path.to_owned(), text: text.to_owned() };
    check(&[planted, other, map]).iter().map(|finding| format!("{finding}\n")).collect()
}

#[test]
fn each_rule_finds_its_planted_violation() {
    let long = format!("//! h\nfn long() {{\n{}}}\n", "    f();\n".repeat(FUNCTION_LINES_MAX));
    let tall = format!("//! h\n{}", "// line\n".repeat(FILE_LINES_MAX));
    let machine = format!("//! h\n// {}x\n", MACHINE_PATHS[1]);
    let inner = "//! h\n\nmod a {\n    use super::super::super::node::Node;\n}";
    for (path, text, expected) in [
        ("src/keyspace/a.rs", "use crate::ids;", "a.rs:1: begin with a header"),
        ("src/keyspace/a.rs", "//! h\nuse crate::pubsub::A;", "a.rs:2: 'keyspace' (floor 2) names"),
        ("src/keyspace/a.rs", "//! h\nuse crate::{ids::B, node};", "names 'node' (floor 5)"),
        ("src/keyspace/a.rs", "//! h\nfn f() -> crate::node::N {}", "names 'node'"),
        ("src/keyspace/a.rs", "//! h\nuse super::super::consensus::C;", "names 'consensus'"),
        ("src/keyspace/mod.rs", "//! h\nuse super::storage;", "names 'storage'"),
        ("src/keyspace/a.rs", inner, "a.rs:4: 'keyspace' (floor 2) names 'node'"),
        ("src/keyspace/a.rs", "//! h\nuse crate::Node;", "goes through the root"),
        (
            "src/adapters/resp/a.rs",
            "//! h\nuse crate::adapters::http::S;",
            "'adapters/http' (floor 6)",
        ),
        ("src/attic/a.rs", "//! h\n", "stands on no floor"),
        ("src/keyspace/a.rs", "//! h\nuse quinn::Endpoint;", "'quinn' belongs to 'transport'"),
        ("bindings/a.cjs", "let a;", "begin with a header"),
        ("src/keyspace/a.rs", "//! h\nfn f(_: ring::Key) {}", "'ring' belongs to 'transport'"),
        (
            "src/node/a.rs",
            "//! h\nuse std::time::{Duration, Instant};",
            "nobody names 'std::time::Instant'",
        ),
        ("src/node/a.rs", "//! h\nuse std::{time::SystemTime, fmt};", "belongs to 'time' alone"),
        ("src/keyspace/a.rs", &long, "a.rs:2: function 'long' of 72 lines exceeds 70"),
        ("src/keyspace/a.rs", &tall, "601 lines exceed 600"),
        ("src/keyspace/a.rs", &machine, "a.rs:2: a path of one machine"),
        ("src/keyspace/util.rs", "//! h\n", "'util' is a drawer"),
        ("src/keyspace/a.rs", "//! h\nmod helpers {}", "'helpers' is a drawer"),
        ("src/error.rs", "//! h\n", "give each room its own"),
        ("cluster-tests/a.rs", "//! h\n#[ignore]\nfn f() {}", "a.rs:2: a test that is left out"),
        ("benches/a.rs", "//! h\nfn f() { todo!() }", "'todo!' left behind"),
        ("cluster-tests/a.mjs", "#!/usr/bin/env node\nlet a;", "begin with a header"),
        ("src/node/a.rs", "//! h\n", "name the folder `src/node`"),
        ("ARCHITECTURE.md", "`src/keyspace` `src/attic`", "`src/attic` is gone"),
    ] {
        let found = plant(path, text);
        assert!(found.contains(expected), "{path} with\n{text}\nfound {found}, not '{expected}'");
    }
}

#[test]
fn what_is_allowed_is_left_alone() {
    let text = "//! h\nuse crate::{command::Command, ids::NodeId};\nuse tokio::time::Instant;\n\
        // crate::node\nconst A: &str = \"\\\"quinn::X { todo!() \";\nconst B: &str = r#\"crate::\"node\"#;\n\
        fn f<'a>(c: char) -> bool { c == '\"' || c == '\\'' || a.ring::<u8>() }\n\
        mod tests { use super::*; fn g() { super::f('{'); keyspace::quinn::x(); } }\n";
    assert_eq!(plant("src/keyspace/a.rs", text), "");
}
