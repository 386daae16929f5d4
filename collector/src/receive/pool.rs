//! Memory for bodies, used again and again.
//!
//! Bodies wait until history has written them, some seconds and tens of megabytes. Taken fresh from the system for every request,
//! that memory costs more than everything else that is done with a request: each page is cleared by the kernel, and in a
//! virtual machine fetched from the host. So a body that is let go leaves its memory here for the next one.
//!
//! The memory is the system's pages and not the allocator's: bodies of all sizes live for seconds and die in no order, and between them
//! the allocator was left with a third more than was in use.
//!
//! Sizes are rounded up, by a quarter at most, so that memory of one body fits another. Bodies below [`SMALL`] are not worth it. At
//! most [`Pool::new`]'s bytes are in use and wait to be used together; what waits for long is given back bit by bit ([`Pool::shrink`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use memmap2::MmapMut;

/// Bodies below this size come from the allocator.
const SMALL: usize = 16 * 1024;

/// Memory that waits to be used. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    // Locked for a push or a pop, twice for each request; a task would be a lock with more steps.
    spare: Arc<Mutex<Spare>>,
}

#[derive(Debug)]
struct Spare {
    /// By capacity.
    buffers: BTreeMap<usize, Vec<MmapMut>>,
    /// Bytes of these.
    bytes: usize,
    /// Bytes of those that are in use.
    used: usize,
    most: usize,
}

impl Pool {
    /// A pool that lets nothing wait beyond so many bytes, those in use counted.
    pub(super) fn new(most: usize) -> Self {
        Self { spare: Arc::new(Mutex::new(Spare { buffers: BTreeMap::new(), bytes: 0, used: 0, most })) }
    }

    /// Memory for a body of so many bytes, empty.
    pub(super) fn room(&self, bytes: usize) -> Room {
        let of_heap = |bytes| Room { memory: Memory::Heap(vec![0; bytes]), length: 0, pool: None };
        if bytes < SMALL {
            return of_heap(bytes);
        }
        let capacity = rounded(bytes);
        let waiting = self.lock().take(capacity);
        match waiting.map_or_else(|| MmapMut::map_anon(capacity), Ok) {
            Ok(pages) => Room { memory: Memory::Pages(pages), length: 0, pool: Some(self.clone()) },
            // The system has no more maps for us; the allocator may have room yet.
            Err(_) => {
                self.lock().used -= capacity;
                of_heap(capacity)
            }
        }
    }

    /// Gives an eighth of what waits back to the system; to be called once a second while little comes in.
    pub(super) fn shrink(&self) {
        let gone = self.lock().shrink();
        // The allocator works without our lock.
        drop(gone);
    }

    fn lock(&self) -> MutexGuard<'_, Spare> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spare {
    fn take(&mut self, capacity: usize) -> Option<MmapMut> {
        self.used += capacity;
        let memory = self.buffers.get_mut(&capacity)?.pop()?;
        self.bytes -= capacity;
        Some(memory)
    }

    /// Answers what is not kept.
    fn put(&mut self, memory: MmapMut) -> Option<MmapMut> {
        let capacity = memory.len();
        self.used = self.used.saturating_sub(capacity);
        if self.used + self.bytes + capacity > self.most {
            return Some(memory);
        }
        self.bytes += capacity;
        self.buffers.entry(capacity).or_default().push(memory);
        None
    }

    fn shrink(&mut self) -> Vec<MmapMut> {
        let (least, mut gone) = (self.bytes - self.bytes.div_ceil(8), Vec::new());
        while self.bytes > least {
            let Some(mut largest) = self.buffers.last_entry() else { break };
            match largest.get_mut().pop() {
                Some(memory) => {
                    self.bytes -= memory.len();
                    gone.push(memory);
                }
                None => drop(largest.remove()),
            }
        }
        gone
    }
}

/// Four sizes between a power of two and the next.
fn rounded(bytes: usize) -> usize {
    let step = (bytes.next_power_of_two() / 8).max(1);
    bytes.div_ceil(step) * step
}

