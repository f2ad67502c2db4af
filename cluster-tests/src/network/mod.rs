//! A network of this test's own: one namespace for each node, all on one bridge, and cuts between them.
//!
//! Owns: entering a private namespace (as root, or as anybody where the kernel allows user namespaces), the nodes' own
//! namespaces, the directed cuts, the routes through a switch of its own. Does not own: the nodes. The test program runs in the
//! namespace of the bridge, so that it reaches every node whatever is cut, and nothing appears in the machine's own network.
//! Invariant: all of it lies in private network, mount and process namespaces, which the kernel takes down with the test
//! program, however that ends.

mod probes;
mod switch;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;

pub use self::probes::Probes;
pub use self::switch::{Link, Switch, Tally};
use crate::chance::Chance;
use crate::failure::{Failure, Outcome};

/// Set in the program that runs inside.
const INSIDE: &str = "QUORATE_TEST_NETWORK";
/// Slots are the last byte of an address; the bridge has the last one.
const BRIDGE: u8 = 254;

/// A directed pair of slots, from the first to the second, whose packets are dropped.
pub type Cut = (usize, usize);

/// Where the program finds itself after [`enter`].
#[derive(Debug)]
pub enum Entered {
    /// Inside: go on.
    Inside(Network),
    /// The program has run inside and has ended with this code.
    Ended(ExitCode),
    /// It cannot be done here, with the reason.
    Missing(String),
}

/// Runs this program again inside, with the same arguments, unless it is there already.
///
/// # Errors
/// When the bridge cannot be made although the namespaces can.
pub fn enter() -> Outcome<Entered> {
    if std::env::var_os(INSIDE).is_some() {
        return Network::new().map(Entered::Inside);
    }
    // Tried with what root needs first, then with what anybody may do.
    let mut reasons = Vec::new();
    for user in [&[][..], &["--user", "--map-root-user"]] {
        let mut line = vec!["--net", "--mount", "--pid", "--fork", "--kill-child"];
        line.extend(user);
        let probe = "mount -t tmpfs none /run && mkdir /run/netns && ip link add br0 type bridge \
             && ip netns add n1 && nft add table bridge probe";
        let tried = Command::new("unshare").args(&line).args(["sh", "-c", probe]).output();
        match tried {
            Err(error) => reasons.push(format!("unshare: {error}")),
            Ok(output) if !output.status.success() => {
                let text = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
                reasons.push(format!("`unshare {}` says: {text}", line.join(" ")));
            }
            Ok(_) => {
                let mut again = Command::new("unshare");
                again.args(&line).arg(std::env::current_exe()?).args(std::env::args_os().skip(1));
                let code = again.env(INSIDE, "1").status()?.code();
                let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
                return Ok(Entered::Ended(ExitCode::from(code)));
            }
        }
    }
    Ok(Entered::Missing(reasons.join(", and ")))
}

/// The bridge, and the namespaces that were added to it.
#[derive(Debug)]
pub struct Network {
    slots: BTreeSet<usize>,
    probes: Probes,
    switch: OnceLock<Switch>,
}

impl Network {
    fn new() -> Outcome<Self> {
        // Process ids are those of this namespace; a file system that is unmounted here must go from the nodes' namespaces too.
        shell("mount -t proc proc /proc && mount --make-rshared /")?;
        shell("mount -t tmpfs none /run && mkdir /run/netns")?;
        shell("ip link set lo up")?;
        shell("ip link add br0 type bridge forward_delay 0 stp_state 0 && ip link set br0 up")?;
        shell(&format!("ip addr add {}/24 dev br0", address(BRIDGE.into())))?;
        nft("table bridge test {\nset cut { type ipv4_addr . ipv4_addr; }\nchain cuts {\n\
             type filter hook forward priority 0; policy accept;\n\
             ip saddr . ip daddr @cut drop\n}\n}\n")?;
        let (slots, probes, switch) = Default::default();
        Ok(Self { slots, probes, switch })
    }

