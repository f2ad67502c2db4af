//! What this machine lets the tests do.
//!
//! Owns: trying each ability once, and the reason where one is missing. Does not own: what follows from it. Invariant: an
//! ability is there only if it was tried and worked, inside the same namespaces in which the test runs.

use std::collections::BTreeMap;
use std::fmt;
use std::process::{Command, Stdio};

use super::Family;

/// Something that not every machine lets everybody do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ability {
    /// Being root outside, not in a user namespace only.
    Root,
    /// Namespaces, a bridge, and cuts on it; see [`crate::network`].
    Network,
    /// TUN devices.
    Tun,
    /// Mounting a file through a loop device.
    Loop,
    /// `libfaketime`, which shifts a process's wall clock.
    Faketime,
    /// Attaching `strace` to a running process.
    Strace,
}

impl Ability {
    const ALL: [Self; 6] =
        [Self::Root, Self::Network, Self::Tun, Self::Loop, Self::Faketime, Self::Strace];
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Network => "namespaces and nft",
            Self::Tun => "TUN devices",
            Self::Loop => "loop mounts",
            Self::Faketime => "libfaketime",
            Self::Strace => "strace",
        })
    }
}

/// All of them, with a word on each: where it was found, or why it is missing.
#[derive(Debug, Clone, Default)]
pub struct Abilities {
    found: BTreeMap<Ability, Result<String, String>>,
}

impl Abilities {
    /// Tries all of them. `network` is the reason that [`crate::network::enter`] gave, if it could not.
    #[must_use]
    pub fn probe(network: Option<&str>) -> Self {
        let mut found = BTreeMap::new();
        for ability in Ability::ALL {
            let told = match ability {
                Ability::Root => root(),
                Ability::Network => {
                    network.map_or_else(|| Ok("here".into()), |why| Err(why.into()))
                }
                Ability::Tun => tun(),
                Ability::Loop => loops(),
                Ability::Faketime => faketime(),
                Ability::Strace => strace(),
            };
            found.insert(ability, told);
        }
        Self { found }
    }

    /// Returns what was found of `ability`: where it is, or why it is missing.
    ///
    /// # Errors
    /// With the reason.
    pub fn of(&self, ability: Ability) -> Result<&str, &str> {
        match self.found.get(&ability) {
            Some(Ok(place)) => Ok(place),
            Some(Err(why)) => Err(why),
            None => Err("not tried"),
        }
    }

    /// Returns why `family` cannot be run here, if so: to be printed as `left out: <family>: <reason>`.
    #[must_use]
    pub fn missing(&self, family: Family) -> Option<String> {
        let missing = family.needs().iter().filter_map(|ability| {
            self.of(*ability).err().map(|why| format!("needs {ability}: {why}"))
        });
        let reasons: Vec<String> = missing.collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

impl fmt::Display for Abilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (ability, told)) in self.found.iter().enumerate() {
            let comma = if at == 0 { "" } else { "; " };
            match told {
                Ok(place) => write!(f, "{comma}{ability}: {place}")?,
                Err(why) => write!(f, "{comma}{ability}: missing ({why})")?,
            }
        }
        Ok(())
    }
}

/// Runs `line` with a shell, and gives what it prints or complains of.
fn told(line: &str) -> Result<String, String> {
    let output = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("sh: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().replace('\n', "; ");
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn root() -> Result<String, String> {
    let map = std::fs::read_to_string("/proc/self/uid_map").map_err(|error| error.to_string())?;
    let fields: Vec<&str> = map.split_whitespace().collect();
    let uid = told("id -u")?;
    match (uid.as_str(), fields.as_slice()) {
        ("0", ["0", "0", "4294967295"]) => Ok("here".into()),
        ("0", _) => Err("root in a user namespace only".into()),
        _ => Err(format!("user {uid}")),
    }
}

fn tun() -> Result<String, String> {
    // A device that goes with its maker: nothing is left behind.
    told("ip tuntap add dev probe0 mode tun && ip link del probe0").map(|_| "here".into())
}

/// Mounts a small image, and takes it away again.
fn loops() -> Result<String, String> {
    told(
        "set -e; folder=$(mktemp -d); trap 'umount $folder/mnt 2>/dev/null; rm -rf $folder' EXIT; \
         truncate -s 4M $folder/img; mkfs.ext4 -q $folder/img; mkdir $folder/mnt; \
         mount -o loop $folder/img $folder/mnt",
    )
    .map(|_| "here".into())
}

/// Finds `libfaketime`, and tries it.
///
/// # Errors
/// When it is not installed, or shifts no clock.
pub fn faketime() -> Result<String, String> {
    let found = told(
        "set -- /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib/faketime/libfaketimeMT.so.1 \
         /usr/local/lib/faketime/libfaketimeMT.so.1; \
         for file; do if [ -e \"$file\" ]; then echo \"$file\"; exit 0; fi; done; \
         echo 'libfaketimeMT.so.1 is not installed' >&2; exit 1",
    )?;
    let year = told(&format!("LD_PRELOAD={found} FAKETIME='@2001-02-03 04:05:06' date +%Y"))?;
    if year == "2001" { Ok(found) } else { Err(format!("{found} does not shift the clock")) }
}

fn strace() -> Result<String, String> {
    told(
        "command -v strace >/dev/null || { echo 'strace is not installed' >&2; exit 1; }; \
         sleep 5 & child=$!; timeout 3 strace -qq -o /dev/null -p $child -e trace=fdatasync \
         -e inject=fdatasync:error=EIO >/dev/null 2>/tmp/strace.$$ & tracer=$!; \
         for i in 1 2 3 4 5 6 7 8 9 10; do \
         if grep -q \"^TracerPid:[[:space:]]*[1-9]\" /proc/$child/status; then \
         kill $child $tracer; rm -f /tmp/strace.$$; exit 0; fi; sleep 0.1; done; \
         cat /tmp/strace.$$ >&2; rm -f /tmp/strace.$$; kill $child; \
         echo 'strace does not attach' >&2; exit 1",
    )
    .map(|_| "here".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_its_reason() {
        let mut abilities = Abilities::default();
        abilities.found.insert(Ability::Network, Ok("here".into()));
        abilities.found.insert(Ability::Tun, Err("no /dev/net/tun".into()));
        assert_eq!(abilities.missing(Family::Halves), None);
        assert_eq!(
            abilities.missing(Family::Packets).as_deref(),
            Some("needs TUN devices: no /dev/net/tun")
        );
        assert_eq!(
            abilities.missing(Family::Clock).as_deref(),
            Some("needs libfaketime: not tried")
        );
    }
}
