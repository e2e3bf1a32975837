//! When something runs out.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::model::{Outcome, Reason};

/// Warns of what meets its bound within a time, if it goes on as it does.
#[derive(Debug)]
pub(super) struct Forecast {
    before: Duration,
    trend: Mutex<Trend>,
}

impl Forecast {
    pub(super) fn new(before: Duration) -> Self {
        Self {
            before,
            trend: Mutex::new(Trend::new(before)),
        }
    }

    /// The time until the value rises to the bound, as this and the last runs saw it.
    pub(super) fn time_left(&self, value: f64, bound: f64) -> Option<Duration> {
        let mut trend = self.trend.lock().unwrap_or_else(PoisonError::into_inner);
        trend.add(Instant::now(), value);
        trend.time_to(bound)
    }

    /// A warning if that is soon.
    pub(super) fn judge(&self, left: Option<Duration>) -> Outcome {
        let Some(left) = left else {
            return Outcome::pass();
        };
        let outcome = match left <= self.before {
            true => Outcome::warn(Reason::LimitNear)
                .with_cause(format_args!("the bound is met in {} s", left.as_secs())),
            false => Outcome::pass(),
        };
        outcome.measure("time_left", left.as_secs_f64().round(), "s")
    }
}

/// How fast a value rises, by the samples of the last runs.
///
/// 1. It looks ahead for a horizon, and back for an eighth of that, or for [`FEWEST`] samples if that is longer.
/// 2. There is no rate of fewer samples, nor of a shorter time than a sixth of what it looks back for.
/// 3. The rate is that of the line with the least squares. It counts if it is [`CERTAIN`] times its own error, and if either half of the
///    samples rises too: neither noise nor a single step is a rate.
/// 4. A value below all others begins anew: somebody cleaned up.
#[derive(Debug)]
struct Trend {
    window: Duration,
    /// Each with the one after the next at least a [`MOST`]th of the window later, apart from the last: there are twice as many at most.
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    value: f64,
}

const FEWEST: usize = 5;
const MOST: u32 = 64;
const CERTAIN: f64 = 4.0;

impl Trend {
    fn new(horizon: Duration) -> Self {
        Self {
            window: horizon / 8,
            samples: VecDeque::new(),
        }
    }

    fn add(&mut self, at: Instant, value: f64) {
        if self.samples.iter().all(|sample| value < sample.value) {
            self.samples.clear();
        }
        let is_close = |before: &Sample| at.duration_since(before.at) < self.window / MOST;
        let before_last = self.samples.len().checked_sub(2);
        if before_last
            .and_then(|index| self.samples.get(index))
            .is_some_and(is_close)
        {
            self.samples.pop_back();
        }
        self.samples.push_back(Sample { at, value });
        let is_old = |sample: &Sample| at.duration_since(sample.at) > self.window;
        while self.samples.len() > FEWEST && self.samples.front().is_some_and(is_old) {
            self.samples.pop_front();
        }
    }

    /// The time until the value rises to the bound: none if it does not, zero if it is past that.
    fn time_to(&self, bound: f64) -> Option<Duration> {
        let last = self.samples.back()?;
        if last.value >= bound {
            return Some(Duration::ZERO);
        }
        Duration::try_from_secs_f64((bound - last.value) / self.rate()?).ok()
    }

    /// How much it rises in a second.
    fn rate(&self) -> Option<f64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        if self.samples.len() < FEWEST || last.at.duration_since(first.at) < self.window / 6 {
            return None;
        }
        let middle = self.samples.len() / 2;
        let whole = Line::through(self.samples.iter(), *last)?;
        let earlier = Line::through(self.samples.iter().take(middle + 1), *last)?;
        let later = Line::through(self.samples.iter().skip(middle), *last)?;
        let is_steady = earlier.slope.min(later.slope) >= whole.slope / 4.0;
        (whole.slope > 0.0 && whole.slope >= CERTAIN * whole.error && is_steady)
            .then_some(whole.slope)
    }
}

/// The line with the least squares.
struct Line {
    slope: f64,
    /// The standard error of the slope.
    error: f64,
}

