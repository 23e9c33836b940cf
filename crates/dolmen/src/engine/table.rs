//! Slots with generations, to which ids refer.

use std::num::NonZeroU32;

use crate::token::Key;

/// A table in which a key never refers to anything but the value for which it was issued.
pub(crate) struct Table<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    len: usize,
}

struct Slot<T> {
    generation: NonZeroU32,
    worn_out: bool,
    value: Option<T>,
}

impl<T> Slot<T> {
    /// Whether it still holds the value for which the key was issued.
    fn is(&self, key: Key) -> bool {
        self.generation == key.generation
    }
}

impl<T> Table<T> {
    pub(crate) const fn new() -> Table<T> {
        Table { slots: Vec::new(), free: Vec::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The key that the next [`Table::insert`] returns.
    pub(crate) fn next_key(&mut self) -> Key {
        let slot = match self.free.last() {
            Some(&slot) => slot,
            None => {
                // The table grows as long as there is memory, and not up to some number of descriptors [hc37].
                let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 registrations");
                self.slots.push(Slot { generation: NonZeroU32::MIN, worn_out: false, value: None });
                self.free.push(slot);
                slot
            }
        };
        Key { slot, generation: self.slots[slot as usize].generation }
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        let key = self.next_key();
        self.free.pop();
        self.slots[key.slot as usize].value = Some(value);
        self.len += 1;
        key
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        self.slots.get(key.slot as usize).filter(|slot| slot.is(key))?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slots.get_mut(key.slot as usize).filter(|slot| slot.is(key))?.value.as_mut()
    }

    /// Whether this table has ever issued the key: it may be another reactor's, or made up by the caller.
    pub(crate) fn has_issued(&self, key: Key) -> bool {
        self.slots.get(key.slot as usize).is_some_and(|slot| {
            let holds = slot.value.is_some() || slot.worn_out;
            key.generation < slot.generation || (key.generation == slot.generation && holds)
        })
    }

    /// The slot's current value, and its key.
    pub(crate) fn at_mut(&mut self, slot: u32) -> Option<(Key, &mut T)> {
        let entry = self.slots.get_mut(slot as usize)?;
        let key = Key { slot, generation: entry.generation };
        entry.value.as_mut().map(|value| (key, value))
    }

    /// Empties the slot, which may be reused; its key is never valid again.
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let value = self.vacate(key)?;
        self.release(key.slot);
        Some(value)
    }

    /// Empties the slot, but prevents its reuse until [`Table::release`].
    pub(crate) fn vacate(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.slot as usize).filter(|slot| slot.generation == key.generation)?;
        let value = slot.value.take()?;
        self.len -= 1;
        slot.worn_out = slot.generation == NonZeroU32::MAX;
        slot.generation = slot.generation.saturating_add(1);
        Some(value)
    }

    /// Allows a vacated slot to be reused.
    pub(crate) fn release(&mut self, slot: u32) {
        debug_assert!(self.slots[slot as usize].value.is_none(), "the slot is taken");
        // A slot that has used up its generations stays empty for good.
        if !self.slots[slot as usize].worn_out {
            self.free.push(slot);
        }
    }

    /// The keys of all values.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let key = |(slot, index): (&Slot<T>, u32)| {
            slot.value.is_some().then_some(Key { slot: index, generation: slot.generation })
        };
        self.slots.iter().zip(0..).filter_map(key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_outlives_its_value_finds_no_other() {
        let mut table = Table::new();
        let old = table.insert("old");
        assert_eq!(table.remove(old), Some("old"));
        let new = table.insert("new");
        assert_eq!(new.slot, old.slot, "the slot is reused immediately");
        assert_eq!((table.get(old), table.get(new)), (None, Some(&"new")));
        assert_eq!(table.remove(old), None);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_key_that_was_not_issued_is_detected() {
        let mut table = Table::new();
        let first = table.insert(());
        let key = |slot, generation| Key { slot, generation: NonZeroU32::new(generation).unwrap() };
        assert!(table.has_issued(first));
        assert!(!table.has_issued(key(first.slot, 2)) && !table.has_issued(key(1, 1)));
        assert!(!table.has_issued(key(u32::MAX, u32::MAX)));
        table.remove(first);
        assert!(table.has_issued(first) && !table.has_issued(key(first.slot, 2)));
    }

    #[test]
    fn a_worn_out_slot_is_retired() {
        let mut table = Table::new();
        let key = table.insert(());
        table.slots[0].generation = NonZeroU32::MAX;
        assert!(table.remove(Key { generation: NonZeroU32::MAX, ..key }).is_some());
        assert_eq!(table.insert(()).slot, 1);
    }
}
