//! What the instances of one agent offer now.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::plan::Given;
use crate::agents::AgentSpec;
use crate::link::control::Announced;

/// Configurations of a service that are told apart by age; older ones count as new.
const CONFIGURATIONS_MAX: usize = 8;

/// The offers of an agent with at least one instance connected.
#[derive(Default)]
pub(super) struct AgentOffers {
    /// What the agent may offer.
    pub(super) ceiling: Option<Arc<AgentSpec>>,
    instances: BTreeMap<String, BTreeMap<String, Arc<Announced>>>,
    /// By service the hashes that were seen lately, with the number of each.
    learned: HashMap<String, VecDeque<(String, u64)>>,
    count: u64,
}

impl AgentOffers {
    pub(super) fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }

    /// An instance that offers something else than before has a new configuration, whatever it
    /// had earlier. One that comes back with a known one does not make that the newest.
    pub(super) fn replace(&mut self, instance: &str, offers: BTreeMap<String, Arc<Announced>>) {
        let before = self.instances.remove(instance).unwrap_or_default();
        for (name, offer) in &offers {
            let learned = self.learned.entry(name.clone()).or_default();
            let changed = before.get(name).is_some_and(|old| old.hash != offer.hash);
            let known = learned.iter().position(|(hash, _)| *hash == offer.hash);
            let is_newest = known.is_some_and(|at| at + 1 == learned.len());
            if known.is_some() && (!changed || is_newest) {
                continue;
            }
            known.map(|at| learned.remove(at));
            if learned.len() >= CONFIGURATIONS_MAX {
                learned.pop_front();
            }
            self.count += 1;
            learned.push_back((offer.hash.clone(), self.count));
        }
        self.instances.insert(instance.to_owned(), offers);
        self.forget();
    }

    pub(super) fn withdraw(&mut self, instance: &str) {
        self.instances.remove(instance);
        self.forget();
    }

    /// Forgets the configurations of what nobody offers.
    fn forget(&mut self) {
        let instances = &self.instances;
        self.learned.retain(|name, _| instances.values().any(|all| all.contains_key(name)));
    }

    /// All that is offered and allowed, by service.
    pub(super) fn all(&self) -> BTreeMap<String, Vec<Given>> {
        let mut all: BTreeMap<String, Vec<Given>> = BTreeMap::new();
        for (instance, offers) in &self.instances {
            for (name, offer) in offers.iter().filter(|(_, offer)| self.is_allowed(offer)) {
                let number = self.number(name, &offer.hash);
                let (instance, offer) = (instance.clone(), offer.clone());
                all.entry(name.clone()).or_default().push(Given { instance, number, offer });
            }
        }
        all
    }

    /// What an instance offers, each with the number of its configuration.
    pub(super) fn of(&self, instance: &str) -> Vec<(Arc<Announced>, u64)> {
        let offers = self.instances.get(instance).into_iter().flatten();
        offers.map(|(name, offer)| (offer.clone(), self.number(name, &offer.hash))).collect()
    }

    fn is_allowed(&self, offer: &Announced) -> bool {
        self.ceiling.as_ref().is_some_and(|spec| spec.may_offer(&offer.r#type, &offer.name))
    }

    fn number(&self, service: &str, hash: &str) -> u64 {
        let learned = self.learned.get(service);
        let known = learned.and_then(|all| all.iter().find(|(own, _)| own == hash));
        known.map_or(0, |(_, number)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::super::offer::tests::{offer, spec};
    use super::*;

    #[test]
    fn the_newest_configuration_is_the_one_that_was_learned_last() {
        let mut offers =
            AgentOffers { ceiling: Some(Arc::new(spec(&["*"]))), ..AgentOffers::default() };
        let newest = |offers: &AgentOffers| {
            let all = offers.all().remove("ci").unwrap_or_default();
            let newest = all.iter().max_by_key(|one| one.number);
            newest.map(|one| one.offer.hash.clone()).unwrap_or_default()
        };
        for (instance, hash, expected) in [
            ("i1", "h1", "h1"),
            ("i2", "h1", "h1"),
            ("i2", "h2", "h2"),
            // The first one comes back as it was.
            ("i1", "", "h2"),
            ("i1", "h1", "h2"),
            ("i1", "h2", "h2"),
            // Back to what was: that is a change too.
            ("i1", "h1", "h1"),
            ("i2", "h1", "h1"),
        ] {
            match hash {
                "" => offers.withdraw(instance),
                hash => {
                    let offer = Arc::new(offer("ci", |offer| offer.hash = hash.into()));
                    offers.replace(instance, BTreeMap::from([("ci".into(), offer)]));
                }
            }
            assert_eq!(newest(&offers), expected, "{instance} {hash}");
        }
        // What may be offered no more is not.
        offers.ceiling = Some(Arc::new(spec(&["http/*"])));
        assert!(offers.all().is_empty());
        offers.withdraw("i1");
        offers.withdraw("i2");
        assert!(offers.is_empty() && offers.learned.is_empty());
    }
}