impl Line {
    /// Counts from an origin nearby, which keeps the digits of big numbers.
    fn through<'a>(
        samples: impl ExactSizeIterator<Item = &'a Sample> + Clone,
        origin: Sample,
    ) -> Option<Self> {
        let count = samples.len() as f64;
        let points = samples.map(|sample| {
            let before = origin.at.duration_since(sample.at).as_secs_f64();
            (-before, sample.value - origin.value)
        });
        let (sum_x, sum_y) = points
            .clone()
            .fold((0.0, 0.0), |(sum_x, sum_y), (x, y)| (sum_x + x, sum_y + y));
        let (mean_x, mean_y) = (sum_x / count, sum_y / count);
        let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
        for (x, y) in points {
            let (x, y) = (x - mean_x, y - mean_y);
            xx += x * x;
            xy += x * y;
            yy += y * y;
        }
        if xx <= 0.0 {
            return None;
        }
        let slope = xy / xx;
        let unexplained = (yy - slope * xy).max(0.0);
        Some(Self {
            slope,
            error: (unexplained / (count - 2.0).max(1.0) / xx).sqrt(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HORIZON: Duration = Duration::from_secs(24 * 60 * 60);

    /// A trend of values, `every` apart.
    fn trend(every: Duration, values: impl IntoIterator<Item = f64>) -> Trend {
        let mut trend = Trend::new(HORIZON);
        let start = Instant::now();
        for (number, value) in values.into_iter().enumerate() {
            trend.add(start + every * number as u32, value);
        }
        assert!(trend.samples.len() <= 2 * MOST as usize + 2);
        trend
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn there_is_no_rate_of_few_samples_or_of_a_short_time() {
        let rising = |count: u32| (0..count).map(f64::from);
        assert_eq!(trend(MINUTE, []).time_to(1.0), None);
        assert_eq!(trend(MINUTE, rising(30)).time_to(100.0), None);
        assert!(trend(MINUTE, rising(31)).time_to(100.0).is_some());
        assert_eq!(trend(60 * MINUTE, rising(4)).time_to(100.0), None);
        assert!(trend(60 * MINUTE, rising(5)).time_to(100.0).is_some());
    }

    #[test]
    fn a_step_is_no_rate() {
        for step in 1..100 {
            let values = (0..100).map(|number| if number < step { 50.0 } else { 70.0 });
            assert_eq!(trend(MINUTE, values).time_to(100.0), None, "{step}");
        }
    }

    #[test]
    fn what_was_cleaned_up_begins_anew() {
        let before = (0..60).map(|number| 50.0 + f64::from(number) * 0.5);
        let after = |count| (0..count).map(|number| 20.0 + f64::from(number) * 0.25);
        assert_eq!(
            trend(MINUTE, before.clone().chain(after(30))).time_to(100.0),
            None
        );
        let left = trend(MINUTE, before.chain(after(41))).time_to(100.0);
        // From 30 to 100 by a quarter per minute.
        assert_eq!(left.unwrap().as_secs_f64().round(), 280.0 * 60.0);
    }

    #[test]
    fn what_was_cleaned_up_a_little_is_no_false_alarm_and_known_again_in_a_while() {
        let before = (0..120).map(|number| 10.0 + f64::from(number) * 0.5);
        let after = |count| (0..count).map(|number| 50.0 + f64::from(number) * 0.1);
        for count in 1..60 {
            let left = trend(MINUTE, before.clone().chain(after(count))).time_to(100.0);
            assert!(left.is_none_or(|left| left > 60 * MINUTE), "{left:?}");
        }
        let left = trend(MINUTE, before.chain(after(200))).time_to(100.0);
        assert_eq!(left.unwrap().as_secs_f64().round(), 301.0 * 60.0);
    }

    #[test]
    fn what_is_past_its_bound_has_no_time_left() {
        assert_eq!(trend(MINUTE, [5.0]).time_to(5.0), Some(Duration::ZERO));
        assert_eq!(trend(MINUTE, [5.0]).time_to(4.0), Some(Duration::ZERO));
    }

    #[test]
    fn a_clock_that_stands_still_is_no_rate() {
        let values = (0..100).map(f64::from);
        assert_eq!(trend(Duration::ZERO, values).time_to(1_000.0), None);
    }

    proptest! {
        #[test]
        fn a_steady_rate_gives_the_time(
            start in 0.0..1e13_f64,
            rate in 1e-3..1e9_f64,
            every in 1_u64..3_600,
            seconds in 1.0..1e6_f64,
        ) {
            let count = (2_000 / every + 6) as u32;
            let rise = |number: u32| rate * (u64::from(number) * every) as f64;
            let trend = trend(Duration::from_secs(every), (0..count).map(|number| start + rise(number)));
            let last = start + rise(count - 1);
            // A rise that gets lost in the digits of a big number is none.
            prop_assume!(rate * every as f64 > start * 1e-9);
            let left = trend.time_to(last + rate * seconds).unwrap().as_secs_f64();
            prop_assert!((left - seconds).abs() <= seconds * 1e-3 + 1e-3, "{} {}", left, seconds);
        }

        #[test]
        fn what_stands_still_or_falls_has_time(
            start in -1e12..1e12_f64,
            fall in prop_oneof![Just(0.0), 0.0..1e6_f64],
            every in 1_u64..3_600,
            count in 0_u32..300,
        ) {
            let values = (0..count).map(|number| start - fall * f64::from(number));
            prop_assert_eq!(trend(Duration::from_secs(every), values).time_to(start + 1.0), None);
        }

        #[test]
        fn noise_is_none_or_far(
            values in proptest::collection::vec(-1.0..1.0_f64, 31..400),
            distance in 10.0..1e6_f64,
        ) {
            let trend = trend(MINUTE, values);
            if let Some(left) = trend.time_to(distance) {
                // However the noise falls, no line through it rises faster than this.
                let (first, last) = (trend.samples[0].at, trend.samples[trend.samples.len() - 1].at);
                let span = last.duration_since(first).as_secs_f64();
                prop_assert!(left.as_secs_f64() >= span * (distance - 1.0) / 3.3);
            }
        }

        #[test]
        fn noise_hides_no_rate(noise in proptest::collection::vec(-1.0..1.0_f64, 180)) {
            let values = noise.iter().zip(0..).map(|(noise, number)| noise + f64::from(number) / 10.0);
            let left = trend(MINUTE, values).time_to(100.0).unwrap().as_secs_f64();
            let expected = 821.0 * 60.0;
            prop_assert!((left - expected).abs() < expected * 0.25, "{} {}", left, expected);
        }
    }
}
