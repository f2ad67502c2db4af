//! From the command line to settings: a flag beats the file, the file beats the default.
//!
//! Owns the order of the three. Starts nothing. Invariant: whatever is wrong with a file or a flag is a
//! [`Failure::Usage`] of one line that names it.

use std::path::Path;

use quorate::adapters::{http, resp};
use quorate::node::config::File;

use super::Failure;
use super::arguments::Serve;

/// The settings of a node and its doors.
pub(crate) type Settings = File<resp::Config, http::Config>;

/// A configuration file above this size is not one.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads the file, if one is named, and lays the flags over it.
pub(crate) fn settings(flags: &Serve) -> Result<Settings, Failure> {
    let mut settings = match &flags.config {
        Some(path) => read(path)?,
        None => Settings::default(),
    };
    lay_over(&mut settings, flags)?;
    let place =
        flags.config.as_deref().map_or(String::new(), |path| format!("{}: ", path.display()));
    settings.check().map_err(|error| Failure::Usage(format!("{place}{error}")))?;
    settings.resp.check().map_err(|error| Failure::Usage(format!("{place}{error}")))?;
    Ok(settings)
}

/// Checks a configuration file as `serve` would.
pub(crate) fn check_config(path: &Path) -> Result<(), Failure> {
    settings(&Serve { config: Some(path.to_owned()), ..Serve::default() }).map(|_| ())
}

fn read(path: &Path) -> Result<Settings, Failure> {
    let wrong = |what: String| Failure::Usage(format!("{}: {what}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(wrong(format!("{size} bytes exceed the limit of {FILE_BYTES_MAX}")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    Settings::read(&text).map_err(|error| wrong(error.to_string()))
}

fn lay_over(settings: &mut Settings, flags: &Serve) -> Result<(), Failure> {
    let Settings { cluster, node, resp, http, .. } = settings;
    if let Some(name) = &flags.name {
        let name = name.parse().map_err(|error| Failure::Usage(format!("--name: {error}")))?;
        node.name = Some(name);
    }
    if !flags.seeds.is_empty() {
        node.seeds.clone_from(&flags.seeds);
    }
    node.restore.clone_from(&flags.restore);
    if let Some(listen) = flags.listen {
        node.listen = listen;
    }
    node.advertise = flags.advertise.or(node.advertise);
    if let Some(folder) = &flags.data_dir {
        node.data_dir = Some(folder.clone());
    }
    node.host = flags.host.clone().or_else(|| node.host.take());
    if let Some(zone) = &flags.zone {
        node.zone.clone_from(zone);
    }
    if let Some(count) = flags.bootstrap_expect {
        cluster.bootstrap_expect = count;
    }
    if let Some(file) = &flags.secret_file {
        cluster.secret_file = Some(file.clone());
    }
    if let Some(listen) = flags.resp {
        (resp.enabled, resp.listen) = (true, listen);
    }
    if let Some(listen) = flags.http {
        (http.enabled, http.listen) = (true, listen);
    }
    resp.enabled &= !flags.no_resp;
    http.enabled &= !flags.no_http;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn with_file(text: &str, flags: Serve) -> Result<Settings, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        std::fs::write(&path, text).unwrap();
        settings(&Serve { config: Some(path), ..flags })
    }

    #[test]
    fn flag_beats_file_and_file_beats_default() {
        let file = "node = { name = \"from-file\", listen = \"127.0.0.1:11\" }\nhttp = { enabled = false }";
        let flags = Serve { name: Some("from-flag".to_owned()), no_resp: true, ..Serve::default() };
        let settings = with_file(file, flags).unwrap();
        assert_eq!(settings.node.name.unwrap().as_str(), "from-flag");
        assert_eq!(settings.node.listen.port(), 11);
        assert_eq!((settings.http.enabled, settings.resp.enabled), (false, false));
        assert_eq!(settings.cluster.voters_target, 3);
    }

    #[test]
    fn flag_of_an_address_opens_a_door_that_the_file_closes() {
        let flags = Serve { http: Some(([127, 0, 0, 1], 0).into()), ..Serve::default() };
        assert!(with_file("http = { enabled = false }", flags).unwrap().http.enabled);
    }

    #[test]
    fn every_mistake_is_one_line_that_names_it() {
        for (file, flags, expected) in [
            ("bogus = 1", Serve::default(), "node.toml: line 1: unknown field `bogus`"),
            ("[http]\nprot = 1", Serve::default(), "node.toml: line 2: unknown field `prot`"),
            (
                "cluster = { voters_target = 2 }",
                Serve::default(),
                "cluster.voters_target of 2 is not 1, 3 or 5",
            ),
            ("", Serve { name: Some("A b".to_owned()), ..Serve::default() }, "--name: name 'A b'"),
            ("", Serve { bootstrap_expect: Some(3), ..Serve::default() }, "secret_file"),
        ] {
            let Err(Failure::Usage(text)) = with_file(file, flags) else {
                panic!("{file} is taken")
            };
            assert!(text.contains(expected) && !text.contains('\n'), "{text}");
        }
        assert!(check_config(Path::new("no/such/file.toml")).is_err());
    }

    /// Gives `table.key` for every key that a reference line sets or, behind `# `, shows.
    fn keys_of_text(text: &str) -> BTreeSet<String> {
        let mut table = String::new();
        let mut keys = BTreeSet::new();
        let mut is_list = false;
        for line in text.lines() {
            if let Some(name) = line.trim_start_matches("# ").strip_prefix("[[") {
                // What stands in a list of tables is no key of the default.
                keys.insert(name.trim_end_matches(']').to_owned());
                is_list = true;
            } else if let Some(name) = line.strip_prefix('[') {
                is_list = false;
                table = name.trim_end_matches(']').to_owned();
            } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ")
                && !is_list
                && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            {
                keys.insert(format!("{table}.{key}"));
            }
        }
        keys
    }

    fn keys_of(name: &str, value: &serde_json::Value, keys: &mut BTreeSet<String>) {
        let Some(inner) = value.as_object() else {
            keys.insert(name.to_owned());
            return;
        };
        for (key, value) in inner {
            let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            keys_of(&name, value, keys);
        }
    }

    #[test]
    fn reference_configuration_is_the_default_and_shows_every_key() {
        let text = include_str!("../../config/node.toml");
        assert_eq!(Settings::from_toml(text).unwrap(), Settings::default());
        let mut keys = BTreeSet::new();
        keys_of("", &serde_json::to_value(Settings::default()).unwrap(), &mut keys);
        assert_eq!(keys_of_text(text), keys);
    }

    #[test]
    fn three_nodes_of_the_example_fit_together() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/three-nodes");
        let mut addresses = BTreeSet::new();
        for name in ["a", "b", "c"] {
            let file = folder.join(format!("{name}.toml"));
            let settings = settings(&Serve { config: Some(file), ..Serve::default() }).unwrap();
            assert_eq!(settings.node.name.as_ref().unwrap().as_str(), name);
            assert!(settings.node.seeds.contains(&settings.node.listen.to_string()));
            addresses.extend([settings.node.listen, settings.resp.listen, settings.http.listen]);
        }
        assert_eq!(addresses.len(), 9);
    }
}
