//! Pure: the phases of a drain. Serve on, finish, close, cut.

use std::time::Duration;

/// The times of the phases of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DrainPolicy {
    /// How long the instance serves on, while load balancers notice.
    pub(crate) delay: Duration,
    /// How long it then waits until nothing is in flight. It still accepts.
    pub(crate) finish: Duration,
    /// How long servers may then finish what is on open connections. They no longer accept.
    pub(crate) close: Duration,
}

impl Default for DrainPolicy {
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(5),
            finish: Duration::from_secs(15),
            close: Duration::from_secs(5),
        }
    }
}

/// How long a server may take to end once nothing is in flight, to close its connections and to
/// write the rest of its responses.
const LINGER: Duration = Duration::from_secs(2);

impl DrainPolicy {
    /// The default grace period of a Kubernetes pod.
    pub(crate) const GRACE_PERIOD: Duration = Duration::from_secs(30);

    /// The settings with invalid values.
    pub(crate) fn problems(self) -> impl Iterator<Item = &'static str> {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let settings = [
            ("drain_delay", self.delay),
            ("drain_finish", self.finish),
            ("drain_close", self.close),
        ];
        let problems = settings.into_iter().filter(|&(_, value)| value > DAY);
        problems.map(|(setting, _)| setting)
    }

    /// The longest time that a drain takes.
    pub(crate) fn longest(self) -> Duration {
        self.delay.saturating_add(self.longest_without_delay())
    }

    /// The longest time after SIGINT, which skips the delay.
    pub(crate) fn longest_without_delay(self) -> Duration {
        self.finish.saturating_add(self.close)
    }
}

/// What began a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DrainCause {
    /// The application.
    Requested,
    /// SIGTERM.
    Terminated,
    /// SIGINT: a person is waiting, and no load balancer has to notice.
    Interrupted,
}

impl DrainCause {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Terminated => "SIGTERM",
            Self::Interrupted => "SIGINT",
        }
    }
}

/// What is to end early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hurry {
    /// The delay, if it is not over.
    Delay,
    /// The current phase.
    Phase,
}

/// A drain in progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drain {
    phase: Phase,
    began: Duration,
    /// When the phase is over at the latest.
    until: Duration,
    /// Since when nothing has been in flight, in the phase in which that ends the drain.
    idle: Option<Duration>,
    ended: bool,
    policy: DrainPolicy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The instance serves on.
    Serving,
    /// It still accepts, and waits until nothing is in flight.
    Finishing,
    /// Servers have stopped accepting, and finish what is on open connections.
    Closing,
    Done,
}

/// A step of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// From now on the drain proceeds when nothing is in flight.
    Finish,
    /// Servers are to stop accepting. This many requests are in flight.
    Close(usize),
    /// Nothing is in flight any more, or the rest will be cut.
    End(DrainEnd),
    /// Servers are to end at once. This many requests are in flight.
    Cut(usize),
}

/// How a drain ended, as known when servers have nothing left to do. A request that arrives on an
/// open connection later may still be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DrainEnd {
    /// How many requests were in flight.
    pub(crate) in_flight: usize,
    pub(crate) took: Duration,
}

impl Drain {
    pub(crate) fn begin(now: Duration, cause: DrainCause, policy: DrainPolicy) -> Self {
        let delay = match cause {
            DrainCause::Interrupted => Duration::ZERO,
            DrainCause::Requested | DrainCause::Terminated => policy.delay,
        };
        Self {
            phase: Phase::Serving,
            began: now,
            until: now.saturating_add(delay),
            idle: None,
            ended: false,
            policy,
        }
    }

    /// Ends the delay or the current phase. A phase that waits for requests in flight ends without
    /// them.
    pub(crate) fn hurry(&mut self, now: Duration, what: Hurry) {
        if what == Hurry::Phase || self.phase == Phase::Serving {
            self.until = self.until.min(now);
        }
    }

