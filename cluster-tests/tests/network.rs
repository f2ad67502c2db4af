//! Cuts and bad links in a network of the test's own: what is told to be there must be measured.
//!
//! Owns: packets of its own between the namespaces. Does not own: nodes; none is started. Invariant: counts have wide bounds,
//! nothing is judged by how long it took, and what this machine cannot do is named.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a test program of its own")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use cluster_tests::chance::Chance;
use cluster_tests::failure::{Failure, Outcome};
use cluster_tests::jepsen::nemesis::{Abilities, Ability};
use cluster_tests::network::{self, Cut, Entered, Link, Network};
use tokio::time::{Instant, sleep};

#[tokio::main]
async fn main() -> ExitCode {
    let mut network = match network::enter() {
        Ok(Entered::Inside(network)) => network,
        Ok(Entered::Ended(code)) => return code,
        Ok(Entered::Missing(reason)) => {
            println!("left out: cuts and bad links, because {reason}");
            return ExitCode::SUCCESS;
        }
        Err(failure) => {
            eprintln!("network: {failure}");
            return ExitCode::FAILURE;
        }
    };
    match tests(&mut network).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("network: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn tests(network: &mut Network) -> Outcome {
    for slot in 1..=3 {
        network.add(slot)?;
    }
    cuts(network).await?;
    println!("cuts: as told on the bridge");
    if let Err(reason) = Abilities::probe(None).of(Ability::Tun) {
        println!("left out: bad links, because TUN devices are missing: {reason}");
        return Ok(());
    }
    network.switch(&mut Chance::new(Some(3)))?;
    network.detour(true)?;
    cuts(network).await?;
    println!("cuts: as told on the switch");
    links(network).await?;
    network.detour(false)?;
    cuts(network).await
}

fn holds(is_so: bool, text: impl Into<String>) -> Outcome {
    if is_so { Ok(()) } else { Err(Failure::new(text)) }
}

/// Each cut is there in its direction, and gone afterwards.
async fn cuts(network: &Network) -> Outcome {
    let all = network.pairs();
    for cuts in [BTreeSet::from([(1, 2), (3, 1)]), network::isolate(2, &[1, 3]), BTreeSet::new()] {
        network.cut(&cuts)?;
        holds(network.cuts()? == cuts, format!("{cuts:?} are not listed"))?;
        let heard = network.probes().heard(&cuts).await;
        let expected: BTreeSet<Cut> = all.difference(&cuts).copied().collect();
        holds(heard == expected, format!("with {cuts:?} cut, packets arrive on {heard:?}"))?;
    }
    Ok(())
}

/// A thousand packets of a length from one place to another, and what has arrived.
struct Line {
    from: UdpSocket,
    to: UdpSocket,
}

impl Line {
    fn new(from: Option<usize>, to: usize) -> Outcome<Self> {
        let bind = || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let inside = |slot: usize| tap::within(Path::new(&format!("/run/netns/n{slot}")), bind);
        let (from, to_socket) = (from.map_or_else(bind, inside)?, inside(to)?);
        from.connect((format!("10.77.0.{to}"), to_socket.local_addr()?.port()))?;
        Ok(Self { from, to: to_socket })
    }

    /// Gives the numbers of the packets that arrived, in their order, and `None` for one that was changed.
    async fn thousand(&self, length: usize) -> Vec<Option<u64>> {
        let mut arrived = Vec::new();
        for batch in 0..50_u64 {
            for number in 20 * batch..20 * (batch + 1) {
                // The queue of the device may be full: then it is lost, and the count tells.
                drop(self.from.send(&packet(number, length)));
            }
            self.receive(&mut arrived, length, Duration::from_millis(4)).await;
        }
        // Until nothing has come for a while.
        while self.receive(&mut arrived, length, Duration::from_millis(250)).await > 0 {}
        arrived
    }

    async fn receive(
        &self,
        arrived: &mut Vec<Option<u64>>,
        length: usize,
        time: Duration,
    ) -> usize {
        let before = arrived.len();
        let until = Instant::now() + time;
        let mut buffer = [0; 2048];
        while Instant::now() < until {
            while let Ok(count) = self.to.recv(&mut buffer) {
                let got = buffer.get(..count).unwrap_or_default();
                let number = got.get(..8).and_then(|head| head.try_into().ok());
                let number = number.map_or(u64::MAX, u64::from_be_bytes);
                arrived.push((got == packet(number, length)).then_some(number));
            }
            sleep(Duration::from_millis(2)).await;
        }
        arrived.len() - before
    }
}

fn packet(number: u64, length: usize) -> Vec<u8> {
    let mut packet = number.to_be_bytes().to_vec();
    packet.resize(length, b'q');
    packet
}

/// Each fault is measured as often as told, in its direction only, and never by the test's own clients.
async fn links(network: &Network) -> Outcome {
    let switch = network.switch(&mut Chance::new(Some(3)))?;
    let line = Line::new(Some(1), 2)?;
    let back = Line::new(Some(2), 1)?;
    let client = Line::new(None, 2)?;
    let set = |link: Link| switch.set(BTreeMap::from([((1, 2), link)]));
    let whole = |arrived: &[Option<u64>]| (960..=1000).contains(&arrived.len());

    set(Link::default());
    let arrived = line.thousand(100).await;
    holds(whole(&arrived), format!("a good link passes {}", arrived.len()))?;

    set(Link { loss: 250, ..Link::default() });
    let count = line.thousand(100).await.len();
    holds((600..900).contains(&count), format!("with a loss of 25 % {count} arrive"))?;
    for (name, other) in [("the other way", &back), ("a client", &client)] {
        let arrived = other.thousand(100).await;
        holds(whole(&arrived), format!("{name}: {} arrive", arrived.len()))?;
    }

    set(Link { duplicate: 250, ..Link::default() });
    let count = line.thousand(100).await.len();
    holds((1100..1400).contains(&count), format!("with 25 % twice {count} arrive"))?;

    set(Link { corrupt: 250, ..Link::default() });
    let arrived = line.thousand(100).await;
    let changed = arrived.iter().filter(|number| number.is_none()).count();
    let text = format!("with 25 % corrupt {changed} of {} are", arrived.len());
    holds(whole(&arrived) && (150..350).contains(&changed), text)?;

    for link in [
        Link { reorder: 250, ..Link::default() },
        Link {
            delay: Duration::from_millis(50),
            jitter: Duration::from_millis(30),
            ..Link::default()
        },
    ] {
        set(link);
        let arrived = line.thousand(100).await;
        let overtaken = arrived.windows(2).filter(|pair| pair.first() > pair.last()).count();
        let text = format!("{link:?}: {overtaken} of {} overtaken", arrived.len());
        holds(whole(&arrived) && overtaken > 20, text)?;
    }

    set(Link { hole: Some(600), ..Link::default() });
    let (short, long) = (line.thousand(500).await, line.thousand(700).await);
    holds(whole(&short) && long.is_empty(), format!("hole: {} and {}", short.len(), long.len()))?;

    set(Link { rate: Some(20_000), ..Link::default() });
    let count = line.thousand(1000).await.len();
    holds((5..500).contains(&count), format!("a slow link passes {count}"))?;
    switch.set(BTreeMap::new());
    println!("links: {:?}", switch.tally());
    Ok(())
}
