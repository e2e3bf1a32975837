//! The one place where current states live. Every reader reads it, without a lock; only the engine writes it.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};

use super::{
    clock::{Clock, Deadline, Moment},
    memo::Memo,
    state::State,
    tally::{Standing, Tally},
    view::{Facts, Published, View},
};
use crate::{
    check::Policy,
    model::{CheckReport, ComponentType, LastRun, Name, Report},
};

/// Who reports.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: Arc<str>,
    pub(crate) release: Option<Arc<str>>,
    pub(crate) version: Option<Arc<str>>,
    pub(crate) description: Option<Arc<str>>,
}

/// What of a check never changes.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: Name,
    pub(crate) component_type: ComponentType,
    pub(crate) policy: Policy,
}

/// A check's definition and its current state.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) definition: Definition,
    current: ArcSwap<Current>,
}

/// A state, and the answers made of it, which outlive it while they still tell the same.
#[derive(Debug)]
struct Current {
    state: State,
    memo: Arc<Memo>,
}

pub(crate) struct Board {
    pub(crate) service: Service,
    pub(crate) clock: Clock,
    cells: Box<[Cell]>,
    by_name: HashMap<Name, usize>,
    published: ArcSwap<Published>,
    /// When the engine stopped.
    stopped: OnceLock<Moment>,
}

impl Board {
    /// A board with every check pending, and the half that writes it.
    pub(crate) fn new(
        service: Service,
        clock: Clock,
        definitions: Vec<Definition>,
    ) -> (Arc<Self>, Writer) {
        let now = clock.now();
        let by_name = definitions
            .iter()
            .enumerate()
            .map(|(index, definition)| (definition.name.clone(), index))
            .collect();
        let cells: Box<[Cell]> = definitions
            .into_iter()
            .map(|definition| Cell::pending(definition, now))
            .collect();
        let published = publish(&cells, now, None, None);
        let standings: Vec<Standing> = cells.iter().map(|cell| cell.standing(now)).collect();
        let board = Arc::new(Self {
            service,
            clock,
            cells,
            by_name,
            published: ArcSwap::from_pointee(published),
            stopped: OnceLock::new(),
        });
        let view = Arc::clone(&board.published.load().view);
        let writer = Writer {
            tally: Tally::of(standings.iter().copied()),
            deadlines: Deadlines::new(standings.len()),
            standings,
            view,
            changed: false,
            board: Arc::clone(&board),
        };
        (board, writer)
    }

    pub(crate) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    pub(crate) fn cell(&self, name: &str) -> Option<&Cell> {
        self.cells.get(*self.by_name.get(name)?)
    }

    pub(crate) fn names(&self) -> Vec<Name> {
        let name = |cell: &Cell| cell.definition.name.clone();
        self.cells.iter().map(name).collect()
    }

    /// The verdicts as they are now: one load and one comparison, unless an expiry is due that the engine has
    /// not come to yet.
    pub(crate) fn published(&self) -> Guard<Arc<Published>> {
        let now = self.clock.now();
        let published = self.published.load();
        match published.valid_until {
            Some(deadline) if deadline.reached(now) => self.refresh(now, &published),
            _ => published,
        }
    }

    /// Does for readers what the engine has not done yet. The result is shared with other readers if the
    /// engine published nothing meanwhile.
    #[cold]
    fn refresh(&self, now: Moment, old: &Arc<Published>) -> Guard<Arc<Published>> {
        let stopped = self.stopped.get().copied();
        let new = Arc::new(publish(&self.cells, now, stopped, Some(&old.view)));
        self.published.compare_and_swap(old, Arc::clone(&new));
        Guard::from_inner(new)
    }

    /// Everything as it is now. Its status is made of the very states that it lists.
    pub(crate) fn report(&self) -> (Report, Option<Duration>) {
        let now = self.clock.now();
        let started = self.published.load().view.started;
        let stopped = self.stopped.get().copied();
        let mut standings = Vec::with_capacity(self.cells.len());
        let mut checks = Vec::with_capacity(self.cells.len());
        for cell in &self.cells {
            let state = cell.read(now, stopped);
            standings.push(Standing::of(&state, &cell.definition.policy, now));
            checks.push(cell.definition.report(&state, now));
        }
        let facts = Facts {
            tally: &Tally::of(standings),
            started,
            stopped: stopped.is_some(),
        };
        let (status, reason) = facts.health();
        let report = Report {
            service: Arc::clone(&self.service.name),
            release: self.service.release.clone(),
            version: self.service.version.clone(),
            description: self.service.description.clone(),
            status,
            reason,
            checks,
        };
        (report, facts.retry_readiness())
    }

