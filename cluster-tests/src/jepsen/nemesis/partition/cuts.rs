//! Cuts that are seen to be there, and seen to be gone.
//!
//! Owns: installing and healing a set of cuts with the proof of each. Does not own: the sets. Invariant: it is said to be
//! installed only if the bridge lists exactly these cuts, and packets arrive on all other pairs and on none of these.

use std::collections::BTreeSet;

use super::super::{Field, Installed};
use crate::failure::{Failure, Outcome};
use crate::network::Cut;

/// Makes these cuts and looks; `what` they are in words.
pub(in super::super) async fn install(
    field: &Field,
    cuts: &BTreeSet<Cut>,
    what: &str,
) -> Installed {
    let Some(network) = field.group.network() else {
        return Installed::Skipped("the nodes have no network of their own".into());
    };
    if cuts.is_empty() {
        return Installed::Skipped(format!("{what}: nothing is to be cut with so few nodes"));
    }
    if let Err(failure) = network.cut(cuts) {
        return Installed::Indeterminate(format!("{what}: {failure}"));
    }
    match network.cuts() {
        Ok(listed) if listed == *cuts => {}
        Ok(listed) => {
            return Installed::Indeterminate(format!("{what}: the bridge lists {listed:?}"));
        }
        Err(failure) => return Installed::Indeterminate(format!("{what}: {failure}")),
    }
    let heard = network.probes().heard(cuts).await;
    let through: Vec<&Cut> = heard.intersection(cuts).collect();
    let pairs = network.pairs();
    let missing: Vec<&Cut> = pairs.difference(cuts).filter(|pair| !heard.contains(pair)).collect();
    if through.is_empty() && missing.is_empty() {
        return Installed::Installed(what.to_owned());
    }
    Installed::Indeterminate(format!(
        "{what}: through cuts {through:?}, missing elsewhere {missing:?}"
    ))
}

/// Takes all cuts away and sees that every node hears every other one.
pub(in super::super) async fn heal(field: &Field) -> Outcome {
    let Some(network) = field.group.network() else { return Ok(()) };
    network.cut(&BTreeSet::new())?;
    let listed = network.cuts()?;
    if !listed.is_empty() {
        return Err(Failure::new(format!("after the heal the bridge still cuts {listed:?}")));
    }
    let heard = network.probes().heard(&BTreeSet::new()).await;
    let pairs = network.pairs();
    let missing: Vec<&Cut> = pairs.difference(&heard).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("after the heal no packet passes from and to {missing:?}")))
}
