//! Chance that makes things go wrong.
//!
//! Owns when and what. Does not know how: `chaos` does. Invariant: it draws only kinds that the setup allows.

use std::time::Duration;

use super::fault::{Kind, Target};
use super::setup::weighted;
use super::world::World;
use crate::chance::Chance;

/// How many faults there may be at once.
const AT_ONCE: usize = 4;

/// Makes things go wrong, one after the other or several at once.
#[derive(Debug)]
pub struct Nemesis {
    chance: Chance,
    kinds: Vec<Kind>,
    every: u64,
    next_at: Duration,
}

impl Nemesis {
    /// Begins after the cluster has had a moment to form.
    #[must_use]
    pub fn new(world: &World) -> Self {
        let mut chance = Chance::new(Some(world.setup.seed ^ 0x00ba_dcab));
        let first = Duration::from_millis(500 + chance.below(3_000) as u64);
        let (kinds, every) = (world.setup.faults.clone(), world.setup.fault_every);
        Self { chance, kinds, every, next_at: first }
    }

    /// Does something if it is time.
    pub fn act(&mut self, world: &mut World) {
        if world.now < self.next_at {
            return;
        }
        let (least, most) = (self.every / 4, self.every * 2);
        let millis = Duration::from_millis;
        self.next_at = world.now + self.chance.between(millis(least), millis(most));
        if world.faults_now() >= AT_ONCE {
            return;
        }
        let Some(kind) = self.chance.pick(&self.kinds) else { return };
        let target = weighted(&mut self.chance, &Target::DRAWN).unwrap_or(Target::One);
        let length = match kind {
            Kind::Rolling => millis(20_000),
            _ => {
                let lengths = [(2, (20, 200)), (5, (200, 2_000)), (3, (2_000, 8_000))];
                let (from, to) = weighted(&mut self.chance, &lengths).unwrap_or((200, 2_000));
                self.chance.between(millis(from), millis(to))
            }
        };
        world.inject(kind, target, length);
    }
}
