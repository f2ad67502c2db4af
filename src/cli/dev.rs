//! `quorate dev`: a whole cluster in one process, for trying it.
//!
//! Owns the ports of its nodes. Invariant: it listens on this machine only, and its secret is never written down.

use std::net::{SocketAddr, UdpSocket};

use futures_util::future::{join_all, select_all, try_join_all};
use quorate::transport::Secret;

use super::Failure;
use super::arguments::Dev;
use super::serve::{Running, Signals, in_haste, runtime};
use super::settings::Settings;

/// Runs a cluster until a signal ends it.
pub(crate) fn dev(flags: &Dev) -> Result<(), Failure> {
    let all =
        settings(flags, &Secret::generate(super::random_bytes()?), &free_addresses(flags.nodes)?)?;
    runtime()?.block_on(async {
        let mut signals = Signals::listen()?;
        let starts = try_join_all(all.into_iter().map(|one| Running::start(one, None)));
        let Some(started) = signals.unless(starts).await else { return Ok(()) };
        let nodes = started?;
        if let Some(failure) = signals.unless(live(&nodes)).await {
            return Err(failure);
        }
        let leaves = join_all(nodes.into_iter().map(Running::leave));
        signals.unless(leaves).await.map(|_| ()).ok_or_else(in_haste)
    })
}

/// Says that the doors are open once all nodes are in sync; comes back only when one cannot go on.
async fn live(nodes: &[Running]) -> Failure {
    let mut stops = select_all(nodes.iter().map(|running| Box::pin(running.node.stopped())));
    tokio::select! {
        biased;
        (reason, ..) = &mut stops => return Failure::Fatal(reason),
        _ = join_all(nodes.iter().map(|running| running.node.ready())) => {}
    }
    match nodes.iter().try_for_each(Running::announce) {
        Ok(()) => Failure::Fatal(stops.await.0),
        Err(failure) => failure,
    }
}

/// Gives the settings of every node: each knows all addresses, and the first formation waits for all.
fn settings(
    flags: &Dev,
    secret: &Secret,
    addresses: &[SocketAddr],
) -> Result<Vec<Settings>, Failure> {
    let port = |flag: &str, base: u16, index: u16| match base {
        0 => Ok(0),
        _ => base.checked_add(index).ok_or_else(|| {
            let nodes = flags.nodes;
            Failure::Usage(format!("{flag} {base} leaves no {nodes} ports below 65536"))
        }),
    };
    let mut all = Vec::new();
    for (index, listen) in (0..flags.nodes).zip(addresses) {
        let mut settings = Settings::default();
        let name = format!("dev-{}", index + 1).parse().expect("a word and a number are a label");
        settings.cluster.id = "dev".parse().expect("three letters are a label");
        settings.cluster.secret = Some(secret.clone());
        settings.cluster.bootstrap_expect = flags.nodes;
        settings.node.name = Some(name);
        settings.node.listen = *listen;
        settings.node.seeds =
            addresses.iter().filter(|seed| *seed != listen).map(ToString::to_string).collect();
        settings.resp.listen.set_port(port("--resp-base", flags.resp_base, index)?);
        settings.http.listen.set_port(port("--http-base", flags.http_base, index)?);
        settings.check().map_err(|error| Failure::Usage(error.to_string()))?;
        all.push(settings);
    }
    Ok(all)
}

/// Finds free UDP addresses, all different. Another program may take one before the node does; then it is started again.
fn free_addresses(count: u16) -> Result<Vec<SocketAddr>, Failure> {
    let failed = |error| Failure::Fatal(format!("no free UDP port on this machine: {error}"));
    let bind = |_| UdpSocket::bind(("127.0.0.1", 0));
    let sockets: Vec<UdpSocket> = (0..count).map(bind).collect::<Result<_, _>>().map_err(failed)?;
    sockets.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(flags: &Dev) -> Result<Vec<Settings>, Failure> {
        settings(flags, &Secret::generate([7; 32]), &free_addresses(flags.nodes).unwrap())
    }

    #[test]
    fn every_node_has_ports_of_its_own_and_knows_all_others() {
        let all = of(&Dev { nodes: 3, resp_base: 6379, http_base: 0 }).unwrap();
        let ports: Vec<u16> = all.iter().map(|one| one.resp.listen.port()).collect();
        assert_eq!(ports, [6379, 6380, 6381]);
        for one in &all {
            assert_eq!((one.http.listen.port(), one.node.seeds.len()), (0, 2));
            assert!(!one.node.seeds.contains(&one.node.listen.to_string()));
            assert!(one.resp.listen.ip().is_loopback() && one.http.listen.ip().is_loopback());
        }
    }

    #[test]
    fn ports_beyond_the_last_one_are_refused() {
        let refused = of(&Dev { nodes: 3, resp_base: 65_534, http_base: 0 });
        let Err(Failure::Usage(text)) = refused else { panic!("port 65536 is taken for one") };
        assert!(text.contains("--resp-base 65534"), "{text}");
    }
}
