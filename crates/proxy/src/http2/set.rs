//! The streams of one connection, polled within its task. A stream is looked at when something woke it; after a
//! turn of them the connection gives way to everybody else on the worker.

use parking_lot::Mutex;
use slab::Slab;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

/// Streams that one turn looks at. What one of them may send at once is bounded by its buffer.
const LOOKS_A_TURN: usize = 32;

/// See the module. `S` is a stream, ready when it is over.
pub(super) struct StreamSet<S> {
    streams: Slab<S>,
    /// One for each place, whoever is there: a waker of one that is over wakes the next one in vain.
    wakers: Vec<(Arc<Place>, Waker)>,
    woken: Arc<Woken>,
    /// Places that are looked at next.
    due: Vec<usize>,
}

/// Whoever is to be looked at.
#[derive(Default)]
struct Woken {
    places: Mutex<Vec<usize>>,
    task: Mutex<Option<Waker>>,
    /// The set is at work, and looks once more before it rests.
    is_polled: AtomicBool,
}

struct Place {
    index: usize,
    is_woken: AtomicBool,
    woken: Arc<Woken>,
}

impl Wake for Place {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_woken.swap(true, Ordering::AcqRel) {
            return;
        }
        self.woken.places.lock().push(self.index);
        if !self.woken.is_polled.load(Ordering::Acquire)
            && let Some(task) = &*self.woken.task.lock()
        {
            task.wake_by_ref();
        }
    }
}

impl<S: Future<Output = ()> + Unpin> StreamSet<S> {
    pub(super) fn new() -> Self {
        StreamSet { streams: Slab::new(), wakers: Vec::new(), woken: Arc::default(), due: Vec::new() }
    }

    /// Adds a stream, which is looked at in the next turn.
    pub(super) fn push(&mut self, stream: S) {
        let index = self.streams.insert(stream);
        if index == self.wakers.len() {
            let place = Arc::new(Place { index, is_woken: AtomicBool::new(false), woken: Arc::clone(&self.woken) });
            self.wakers.push((Arc::clone(&place), Waker::from(place)));
        }
        self.wakers[index].1.wake_by_ref();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    pub(super) fn each(&mut self) -> impl Iterator<Item = &mut S> {
        self.streams.iter_mut().map(|(_, stream)| stream)
    }

    pub(super) fn clear(&mut self) {
        self.streams.clear();
    }

    /// Who is woken when a stream is, from now on.
    pub(super) fn begin(&self, cx: &Context<'_>) {
        self.woken.is_polled.store(true, Ordering::Release);
        let mut task = self.woken.task.lock();
        match &mut *task {
            Some(known) => known.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// The task rests, unless a stream was woken meanwhile.
    pub(super) fn rest(&self, cx: &Context<'_>) {
        self.woken.is_polled.store(false, Ordering::Release);
        if !self.due.is_empty() || !self.woken.places.lock().is_empty() {
            cx.waker().wake_by_ref();
        }
    }

    /// Looks at a turn of those that were woken. Whether none is left.
    pub(super) fn turn(&mut self) -> bool {
        let mut left = LOOKS_A_TURN;
        loop {
            if self.due.is_empty() {
                std::mem::swap(&mut self.due, &mut self.woken.places.lock());
            }
            if self.due.is_empty() {
                return true;
            }
            let count = self.due.len().min(left);
            for index in self.due.drain(..count) {
                let (place, waker) = &self.wakers[index];
                place.is_woken.store(false, Ordering::Release);
                let Some(stream) = self.streams.get_mut(index) else { continue };
                if Pin::new(stream).poll(&mut Context::from_waker(waker)).is_ready() {
                    self.streams.remove(index);
                }
            }
            left -= count;
            if left == 0 {
                return self.due.is_empty() && self.woken.places.lock().is_empty();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::rc::Rc;
    use std::sync::atomic::AtomicU32;
    use std::task::Poll;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    type Dynamic = Pin<Box<dyn Future<Output = ()>>>;

    /// A set of streams that always have more to do, how often each was looked at, and its task.
    fn busy(count: usize) -> (StreamSet<Dynamic>, Rc<Vec<Cell<u32>>>, Arc<Count>) {
        let looks: Rc<Vec<Cell<u32>>> = Rc::new((0..count).map(|_| Cell::new(0)).collect());
        let mut set = StreamSet::<Dynamic>::new();
        for index in 0..count {
            let looks = Rc::clone(&looks);
            set.push(Box::pin(poll_fn(move |cx| {
                looks[index].set(looks[index].get() + 1);
                cx.waker().wake_by_ref();
                Poll::Pending
            })));
        }
        (set, looks, Arc::default())
    }

    #[test]
    fn a_turn_ends_after_its_looks_and_asks_for_another() {
        let (mut set, looks, count) = busy(100);
        let waker = Waker::from(Arc::clone(&count));
        let cx = Context::from_waker(&waker);
        set.begin(&cx);
        assert!(!set.turn());
        assert_eq!(looks.iter().map(Cell::get).sum::<u32>() as usize, LOOKS_A_TURN);
        assert_eq!(count.0.load(Ordering::Relaxed), 0, "as long as it is at work nobody wakes it");
        set.rest(&cx);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn every_stream_is_looked_at_before_one_is_twice() {
        let (mut set, looks, _) = busy(100);
        for _ in 0..3 {
            assert!(!set.turn());
        }
        assert!(looks.iter().all(|looks| looks.get() <= 1), "{looks:?}");
        assert!(!set.turn() && looks.iter().all(|looks| (1..=2).contains(&looks.get())), "{looks:?}");
    }

    #[test]
    fn one_that_is_woken_is_looked_at_alone_and_one_that_is_over_never_again() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let cx = Context::from_waker(&waker);
        let mut set = StreamSet::<Dynamic>::new();
        let slept: Rc<Cell<Option<Waker>>> = Rc::default();
        let looks = Rc::new(Cell::new(0));
        let (kept, seen) = (Rc::clone(&slept), Rc::clone(&looks));
        set.push(Box::pin(async {}));
        set.push(Box::pin(poll_fn(move |cx| {
            kept.set(Some(cx.waker().clone()));
            seen.set(seen.get() + 1);
            if seen.get() < 3 { Poll::Pending } else { Poll::Ready(()) }
        })));
        set.begin(&cx);
        assert!(set.turn() && set.streams.len() == 1);
        set.rest(&cx);
        assert!(set.turn() && looks.get() == 1, "nobody woke it");
        let stream = slept.take().expect("a waker");
        stream.wake_by_ref();
        stream.wake_by_ref();
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "the task is woken, once");
        assert!(set.turn() && looks.get() == 2);
        slept.take().expect("a waker").wake();
        assert!(set.turn() && set.is_empty());
        stream.wake();
        assert!(set.turn() && looks.get() == 3);
    }
}