/// Memory for a body that is being read or unfolded.
#[derive(Debug)]
pub(super) struct Room {
    memory: Memory,
    /// Bytes written so far.
    length: usize,
    pool: Option<Pool>,
}

/// Where it lies.
#[derive(Debug)]
enum Memory {
    Heap(Vec<u8>),
    Pages(MmapMut),
}

impl Memory {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Pages(bytes) => bytes,
        }
    }

    fn as_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Pages(bytes) => bytes,
        }
    }
}

impl Room {
    pub(super) const fn len(&self) -> usize {
        self.length
    }

    /// Appends; when there is no room, moves to memory of twice the size.
    pub(super) fn push(&mut self, data: &[u8], pool: &Pool) {
        self.grow_for(data.len(), pool);
        if let Some(place) = self.memory.as_mut().get_mut(self.length..self.length + data.len()) {
            place.copy_from_slice(data);
            self.length += data.len();
        }
    }

    /// Makes room for `more` and lets `fill` write into it; `fill` answers how many bytes it wrote.
    pub(super) fn fill<E>(
        &mut self,
        more: usize,
        pool: &Pool,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        self.grow_for(more, pool);
        let filled = fill(self.memory.as_mut().get_mut(self.length..self.length + more).unwrap_or_default());
        self.length += filled.as_ref().map_or(0, |written| (*written).min(more));
        filled
    }

    /// The body.
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }

    fn grow_for(&mut self, more: usize, pool: &Pool) {
        let (wanted, there) = (self.length + more, self.memory.as_slice().len());
        if wanted > there {
            let mut larger = pool.room(wanted.max(2 * there));
            larger.push(self.as_ref(), pool);
            *self = larger;
        }
    }
}

impl AsRef<[u8]> for Room {
    fn as_ref(&self) -> &[u8] {
        self.memory.as_slice().get(..self.length).unwrap_or_default()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let Some(pool) = self.pool.take() else { return };
        if let Memory::Pages(pages) = std::mem::replace(&mut self.memory, Memory::Heap(Vec::new())) {
            let not_kept = pool.lock().put(pages);
            // Given back to the system without our lock.
            drop(not_kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_leaves_its_memory_to_the_next_of_about_its_size() {
        let pool = Pool::new(1 << 20);
        let mut room = pool.room(100_000);
        room.push(&[7; 90_000], &pool);
        let place = room.as_ref().as_ptr();
        let body = room.into_bytes();
        let part = body.slice(10..20);
        drop(body);
        assert_eq!(pool.lock().bytes, 0, "a part of it is still held");
        drop(part);
        let again = pool.room(99_000);
        assert_eq!((again.memory.as_slice().as_ptr(), again.len()), (place, 0));
        assert_eq!(rounded(99_000), rounded(100_000));
        assert!((1..200_000).all(|bytes| rounded(bytes) >= bytes && rounded(bytes) <= bytes + bytes / 4 + 1));
    }

    #[test]
    fn what_waits_is_bounded_and_goes_when_nobody_wants_it() {
        let pool = Pool::new(1 << 20);
        let rooms: Vec<Room> = (0..100).map(|_| pool.room(40_000)).collect();
        drop(rooms);
        assert!(pool.lock().bytes <= 1 << 20 && pool.lock().bytes > 900_000);
        (0..200).for_each(|_| pool.shrink());
        assert_eq!(pool.lock().bytes, 0);
        drop(pool.room(SMALL - 1));
        assert_eq!(pool.lock().bytes, 0, "small ones are not kept");
    }

    #[test]
    fn a_room_grows_without_losing_anything() {
        let pool = Pool::new(1 << 20);
        let mut room = pool.room(10);
        let all: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
        for part in all.chunks(777) {
            room.push(part, &pool);
        }
        let written = room.fill(10, &pool, |place| {
            place[..2].copy_from_slice(b"ab");
            Ok::<_, ()>(2)
        });
        assert_eq!(written, Ok(2));
        assert_eq!(&room.into_bytes()[..], [&all[..], b"ab"].concat());
    }
}
