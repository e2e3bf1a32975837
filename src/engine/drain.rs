//! How an instance leaves: serve on for a while, finish what is in flight, close.

use std::time::Duration;

/// How long the parts of a drain take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DrainPolicy {
    /// For how long the instance serves on, while load balancers learn that it leaves.
    pub(crate) delay: Duration,
    /// How long what is in flight then has to end.
    pub(crate) cap: Duration,
}

impl Default for DrainPolicy {
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(5),
            cap: Duration::from_secs(20),
        }
    }
}

impl DrainPolicy {
    /// What Kubernetes gives a container to end.
    pub(crate) const GRACE_PERIOD: Duration = Duration::from_secs(30);

    /// The settings that cannot be.
    pub(crate) fn faults(self) -> impl Iterator<Item = &'static str> {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let settings = [("drain_delay", self.delay), ("drain_cap", self.cap)];
        let faults = settings.into_iter().filter(|&(_, value)| value > DAY);
        faults.map(|(setting, _)| setting)
    }

    /// How long a drain takes at most.
    pub(crate) fn longest(self) -> Duration {
        self.delay.saturating_add(self.cap)
    }
}

/// Why an instance leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DrainCause {
    /// The application said so.
    Asked,
    Terminated,
    /// Somebody sits before it and waits: nobody has to be told first.
    Interrupted,
}

impl DrainCause {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Terminated => "SIGTERM",
            Self::Interrupted => "SIGINT",
        }
    }
}

/// What of a drain is to end sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hurry {
    /// The delay, if it is not over.
    Delay,
    /// The part that it is in.
    Part,
}

/// A drain under way. Pure: time is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drain {
    part: Part,
    began: Duration,
    /// When the part is over, whatever happens.
    until: Duration,
    cap: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// It serves on.
    Serving,
    /// It still accepts, and waits for the moment when nothing is in flight.
    Finishing,
    /// Servers end.
    Closing,
    Done,
}

/// What comes next in a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// From now on the end of what is in flight counts.
    Finish,
    /// Servers are to stop accepting.
    Close(DrainEnd),
    /// Servers are to end, whatever they do.
    Cut,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DrainEnd {
    pub(crate) in_flight: usize,
    pub(crate) took: Duration,
}

impl Drain {
    pub(crate) fn begin(now: Duration, cause: DrainCause, policy: DrainPolicy) -> Self {
        let delay = match cause {
            DrainCause::Interrupted => Duration::ZERO,
            DrainCause::Asked | DrainCause::Terminated => policy.delay,
        };
        Self {
            part: Part::Serving,
            began: now,
            until: now.saturating_add(delay),
            cap: policy.cap,
        }
    }

    /// Ends the part that it is in, if that is what is meant: then it does not wait for what is in flight any more, if it
    /// did.
    pub(crate) fn hurry(&mut self, now: Duration, what: Hurry) {
        if what == Hurry::Part || self.part == Part::Serving {
            self.until = self.until.min(now);
        }
    }

    /// When there is something to do, whatever happens.
    pub(crate) fn due(&self) -> Option<Duration> {
        (self.part != Part::Done).then_some(self.until)
    }

    /// What comes next, if something does by now. To be asked again until nothing does.
    pub(crate) fn step(&mut self, now: Duration, in_flight: usize) -> Option<Step> {
        let over = now >= self.until;
        match self.part {
            Part::Serving if over => {
                self.part = Part::Finishing;
                self.until = now.saturating_add(self.cap);
                Some(Step::Finish)
            }
            Part::Finishing if over || in_flight == 0 => {
                self.part = Part::Closing;
                let took = now.saturating_sub(self.began);
                Some(Step::Close(DrainEnd { in_flight, took }))
            }
            Part::Closing if over => {
                self.part = Part::Done;
                Some(Step::Cut)
            }
            Part::Serving | Part::Finishing | Part::Closing | Part::Done => None,
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

    fn close(in_flight: usize, seconds: u32) -> Step {
        let took = seconds * SECOND;
        Step::Close(DrainEnd { in_flight, took })
    }

    #[test]
    fn it_serves_on_then_finishes_then_closes() {
        let mut drain = begin(DrainCause::Terminated);
        assert_eq!(steps(&mut drain, 104, 0), [], "it serves on, though idle");
        assert_eq!(steps(&mut drain, 105, 2), [Step::Finish]);
        assert_eq!(steps(&mut drain, 106, 1), []);
        assert_eq!(steps(&mut drain, 107, 0), [close(0, 7)]);
        assert_eq!(steps(&mut drain, 124, 0), []);
        assert_eq!(steps(&mut drain, 125, 0), [Step::Cut]);
        assert_eq!(drain.due(), None);
    }

    #[test]
    fn what_is_stuck_ends_at_the_cap() {
        let mut drain = begin(DrainCause::Asked);
        assert_eq!(steps(&mut drain, 105, 1), [Step::Finish]);
        assert_eq!(drain.due(), Some(125 * SECOND));
        assert_eq!(steps(&mut drain, 125, 1), [close(1, 25), Step::Cut]);
    }

    #[test]
    fn who_interrupts_waits_for_what_is_in_flight_alone() {
        let mut drain = begin(DrainCause::Interrupted);
        assert_eq!(steps(&mut drain, 100, 0), [Step::Finish, close(0, 0)]);
        let mut drain = begin(DrainCause::Interrupted);
        assert_eq!(steps(&mut drain, 100, 1), [Step::Finish]);
        drain.hurry(101 * SECOND, Hurry::Delay);
        assert_eq!(steps(&mut drain, 101, 1), [], "there is no delay to end");
        drain.hurry(101 * SECOND, Hurry::Part);
        assert_eq!(steps(&mut drain, 101, 1), [close(1, 1), Step::Cut]);
    }

    #[test]
    fn a_second_signal_ends_the_delay_and_a_third_the_wait() {
        let mut drain = begin(DrainCause::Terminated);
        drain.hurry(101 * SECOND, Hurry::Part);
        assert_eq!(steps(&mut drain, 101, 1), [Step::Finish]);
        assert_eq!(drain.due(), Some(121 * SECOND), "the whole cap is left");
        drain.hurry(102 * SECOND, Hurry::Part);
        assert_eq!(steps(&mut drain, 102, 1), [close(1, 2), Step::Cut]);
    }

    proptest! {
        /// Whatever happens, the steps come in their order, each once, and the drain ends within its time.
        #[test]
        fn a_drain_ends(
            events in prop::collection::vec((0_u32..8, 0_usize..3, prop::bool::weighted(0.1)), 0..40),
        ) {
            let mut drain = begin(DrainCause::Terminated);
            let (mut now, mut seen) = (100, Vec::new());
            for (delay, in_flight, hurry) in events {
                now += delay;
                if hurry {
                    drain.hurry(now * SECOND, Hurry::Part);
                }
                for step in steps(&mut drain, now, in_flight) {
                    if let Step::Close(end) = step {
                        let due = drain.due().is_none_or(|due| due <= now * SECOND);
                        prop_assert!(end.in_flight == 0 || due, "something is in flight, and there is time");
                    }
                    seen.push(match step {
                        Step::Finish => 0,
                        Step::Close(_) => 1,
                        Step::Cut => 2,
                    });
                }
            }
            seen.extend(steps(&mut drain, now + 25, 1).iter().map(|_| 9));
            let late = steps(&mut drain, now + 50, 1);
            prop_assert!(seen.len() + late.len() == 3 && drain.due().is_none());
            prop_assert!(seen.iter().filter(|&&step| step != 9).is_sorted());
        }
    }
}
