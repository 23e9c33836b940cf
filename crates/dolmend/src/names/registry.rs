//! A map by names.

use std::collections::HashMap;

use super::Name;

/// A map from names to values, in which a name is found by its key, and by what it looks like.
#[derive(Debug, Clone)]
pub struct Registry<V> {
    by_key: HashMap<String, (Name, V)>,
    /// The keys of the names, by each of their looks, in the order of entry. Two names may look alike.
    by_look: HashMap<String, Vec<String>>,
}

impl<V> Default for Registry<V> {
    fn default() -> Registry<V> {
        Registry { by_key: HashMap::new(), by_look: HashMap::new() }
    }
}

impl<V> Registry<V> {
    /// Adds a name, or replaces its value.
    pub fn insert(&mut self, name: Name, value: V) {
        // Equal names may look different: one is in capitals.
        self.remove(&name.key);
        for look in name.looks() {
            let keys = self.by_look.entry(look.to_string()).or_default();
            if !keys.contains(&name.key) {
                keys.push(name.key.clone());
            }
        }
        self.by_key.insert(name.key.clone(), (name, value));
    }

    /// The value of the name with this [key](super::key).
    pub fn get(&self, key: &str) -> Option<&V> {
        self.by_key.get(key).map(|(_, value)| value)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        self.by_key.get_mut(key).map(|(_, value)| value)
    }

    /// The name with this key.
    pub fn name(&self, key: &str) -> Option<&Name> {
        self.by_key.get(key).map(|(name, _)| name)
    }

    /// The name and value to which a name is equal or, if there is none, similar: a player could take one for the other.
    pub fn similar(&self, name: &Name) -> Option<(&Name, &V)> {
        self.all_similar(name).next()
    }

    /// The name itself, and names that are similar to it, with their values.
    pub fn all_similar(&self, name: &Name) -> impl Iterator<Item = (&Name, &V)> {
        let keys = name.looks().filter_map(|look| self.by_look.get(look)).flatten();
        let keys: Vec<&String> = keys.filter(|key| **key != name.key).collect();
        let own = self.by_key.get(name.key());
        let others = keys.into_iter().filter_map(|key| self.by_key.get(key));
        own.into_iter().chain(others).map(|(name, value)| (name, value))
    }

    /// Removes the name with this key.
    pub fn remove(&mut self, key: &str) -> Option<V> {
        let (name, value) = self.by_key.remove(key)?;
        for look in name.looks() {
            // The others of this look stay.
            if let Some(keys) = self.by_look.get_mut(look) {
                keys.retain(|other| other != key);
                if keys.is_empty() {
                    self.by_look.remove(look);
                }
            }
        }
        Some(value)
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// The names and their values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &V)> {
        self.by_key.values().map(|(name, value)| (name, value))
    }
}
