//! The command line as data: the commands, their flags, and the help that lists them.
//!
//! Owns the shape of the arguments. Does not read a file or start anything. Invariant: a flag that was not given is
//! `None` or empty, so that the configuration file and the defaults behind it can be told from a flag.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// What was asked for on the command line.
#[derive(Debug, Parser)]
#[command(
    name = "quorate",
    version,
    about = "An embedded cluster for game servers: agreed state and messages, with the Redis protocol",
    after_help = "Without a command: serve. A one-node cluster with RESP on 127.0.0.1:6379 and HTTP on \
                  127.0.0.1:7380.\nLogs go to standard error; QUORATE_LOG sets their level (error, warn, info, debug, trace).",
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Arguments {
    /// The command; none is `serve`.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The flags of `serve` when no command is named.
    #[command(flatten)]
    pub(crate) serve: Serve,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one node
    Serve(Box<Serve>),
    /// Run a whole cluster on this machine, for trying it
    Dev(Dev),
    /// Write a new cluster secret to standard output
    Keygen,
    /// Show members, voters, leader, sessions and lag of a running node
    Status(Status),
    /// Have the cluster formed anew from one node, when the majority of the voters is gone for good
    Recover(Recover),
    /// Write the whole state of a running cluster to a file
    Backup(Backup),
    /// Check a configuration file and say what is wrong with it
    CheckConfig(CheckConfig),
}

/// The flags of `serve`. A flag beats the file, the file beats the default.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Serve {
    /// The configuration file; config/node.toml in the sources explains every key
    #[arg(long, value_name = "FILE", env = "QUORATE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The name of this node in status and logs
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The UDP address on which other nodes reach this one [default: 127.0.0.1 and any free port]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// The address that is told to other nodes [default: the one listened on]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) advertise: Option<SocketAddr>,
    /// The host this node runs on; votes are spread over hosts [default: the machine's host name]
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
    /// The zone that the host stands in; votes are spread over zones first
    #[arg(long, value_name = "NAME")]
    pub(crate) zone: Option<String>,
    /// A node to join through; may be given several times
    #[arg(long = "seed", value_name = "HOST:PORT")]
    pub(crate) seeds: Vec<String>,
    /// Find the other processes of this user on this machine by themselves, in the cluster of this name; they meet in the
    /// folder that QUORATE_RENDEZVOUS names [default: one among the temporary files]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["seeds", "bootstrap_expect", "data_dir", "restore"])]
    pub(crate) rendezvous: Option<String>,
    /// How many nodes the first formation of the cluster waits for
    #[arg(long, value_name = "N")]
    pub(crate) bootstrap_expect: Option<u16>,
    /// The file with the cluster secret, as `quorate keygen` writes it
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// The folder for what shall survive a restart
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Begin a new cluster with the state of a backup; others join it through --seed
    #[arg(long, value_name = "FILE")]
    pub(crate) restore: Option<PathBuf>,
    /// The TCP address of the RESP door [default: 127.0.0.1:6379]
    #[arg(long, value_name = "IP:PORT", conflicts_with = "no_resp")]
    pub(crate) resp: Option<SocketAddr>,
    /// Keep the RESP door closed
    #[arg(long)]
    pub(crate) no_resp: bool,
    /// The TCP address of the HTTP door [default: 127.0.0.1:7380]
    #[arg(long, value_name = "IP:PORT", conflicts_with = "no_http")]
    pub(crate) http: Option<SocketAddr>,
    /// Keep the HTTP door closed
    #[arg(long)]
    pub(crate) no_http: bool,
}

/// The flags of `dev`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Dev {
    /// How many nodes to run
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(crate) nodes: u16,
    /// The RESP port of the first node; the others take the next ones. 0: any free port
    #[arg(long, value_name = "PORT", default_value_t = 6379)]
    pub(crate) resp_base: u16,
    /// The HTTP port of the first node; the others take the next ones. 0: any free port
    #[arg(long, value_name = "PORT", default_value_t = 7380)]
    pub(crate) http_base: u16,
}

/// The flags of `status`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Status {
    /// The HTTP door of a node
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7380")]
    pub(crate) http: String,
    /// Write the answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The flags of `recover`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Recover {
    /// The HTTP door of the survivor to go on from; best the one with the highest "applied" in its status
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7380")]
    pub(crate) http: String,
}

/// The arguments of `backup`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Backup {
    /// The file to write
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The HTTP door of a node; it must be open to this machine alone
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7380")]
    pub(crate) http: String,
}

/// The arguments of `check-config`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CheckConfig {
    /// The configuration file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("quorate").chain(line.split_whitespace()))
    }

    fn serve(line: &str) -> Serve {
        let arguments = parse(line).unwrap();
        match arguments.command {
            Some(Command::Serve(serve)) => *serve,
            None => arguments.serve,
            Some(other) => panic!("{line} is {other:?}"),
        }
    }

    #[test]
    fn quorate_alone_is_serve() {
        assert!(parse("").unwrap().command.is_none());
        assert_eq!(serve("--name a").name, serve("serve --name a").name);
    }

    #[test]
    fn every_flag_of_serve_is_taken() {
        let all = serve(
            "serve --config f --name a --listen 127.0.0.1:1 --advertise 10.0.0.1:2 --host m --zone z --seed h:3 --seed i:4 \
             --bootstrap-expect 3 --secret-file s --data-dir d --restore b --resp [::1]:5 --http 127.0.0.1:6",
        );
        assert_eq!(all.seeds, ["h:3", "i:4"]);
        assert_eq!(all.bootstrap_expect, Some(3));
        assert_eq!((all.host.as_deref(), all.zone.as_deref()), (Some("m"), Some("z")));
        assert_eq!(all.resp.unwrap().to_string(), "[::1]:5");
        assert_eq!(serve("--rendezvous game").rendezvous.as_deref(), Some("game"));
    }

    #[test]
    fn contradictions_and_unknown_flags_are_refused() {
        for wrong in [
            "serve --resp 127.0.0.1:1 --no-resp",
            "serve --http 127.0.0.1:1 --no-http",
            "serve --rendezvous game --seed h:1",
            "serve --resp localhost",
            "--bogus",
            "dev --nodes 0",
            "check-config",
            "--name a status",
        ] {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn dev_has_three_nodes_on_the_ports_of_redis_and_up() {
        let Some(Command::Dev(dev)) = parse("dev").unwrap().command else { panic!("not dev") };
        assert_eq!((dev.nodes, dev.resp_base, dev.http_base), (3, 6379, 7380));
    }
}