    /// What is known of one check now, how soon it runs again, and the answers made of that.
    pub(crate) fn check(&self, name: &str) -> Option<(CheckReport, Duration, Arc<Memo>)> {
        let cell = self.cell(name)?;
        let now = self.clock.now();
        let stopped = self.stopped.get().copied();
        let current = cell.current.load();
        let state = current.read(now, stopped);
        let memo = match state.looks_like(&current.state) {
            true => Arc::clone(&current.memo),
            false => Arc::default(),
        };
        Some((cell.definition.report(&state, now), state.retry_in, memo))
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board")
            .field("service", &self.service)
            .field("checks", &self.names())
            .finish_non_exhaustive()
    }
}

impl Cell {
    fn pending(definition: Definition, now: Moment) -> Self {
        let state = State::pending(now, &definition.policy);
        Self {
            definition,
            current: ArcSwap::from_pointee(Current {
                state,
                memo: Arc::default(),
            }),
        }
    }

    /// The state as it reads at `now`.
    fn read(&self, now: Moment, stopped: Option<Moment>) -> State {
        self.current.load().read(now, stopped)
    }

    fn standing(&self, now: Moment) -> Standing {
        Standing::of(&self.read(now, None), &self.definition.policy, now)
    }
}

impl Current {
    fn read(&self, now: Moment, stopped: Option<Moment>) -> State {
        let state = self.state.at(now);
        match stopped {
            Some(at) => state.stopped(at),
            None => state.into_owned(),
        }
    }
}

impl Definition {
    fn report(&self, state: &State, now: Moment) -> CheckReport {
        CheckReport {
            name: self.name.clone(),
            criticality: self.policy.criticality,
            component_type: self.component_type,
            status: state.status,
            reason: state.reason,
            cause: state.cause.clone(),
            measurements: Arc::clone(&state.measurements),
            since: state.since.time(),
            last_run: state
                .last_run
                .map(|run| LastRun::new(run.ended.time(), run.duration, run.ended.age_at(now))),
            streak: state.threshold.streak(),
            last_success: state.last_success.map(Moment::time),
        }
    }
}

/// The verdicts counted anew from all states: O(n).
fn publish(
    cells: &[Cell],
    now: Moment,
    stopped: Option<Moment>,
    before: Option<&View>,
) -> Published {
    let states: Vec<State> = cells.iter().map(|cell| cell.read(now, stopped)).collect();
    let each = || cells.iter().zip(&states);
    let tally =
        Tally::of(each().map(|(cell, state)| Standing::of(state, &cell.definition.policy, now)));
    let facts = Facts {
        tally: &tally,
        started: before.is_some_and(|view| view.started),
        stopped: stopped.is_some(),
    };
    let report = |index: usize| {
        let (cell, state) = (cells.get(index)?, states.get(index)?);
        Some(cell.definition.report(state, now))
    };
    let valid_until = each()
        .filter_map(|(cell, state)| state.changes_at(&cell.definition.policy, now))
        .reduce(Deadline::min)
        .filter(|_| stopped.is_none());
    Published {
        valid_until,
        view: Arc::new(View::new(&facts, report, before)),
    }
}

/// The half of the board that the engine holds. When it is dropped, for whatever reason, every reader learns
/// that the engine stopped.
#[derive(Debug)]
pub(crate) struct Writer {
    board: Arc<Board>,
    standings: Vec<Standing>,
    tally: Tally,
    deadlines: Deadlines,
    view: Arc<View>,
    changed: bool,
}

impl Writer {
    pub(crate) fn board(&self) -> &Board {
        &self.board
    }

    /// Replaces the state of a check by what `next` makes of it: O(log n). Readers of verdicts learn of it by
    /// [`publish`](Self::publish).
    pub(crate) fn update(
        &mut self,
        index: usize,
        now: Moment,
        next: impl FnOnce(&State, &Policy) -> State,
    ) -> Option<()> {
        let cell = self.board.cells.get(index)?;
        let policy = &cell.definition.policy;
        let current = cell.current.load_full();
        let state = next(&current.state, policy);
        let memo = match state.looks_like(&current.state) {
            true => Arc::clone(&current.memo),
            false => {
                self.changed = true;
                Arc::default()
            }
        };
        let standing = self.standings.get_mut(index)?;
        let old = std::mem::replace(standing, Standing::of(&state, policy, now));
        self.changed |= old != *standing;
        self.tally.replace(index, old, *standing);
        self.deadlines.set(index, state.changes_at(policy, now));
        cell.current.store(Arc::new(Current { state, memo }));
        Some(())
    }