    /// Makes the namespace of `slot` unless it is there, and returns its address.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn add(&mut self, slot: usize) -> Outcome<IpAddr> {
        let address = address(slot);
        if self.slots.insert(slot) {
            shell(&format!(
                "ip netns add n{slot} && ip link add p{slot} type veth peer name eth0 netns n{slot} \
                 && ip link set p{slot} master br0 up && ip -n n{slot} addr add {address}/24 dev eth0 \
                 && ip -n n{slot} link set eth0 up && ip -n n{slot} link set lo up"
            ))?;
            self.probes.add(slot)?;
            if let Some(switch) = self.switch.get() {
                plug(switch, slot)?;
            }
        }
        Ok(address)
    }

    /// Returns a command that runs `program` in the namespace of `slot`.
    #[must_use]
    pub fn command(slot: usize, program: &std::path::Path) -> Command {
        // `ip netns exec` becomes the program, so that signals reach it.
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("n{slot}")]).arg(program);
        command
    }

    /// Drops the packets of exactly these pairs from now on; none heals all.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn cut(&self, cuts: &BTreeSet<Cut>) -> Outcome {
        let mut rules = "flush set bridge test cut\n".to_owned();
        if !cuts.is_empty() {
            let pair = |(from, to): &Cut| format!("{} . {}", address(*from), address(*to));
            let pairs: Vec<String> = cuts.iter().map(pair).collect();
            rules += &format!("add element bridge test cut {{ {} }}\n", pairs.join(", "));
        }
        if let Some(switch) = self.switch.get() {
            switch.cut(cuts);
        }
        nft(&rules)
    }

    /// Returns the pairs whose packets the bridge drops now, by its own word.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn cuts(&self) -> Outcome<BTreeSet<Cut>> {
        let output =
            Command::new("nft").args(["-j", "list", "set", "bridge", "test", "cut"]).output()?;
        told("nft list set", &output)?;
        listed(&String::from_utf8_lossy(&output.stdout))
    }

    /// Returns what looks whether packets arrive.
    #[must_use]
    pub const fn probes(&self) -> &Probes {
        &self.probes
    }

    /// Returns every directed pair of nodes.
    #[must_use]
    pub fn pairs(&self) -> BTreeSet<Cut> {
        every_pair(&self.slots)
    }

    /// Returns the switch, which is made at the first call; packets go through it after [`Network::detour`] only.
    ///
    /// # Errors
    /// When there are no TUN devices here.
    pub fn switch(&self, chance: &mut Chance) -> Outcome<&Switch> {
        if self.switch.get().is_none() {
            let made = Switch::new(chance.branch())?;
            for slot in &self.slots {
                plug(&made, *slot)?;
            }
            made.cut(&self.cuts()?);
            // Somebody else's switch, made at the same time, is as good.
            drop(self.switch.set(made));
        }
        self.switch.get().ok_or_else(|| Failure::new("no switch"))
    }

    /// Sends what the nodes say to each other through the switch from now on, or over the bridge again. What the test's own
    /// clients say goes over the bridge in either case.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn detour(&self, is_on: bool) -> Outcome {
        let device = switch::DEVICE;
        for slot in &self.slots {
            let mut lines = format!("route flush dev {device}\n");
            for other in self.slots.iter().filter(|other| is_on && *other != slot) {
                let (here, there) = (address(*slot), address(*other));
                lines += &format!("route add {there}/32 dev {device} src {here}\n");
            }
            let mut command = Command::new("ip");
            command.args(["-n", &format!("n{slot}"), "-batch", "-"]);
            feed(command, &lines)?;
        }
        Ok(())
    }
}

/// Makes the switch's device in the namespace of `slot`.
fn plug(switch: &Switch, slot: usize) -> Outcome {
    switch.plug(slot, &namespace(slot))?;
    shell(&format!("ip -n n{slot} link set {} up", switch::DEVICE))
}

/// Where the namespace of `slot` lies.
fn namespace(slot: usize) -> PathBuf {
    format!("/run/netns/n{slot}").into()
}

impl Network {
    /// Counts from now on what goes from each node to each other one.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn count(&self) -> Outcome {
        let mut counters = String::new();
        let mut rules = String::new();
        for (from, to) in every_pair(&self.slots) {
            let (source, target) = (address(from), address(to));
            counters += &format!("counter c{from}_{to} {{ }}\n");
            rules += &format!("ip saddr {source} ip daddr {target} counter name c{from}_{to}\n");
        }
        let chain = "chain pairs {\ntype filter hook forward priority 1; policy accept;\n";
        nft(&format!("table bridge traffic {{\n{counters}{chain}{rules}}}\n}}\n"))
    }

    /// Gives the bytes of the IP packets that have gone from each node to each other one since [`Network::count`]. Packets that
    /// the kernel carries in one piece count with one header.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn counted(&self) -> Outcome<BTreeMap<Cut, u64>> {
        let line = ["-j", "list", "counters", "table", "bridge", "traffic"];
        let output = Command::new("nft").args(line).output()?;
        told("nft list counters", &output)?;
        counters(&String::from_utf8_lossy(&output.stdout))
    }
}

/// Reads nft's list of counters.
fn counters(text: &str) -> Outcome<BTreeMap<Cut, u64>> {
    let list: serde_json::Value = serde_json::from_str(text)
        .map_err(|error| Failure::new(format!("nft list counters: {error}")))?;
    let items = list.pointer("/nftables").and_then(serde_json::Value::as_array);
    let mut counted = BTreeMap::new();
    for counter in items.into_iter().flatten().filter_map(|item| item.get("counter")) {
        let name = counter.pointer("/name").and_then(serde_json::Value::as_str);
        let pair = name.and_then(|name| name.strip_prefix('c')?.split_once('_'));
        let bytes = counter.pointer("/bytes").and_then(serde_json::Value::as_u64);
        if let (Some((from, to)), Some(bytes)) = (pair, bytes)
            && let (Ok(from), Ok(to)) = (from.parse(), to.parse())
        {
            counted.insert((from, to), bytes);
        }
    }
    Ok(counted)
}

