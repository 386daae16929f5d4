//! Places for what comes and goes, with identifiers that never mean a later tenant of the same place.

/// Names one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    place: u32,
    tenant: u32,
}

/// The places.
#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Takes a place.
    pub(super) fn insert(&mut self, value: T) -> Id {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            self.places.len() as u32 - 1
        });
        let entry = &mut self.places[place as usize];
        entry.0 += 1;
        entry.1 = Some(value);
        Id { place, tenant: entry.0 }
    }

    /// Looks at a tenant.
    pub(super) fn get(&self, id: Id) -> Option<&T> {
        self.places.get(id.place as usize).filter(|(tenant, _)| *tenant == id.tenant)?.1.as_ref()
    }

    /// Looks at a tenant to change it.
    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        self.places.get_mut(id.place as usize).filter(|(tenant, _)| *tenant == id.tenant)?.1.as_mut()
    }

    /// Frees its place.
    pub(super) fn remove(&mut self, id: Id) -> Option<T> {
        let entry = self.places.get_mut(id.place as usize).filter(|(tenant, _)| *tenant == id.tenant)?;
        let value = entry.1.take()?;
        self.free.push(id.place);
        Some(value)
    }

    /// Every tenant.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        self.places.iter().enumerate().filter_map(|(place, (tenant, value))| {
            value.as_ref().map(|value| (Id { place: place as u32, tenant: *tenant }, value))
        })
    }
}
