//! The options of JavaScript as the configuration of a node.
//!
//! Owns their names. What they mean, and what they may be, is the crate's. Invariant: an option that is unknown or wrong is
//! refused before anything is started, with a text that names it.

use std::path::PathBuf;

use quorate::Config;
use quorate::transport::Secret;
use serde::Deserialize;

use crate::value::Failure;

/// What a program may say of its node.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Options {
    /// The text of a configuration file, which the other options go before.
    config: Option<String>,
    cluster: Option<String>,
    name: Option<String>,
    listen: Option<String>,
    advertise: Option<String>,
    seeds: Option<Seeds>,
    secret: Option<String>,
    secret_file: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    host: Option<String>,
    zone: Option<String>,
    bootstrap_expect: Option<u16>,
    alone: bool,
}

/// One address, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Seeds {
    One(String),
    Many(Vec<String>),
}

/// How a node finds its cluster.
#[derive(Debug)]
pub(crate) enum Way {
    /// By what the configuration says: seeds, or none for a cluster of one.
    Configured,
    /// Together with the other processes of this user on this machine.
    Together,
}

/// Reads options as JSON.
pub(crate) fn read(json: &str) -> Result<(Config, Way), Failure> {
    let options: Options = serde_json::from_str(json).map_err(|error| refused(&error))?;
    let mut config = match &options.config {
        Some(text) => Config::read(text).map_err(|error| refused(&error))?,
        None => Config::default(),
    };
    fill(&mut config, &options)?;
    let is_told = !config.node.seeds.is_empty()
        || config.node.data_dir.is_some()
        || config.cluster.bootstrap_expect > 1
        || config.can_be_joined();
    let way = if options.alone || is_told { Way::Configured } else { Way::Together };
    config.check().map_err(|error| refused(&error))?;
    Ok((config, way))
}

fn fill(config: &mut Config, options: &Options) -> Result<(), Failure> {
    let (cluster, node) = (&mut config.cluster, &mut config.node);
    if let Some(name) = &options.cluster {
        cluster.id = parsed("cluster", name)?;
    }
    if let Some(name) = &options.name {
        node.name = Some(parsed("name", name)?);
    }
    if let Some(address) = &options.listen {
        node.listen = parsed("listen", address)?;
    }
    if let Some(address) = &options.advertise {
        node.advertise = Some(parsed("advertise", address)?);
    }
    match &options.seeds {
        Some(Seeds::One(seed)) => node.seeds = vec![seed.clone()],
        Some(Seeds::Many(seeds)) => node.seeds.clone_from(seeds),
        None => {}
    }
    if let Some(text) = &options.secret {
        let secret = Secret::from_text(text);
        cluster.secret = Some(secret.map_err(|error| refused(&format!("secret: {error}")))?);
    }
    if let Some(file) = &options.secret_file {
        cluster.secret_file = Some(file.clone());
    }
    if let Some(folder) = &options.data_dir {
        node.data_dir = Some(folder.clone());
    }
    if let Some(host) = &options.host {
        node.host = Some(host.clone());
    }
    if let Some(zone) = &options.zone {
        node.zone.clone_from(zone);
    }
    if let Some(count) = options.bootstrap_expect {
        cluster.bootstrap_expect = count;
    }
    Ok(())
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    option: &str,
    text: &str,
) -> Result<T, Failure> {
    text.parse().map_err(|error| refused(&format!("{option}: {error}")))
}

fn refused(error: &impl std::fmt::Display) -> Failure {
    Failure::new("CONFIG", error.to_string())
}