    /// Makes every change true that has come due by `now`, with no event of its own.
    pub(crate) fn elapse(&mut self, now: Moment) {
        while let Some(index) = self.deadlines.due(now) {
            self.update(index, now, |state, _| state.at(now).into_owned());
        }
    }

    /// Shows readers what changed since the last time.
    pub(crate) fn publish(&mut self) {
        let valid_until = self.deadlines.first();
        if self.changed {
            self.changed = false;
            // A reader may have published the same before: see `Board::refresh`.
            let before = Arc::clone(&self.board.published.load().view);
            let facts = Facts {
                tally: &self.tally,
                started: self.view.started,
                stopped: false,
            };
            let now = self.board.clock.now();
            let report = |index: usize| {
                let cell = self.board.cells.get(index)?;
                Some(cell.definition.report(&cell.current.load().state, now))
            };
            self.view = Arc::new(View::new(&facts, report, Some(&before)));
        } else if self.board.published.load().valid_until == valid_until {
            return;
        }
        self.board.published.store(Arc::new(Published {
            valid_until,
            view: Arc::clone(&self.view),
        }));
    }

    /// The delay before the next run of a check without its jitter, and its period.
    pub(crate) fn delay(&self, index: usize) -> Option<(Duration, Duration)> {
        let cell = self.board.cells.get(index)?;
        Some((
            cell.current.load().state.retry_in,
            cell.definition.policy.period,
        ))
    }

    /// When [`elapse`](Self::elapse) next has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(Deadline::mono)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let board = &self.board;
        let now = board.clock.now();
        let at = *board.stopped.get_or_init(|| now);
        let published = publish(&board.cells, now, Some(at), Some(&self.view));
        board.published.store(Arc::new(published));
    }
}

/// When each check will read otherwise, if nothing happens; the earliest on each clock is known.
#[derive(Debug)]
struct Deadlines {
    of: Vec<Option<Deadline>>,
    mono: BTreeSet<(Duration, usize)>,
    wall: BTreeSet<(Duration, usize)>,
}

impl Deadlines {
    fn new(checks: usize) -> Self {
        Self {
            of: vec![None; checks],
            mono: BTreeSet::new(),
            wall: BTreeSet::new(),
        }
    }

    fn set(&mut self, index: usize, deadline: Option<Deadline>) {
        let Some(slot) = self.of.get_mut(index) else {
            return;
        };
        if let Some(old) = std::mem::replace(slot, deadline) {
            self.mono.remove(&(old.mono(), index));
            self.wall.remove(&(old.wall(), index));
        }
        if let Some(new) = deadline {
            self.mono.insert((new.mono(), index));
            self.wall.insert((new.wall(), index));
        }
    }

    fn first(&self) -> Option<Deadline> {
        let (&(mono, _), &(wall, _)) = (self.mono.first()?, self.wall.first()?);
        Some(Deadline::new(mono, wall))
    }

    /// A check whose deadline is over.
    fn due(&self, now: Moment) -> Option<usize> {
        let due = |first: Option<&(Duration, usize)>, now| {
            first.filter(|&&(at, _)| at <= now).map(|&(_, index)| index)
        };
        due(self.mono.first(), now.mono).or_else(|| due(self.wall.first(), now.wall))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        engine::{clock::moment, state::Run},
        model::{Criticality, Outcome, Probe, Reason, Status, VerdictReason},
    };

    const CRITICALITIES: [Criticality; 3] = [
        Criticality::Critical,
        Criticality::Shared,
        Criticality::NonCritical,
    ];

    fn board(checks: usize) -> (Arc<Board>, Writer) {
        let service = Service {
            name: "orders".into(),
            release: None,
            version: None,
            description: None,
        };
        let definitions = (0..checks).map(|index| Definition {
            name: Name::new(format!("c{index}")).unwrap(),
            component_type: ComponentType::default(),
            policy: Policy {
                criticality: CRITICALITIES[index % 3],
                shared_grace: (index % 6 == 1).then_some(Duration::from_secs(30)),
                fail_after: 1 + (index % 2) as u32,
                pass_after: 1 + (index % 4 / 3) as u32,
                ..Policy::default()
            },
        });
        Board::new(service, Clock::start(), definitions.collect())
    }

