//! Prediction of when a rising value reaches its bound.

use std::{
    array,
    collections::VecDeque,
    iter::successors,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::model::{Outcome, Reason};

/// A forecast of when a rising value reaches its bound, based on the measurements of the last runs
/// of a check.
///
/// 1. Each run passes its value and the bound to [`observe`](Self::observe) once.
/// 2. The forecast looks ahead for its horizon. It looks back for a quarter of the horizon, or for
///    eight runs if that is longer.
/// 3. It predicts only from a clear rise. Neither noise nor a single step is a rise. A rise is
///    extrapolated for five times as long as it has lasted.
/// 4. A prediction [is near](Prediction::is_near) once three runs in a row predict that the bound
///    is reached within the horizon.
/// 5. A value below all remembered values begins a new series, because it indicates a cleanup.
///
/// A slow oscillation counts as a rise while its slope would reach the bound within the horizon.
///
/// The forecast remembers at most 129 means, however short the period is. It measures time with
/// [`tokio::time`]. It keeps nothing across a restart of the process.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use std::time::Duration;
///
/// use tower_health::{Reason, checks::Forecast};
///
/// // Warns an hour before the disk is full.
/// let forecast = Forecast::new(Duration::from_secs(60 * 60));
/// let mut prediction = Default::default();
/// for used in 900..960 {
///     prediction = forecast.observe(f64::from(used), 1_000.0);
///     tokio::time::advance(Duration::from_secs(10)).await;
/// }
/// assert!(prediction.is_near());
/// assert_eq!(prediction.time_left(), Some(Duration::from_secs(410)));
/// assert_eq!(prediction.outcome().reason(), Some(Reason::LimitNear));
/// # }
/// ```
#[derive(Debug)]
pub struct Forecast {
    horizon: Duration,
    seen: Mutex<History>,
}

/// What a forecast remembers between two runs.
#[derive(Debug)]
struct History {
    trend: Trend,
    /// The number of runs in a row that predict the bound within the horizon.
    near: u32,
}

/// The number of runs in a row that must predict the bound before a prediction is near.
const AGREEING: u32 = 3;

impl Forecast {
    /// Creates a forecast with this horizon. A horizon of zero disables it: it then predicts
    /// nothing, even for a value that has reached its bound.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tower_health::checks::{Forecast, Prediction};
    ///
    /// let disabled = Forecast::new(Duration::ZERO);
    /// assert_eq!(disabled.observe(10.0, 10.0), Prediction::default());
    /// ```
    pub fn new(horizon: Duration) -> Self {
        let seen = History {
            trend: Trend::new(horizon),
            near: 0,
        };
        Self {
            horizon,
            seen: Mutex::new(seen),
        }
    }

    /// Records the value that this run measured, and predicts when it reaches `bound`, which has
    /// the same unit. If the value or the bound is not finite, nothing is recorded and nothing is
    /// predicted. The bound may change from run to run, because only the values are remembered.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::time::Duration;
    ///
    /// use tower_health::checks::Forecast;
    ///
    /// let forecast = Forecast::new(Duration::from_secs(60));
    /// let mut left = Vec::new();
    /// for length in 0..10 {
    ///     left.push(forecast.observe(f64::from(length), 20.0).time_left());
    ///     tokio::time::advance(Duration::from_secs(1)).await;
    /// }
    /// assert_eq!(left[6], None, "fewer than eight runs");
    /// assert_eq!(left[9], Some(Duration::from_secs(11)));
    /// assert_eq!(forecast.observe(f64::NAN, 20.0).time_left(), None);
    /// # }
    /// ```
    pub fn observe(&self, value: f64, bound: f64) -> Prediction {
        if self.horizon.is_zero() || !value.is_finite() || !bound.is_finite() {
            return Prediction::default();
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.trend.add(Instant::now(), value);
        let time_left = seen.trend.time_to(bound);
        seen.near = match time_left {
            Some(left) if left <= self.horizon => seen.near.saturating_add(1),
            _ => 0,
        };
        Prediction {
            time_left,
            is_near: seen.near >= AGREEING,
        }
    }
}

/// A prediction of when a value reaches its bound. Returned by [`Forecast::observe`]. The default
/// predicts nothing.
///
/// ```
/// use std::time::Duration;
///
/// use tower_health::checks::{Forecast, Prediction};
///
/// let forecast = Forecast::new(Duration::from_secs(60));
/// let full = forecast.observe(10.0, 10.0);
/// assert_eq!(full.time_left(), Some(Duration::ZERO));
/// assert!(!full.is_near(), "a single run is not enough");
///
/// let nothing = Prediction::default();
/// assert_eq!(nothing.time_left(), None);
/// assert_eq!(nothing.or(full), full);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "a prediction says nothing until its outcome is returned"]
pub struct Prediction {
    time_left: Option<Duration>,
    is_near: bool,
}

impl Prediction {
    /// Returns the time until the bound is reached, or zero if the value has reached it already.
    /// Returns `None` if there is no clear rise, or if the rise has not lasted long enough to be
    /// extrapolated to the bound.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.time_left
    }

    /// Returns whether three runs in a row predict that the bound is reached within the horizon.
    #[must_use]
    pub fn is_near(&self) -> bool {
        self.is_near
    }

    /// Combines two predictions, for a check with two bounds. The result has the shorter time, and
    /// is near if one of the two is.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tower_health::checks::Forecast;
    ///
    /// const HOUR: Duration = Duration::from_secs(60 * 60);
    ///
    /// let (bytes, inodes) = (Forecast::new(HOUR), Forecast::new(HOUR));
    /// let prediction = bytes.observe(1.0, 100.0).or(inodes.observe(500.0, 500.0));
    /// assert_eq!(prediction.time_left(), Some(Duration::ZERO), "there are no inodes left");
    /// ```
    pub fn or(self, other: Self) -> Self {
        Self {
            time_left: self.time_left.into_iter().chain(other.time_left).min(),
            is_near: self.is_near || other.is_near,
        }
    }

    /// Returns a warning with the reason [`LimitNear`](Reason::LimitNear) if the bound is near, and
    /// a pass otherwise. If the time is known, the outcome has the measurement `time_left`, in s.
    ///
    /// [Merge](Outcome::merge) it with the outcome of the run itself, which may be worse.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tower_health::{Outcome, Reason, checks::{Forecast, Prediction}};
    ///
    /// assert_eq!(Prediction::default().outcome(), Outcome::pass());
    ///
    /// let forecast = Forecast::new(Duration::from_secs(60));
    /// let prediction = forecast.observe(10.0, 10.0).outcome();
    /// let full = Outcome::fail(Reason::LimitExceeded).merge(prediction);
    /// assert_eq!(full.reason(), Some(Reason::LimitExceeded));
    /// assert_eq!(full.measurements()[0].name, "time_left");
    /// ```
    pub fn outcome(self) -> Outcome {
        let Some(left) = self.time_left else {
            return Outcome::pass();
        };
        let outcome = if self.is_near() {
            Outcome::warn(Reason::LimitNear)
                .with_cause(format_args!("the bound is met in {} s", left.as_secs()))
        } else {
            Outcome::pass()
        };
        outcome.measure("time_left", left.as_secs_f64().round(), "s")
    }
}

/// The trend of a value over the last runs.
///
/// 1. It looks ahead for a horizon. It looks back over a window of a quarter of the horizon, or
///    over [`MIN_MEANS`] runs if that is longer. It keeps one mean for each [`MAX_MEANS`]th of the
///    window.
/// 2. It evaluates all means, and then ever shorter suffixes of them. Each suffix has three
///    quarters of the length of the one before, down to [`MIN_MEANS`] means. A rise that begins
///    after hours without one is thus detected before those hours are forgotten. The rate is that
///    of the longest rising suffix that has the bound in its reach.
/// 3. A suffix is divided into [`MIN_MEANS`] blocks. It rises if the last block is above the first
///    by at least [`MIN_SIGNIFICANCE`] times the error that the steps between the blocks imply.
///    Neither noise nor a single step is a rise. A random walk rarely is one, because its steps are
///    unequal.
/// 4. A rise is extrapolated for at most [`REACH`] times the time that it has lasted. The rise that
///    was observed is thus at least a fifth of what is left to the bound.
/// 5. A value below all others begins a new series, because it indicates a cleanup.
///
/// An oscillation rises, too. It is reported if its current rise would reach the bound, because its
/// turning point cannot be foreseen.
#[derive(Debug)]
struct Trend {
    window: Duration,
    /// At most one more than [`MAX_MEANS`].
    means: VecDeque<Mean>,
}

/// The number of means that are needed for a rate, and the number of blocks that a suffix is
/// divided into. With fewer, a step would look like a rise.
const MIN_MEANS: usize = 8;
/// The number of parts of the window, each of which has one mean. It limits the memory and the time
/// of a run, whatever the period is.
const MAX_MEANS: u32 = 128;
/// How many times its error a rise must be. A higher number means fewer false alarms and later
/// warnings.
const MIN_SIGNIFICANCE: f64 = 6.0;
/// How many times its own duration a rise is extrapolated.
const REACH: f64 = 5.0;

impl Trend {
    fn new(horizon: Duration) -> Self {
        Self {
            window: horizon / 4,
            means: VecDeque::new(),
        }
    }

    /// Adds the value of one run. Runs that are close together share a mean.
    fn add(&mut self, at: Instant, value: f64) {
        if self.means.iter().all(|mean| value < mean.lowest) {
            self.means.clear();
        }
        match self.means.back_mut() {
            Some(last) if at.duration_since(last.began) <= self.window / MAX_MEANS => {
                last.add(at, value);
            }
            _ => self.means.push_back(Mean::new(at, value)),
        }
        let is_old = |mean: &Mean| at.duration_since(mean.began) > self.window;
        while self.means.len() > MIN_MEANS && self.means.front().is_some_and(is_old) {
            self.means.pop_front();
        }
    }

    /// Returns the time until the value rises to the bound. Returns zero if it has reached the
    /// bound, and `None` if it does not rise or if the bound is out of reach.
    fn time_to(&self, bound: f64) -> Option<Duration> {
        let last = self.means.back()?.last;
        if last >= bound {
            return Some(Duration::ZERO);
        }
        let left = self.rises().find_map(|rise| {
            let left = (bound - last) / rise.rate;
            (left <= REACH * rise.lasted).then_some(left)
        });
        Duration::try_from_secs_f64(left?).ok()
    }

    /// Returns the suffixes that rise, the longest first.
    fn rises(&self) -> impl Iterator<Item = Rise> {
        let shorter = |&size: &usize| (size > MIN_MEANS).then(|| (size * 3 / 4).max(MIN_MEANS));
        successors(Some(self.means.len()), shorter).filter_map(|size| self.rise(size))
    }

    /// Returns the rise of the last `size` means, if they rise clearly. Returns `None` if there are
    /// fewer than [`MIN_MEANS`].
    fn rise(&self, size: usize) -> Option<Rise> {
        let skipped = self.means.len().checked_sub(size.max(MIN_MEANS))?;
        let origin = self.means.back()?;
        let start = |block: usize| skipped + block * size / MIN_MEANS;
        let blocks = array::from_fn(|block| {
            let means = self.means.range(start(block)..start(block + 1));
            Point::mean_of(means.map(|mean| mean.relative_to(origin)))
        });
        Rise::through(blocks)
    }
}

/// The values of consecutive runs, combined to their mean.
#[derive(Debug)]
struct Mean {
    began: Instant,
    count: f64,
    /// The mean time of the runs, in s since `began`.
    at: f64,
    /// The mean value.
    value: f64,
    /// The lowest value. A run below all of them begins a new series.
    lowest: f64,
    /// The last value, which a prediction begins with.
    last: f64,
}

impl Mean {
    fn new(at: Instant, value: f64) -> Self {
        Self {
            began: at,
            count: 1.0,
            at: 0.0,
            value,
            lowest: value,
            last: value,
        }
    }

    fn add(&mut self, at: Instant, value: f64) {
        let at = at.duration_since(self.began).as_secs_f64();
        self.count += 1.0;
        self.at += (at - self.at) / self.count;
        self.value += (value - self.value) / self.count;
        self.lowest = self.lowest.min(value);
        self.last = value;
    }

    /// Returns the mean relative to `origin`. This preserves the precision of large numbers.
    fn relative_to(&self, origin: &Self) -> Point {
        let before = origin.began.duration_since(self.began).as_secs_f64();
        Point {
            at: self.at - before,
            value: self.value - origin.value,
        }
    }
}

/// A mean relative to another one: its distance in time and in value.
#[derive(Clone, Copy, Debug)]
struct Point {
    /// In s.
    at: f64,
    value: f64,
}

impl Point {
    /// Returns the mean of points, of which there is at least one.
    fn mean_of(points: impl ExactSizeIterator<Item = Self>) -> Self {
        let count = points.len() as f64;
        let (at, value) = points.fold((0.0, 0.0), |(at, value), point| {
            (at + point.at, value + point.value)
        });
        Self {
            at: at / count,
            value: value / count,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            at: self.at - other.at,
            value: self.value - other.value,
        }
    }
}

/// A rise: its rate per second, and how long it has lasted in s.
struct Rise {
    rate: f64,
    lasted: f64,
}

impl Rise {
    /// Returns the rise from the first block to the last, or `None` if it is not clear. A rise is
    /// clear if its steps are about equal: the error is what the straight line does not explain.
    fn through(blocks: [Point; MIN_MEANS]) -> Option<Self> {
        let [first, .., last] = blocks;
        let whole = last.minus(first);
        let rate = whole.value / whole.at;
        let steps = blocks.windows(2).filter_map(|pair| match pair {
            [before, after] => Some(after.minus(*before)),
            _ => None,
        });
        let unexplained: f64 = steps
            .map(|step| (step.value - rate * step.at).powi(2))
            .sum();
        // The error of the sum of all steps, which is `whole`.
        let count = (MIN_MEANS - 1) as f64;
        let error = (unexplained / (count - 1.0) * count).sqrt();
        let is_certain = whole.value > 0.0 && whole.value >= MIN_SIGNIFICANCE * error;
        (whole.at > 0.0 && is_certain).then_some(Self {
            rate,
            lasted: whole.at,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(60 * 60);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[tokio::test(start_paused = true)]
    async fn values_that_are_not_finite_are_ignored() {
        let forecast = Forecast::new(HOUR);
        let mut prediction = Prediction::default();
        for used in 900..960 {
            let nothing = forecast.observe(f64::NAN, 1_000.0);
            assert_eq!(nothing, Prediction::default());
            let nothing = forecast.observe(f64::from(used), f64::INFINITY);
            assert_eq!(nothing, Prediction::default());
            prediction = forecast.observe(f64::from(used), 1_000.0);
            tokio::time::advance(10 * SECOND).await;
        }
        assert!(prediction.is_near());
    }

    /// Returns the trend of values that are `every` apart. Its horizon is one day.
    fn trend(every: Duration, values: impl IntoIterator<Item = f64>) -> Trend {
        let mut trend = Trend::new(DAY);
        let start = Instant::now();
        for (number, value) in values.into_iter().enumerate() {
            trend.add(start + every * number as u32, value);
            assert!(trend.means.len() <= MAX_MEANS as usize + 1);
        }
        trend
    }

    #[test]
    fn there_is_no_rate_of_few_runs_or_of_a_short_time() {
        let rising = |count: u32| (0..count).map(f64::from);
        assert_eq!(trend(MINUTE, []).time_to(1.0), None);
        assert_eq!(trend(HOUR, rising(7)).time_to(10.0), None);
        assert!(trend(HOUR, rising(8)).time_to(10.0).is_some());
        // Eight means cover a sixteenth of the window.
        assert_eq!(trend(10 * SECOND, rising(100)).time_to(200.0), None);
        assert!(trend(10 * SECOND, rising(6 * 23)).time_to(200.0).is_some());
    }

    #[test]
    fn a_rise_is_extrapolated_for_at_most_five_times_its_duration() {
        // A rise lasts from the middle of its first block to the middle of its last block.
        let left = |bound| trend(MINUTE, (0..80).map(f64::from)).time_to(bound);
        assert_eq!(left(79.0 + 340.0).unwrap(), 340 * MINUTE);
        assert_eq!(left(79.0 + 360.0), None);
    }

    #[test]
    fn a_step_is_no_rate() {
        for every in [10 * SECOND, MINUTE, HOUR] {
            for step in 1..100 {
                let values = (0..100).map(|number| if number < step { 50.0 } else { 70.0 });
                assert_eq!(trend(every, values).time_to(100.0), None, "{step}");
            }
        }
    }

    #[test]
    fn a_cleanup_begins_a_new_series() {
        let before = (0..60).map(|number| 50.0 + f64::from(number) * 0.5);
        let after = |count| (0..count).map(|number| 20.0 + f64::from(number) * 0.25);
        assert_eq!(
            trend(MINUTE, before.clone().chain(after(20))).time_to(100.0),
            None
        );
        let left = trend(MINUTE, before.chain(after(81))).time_to(100.0);
        // From 40 to 100, by 0.25 per minute.
        assert_eq!(left.unwrap().as_secs_f64().round(), 240.0 * 60.0);
    }

    #[test]
    fn a_partial_cleanup_is_no_false_alarm_and_the_rise_is_detected_later() {
        let before = (0..120).map(|number| 10.0 + f64::from(number) * 0.5);
        let after = |count| (0..count).map(|number| 50.0 + f64::from(number) * 0.1);
        for count in 1..60 {
            let left = trend(MINUTE, before.clone().chain(after(count))).time_to(100.0);
            assert!(left.is_none_or(|left| left > HOUR), "{left:?}");
        }
        let left = trend(MINUTE, before.chain(after(200))).time_to(100.0);
        assert_eq!(left.unwrap().as_secs_f64().round(), 301.0 * 60.0);
    }

    #[test]
    fn what_is_not_below_its_bound_has_no_time_left() {
        assert_eq!(trend(MINUTE, [5.0]).time_to(5.0), Some(Duration::ZERO));
        assert_eq!(trend(MINUTE, [5.0]).time_to(4.0), Some(Duration::ZERO));
    }

    #[test]
    fn a_clock_that_stands_still_is_no_rate() {
        let values = || (0..1_000).map(f64::from);
        assert_eq!(trend(Duration::ZERO, values()).time_to(1_001.0), None);
        let mut trend = Trend::new(Duration::from_nanos(1));
        let now = Instant::now();
        values().for_each(|value| trend.add(now, value));
        assert_eq!(trend.time_to(1_001.0), None);
        assert_eq!(trend.means.len(), 1);
    }

    /// A pseudorandom number generator with a fixed sequence for each seed.
    struct Chance(u64);

    impl Chance {
        /// Returns a number from 0 to 1, exclusive.
        fn number(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
            self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as f64 / f64::from(1_u32 << 31)
        }

        /// Returns an approximately normal number with mean 0 and standard deviation 1.
        fn bell(&mut self) -> f64 {
            (0..12).map(|_| self.number()).sum::<f64>() - 6.0
        }
    }

    /// Returns the runs that warn because a value reaches the bound within the horizon. The runs
    /// are 10 s apart.
    async fn warned(
        horizon: Duration,
        bound: f64,
        values: impl IntoIterator<Item = f64>,
    ) -> Vec<usize> {
        let forecast = Forecast::new(horizon);
        let mut warned = Vec::new();
        for (run, value) in values.into_iter().enumerate() {
            if forecast.observe(value, bound).is_near() {
                warned.push(run);
            }
            tokio::time::advance(10 * SECOND).await;
        }
        warned
    }

    const EIGHT_HOURS: usize = 8 * 60 * 6;
    const SERIES: usize = 8;

    /// Returns the percentage of runs that warn of a bound of 1000 within an hour.
    async fn percent_warned<V: Iterator<Item = f64>>(series: impl Fn(u64) -> V) -> f64 {
        let mut count = 0;
        for seed in 0..SERIES as u64 {
            count += warned(HOUR, 1_000.0, series(seed).take(EIGHT_HOURS))
                .await
                .len();
        }
        count as f64 * 100.0 / (SERIES * EIGHT_HOURS) as f64
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_comes_and_goes_is_seldom_a_false_alarm() {
        // The mean is 150 and the standard deviation is 50. A deviation decays to a factor of 1/e
        // in five minutes.
        let queue = |seed| {
            let (mut chance, mut above) = (Chance(seed), 0.0);
            let keeps = (-10.0_f64 / 300.0).exp();
            std::iter::repeat_with(move || {
                above = keeps * above + 50.0 * (1.0 - keeps * keeps).sqrt() * chance.bell();
                (150.0 + above).max(0.0)
            })
        };
        let percent = percent_warned(queue).await;
        assert!(percent <= 0.5, "{percent} %");
    }

    #[tokio::test(start_paused = true)]
    async fn a_random_walk_is_seldom_a_false_alarm() {
        for step in [5.0, 15.0, 40.0] {
            // Between 0 and 400.
            let walk = |seed| {
                let (mut chance, mut at) = (Chance(seed), 200.0_f64);
                std::iter::repeat_with(move || {
                    at = (at + step * chance.bell()).abs();
                    at = 400.0 - (400.0 - at).abs();
                    at
                })
            };
            let percent = percent_warned(walk).await;
            assert!(percent <= 1.0, "by {step}: {percent} %");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn noise_alone_is_no_alarm() {
        let noise = |seed| {
            let mut chance = Chance(seed);
            std::iter::repeat_with(move || 500.0 + 100.0 * chance.bell())
        };
        assert_eq!(percent_warned(noise).await, 0.0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_oscillation_is_reported_if_its_rise_reaches_the_bound_within_the_horizon() {
        // Between 50 and 80, with a period of one day. A straight line through the rise reaches 95
        // in 6 h at the earliest.
        let swing = || {
            (0..2 * 24 * 360).map(|run| {
                let turns = f64::from(run) / (24.0 * 360.0);
                65.0 - 15.0 * (turns * std::f64::consts::TAU).cos()
            })
        };
        let percent = warned(DAY, 95.0, swing()).await.len() as f64 * 100.0 / (2.0 * 24.0 * 360.0);
        assert!(percent > 0.0 && percent < 35.0, "{percent} %");
        assert!(warned(5 * HOUR, 95.0, swing()).await.is_empty());
    }

    /// A disk of 1000 GiB has 500 GiB used and a bound of 950 GiB. After `rest`, 1 GiB more is used
    /// every `seconds`, with noise. Returns the minutes since the fill began and the minutes left
    /// to the bound, both at the first warning.
    async fn warned_of_a_fill(rest: Duration, seconds: f64, noise: f64) -> (f64, f64) {
        let mut chance = Chance(7);
        let full = 450.0 * seconds;
        let values = (0..).map(|run| (f64::from(run) * 10.0 - rest.as_secs_f64()).max(0.0));
        let values = values.take_while(|passed| *passed < full);
        let values = values.map(|passed| 500.0 + passed / seconds + noise * chance.bell());
        let warned = warned(DAY, 950.0, values).await;
        let passed = warned[0] as f64 * 10.0 - rest.as_secs_f64();
        (passed / 60.0, (full - passed) / 60.0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_begins_to_fill_is_reported_well_before_it_is_full() {
        for rest in [Duration::ZERO, 10 * HOUR] {
            for noise in [0.0, 2.0, 10.0] {
                for (seconds, least_left) in [(6.0, 20.0), (12.0, 65.0), (20.0, 115.0)] {
                    let (passed, left) = warned_of_a_fill(rest, seconds, noise).await;
                    assert!((0.0..=35.0).contains(&passed), "{passed}");
                    assert!(left >= least_left, "{left}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_begins_to_grow_is_reported() {
        let mut chance = Chance(3);
        // 200 ± 20 for two hours, then 20 more per minute: full in 40 min.
        let values = (0..960).map(|run| {
            let grown = f64::from((run - 720).max(0)) * 20.0 / 6.0;
            200.0 + grown + 20.0 * chance.bell()
        });
        let first = warned(HOUR, 1_000.0, values).await[0];
        assert!((720..720 + 12 * 6).contains(&first), "{first}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_warns_when_three_runs_in_a_row_foresee_it() {
        let never = Forecast::new(Duration::ZERO);
        assert_eq!(never.observe(10.0, 10.0), Prediction::default());
        let forecast = Forecast::new(MINUTE);
        let mut near = |value| forecast.observe(value, 10.0).is_near();
        let values = [10.0, 10.0, 9.0, 10.0, 10.0, 10.0, 9.0];
        let expected = [false, false, false, false, false, true, false];
        assert_eq!(values.map(&mut near), expected);
    }

    proptest! {
        #[test]
        fn a_steady_rate_gives_the_time(
            start in 0.0..1e13_f64,
            rate in 1e-3..1e9_f64,
            every in 1_u64..3_600,
            part in 0.001..3.5_f64,
        ) {
            let count = (2_000 / every + 9) as u32;
            let rise = |number: u32| rate * (u64::from(number) * every) as f64;
            let trend = trend(Duration::from_secs(every), (0..count).map(|number| start + rise(number)));
            let last = start + rise(count - 1);
            // A rise that is tiny compared to `start` is lost in floating-point rounding.
            prop_assume!(rate * every as f64 > start * 1e-9);
            let seconds = part * (u64::from(count) * every) as f64;
            let left = trend.time_to(last + rate * seconds).unwrap().as_secs_f64();
            prop_assert!((left - seconds).abs() <= seconds * 1e-3 + 1e-3, "{} {}", left, seconds);
        }

        #[test]
        fn a_constant_or_falling_value_has_no_prediction(
            start in -1e12..1e12_f64,
            fall in prop_oneof![Just(0.0), 0.0..1e6_f64],
            every in 1_u64..3_600,
            count in 0_u32..300,
        ) {
            let values = (0..count).map(|number| start - fall * f64::from(number));
            prop_assert_eq!(trend(Duration::from_secs(every), values).time_to(start + 1.0), None);
        }

        #[test]
        fn a_value_below_a_fifth_of_the_way_has_no_prediction(
            values in proptest::collection::vec(-1.0..1.0_f64, 0..400),
            distance in 11.0..1e6_f64,
        ) {
            prop_assert_eq!(trend(MINUTE, values).time_to(1.0 + distance), None);
        }

        #[test]
        fn noise_hides_no_rate(noise in proptest::collection::vec(-1.0..1.0_f64, 360)) {
            let values = noise.iter().zip(0..).map(|(noise, number)| noise + f64::from(number) / 10.0);
            let left = trend(MINUTE, values).time_to(100.0).unwrap().as_secs_f64();
            let expected = 641.0 * 60.0;
            prop_assert!((left - expected).abs() < expected * 0.25, "{} {}", left, expected);
        }
    }
}
