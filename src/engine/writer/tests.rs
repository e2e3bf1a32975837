use proptest::prelude::*;

use super::*;
use crate::{
    engine::{clock::moment, state::Run},
    model::{ComponentType, Criticality, Outcome, Probe, VerdictReason},
};

const CRITICALITIES: [Criticality; 3] = [
    Criticality::Critical,
    Criticality::Shared,
    Criticality::NonCritical,
];

fn board(checks: u64) -> (Arc<Board>, Writer) {
    let service = Service {
        name: "orders".into(),
        release: None,
        version: None,
        description: None,
    };
    let definitions = (0..checks).map(|index| Definition {
        name: Name::new(format!("c{index}")).unwrap(),
        component_type: ComponentType::default(),
        runbook: None,
        policy: Policy {
            criticality: CRITICALITIES[(index % 3) as usize],
            shared_grace: (index % 6 == 1).then_some(Duration::from_secs(30)),
            fail_after: Some(1 + (index % 2) as u32),
            pass_after: Some(1 + (index % 4 / 3) as u32),
            ..Policy::default()
        },
        depends_on: Vec::new(),
        pushed: None,
    });
    let (messages, _) = tokio::sync::mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let engine = Link {
        messages,
        runtime: runtime.handle().clone(),
    };
    let writer = Writer::new(
        service,
        Clock::start(),
        definitions.collect(),
        DrainPolicy::default(),
        Some(engine),
    );
    (Arc::clone(writer.board()), writer)
}

/// What happens to a board.
#[derive(Clone, Debug)]
enum Step {
    Outcome(prop::sample::Index, Status),
    Wait(u64),
    Set(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let status = prop::sample::select(vec![Status::Pass, Status::Warn, Status::Fail]);
    prop_oneof![
        4 => (any::<prop::sample::Index>(), status).prop_map(|(index, status)| Step::Outcome(index, status)),
        2 => (0_u64..20).prop_map(Step::Wait),
        1 => (0_u64..60).prop_map(Step::Set),
    ]
}

type Check = (Name, Status, Option<Reason>);
type Shown = Vec<(
    Status,
    Option<VerdictReason>,
    Vec<Check>,
    usize,
    Option<Duration>,
)>;

fn shown(view: &View) -> Shown {
    let probes = [
        Probe::Liveness,
        Probe::Readiness,
        Probe::Startup,
        Probe::Health,
    ];
    let shown = probes.map(|probe| {
        let verdict = &view.of(probe).verdict;
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
    shown.into()
}

proptest! {
    /// The engine updates the verdicts in O(log n) for each change. A reader counts them again in
    /// O(n). Both agree, and until the next deadline nothing changes by itself.
    #[test]
    fn updated_verdicts_equal_those_counted_again(
        checks in 1_u64..30,
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
                    writer.update(Id(index.index(checks as usize) as u64), now, next);
                }
                Step::Wait(seconds) => {
                    now.mono += Duration::from_secs(seconds);
                    now.wall += Duration::from_secs(seconds);
                }
                // The wall clock is set.
                Step::Set(seconds) => now.wall += Duration::from_secs(seconds),
            }
            writer.elapse(now);
            writer.publish();
            let kept = board.published.load();
            let life = kept.view.life;
            let again = Published::count(&board.registry.load().cells, (now, now), life, None, Some(&kept.view));
            prop_assert_eq!(shown(&kept.view), shown(&again.view));
            prop_assert_eq!(kept.valid_until, again.valid_until);
            prop_assert!(kept.valid_until.is_none_or(|deadline| !deadline.reached(now)));
            if let Some(deadline) = kept.valid_until {
                let mut before = now;
                let spare = deadline.mono() - now.mono;
                before.mono += spare.saturating_sub(Duration::from_nanos(1));
                let later = Published::count(&board.registry.load().cells, (before, before), life, None, Some(&kept.view));
                prop_assert_eq!(shown(&later.view), shown(&kept.view));
            }
        }
    }
}

/// The status of readiness as the engine published it last, without what a reader would notice.
fn published_readiness(board: &Board) -> Status {
    let published = board.published.load();
    published.view.of(Probe::Readiness).verdict.status
}

#[test]
fn the_timer_records_an_expiry_without_a_reader() {
    let (board, mut writer) = board(1);
    let now = moment(1);
    let run = Run {
        ended: now,
        duration: Duration::ZERO,
    };
    writer.update(Id(0), now, |state, policy| {
        state.record(Outcome::pass(), run, policy, 0.0)
    });
    writer.publish();
    assert_eq!(writer.next_deadline(), Some(Duration::from_secs(33)));
    assert_eq!(published_readiness(&board), Status::Pass);
    writer.elapse(moment(33));
    writer.publish();
    assert_eq!(published_readiness(&board), Status::Fail);
    assert_eq!(writer.next_deadline(), None);
}

#[test]
fn a_dropped_writer_stops_the_board() {
    let (board, writer) = board(3);
    drop(writer);
    let published = board.published();
    assert_eq!(
        published.view.of(Probe::Readiness).verdict.checks[0].reason,
        Some(Reason::EngineStopped)
    );
    assert_eq!(published.valid_until, None);
}

#[test]
fn a_waiter_that_saw_an_expiry_is_notified_that_it_did_not_happen() {
    let service = Service {
        name: "orders".into(),
        release: None,
        version: None,
        description: None,
    };
    let definition = Definition {
        name: Name::new("c0").unwrap(),
        component_type: ComponentType::default(),
        runbook: None,
        policy: Policy {
            max_age: Some(Duration::from_millis(100)),
            ..Policy::default()
        },
        depends_on: Vec::new(),
        pushed: None,
    };
    let clock = Clock::start();
    let mut writer = Writer::new(
        service,
        clock,
        vec![definition],
        DrainPolicy::default(),
        None,
    );
    let board = Arc::clone(writer.board());
    let pass = |at| {
        let run = Run {
            ended: at,
            duration: Duration::ZERO,
        };
        move |state: &State, policy: &Policy| {
            state
                .record(Outcome::pass(), run, policy, 0.0)
                .at(at)
                .into_owned()
        }
    };
    let now = clock.now();
    writer.update(Id(0), now, pass(now));
    writer.publish();
    std::thread::sleep(Duration::from_millis(60));
    // `Engine::record`: the engine reads the clock before the expiry …
    let now = clock.now();
    // … its thread is preempted; a waiter on another looks after the expiry.
    std::thread::sleep(Duration::from_millis(60));
    let mut waiter = tokio_test::task::spawn(board.wait().until(|| {
        let status = board.verdict(Probe::Readiness).status;
        (status == Status::Pass).then_some(())
    }));
    assert!(waiter.poll().is_pending());
    assert_eq!(board.verdict(Probe::Readiness).status, Status::Fail);
    // The engine goes on.
    writer.update(Id(0), now, pass(now));
    writer.publish();
    assert_eq!(board.verdict(Probe::Readiness).status, Status::Pass);
    assert!(waiter.is_woken(), "the waiter sleeps on with `fail`");
    assert!(waiter.poll().is_ready());
}