/// Reads nft's list of what is cut.
fn listed(text: &str) -> Outcome<BTreeSet<Cut>> {
    let list: serde_json::Value = serde_json::from_str(text)
        .map_err(|error| Failure::new(format!("nft list set: {error}")))?;
    let items = list.pointer("/nftables").and_then(serde_json::Value::as_array);
    let items = items.ok_or_else(|| Failure::new(format!("nft list set: {text}")))?;
    let elements = items.iter().filter_map(|item| item.pointer("/set/elem")?.as_array()).flatten();
    let slot = |value: &serde_json::Value| slot_of(value.as_str()?.parse().ok()?);
    let pair =
        |element: &serde_json::Value| match element.pointer("/concat")?.as_array()?.as_slice() {
            [from, to] => Some((slot(from)?, slot(to)?)),
            _ => None,
        };
    let read = |element| pair(element).ok_or_else(|| Failure::new(format!("no pair: {element}")));
    elements.map(read).collect()
}

/// Every directed pair.
fn every_pair(slots: &BTreeSet<usize>) -> BTreeSet<Cut> {
    let all: Vec<usize> = slots.iter().copied().collect();
    all.iter().flat_map(|one| mute(*one, &all)).collect()
}

fn address(slot: usize) -> IpAddr {
    Ipv4Addr::new(10, 77, 0, u8::try_from(slot).unwrap_or(BRIDGE)).into()
}

/// Reads [`address`] backwards.
fn slot_of(address: Ipv4Addr) -> Option<usize> {
    match address.octets() {
        [10, 77, 0, slot] if slot != BRIDGE => Some(slot.into()),
        _ => None,
    }
}

fn shell(line: &str) -> Outcome {
    let output = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output()?;
    told(line, &output)
}

fn nft(rules: &str) -> Outcome {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]);
    feed(command, rules)
}

/// Runs `command` with `text` as its input.
fn feed(mut command: Command, text: &str) -> Outcome {
    use std::io::Write;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(text.as_bytes())?;
    }
    told(text, &child.wait_with_output()?)
}

fn told(what: &str, output: &std::process::Output) -> Outcome {
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("{what}: {}", text.trim())))
}

/// Cuts `one` off from all `others`, both ways.
#[must_use]
pub fn isolate(one: usize, others: &[usize]) -> BTreeSet<Cut> {
    let mut cuts = deaf(one, others);
    cuts.extend(mute(one, others));
    cuts
}

/// Lets `one` hear nothing; it is still heard.
#[must_use]
pub fn deaf(one: usize, others: &[usize]) -> BTreeSet<Cut> {
    others.iter().filter(|other| **other != one).map(|other| (*other, one)).collect()
}

/// Lets nobody hear `one`; it still hears.
#[must_use]
pub fn mute(one: usize, others: &[usize]) -> BTreeSet<Cut> {
    others.iter().filter(|other| **other != one).map(|other| (one, *other)).collect()
}

/// Cuts every pair with one end in each half, both ways.
#[must_use]
pub fn halves(here: &[usize], there: &[usize]) -> BTreeSet<Cut> {
    here.iter().flat_map(|one| isolate(*one, there)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_their_pairs() {
        let text = r#"{"nftables": [{"metainfo": {"version": "1"}},
            {"counter": {"family": "bridge", "name": "c1_12", "packets": 3, "bytes": 450}},
            {"counter": {"family": "bridge", "name": "other", "packets": 3, "bytes": 1}}]}"#;
        assert_eq!(counters(text), Ok(BTreeMap::from([((1, 12), 450)])));
        assert!(counters("no").is_err());
        let pairs = every_pair(&BTreeSet::from([1, 2]));
        assert_eq!(pairs, BTreeSet::from([(1, 2), (2, 1)]));
    }

    #[test]
    fn cuts_are_read_from_the_list() {
        let text = r#"{"nftables": [{"metainfo": {}}, {"set": {"family": "bridge", "name": "cut",
            "elem": [{"concat": ["10.77.0.1", "10.77.0.3"]}, {"concat": ["10.77.0.3", "10.77.0.1"]}]}}]}"#;
        assert_eq!(listed(text), Ok(BTreeSet::from([(1, 3), (3, 1)])));
        assert_eq!(listed(r#"{"nftables": [{"set": {"name": "cut"}}]}"#), Ok(BTreeSet::new()));
        assert!(listed(r#"{"nftables": [{"set": {"elem": ["10.77.0.1"]}}]}"#).is_err());
        assert!(listed("no").is_err());
        assert_eq!(
            (slot_of([10, 77, 0, 254].into()), slot_of([10, 78, 0, 1].into())),
            (None, None)
        );
    }

    #[test]
    fn cuts_are_directed_pairs() {
        assert_eq!(deaf(1, &[1, 2]), BTreeSet::from([(2, 1)]));
        assert_eq!(mute(1, &[1, 2]), BTreeSet::from([(1, 2)]));
        assert_eq!(isolate(3, &[1, 2, 3]), BTreeSet::from([(1, 3), (3, 1), (2, 3), (3, 2)]));
        let split = halves(&[1, 2], &[3]);
        assert_eq!(split, isolate(3, &[1, 2]));
        assert!(!halves(&[1, 2], &[3, 4]).contains(&(1, 2)));
    }
}