    /// What happens to a board.
    #[derive(Clone, Debug)]
    enum Step {
        Outcome(prop::sample::Index, Status),
        Wait(u64),
        Sleep(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let status = prop::sample::select(vec![Status::Pass, Status::Warn, Status::Fail]);
        prop_oneof![
            4 => (any::<prop::sample::Index>(), status).prop_map(|(index, status)| Step::Outcome(index, status)),
            2 => (0_u64..20).prop_map(Step::Wait),
            1 => (0_u64..60).prop_map(Step::Sleep),
        ]
    }

    type Check = (Name, Status, Option<Reason>);
    type Told = Vec<(
        Status,
        Option<VerdictReason>,
        Vec<Check>,
        usize,
        Option<Duration>,
    )>;

    fn told(view: &View) -> Told {
        let probes = [
            Probe::Liveness,
            Probe::Readiness,
            Probe::Startup,
            Probe::Health,
        ];
        let told = probes.map(|probe| {
            let verdict = &view.face(probe).verdict;
            let check = |check: &CheckReport| (check.name.clone(), check.status, check.reason);
            let checks = verdict.checks.iter().map(check).collect();
            (
                verdict.status,
                verdict.reason,
                checks,
                verdict.more,
                verdict.retry_after,
            )
        });
        told.into()
    }

    proptest! {
        /// The engine keeps the verdicts up to date at O(log n) a change; a reader counts them anew at O(n).
        /// Both come to the same, and until the next deadline nothing changes by itself.
        #[test]
        fn what_is_kept_equals_what_is_counted_anew(
            checks in 1_usize..30,
            steps in prop::collection::vec(step(), 1..120),
        ) {
            let (board, mut writer) = board(checks);
            let mut now = moment(0);
            for step in steps {
                match step {
                    Step::Outcome(index, status) => {
                        let run = Run { ended: now, duration: Duration::ZERO };
                        let next = |state: &State, policy: &Policy| {
                            state.record(status.into(), run, policy, 0.5)
                        };
                        writer.update(index.index(checks), now, next);
                    }
                    Step::Wait(seconds) => {
                        now.mono += Duration::from_secs(seconds);
                        now.wall += Duration::from_secs(seconds);
                    }
                    // The machine sleeps: its monotonic clock stands still.
                    Step::Sleep(seconds) => now.wall += Duration::from_secs(seconds),
                }
                writer.elapse(now);
                writer.publish();
                let kept = board.published.load();
                let anew = publish(&board.cells, now, None, Some(&kept.view));
                prop_assert_eq!(told(&kept.view), told(&anew.view));
                prop_assert_eq!(kept.valid_until, anew.valid_until);
                prop_assert!(kept.valid_until.is_none_or(|deadline| !deadline.reached(now)));
                if let Some(deadline) = kept.valid_until {
                    let mut before = now;
                    let spare = (deadline.mono() - now.mono).min(deadline.wall() - now.wall);
                    before.mono += spare.saturating_sub(Duration::from_nanos(1));
                    before.wall += spare.saturating_sub(Duration::from_nanos(1));
                    let later = publish(&board.cells, before, None, Some(&kept.view));
                    prop_assert_eq!(told(&later.view), told(&kept.view));
                }
            }
        }
    }

    #[test]
    fn the_timer_makes_an_expiry_true_without_a_reader() {
        let (board, mut writer) = board(1);
        let now = moment(1);
        let run = Run {
            ended: now,
            duration: Duration::ZERO,
        };
        writer.update(0, now, |state, policy| {
            state.record(Outcome::pass(), run, policy, 0.0)
        });
        writer.publish();
        assert_eq!(writer.next_deadline(), Some(Duration::from_secs(33)));
        assert_eq!(
            board.published.load().view.readiness.verdict.status,
            Status::Pass
        );
        writer.elapse(moment(33));
        writer.publish();
        assert_eq!(
            board.published.load().view.readiness.verdict.status,
            Status::Fail
        );
        assert_eq!(writer.next_deadline(), None);
    }

    #[test]
    fn a_dropped_writer_stops_the_board() {
        let (board, writer) = board(3);
        drop(writer);
        let published = board.published();
        assert_eq!(
            published.view.readiness.verdict.checks[0].reason,
            Some(Reason::EngineStopped)
        );
        assert_eq!(published.valid_until, None);
    }
}
