//! What is said of a check by the application itself, rather than by runs of it.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;

use super::{
    awake::Awake,
    board::Id,
    clock::Moment,
    state::{Run, State},
};
use crate::{check::Policy, model::Outcome};

/// The last words about a check, which readers hear at once and the engine records, and when it was last said that they
/// still hold.
#[derive(Debug)]
pub(crate) struct Pushed {
    /// For how long a word holds; for good if none is set.
    ttl: Option<Duration>,
    id: OnceLock<Id>,
    awake: OnceLock<Arc<Awake>>,
    /// What the engine has not recorded yet.
    news: ArcSwap<Vec<Arc<News>>>,
    /// Whether the engine was told that there is any.
    told: AtomicBool,
    /// Whether the last word is good, and has not become too old.
    holds: AtomicBool,
    /// When the last word was said or confirmed, in nanoseconds: on the clock of ages, and as the wall clock showed it.
    mono: AtomicU64,
    wall: AtomicU64,
    /// Whether nobody is left to say anything.
    abandoned: AtomicBool,
}

/// The last words about a check, as they were at a moment.
#[derive(Debug)]
pub(super) struct Words(Arc<Vec<Arc<News>>>);

#[derive(Debug)]
struct News {
    outcome: Outcome,
    at: Moment,
    /// Whether it is the last that will ever be said, or holds for good anyway.
    lasts: bool,
}

impl Pushed {
    /// How many words are kept for the engine: one that repeats the last takes its place, and so does one too many.
    const NEWS: usize = 8;

    /// What is said holds for so long.
    pub(crate) fn new(ttl: Duration) -> Self {
        Self::with(Some(ttl))
    }

    /// What is said holds until something else is.
    pub(crate) fn lasting() -> Self {
        Self::with(None)
    }

    fn with(ttl: Option<Duration>) -> Self {
        Self {
            ttl,
            id: OnceLock::new(),
            awake: OnceLock::new(),
            news: ArcSwap::default(),
            told: AtomicBool::new(false),
            holds: AtomicBool::new(false),
            mono: AtomicU64::new(0),
            wall: AtomicU64::new(0),
            abandoned: AtomicBool::new(false),
        }
    }

    /// Of which check it speaks, once it is registered.
    pub(super) fn register(&self, id: Id, awake: &Arc<Awake>) {
        _ = self.awake.set(Arc::clone(awake));
        _ = self.id.set(id);
    }

    pub(super) fn id(&self) -> Option<Id> {
        self.id.get().copied()
    }

    /// Says something. Whether the engine is to be told.
    pub(super) fn say(&self, outcome: &Outcome, at: Moment) -> bool {
        let good = outcome.status().is_good();
        self.holds.store(good, Ordering::Release);
        let word = Arc::new(News {
            outcome: outcome.clone(),
            at,
            lasts: self.ttl.is_none() || self.is_abandoned(),
        });
        self.news.rcu(|news| {
            let mut news = Vec::clone(news);
            let repeats = news
                .last()
                .is_some_and(|last| last.outcome.status() == outcome.status());
            if repeats || news.len() >= Self::NEWS {
                news.pop();
            }
            news.push(Arc::clone(&word));
            news
        });
        // Only now, for the word before this one is not confirmed by it; and a failing one by nothing.
        if good {
            self.set_time(at);
        }
        !self.told.swap(true, Ordering::AcqRel)
    }

    /// Says that the last word still holds. Whether it did.
    pub(super) fn confirm(&self, at: Moment) -> bool {
        let is_over = |ttl| self.last().plus(ttl).reached(at);
        let holds = self.holds.load(Ordering::Acquire) && !self.ttl.is_some_and(is_over);
        if holds {
            self.set_time(at);
        }
        holds
    }

    /// What was said counts from now on: nobody could confirm it for a while.
    pub(super) fn refresh(&self, now: Moment) {
        if self.holds.load(Ordering::Acquire) {
            self.set_time(now);
        }
    }

    /// Nobody could confirm what was said for so long.
    pub(super) fn forgive(&self, held_up: Duration, now: Moment) {
        if self.holds.load(Ordering::Acquire) {
            let last = self.last();
            self.set_time(Moment {
                mono: (last.mono + held_up).min(now.mono),
                wall: (last.wall + held_up).min(now.wall),
            });
        }
    }

    /// What was said has become too old; whoever speaks next is to tell the engine.
    pub(super) fn lapse(&self) {
        self.holds.store(false, Ordering::Release);
    }

    /// It was not, after all.
    pub(super) fn hold(&self) {
        self.holds.store(true, Ordering::Release);
    }

    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    /// Whether it speaks of no check, or of none yet.
    pub(crate) fn is_unregistered(&self) -> bool {
        self.id.get().is_none()
    }

    /// Whether what is said holds until something else is.
    pub(super) fn lasts(&self) -> bool {
        self.ttl.is_none()
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    fn set_time(&self, at: Moment) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.mono.store(nanos(at.mono), Ordering::Release);
        self.wall.store(nanos(at.wall), Ordering::Release);
    }

    fn last(&self) -> Moment {
        let time = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Ordering::Acquire));
        Moment {
            mono: time(&self.mono),
            wall: time(&self.wall),
        }
    }

    /// A state, with what was confirmed since it was recorded.
    pub(super) fn confirmed(&self, state: &State, now: Moment) -> State {
        let waking = self.awake.get().is_some_and(|awake| awake.is_waking());
        let last = match waking && self.holds.load(Ordering::Acquire) {
            true => now,
            false => self.last(),
        };
        match self.ttl {
            Some(ttl) => state.confirmed(last, ttl),
            None => state.clone(),
        }
    }

    /// What was said and may not be recorded yet. It is to be loaded before the state that it is [heard](Self::heard) on top of:
    /// what is not in it any more is in that.
    pub(super) fn words(&self) -> Words {
        Words(self.news.load_full())
    }

    /// A state, with all that was said since it was recorded.
    pub(super) fn heard(
        &self,
        words: &Words,
        state: &State,
        policy: &Policy,
        now: Moment,
    ) -> State {
        let news = words.0.iter();
        let heard = news.fold(state.clone(), |state, news| news.record(&state, policy));
        self.confirmed(&heard, now)
    }

    /// Has `record` record what was said, in its order.
    pub(super) fn drain(&self, mut record: impl FnMut(&dyn Fn(&State, &Policy) -> State)) {
        // What is said from now on is told again.
        self.told.store(false, Ordering::Release);
        let heard = self.news.load_full();
        for news in heard.iter() {
            record(&|state, policy| news.record(state, policy));
        }
        // Until here readers hear it twice, which is no more than once. What is new starts where it ended.
        let new = |news: &Arc<Vec<Arc<News>>>| -> Vec<Arc<News>> {
            let is_known = |one: &&Arc<News>| heard.iter().any(|known| Arc::ptr_eq(known, one));
            news.iter().skip_while(is_known).cloned().collect()
        };
        self.news.rcu(new);
    }
}

impl News {
    fn record(&self, state: &State, policy: &Policy) -> State {
        let run = Run {
            ended: self.at,
            duration: Duration::ZERO,
        };
        let state = state.record(self.outcome.clone(), run, policy, 0.0);
        match self.lasts {
            true => state.for_good(),
            false => state,
        }
    }
}