    /// The last request in flight has ended.
    pub(crate) fn idle(&mut self, now: Duration) {
        if self.idle.is_some() {
            self.idle = Some(now);
        }
    }

    /// The time since it began.
    pub(crate) fn took(&self, now: Duration) -> Duration {
        now.saturating_sub(self.began)
    }

    /// When the next step is due at the latest.
    pub(crate) fn due(&self) -> Option<Duration> {
        (self.phase != Phase::Done).then(|| self.cut_at())
    }

    fn cut_at(&self) -> Duration {
        match self.idle {
            Some(idle) => self.until.min(idle.saturating_add(LINGER)),
            None => self.until,
        }
    }

    /// The next step, if it is due. Call this until it returns `None`.
    pub(crate) fn step(&mut self, now: Duration, in_flight: usize) -> Option<Step> {
        if self.phase == Phase::Closing {
            self.idle = match in_flight {
                0 => self.idle.or(Some(now)),
                _ => None,
            };
        }
        let over = now >= self.cut_at();
        match self.phase {
            Phase::Serving if over => {
                self.phase = Phase::Finishing;
                self.until = now.saturating_add(self.policy.finish);
                Some(Step::Finish)
            }
            Phase::Finishing if over || in_flight == 0 => {
                self.phase = Phase::Closing;
                self.until = now.saturating_add(self.policy.close);
                Some(Step::Close(in_flight))
            }
            Phase::Closing if !self.ended && (over || in_flight == 0) => {
                self.ended = true;
                let took = self.took(now);
                Some(Step::End(DrainEnd { in_flight, took }))
            }
            Phase::Closing if over => {
                self.phase = Phase::Done;
                self.idle = None;
                Some(Step::Cut(in_flight))
            }
            Phase::Serving | Phase::Finishing | Phase::Closing | Phase::Done => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn begin(cause: DrainCause) -> Drain {
        Drain::begin(100 * SECOND, cause, DrainPolicy::default())
    }

    fn steps(drain: &mut Drain, at: u32, in_flight: usize) -> Vec<Step> {
        std::iter::from_fn(|| drain.step(at * SECOND, in_flight)).collect()
    }

    fn end(in_flight: usize, seconds: u32) -> Step {
        let took = seconds * SECOND;
        Step::End(DrainEnd { in_flight, took })
    }

    #[test]
    fn it_serves_on_finishes_closes_and_cuts() {
        let mut drain = begin(DrainCause::Terminated);
        assert_eq!(steps(&mut drain, 104, 0), [], "it serves on, though idle");
        assert_eq!(steps(&mut drain, 105, 2), [Step::Finish]);
        assert_eq!(steps(&mut drain, 106, 1), []);
        assert_eq!(steps(&mut drain, 107, 0), [Step::Close(0), end(0, 7)]);
        assert_eq!(drain.due(), Some(109 * SECOND), "nothing is in flight");
        assert_eq!(steps(&mut drain, 109, 0), [Step::Cut(0)]);
        assert_eq!(drain.due(), None);
    }

    #[test]
    fn what_is_in_flight_when_servers_close_has_a_time_of_its_own() {
        let mut drain = begin(DrainCause::Requested);
        assert_eq!(steps(&mut drain, 105, 1), [Step::Finish]);
        assert_eq!(drain.due(), Some(120 * SECOND));
        assert_eq!(steps(&mut drain, 120, 3), [Step::Close(3)]);
        assert_eq!(drain.due(), Some(125 * SECOND));
        assert_eq!(steps(&mut drain, 122, 0), [end(0, 22)]);
        assert_eq!(drain.due(), Some(124 * SECOND));
    }

    #[test]
    fn what_is_stuck_is_cut_when_that_is_over() {
        let mut drain = begin(DrainCause::Requested);
        assert_eq!(steps(&mut drain, 105, 1), [Step::Finish]);
        assert_eq!(steps(&mut drain, 120, 1), [Step::Close(1)]);
        assert_eq!(steps(&mut drain, 125, 1), [end(1, 25), Step::Cut(1)]);
    }

    #[test]
    fn a_request_that_comes_on_an_open_connection_while_servers_close_is_waited_for() {
        let mut drain = begin(DrainCause::Interrupted);
        assert_eq!(
            steps(&mut drain, 100, 0),
            [Step::Finish, Step::Close(0), end(0, 0)]
        );
        assert_eq!(steps(&mut drain, 102, 1), [], "it would be over, if idle");
        assert_eq!(drain.due(), Some(105 * SECOND));
        assert_eq!(steps(&mut drain, 104, 0), []);
        assert_eq!(drain.due(), Some(105 * SECOND), "no later than that");
        assert_eq!(steps(&mut drain, 105, 1), [Step::Cut(1)]);
    }

    #[test]
    fn one_that_came_and_went_has_its_time_for_the_last_bytes() {
        let mut drain = begin(DrainCause::Interrupted);
        _ = steps(&mut drain, 100, 0);
        drain.idle(101 * SECOND);
        assert_eq!(steps(&mut drain, 102, 0), []);
        assert_eq!(steps(&mut drain, 103, 0), [Step::Cut(0)]);
    }

    #[test]
    fn who_interrupts_waits_for_what_is_in_flight_alone() {
        let mut drain = begin(DrainCause::Interrupted);
        assert_eq!(steps(&mut drain, 100, 1), [Step::Finish]);
        drain.hurry(101 * SECOND, Hurry::Delay);
        assert_eq!(steps(&mut drain, 101, 1), [], "there is no delay to end");
        drain.hurry(101 * SECOND, Hurry::Phase);
        assert_eq!(steps(&mut drain, 101, 1), [Step::Close(1)]);
    }

    #[test]
    fn each_signal_more_ends_a_part() {
        let mut drain = begin(DrainCause::Terminated);
        drain.hurry(101 * SECOND, Hurry::Phase);
        assert_eq!(steps(&mut drain, 101, 1), [Step::Finish]);
        assert_eq!(drain.due(), Some(116 * SECOND), "all of it is left");
        drain.hurry(102 * SECOND, Hurry::Phase);
        assert_eq!(steps(&mut drain, 102, 1), [Step::Close(1)]);
        assert_eq!(drain.due(), Some(107 * SECOND));
        drain.hurry(103 * SECOND, Hurry::Phase);
        assert_eq!(steps(&mut drain, 103, 1), [end(1, 3), Step::Cut(1)]);
    }

    proptest! {
        /// Whatever happens, the steps come in their order, each once, and the drain ends within
        /// its time.
        #[test]
        fn a_drain_ends(
            events in prop::collection::vec((0_u32..8, 0_usize..3, prop::bool::weighted(0.1)), 0..40),
        ) {
            let mut drain = begin(DrainCause::Terminated);
            let (mut now, mut seen) = (100, Vec::new());
            for (delay, in_flight, hurry) in events {
                now += delay;
                if hurry {
                    drain.hurry(now * SECOND, Hurry::Phase);
                }
                for step in steps(&mut drain, now, in_flight) {
                    if let Step::End(DrainEnd { in_flight, .. }) = step {
                        let late = drain.due().is_none_or(|due| due <= now * SECOND);
                        prop_assert!(in_flight == 0 || late, "something is in flight, and there is time");
                    }
                    seen.push(step);
                }
            }
            for wait in [5, 20, 25] {
                seen.extend(steps(&mut drain, now + wait, 1));
            }
            prop_assert_eq!(drain.due(), None);
            let order: Vec<u8> = seen
                .iter()
                .map(|step| match step {
                    Step::Finish => 0,
                    Step::Close(_) => 1,
                    Step::End(_) => 2,
                    Step::Cut(_) => 3,
                })
                .collect();
            prop_assert_eq!(order, [0, 1, 2, 3]);
        }
    }
}
